"""States and steps on a mesh, against those of one device."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.commands import small_config
from reprise.checkpoints import store
from reprise.config.load import in_todays_names, read_preset
from reprise.data.dataset import open_dataset
from reprise.errors import UsageError
from reprise.models import features
from reprise.models.draws import bernoulli, by_example
from reprise.models.registry import REGISTRY, UNTRAINED
from reprise.runtime.mesh import DEALT, Mesh, mesh_of
from reprise.training import item_table
from reprise.training.dispatch import compile_work
from reprise.training.on_mesh import placed
from reprise.training.optimizers import make_update
from reprise.training.packing import packed
from reprise.training.schedules import CONSTANT
from reprise.training.setup import (
    Task,
    fresh_state,
    initial_shapes,
    make_task,
    snapshot_of,
    state_of,
    up_to_date,
)
from reprise.training.state import Snapshot

pytestmark = pytest.mark.mesh

# Softmax weights do not depend on it: its gradient is rounding error, which Adam inflates.
WITHOUT_GRADIENT = "heads_bias"
SETTINGS: dict[str, dict[str, Any]] = {name: {"model": name} for name in REGISTRY}
SETTINGS |= {
    "modern": in_todays_names(read_preset("modern"))
    | {"embedding_dim": 8, "hidden_size": 8, "maxlen": 6, "targets": 2},
    "mixed": {"sampler": "mixed", "optimizer": "adam", "embeddings": "untied"},
    "in-batch": {"sampler": "in-batch", "negatives": None, "item_dropout": 0.3},
    "lazy-adam": {"optimizer": "lazy-adam", "temperature": 0.1, "hard_negatives": 1.0},
    "timed": {"encoder_layers": 1, "dropout": 0.2, "time_bias": "gaps+request"},
    "features": {
        "item_init": "counts",
        "item_features": "all",
        "id_dropout": 0.3,
        "time_bias": "gaps",
        "encoder_layers": 1,
    },
    "penalty": {"model": "ComiRec-SA", "routing_penalty": 0.1, "selection": "soft"},
}
QUICK = ("ComiRec-DR", "MIND", "modern", "mixed", "features")
EVERY = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.long)
    for name in SETTINGS
    if name not in UNTRAINED
]


@pytest.fixture(autouse=True)
def few_categories_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that embeddings of features are updated by row."""
    monkeypatch.setattr(features, "_MOST_DENSE", 3)


def mesh() -> Mesh:
    made = mesh_of(4)
    assert made is not None
    return made


def task_of(data: Path, on: Mesh | None = None, **settings: Any) -> Task:
    return make_task(small_config(**settings), open_dataset(data / "small"), mesh=on)


def after(task: Task, snapshot: Snapshot, step: int) -> Snapshot:
    """Return the state after a step."""
    state, batch = state_of(task, snapshot), task.sampler.batch(0, step)
    update = make_update(task.config.learning_rate, step)
    given = batch if task.mesh is None else placed(task.mesh, batch)
    arrays = task.step(state.arrays, given, update, task.features)
    return snapshot_of(task, state.at(arrays, step=step)).joined()


def apart(one: Snapshot, other: Snapshot) -> float:
    """Return how far two states are apart, relative to their size: rows, parameters, moments."""

    def of_kind(kind: str, state: Snapshot) -> Any:
        own = [n for n in state.arrays if n.split(".")[0] == kind and WITHOUT_GRADIENT not in n]
        return np.concatenate([np.zeros(0), *(state.arrays[name].ravel() for name in own)])

    pairs = [
        (of_kind(kind, one), of_kind(kind, other)) for kind in ("rows", "params", "m", "v", "loss")
    ]
    return max(
        float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(a)), 1e-30)
        for a, b in pairs
        if a.size
    )


def nudged(snapshot: Snapshot) -> Snapshot:
    """Return a state with rows that differ by about a millionth."""
    rows = snapshot.arrays["rows"]
    noise = 1e-6 * np.random.default_rng(0).normal(size=rows.shape)
    moved = (rows * (1 + noise)).astype(np.float32)
    return replace(snapshot, arrays={**snapshot.arrays, "rows": moved})


