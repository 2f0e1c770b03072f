"""Thirty steps of every way of training end in the bits that are stored.

Bits depend on the instructions that XLA compiles to, on its effort and on the libraries: digests
are stored by all of these, and elsewhere the rows are skipped. A change that means to change bits
stores them anew: REPRISE_STORE_GOLDEN=1 make test (or pytest with its flags).
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import golden
from helpers.commands import Recorder, state_digest
from helpers.machine import environment
from reprise.config.load import in_todays_names, read_preset
from reprise.config.schema import TrainConfig
from reprise.runs.folder import RunFolder
from reprise.runs.session import Request, run_session

STORED = Path(__file__).parent / "golden.json"
STEPS = 30


def trained(settings: Mapping[str, Any], data: Path, runs: Path) -> list[str]:
    """Train a row, and return the digests of its last state and of its metrics.jsonl."""
    values = in_todays_names({**golden.SHARED, **settings}) | {"name": "golden"}
    preset = values.pop("preset", None)
    values = (read_preset(preset) if preset else {}) | values
    values |= {"max_steps": STEPS, "test_iter": STEPS // 2, "batch_size": 16}  # that it is quick
    config = TrainConfig(**values)
    request = Request(config, data / "demo", RunFolder(runs / config.folder_name))
    assert run_session(request, Recorder()).exit_code == 0
    metrics = hashlib.sha256(request.folder.metrics.read_bytes()).hexdigest()
    return [state_digest(request.folder), metrics]


@pytest.mark.parametrize("row", golden.ROWS)
def test_golden_digest(row: str, demo_data: Path, tmp_path: Path) -> None:
    here, stored = environment(), json.loads(STORED.read_text())
    storing = os.environ.get("REPRISE_STORE_GOLDEN") == "1"
    if row not in stored.get(here, {}) and not storing:
        pytest.skip(f"no digest of {row} is stored for: {here}")
    found = trained(golden.ROWS[row], demo_data, tmp_path)
    if storing:
        stored.setdefault(here, {})[row] = found
        STORED.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
    else:
        assert found == stored[here][row]
