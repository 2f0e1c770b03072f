"""The machine that a test runs on."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import jax

_INSTRUCTIONS = re.compile(r"avx|amx|fma|neon|asimd|sve")
# Not of what XLA compiles.
_LOCATION = re.compile(r"--xla_(dump|force_host)\S*")


def environment() -> str:
    """What the bits depend on besides the code: instructions, XLA's effort, libraries."""
    flags = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        of_cpu = {name.strip(): value.split() for name, value in lines.items()}
        words = of_cpu.get("flags", of_cpu.get("Features", []))
        flags = " ".join(sorted(word for word in words if _INSTRUCTIONS.match(word)))
        flags = " ".join([*of_cpu.get("vendor_id", []), flags])
    effort = " ".join(sorted(_LOCATION.sub("", os.environ.get("XLA_FLAGS", "")).split()))
    libraries = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib", "numpy"))
    device = "" if jax.default_backend() == "cpu" else f"; {jax.devices()[0].device_kind}"
    return f"{platform.machine()} {flags}{device}; {libraries}; {effort}"