@pytest.mark.parametrize("name", EVERY)
def test_step_on_mesh_equals_that_of_one_device(name: str, small_data: Path) -> None:
    one, several = (task_of(small_data, on, **SETTINGS[name]) for on in (None, mesh()))
    state = snapshot_of(one, fresh_state(one))
    assert apart(state, snapshot_of(several, fresh_state(several)).joined()) < 1e-7
    # Not of the first states: interests that are still alike are chosen by rounding.
    for step in range(1, 4):
        state = after(one, state, step)
    for step in range(4, 8):
        expected = after(one, state, step)
        assert apart(expected, after(several, state, step)) < 1e-5
        state = expected


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in UNTRAINED])
def test_run_on_mesh_follows_that_of_one_device(name: str, small_data: Path) -> None:
    """200 steps from states of a run, and 300 steps that each makes by itself. Encoders grow the
    smallest difference: these losses may be apart as far as one device's are whose rows began a
    millionth apart.
    """
    one, several = (task_of(small_data, on, **SETTINGS[name]) for on in (None, mesh()))
    first = snapshot_of(one, fresh_state(one))
    states = [first, first, nudged(first)]
    distances = []
    for step in range(1, 301):
        expected = after(one, states[0], step)
        if 4 <= step < 204:
            distances.append(apart(expected, after(several, states[0], step)))
        states = [expected, after(several, states[1], step), after(one, states[2], step)]
    # Where two interests are equally near to a target, rounding chooses.
    assert np.mean(np.array(distances) < 1e-5) >= 0.97, sorted(distances)[-8:]
    own, of_several, of_nudged = (float(state.arrays["loss_sum"]) for state in states)
    assert of_several == pytest.approx(own, rel=max(1e-3, abs(of_nudged / own - 1)))


def test_state_is_equal_on_any_mesh(small_data: Path, tmp_path: Path) -> None:
    task = task_of(small_data)
    state = after(task, snapshot_of(task, fresh_state(task)), 1)
    for devices in (2, 3, 4):
        several = Task(**{**vars(task), "mesh": mesh_of(devices)})
        dealt = snapshot_of(several, state_of(several, state))
        assert dealt.digest() == state.digest()
        assert snapshot_of(several, state_of(several, dealt)).digest() == state.digest()


