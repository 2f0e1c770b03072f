"""The lists of a model whose rows are dealt, against those of one device."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from helpers.commands import run_small, small_config, stopping_at
from reprise.data.dataset import open_dataset
from reprise.evaluation.evaluate import evaluate
from reprise.models.registry import get_model
from reprise.models.scoring import Scoring
from reprise.retrieval.on_mesh import DealtRetriever, _merged, _padded, _part
from reprise.retrieval.ranking import NO_INTEREST, NO_ITEM, Ranking
from reprise.retrieval.terms import Added
from reprise.runs import stored, stored_on_mesh
from reprise.runs.folder import Source
from reprise.runs.loop import retriever_of_state
from reprise.runtime.mesh import mesh_of
from reprise.runtime.processes import Processes
from reprise.text.messages import unsaid
from reprise.training.setup import fresh_state, make_task, snapshot_of, state_of

pytestmark = pytest.mark.mesh


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "ComiRec-DR"},
        {"model": "Queries", "repeat_bias": True, "temperature": 0.1, "embeddings": "untied"},
        {"item_features": "all"},
    ],
)
def test_dealt_rows_give_the_lists_of_one_device(
    settings: dict[str, Any], small_data: Path
) -> None:
    data, mesh = open_dataset(small_data / "small"), mesh_of(4)
    one, several = (make_task(small_config(**settings), data, mesh=on) for on in (None, mesh))
    state = snapshot_of(one, fresh_state(one))
    rng, arrays = np.random.default_rng(0), dict(state.arrays)
    for name, value in arrays.items():
        if name.startswith("params.feature."):  # else they add nothing
            arrays[name] = rng.normal(size=value.shape).astype(np.float32) / 10
    if settings.get("repeat_bias"):
        arrays |= {"params.repeat": np.array(0.3, np.float32)}
    state = type(state)(arrays, state.progress)
    found = []
    for task in (one, several):
        retriever = retriever_of_state(task, state_of(task, state))
        for filter_seen in (False, True):
            made = evaluate(retriever, task.valid, (5, 50), filter_seen=filter_seen)
            found.append((made.ids, made.metrics))
    for (ids, metrics), (dealt, dealt_metrics) in zip(found[:2], found[2:], strict=True):
        assert np.array_equal(ids, dealt)
        assert metrics == pytest.approx(dealt_metrics, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    "settings", [{}, {"average_decay": 0.8, "item_features": "all"}, {"memory": "rules"}]
)
@pytest.mark.parametrize("devices", [1, 4])
def test_stored_model_is_loaded_on_mesh_with_the_lists_of_one_device(
    settings: dict[str, Any], devices: int, small_data: Path, tmp_path: Path
) -> None:
    """Whatever trained it; the latest state is between evaluations, with pending updates."""
    _, _, folder = run_small(small_data, tmp_path, stopping_at(14), devices=devices, **settings)
    users = open_dataset(small_data / "small").evaluation_users("test", small_config().maxlen)
    kinds: tuple[Source, ...] = ("best", "latest")
    for which in kinds:
        one = stored.load(folder.path, which, unsaid, lambda name: small_data / name)
        expected = evaluate(one.retriever, users, (5, 40), filter_seen=True)
        for others in (2, 4):
            mesh = mesh_of(others)
            assert mesh is not None
            loaded = stored_on_mesh.load(mesh, folder.path, which, unsaid, one.locate)
            assert (loaded.num_items, loaded.config) == (one.num_items, one.config)
            found = evaluate(loaded.retriever, users, (5, 40), filter_seen=True)
            assert np.array_equal(found.ids, expected.ids)
            assert found.metrics == pytest.approx(expected.metrics, rel=1e-6)


def test_rows_that_are_not_finite_make_all_metrics_nan(small_data: Path) -> None:
    task = make_task(small_config(), open_dataset(small_data / "small"), mesh=mesh_of(2))
    state = snapshot_of(task, fresh_state(task))
    state.arrays["rows.1-of-2"][3] = np.nan
    retriever = retriever_of_state(task, state_of(task, state))
    assert isinstance(retriever, DealtRetriever)
    assert np.isnan(list(evaluate(retriever, task.valid, (5,)).metrics.values())).all()


def test_merged_lists_are_those_of_all_items(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 6, (7, 23)).astype(np.float32)  # with many ties
    scores[2, 4:] = -np.inf

    def ranked(ids: Any, length: int) -> Ranking:
        own = scores[:, ids - 1]
        order = np.lexsort((np.broadcast_to(ids, own.shape), -own))[:, :length]
        best = np.take_along_axis(own, order, 1)
        listed = np.where(best == -np.inf, NO_ITEM, ids[order])
        return Ranking(listed, best, np.where(listed == NO_ITEM, NO_INTEREST, listed % 3))

    every = np.arange(1, 24)
    parts = [_padded(ranked(every[every % 4 == place], 9), 9) for place in range(4)]
    monkeypatch.setattr(
        "jax.experimental.multihost_utils.process_allgather",
        lambda own: tuple(
            np.stack([getattr(part, name) for part in parts]) for name in Ranking._fields
        ),
    )
    mesh = mesh_of(4)
    assert mesh is not None
    of_four = type(mesh)(mesh.devices, Processes(0, 4))
    cut = [_part(parts[0], rows) for rows in (slice(0, 3), slice(3, 7))]
    merged = _merged(of_four, cut, 9)
    for name, expected in ranked(every, 9)._asdict().items():
        assert np.array_equal(np.concatenate([getattr(one, name) for one in merged]), expected)


@pytest.mark.parametrize("places", [(0,), (3,), (0, 2), (1, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("count", [1, 5, 11, 12])
def test_places_of_a_process_are_those_of_its_items(places: tuple[int, ...], count: int) -> None:
    mesh = mesh_of(4)
    assert mesh is not None
    room = count // 4 + 1
    retriever = DealtRetriever(
        get_model("DNN"),
        Scoring(),
        jax.device_put(np.arange(room * len(places) * 2, dtype=np.float32).reshape(-1, 2)),
        2,
        {},
        places=places,
        mesh=mesh,
        count=count,
    )
    own = [item for item in range(1, count + 1) if item % 4 in places]
    vectors = retriever.candidates()
    table = [row * 4 + place for row in range(room) for place in places]
    assert vectors[:, 0].tolist() == [2 * table.index(item) for item in own]

    every = np.arange(1, count + 1)
    added = Added(every * 0, every, every.astype(np.float32))
    found = retriever._own(added)
    assert found is not None
    assert [int(value) for value in found.value] == own
    assert found.item.tolist() == list(range(1, len(own) + 1))
    ids = np.array([[*found.item.tolist(), NO_ITEM]])
    ranking = retriever._numbered(Ranking(ids, ids.astype(np.float32), ids))
    assert ranking.ids.tolist() == [[*own, NO_ITEM]]
    assert retriever._own(None) is None
