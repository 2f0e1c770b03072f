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


def current() -> dict[str, str]:
    """Return versions, device and XLA's threads of this process, by name."""
    versions = {name: version(name) for name in _LIBRARIES}
    device = {"device": _device(), "xla threads": _threads()}
    return {"reprise": __version__, **versions, **device}


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return "name: before -> now" for each difference; none if `before` is unknown (empty)."""
    return [
        f"{name}: {before[name]} -> {now.get(name, '-')}"
        for name in sorted(before)
        if before[name] != now.get(name)
    ]


def _threads() -> str:
    """Return the number of XLA's threads: `NPROC` when it started, or one per core."""
    return os.environ.get("NPROC") or str(os.cpu_count())


def _device() -> str:
    """Return the kind of accelerator or processor, by which compilers choose instructions."""
    device = jax.devices()[0]
    return f"cpu ({_processor()})" if device.platform == "cpu" else device.device_kind


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):  # not Linux
        return platform.processor() or platform.machine()
