"""A dealt table, heard of from all devices by blocks."""

from dataclasses import replace

import numpy as np
import pytest

from reprise.runtime import mesh as meshes
from reprise.runtime.processes import Processes

pytestmark = pytest.mark.mesh


@pytest.mark.parametrize("at_once", [1, 2, 3, 1000])
@pytest.mark.parametrize("rows", [5, 9, 12])
def test_whole_table_is_the_one_that_was_dealt(
    rows: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of several processes hears of it, whose own devices have a part, and as one that has
    all devices finds it.
    """
    monkeypatch.setattr(meshes, "_AT_ONCE", at_once)
    alone = meshes.mesh_of(4)
    assert alone is not None
    table = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
    for mesh in (alone, replace(alone, processes=Processes(0, 2))):
        for width in (3, 2):
            found = meshes.whole(mesh, mesh.deal(table), rows, width)
            assert np.array_equal(found, table[:, :width])
        parts = list(meshes.blocks(mesh, mesh.deal(table), rows, 2))
        assert np.array_equal(np.concatenate(parts), table[:, :2])
        assert max(map(len, parts)) <= 4 * at_once
