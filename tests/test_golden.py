"""Thirty steps of every way of training end in the bits that are stored.

Bits depend on the instructions that XLA compiles to, on its effort and on the libraries: digests
are stored by all of these, and elsewhere the rows are skipped. A change that means to change bits
stores them anew: REPRISE_STORE_GOLDEN=1 make test (or pytest with its flags).
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import pytest

import golden
from helpers.commands import Recorder, state_digest
from reprise.config.load import read_preset
from reprise.config.schema import TrainConfig
from reprise.runs.folder import RunFolder
from reprise.runs.session import Request, run_session

STORED = Path(__file__).parent / "golden.json"
STEPS = 30
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


def trained(settings: Mapping[str, Any], data: Path, runs: Path) -> list[str]:
    """Train a row, and return the digests of its last state and of its metrics.jsonl."""
    values = {**golden.SHARED, **settings, "name": "golden"}
    preset = values.pop("preset", None)
    values = (read_preset(preset) if preset else {}) | values
    values |= {"max_steps": STEPS, "test_iter": STEPS // 2, "batch_size": 16}  # that it is quick
    config = TrainConfig(**values)
    request = Request(config, data / "demo", RunFolder(runs / config.folder_name))
    assert run_session(request, Recorder()).exit_code == 0
    metrics = hashlib.sha256(request.folder.metrics.read_bytes()).hexdigest()
    return [state_digest(request.folder), metrics]


@pytest.mark.compiled_quickly
@pytest.mark.parametrize("row", golden.ROWS)
def test_golden_digest(row: str, demo_data: Path, tmp_path: Path) -> None:
    here, stored = environment(), json.loads(STORED.read_text())
    storing = os.environ.get("REPRISE_STORE_GOLDEN") == "1"
    if here not in stored and not storing:
        pytest.skip(f"no digests are stored for: {here}")
    found = trained(golden.ROWS[row], demo_data, tmp_path)
    if storing:
        stored.setdefault(here, {})[row] = found
        STORED.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
    else:
        assert found == stored[here][row]
