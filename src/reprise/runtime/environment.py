"""What a run's bits depend on besides its configuration: the libraries and the device.

The same environment gives the same bytes on any number of cores (see `runtime.setup`).
Under another one a run goes on, but nobody promises that its last bits are those the old one would
have computed.
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
    """Return "name: before -> now" for all that differs; nothing where `before` is unknown."""
    return [
        f"{name}: {before[name]} -> {now.get(name, '-')}"
        for name in sorted(before)
        if before[name] != now.get(name)
    ]


def _threads() -> str:
    """Return how many threads XLA has: what `NPROC` said when it started, or one a core."""
    return os.environ.get("NPROC") or str(os.cpu_count())


def _device() -> str:
    """Return the accelerator's kind, or the processor's: compilers choose instructions by it."""
    device = jax.devices()[0]
    return f"cpu ({_processor()})" if device.platform == "cpu" else device.device_kind


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):  # not Linux
        return platform.processor() or platform.machine()
