"""Tables that are large: read mapped, and copied to the device by blocks of rows."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import check_same_end, run_small, stopping_at
from helpers.effort import examples
from reprise.checkpoints import store
from reprise.runtime import device


@examples(60)
@given(
    st.integers(0, 40),
    st.sampled_from([(), (3,), (2, 2)]),
    st.sampled_from(["float32", "int32", "bool"]),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([1, 40, 10_000]),
)
def test_rows_copied_by_blocks_are_the_rows_and_zeros(
    rows: int, row: tuple[int, ...], dtype: str, more: int, dealt: bool, at_once: int
) -> None:
    table = np.random.default_rng(rows).normal(size=(rows, *row)).astype(dtype)
    shape = (rows + more, *row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "_AT_ONCE", at_once)
        made = device.own_by_blocks(table[::-1], (1, *shape) if dealt else shape)
    assert made.dtype == table.dtype
    expected = np.zeros(shape, dtype)
    expected[:rows] = table[::-1]
    assert np.array_equal(np.asarray(made), expected[None] if dealt else expected)
    # It is JAX's: what a step is given, it takes.
    taken = jax.jit(lambda one: one, donate_argnums=0)(made)
    assert np.array_equal(np.asarray(taken).reshape(shape), expected)


@pytest.mark.usefixtures("tables_are_large")
@pytest.mark.parametrize("more", [{}, {"optimizer": "adam", "average_decay": 0.9}])
def test_run_that_reads_mapped_tables_resumes_exactly(
    more: dict[str, Any], small_data: Path, tmp_path: Path
) -> None:
    *_, whole = run_small(small_data, tmp_path / "whole", **more)
    for stop in (3, 11):
        run_small(small_data, tmp_path / "cut", stopping_at(stop), **more)
    *_, cut = run_small(small_data, tmp_path / "cut", **more)
    check_same_end(cut, whole)


@pytest.mark.usefixtures("tables_are_large")
def test_damage_to_a_mapped_table_is_told(small_data: Path, tmp_path: Path) -> None:
    *_, folder = run_small(small_data, tmp_path, stopping_at(11))
    latest = store.scan(folder.checkpoints)[-1]
    rows = store.load(latest).arrays["rows"]
    assert isinstance(rows, np.memmap)
    path = latest.path / "rows.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(store.DamagedCheckpointError, match=r"rows\.npy"):
        store.load(latest)
    _, recorder, _ = run_small(small_data, tmp_path)
    assert "quarantined" in recorder.keys
