"""The environment that a run's results depend on besides its configuration: libraries and device.

The same environment gives bitwise identical results on any number of cores (see `runtime.setup`).
In another one a run continues, but its results may differ by rounding.
"""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import jax

from reprise import __version__

_LIBRARIES = ("jax", "jaxlib", "numpy")
# As Linux calls them, of x86 and of ARM: those that sums and products are compiled to.
_INSTRUCTIONS = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512dq", "avx512bw", "avx512vl"),
    *("avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "asimdhp", "asimddp", "sve", "sve2", "i8mm", "bf16"),
)
# By which glibc, NumPy, OpenBLAS and oneDNN use other instructions than the processor's best.
_VARIABLES = (
    *("GLIBC_TUNABLES", "NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
)
_NONE = "none"
MESH = "mesh"  # the devices of a run, where there are several (`runtime.mesh`)


def current() -> dict[str, str]:
    """Return versions, device, instructions, XLA's threads and flags, and variables that choose
    among instructions, of this process, by name.
    """
    versions = {name: version(name) for name in _LIBRARIES}
    variables = [f"{name}={os.environ[name]}" for name in _VARIABLES if os.environ.get(name)]
    return {
        "reprise": __version__,
        **versions,
        "device": _device(),
        "instructions": " ".join(_instructions()) or _NONE,
        "xla threads": _threads(),
        "xla flags": " ".join(_xla_flags()) or _NONE,
        "variables": " ".join(variables) or _NONE,
    }


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return "name: before -> now" for each difference but the mesh's; none if `before` is unknown
    (empty).
    """
    return [
        f"{name}: {before[name]} -> {now.get(name, '-')}"
        for name in sorted(before)
        if name != MESH and before[name] != now.get(name)
    ]


def _instructions() -> list[str]:
    """Return the sets of instructions that compilers and libraries choose among, of the processor
    as this machine shows it: a virtual one may hide some of its model's.
    """
    known = set(_cpuinfo("flags", "Features").split())
    return [name for name in _INSTRUCTIONS if name in known]


def _xla_flags() -> list[str]:
    """Return XLA's flags in order, without those that only write what it does."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    return sorted(flag for flag in flags if not flag.startswith("--xla_dump"))


def _threads() -> str:
    """Return the number of XLA's threads: `NPROC` when it started, or one per core."""
    return os.environ.get("NPROC") or str(os.cpu_count())


def _device() -> str:
    """Return the kind of accelerator or processor, by which compilers choose instructions."""
    device = jax.devices()[0]
    return f"cpu ({_processor()})" if device.platform == "cpu" else device.device_kind


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(*keys: str) -> str:
    """Return the first value of one of the keys; "" where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() in keys), "")
