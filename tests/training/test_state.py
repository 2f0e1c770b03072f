"""The training state: snapshots are copies, restoring is exact, the digest is complete."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.effort import examples
from reprise.training.state import (
    Arrays,
    Best,
    LogMark,
    Progress,
    Snapshot,
    TrainState,
    restore,
    take_snapshot,
)

pytestmark = pytest.mark.users_bits

relaxed = examples(40)
seeds = st.integers(0, 2**32 - 1)
SHAPES: dict[str, tuple[int, ...]] = {
    "rows": (5, 6),
    "row_steps": (5,),
    "loss_sum": (),
    "params.bilinear": (2, 1, 2, 2),
    "params.bias": (3,),
    "m.bilinear": (2, 1, 2, 2),
    "m.bias": (3,),
    "v.bilinear": (2, 1, 2, 2),
    "v.bias": (3,),
}
BYTES = sum(4 * int(np.prod(shape)) for shape in SHAPES.values())
PROGRESS = Progress(
    learning_rate=0.001,
    step=70,
    branch=1,
    evaluated_step=60,
    metric=0.25,
    best=Best(0.5, 40, 1),
    evaluations_without_improvement=2,
    seconds=12.5,
    logged=LogMark.of(b'{"step": 60}\n'),
)


def snapshot(seed: int) -> Snapshot:
    """Return arrays of any bits at all: NaN with payload, infinities, -0.0, denormals."""
    rng = np.random.default_rng(seed)
    return Snapshot(
        {
            name: np.frombuffer(
                rng.bytes(4 * int(np.prod(shape))), np.int32 if name == "row_steps" else np.float32
            ).reshape(shape)
            for name, shape in SHAPES.items()
        },
        PROGRESS,
    )


def contents(arrays: dict[str, NDArray[Any]]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}


@relaxed
@given(seeds)
def test_restore_and_snapshot_are_exact(seed: int) -> None:
    first = snapshot(seed)
    second = take_snapshot(restore(first))
    assert contents(dict(second.arrays)) == contents(dict(first.arrays))
    assert second.progress == first.progress
    assert second.digest() == first.digest()


def test_restore_keeps_a_state_without_parameters() -> None:
    bare = {name: array for name, array in snapshot(1).arrays.items() if "." not in name}
    state = restore(Snapshot(bare, PROGRESS))
    assert state.arrays.params == state.arrays.m == state.arrays.v == {}
    assert contents(dict(take_snapshot(state).arrays)) == contents(bare)


def test_snapshot_outlives_the_state_it_was_taken_from() -> None:
    state = restore(snapshot(2))
    taken = take_snapshot(state)
    before = taken.digest()

    def doubled(arrays: Arrays) -> Arrays:
        return Arrays(*jax.tree.map(lambda array: array * 2 + 1, tuple(arrays)))

    consumed = state.arrays
    after = jax.jit(doubled, donate_argnums=0)(consumed)
    after.rows.block_until_ready()
    assert consumed.rows.is_deleted()
    assert taken.digest() == before == snapshot(2).digest()


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return a writable copy at an address that a device on the host could adopt as it is."""
    buffer = np.zeros(array.nbytes + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def test_restored_arrays_outlive_the_snapshot() -> None:
    source = Snapshot({name: aligned(a) for name, a in snapshot(3).arrays.items()}, PROGRESS)
    before = source.digest()
    state = restore(source)
    for array in source.arrays.values():
        array[...] = 0
    assert take_snapshot(state).digest() == before


@relaxed
@given(seeds, st.integers(0, BYTES - 1), st.integers(1, 255))
def test_digest_depends_on_every_byte(seed: int, place: int, change: int) -> None:
    first = snapshot(seed)
    arrays = dict(first.arrays)
    for name, array in arrays.items():
        if place < array.nbytes:
            raw = bytearray(array.tobytes())
            raw[place] ^= change
            arrays[name] = np.frombuffer(bytes(raw), np.float32).reshape(array.shape)
            break
        place -= array.nbytes
    assert Snapshot(arrays, PROGRESS).digest() != first.digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 71},
        {"branch": 2},
        {"learning_rate": 0.002},
        {"evaluated_step": 70},
        {"metric": None},
        {"metric": np.nextafter(0.25, 1)},
        {"best": None},
        {"best": Best(np.nextafter(0.5, 1), 40, 1)},
        {"best": Best(0.5, 41, 1)},
        {"best": Best(0.5, 40, 0)},
        {"evaluations_without_improvement": 3},
    ],
)
def test_digest_depends_on_what_determines_the_trajectory(changes: dict[str, Any]) -> None:
    first = snapshot(4)
    assert Snapshot(first.arrays, replace(PROGRESS, **changes)).digest() != first.digest()


@pytest.mark.parametrize("changes", [{"seconds": 99.0}, {"logged": LogMark.of(b"a\n")}])
def test_digest_leaves_out_time_and_record(changes: dict[str, Any]) -> None:
    first = snapshot(4)
    assert Snapshot(first.arrays, replace(PROGRESS, **changes)).digest() == first.digest()


Change = Callable[[dict[str, NDArray[Any]]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.update({"v.bias_": arrays.pop("v.bias")}),
        lambda arrays: arrays.update(rows=arrays["rows"].reshape(6, 5)),
        lambda arrays: arrays.update(rows=arrays["rows"].view(np.int32)),
        lambda arrays: arrays.update({"m.bias": arrays["v.bias"], "v.bias": arrays["m.bias"]}),
    ],
    ids=["name", "shape", "dtype", "swapped"],
)
def test_digest_depends_on_name_shape_and_dtype(change: Change) -> None:
    first = snapshot(5)
    arrays = dict(first.arrays)
    change(arrays)
    assert Snapshot(arrays, PROGRESS).digest() != first.digest()


def test_digest_does_not_depend_on_order_or_memory_layout() -> None:
    first = snapshot(6)
    arrays = {name: np.array(a, order="F") for name, a in reversed(list(first.arrays.items()))}
    arrays["rows"] = arrays["rows"].byteswap().view(">f4")
    assert Snapshot(arrays, PROGRESS).digest() == first.digest()


def test_at_changes_progress_and_nothing_of_the_old_state() -> None:
    state = TrainState(restore(snapshot(7)).arrays, PROGRESS)
    moved = state.at(state.arrays._replace(loss_sum=jnp.zeros(())), step=71)
    assert moved.progress == replace(PROGRESS, step=71)
    assert state.progress is PROGRESS
    assert moved.arrays.rows is state.arrays.rows


@pytest.mark.parametrize(
    ("best", "expected"),
    [(None, False), (Best(1.0, 70, 1), True), (Best(1.0, 70, 0), False), (Best(1.0, 69, 1), False)],
)
def test_is_best_means_this_step_of_this_branch(best: Best | None, expected: bool) -> None:
    assert replace(PROGRESS, best=best).is_best is expected
