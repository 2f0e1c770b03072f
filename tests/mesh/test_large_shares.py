"""Shares of tables that are large: read mapped, and copied to their devices by blocks of rows."""

from pathlib import Path

import numpy as np
import pytest

from helpers.commands import run_small, stopping_at
from reprise.checkpoints import store
from reprise.training.state import TABLES, share_of

pytestmark = pytest.mark.mesh


@pytest.mark.usefixtures("tables_are_large")
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_shares_of_mapped_tables_are_those_of_any_other_mesh(
    devices: int, small_data: Path, tmp_path: Path
) -> None:
    *_, folder = run_small(small_data, tmp_path, stopping_at(11), devices=2)
    latest = store.scan(folder.checkpoints)[-1]
    whole = store.load(latest).arrays
    shares = store.load_shares(latest, range(devices), devices).arrays
    for name, array in shares.items():
        table, place, of = share_of(name) or (name, 0, 1)
        assert of == (devices if table in TABLES else 1)
        assert np.array_equal(array, whole[table][place::of] if table in TABLES else whole[table])
    _, recorder, _ = run_small(small_data, tmp_path, devices=devices)
    assert ("mesh_changed" in recorder.keys) == (devices != 2)