@pytest.mark.parametrize("written", [None, 2, 3, 4])
def test_load_shares_reads_what_any_mesh_wrote(
    written: int | None, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(small_data)
    state = after(task, snapshot_of(task, fresh_state(task)), 1)
    writer = Task(**{**vars(task), "mesh": mesh_of(written or 1)})
    dealt = snapshot_of(writer, state_of(writer, state))
    stored = store.read(store.save(tmp_path, dealt, task.identity))
    assert (stored.path / "rows.npy").exists() == (written is None)
    assert store.load(stored).digest() == state.digest()
    monkeypatch.setattr(store, "_BLOCK", 100)  # bytes: some rows
    values = store.load(stored, item_table.values).arrays
    assert np.array_equal(values["rows"], item_table.values(state.arrays["rows"]))
    assert np.array_equal(values["row_steps"], state.arrays["row_steps"])
    for devices in (1, 2, 4):
        read: dict[str, Any] = {}
        for places in ((0,), tuple(range(1, devices))):
            read |= store.load_shares(stored, places, devices).arrays
        assert Snapshot(read, state.progress).digest() == state.digest()


def test_load_reads_no_file_without_rows_of_its_shares(small_data: Path, tmp_path: Path) -> None:
    task = task_of(small_data, mesh())
    dealt = snapshot_of(task, fresh_state(task))
    stored = store.read(store.save(tmp_path, dealt, task.identity))
    damaged = stored.path / "rows.1-of-4.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert store.load_shares(stored, (0, 2), 4).arrays
    of_shares = partial(store.load_shares, places=(0,), devices=3)
    of_values = partial(store.load, of_rows=item_table.values)
    for read in (store.load, store.verify, of_shares, of_values):
        with pytest.raises(store.DamagedCheckpointError, match=r"rows\.1-of-4"):
            read(stored)


def test_pending_updates_of_a_mesh_equal_those_of_one_device(small_data: Path) -> None:
    one, several = (task_of(small_data, on) for on in (None, mesh()))
    state = after(one, snapshot_of(one, fresh_state(one)), 1)
    state = after(one, after(one, state, 2), 3)
    applied = [
        snapshot_of(task, up_to_date(task, state_of(task, state))).joined()
        for task in (one, several)
    ]
    assert not np.array_equal(applied[0].arrays["rows"], state.arrays["rows"])
    assert apart(*applied) < 1e-6
    assert set(applied[1].arrays["row_steps"]) == {3}


def test_step_on_mesh_has_no_array_that_grows_with_the_catalogue(small_data: Path) -> None:
    task = task_of(small_data, mesh(), **SETTINGS["modern"])
    temporary = []
    for items in (40_000, 400_000):
        own = Task(**{**vars(task), "num_items": items})
        step = compile_work(
            own.step, own.sampler, initial_shapes(own), 0.1, CONSTANT, 1, None, own.mesh
        )
        assert "all-gather" not in str(step.as_text())
        memory: Any = step.memory_analysis()
        rows = items // 4 * 3 * 8 * 4  # bytes of a device's share
        assert rows < memory.alias_size_in_bytes < 1.1 * rows + 100_000
        temporary.append(memory.temp_size_in_bytes)
    assert temporary[0] == temporary[1]


def test_init_share_draws_the_rows_of_the_table() -> None:
    key, devices = jax.random.key(3), 4
    for items, width in ((41, 8), (40_000, 64)):
        whole = np.asarray(item_table.init(key, items, 8, None, width))
        for place in range(devices):
            made = item_table.init_share(jnp.int32(place), devices, key, items, 8, None, width)
            own, expected = np.asarray(made), whole[place::devices]
            # Another program may round a product and a sum at once.
            np.testing.assert_allclose(own[: len(expected)], expected, rtol=1e-5, atol=1e-8)
            assert not own[len(expected) :].any()


def test_init_share_draws_beyond_32_bits() -> None:
    numbers = np.array([0, 1, 2**16 - 1, 2**26, 2**31], np.uint32)
    high, low = item_table._product(jnp.asarray(numbers), 1000)
    expected = numbers.astype(np.uint64) * 1000
    assert np.array_equal(np.asarray(high), (expected >> 32).astype(np.uint32))
    assert np.array_equal(np.asarray(low), expected.astype(np.uint32))


def test_by_example_draws_shares_of_what_one_device_draws() -> None:
    def draw(shape: tuple[int, ...]) -> jax.Array:
        return bernoulli(jax.random.key(5), 0.4, shape)

    shares = jax.shard_map(
        lambda: by_example(draw, (3, 7)),
        mesh=mesh().devices,
        in_specs=(),
        out_specs=DEALT,
        check_vma=False,
    )
    assert np.array_equal(jax.jit(shares)(), by_example(draw, (12, 7)))


def test_packed_shares_hold_what_each_share_holds() -> None:
    lengths = np.random.default_rng(2).integers(1, 5, 24)
    each = [packed(some, 8) for some in np.split(lengths, 3)]
    together = packed(lengths, 8, shares=3)
    assert together is not None
    for own, part in zip(np.split(together, 3), each, strict=True):
        assert part is not None
        assert sorted(own[own < 64]) == sorted(part[part < 64])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "MostPop"}, "--model"),
        ({"sampler": "full"}, "--sampler"),
        ({"selection": "sample"}, "--selection"),
        ({"batch_size": 18}, "18"),
    ],
)
def test_what_a_mesh_cannot_train_is_refused(
    settings: dict[str, Any], said: str, small_data: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        task_of(small_data, mesh(), **settings)
