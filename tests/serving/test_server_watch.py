"""`--watch`: a better checkpoint is served between two batches; one that cannot be is refused."""

import asyncio
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from helpers.servers import loader_of, service_of, serving
from reprise import durable
from reprise.checkpoints import store
from reprise.runs.folder import RunFolder
from reprise.serving.server.watch import Watcher
from reprise.training.state import Best, Snapshot

METRICS = {4: 0.1, 8: 0.2, 12: 0.15, 16: 0.3}


def rated(folder: RunFolder) -> list[Snapshot]:
    """Return states of a run that are rated by METRICS."""
    (first, *_) = store.scan(folder.checkpoints)
    made, known = store.load(first), first.progress
    states: list[Snapshot] = []
    best: Best | None = None
    for step, metric in METRICS.items():
        rows = np.random.default_rng(step).standard_normal(made.arrays["rows"].shape)
        steps = np.full_like(made.arrays["row_steps"], step)  # no update is pending
        arrays = {**made.arrays, "rows": rows.astype(np.float32), "row_steps": steps}
        if best is None or metric > best.metric:
            best = Best(metric, step, 0)
        progress = type(known)(0.01, step, 0, step, metric, best)
        states.append(Snapshot(arrays, progress))
    return states


class Watched:
    """A run whose checkpoints appear one by one, its server's state and what watches it."""

    def __init__(self, folder: RunFolder, states: list[Snapshot], identity: dict[str, Any]) -> None:
        self.folder, self._states, self._identity = folder, states, identity
        self.said: list[str] = []
        self.store(0)
        self.loader = loader_of(folder.path)
        self.service = service_of(self.loader.load(self.loader.find()))
        self.watcher = Watcher(self.service, self.loader, 3600, self._say)

    def store(self, place: int, **identity: Any) -> Path:
        """Store a state."""
        return store.save(
            self.folder.checkpoints, self._states[place], {**self._identity, **identity}
        )

    def look(self) -> str:
        """Look once, and return the checkpoint that is then served."""
        asyncio.run(self.watcher.look())
        return str(self.service.model.about["checkpoint"])

    def metric(self, name: str, **labels: str) -> float | None:
        return self.service.metrics.registry.get_sample_value(name, labels)

    def _say(self, key: str, **values: object) -> None:
        self.said.append(key)


@pytest.fixture
def watched(undisturbed: RunFolder, tmp_path: Path) -> Watched:
    own = RunFolder(Path(shutil.copytree(undisturbed.path, tmp_path / undisturbed.path.name)))
    identity, states = dict(store.scan(own.checkpoints)[0].identity), rated(own)
    shutil.rmtree(own.checkpoints)
    durable.make_folder(own.checkpoints)
    return Watched(own, states, identity)


def test_watcher_serves_a_better_checkpoint_and_no_worse_one(watched: Watched) -> None:
    assert watched.look() == "ckpt-4"
    watched.store(1)
    before = watched.service.model
    assert watched.look() == "ckpt-8"
    assert watched.look() == "ckpt-8"
    watched.store(2)
    assert watched.look() == "ckpt-8"
    assert watched.said == ["serve_swapped"]
    overlap = before.overlap(watched.service.model)
    assert 0 < overlap < 1
    assert watched.metric("reprise_swap_overlap") == overlap
    assert watched.metric("reprise_swaps_total", result="served") == 1
    assert watched.metric("reprise_model_step") == 8
    assert before.overlap(before) == 1


def test_watcher_keeps_what_it_serves_if_the_best_is_lost(watched: Watched) -> None:
    """The next best is worse."""
    watched.store(1)
    assert watched.look() == "ckpt-8"
    watched.store(2)
    shutil.rmtree(watched.folder.checkpoints / "ckpt-8")
    assert watched.look() == "ckpt-8"
    watched.store(3)
    assert watched.look() == "ckpt-16"


@pytest.mark.parametrize("damage", ["array", "manifest", "nan", "other data"])
def test_watcher_refuses_what_cannot_be_served_once(damage: str, watched: Watched) -> None:
    if damage == "nan":
        watched._states[1].arrays["rows"][3, 0] = np.nan
    path = watched.store(1, **({"dataset_fingerprint": "x"} if damage == "other data" else {}))
    if damage == "nan":
        watched._states[1].arrays["rows"][3, 0] = 0
    if damage == "array":
        content = bytearray((path / "rows.npy").read_bytes())
        content[-1] ^= 1
        (path / "rows.npy").write_bytes(content)
    if damage == "manifest":
        (path / store.MANIFEST).write_text("{}")
    assert watched.look() == "ckpt-4"
    assert watched.look() == "ckpt-4"
    if damage != "manifest":  # a damaged manifest has no digest: the next best is found
        assert watched.said == ["serve_refused"]
        assert watched.metric("reprise_swaps_total", result="refused") == 1
    watched.store(3)
    assert watched.look() == "ckpt-16"


def test_watcher_looks_again_where_nothing_is(watched: Watched, tmp_path: Path) -> None:
    moved = watched.folder.path.rename(tmp_path / "elsewhere")
    assert watched.look() == "ckpt-4"
    moved.rename(watched.folder.path)
    watched.store(1)
    assert watched.look() == "ckpt-8"
    assert watched.said == ["serve_swapped"]


def test_watcher_swaps_under_load_without_a_lost_or_mixed_answer(watched: Watched) -> None:
    """Every answer is wholly of the model that it names."""
    bodies: list[dict[str, Any]] = [
        {"histories": [[f"i{one}", f"i{one + 1}"], [f"i{one}"]], "n": 5} for one in range(1, 9)
    ]
    answers: list[tuple[int, str, Any]] = []
    over = Event()
    with serving(watched.service) as client:

        def ask(place: int) -> None:
            while not over.is_set():
                answer = client.post("/v1/recommend", json=bodies[place])
                assert answer.status_code == 200, answer.text
                answers.append((place, answer.headers["reprise-checkpoint"], answer.json()))

        models = {}
        with ThreadPoolExecutor(len(bodies)) as pool:
            asking: list[Future[None]] = [pool.submit(ask, place) for place in range(len(bodies))]
            try:
                for place in (None, 1, 3):
                    if place is not None:
                        watched.store(place)
                    served = watched.look()
                    models[served] = watched.service.model
                    enough = len(answers) + 2 * len(bodies)
                    while len(answers) < enough and not any(one.done() for one in asking):
                        over.wait(0.01)
            finally:
                over.set()
            for one in asking:
                one.result()
    assert set(models) == {"ckpt-4", "ckpt-8", "ckpt-16"} == {name for _, name, _ in answers}
    for place, name, answer in answers:
        frame = models[name].recommender.recommend(bodies[place]["histories"], n=5)
        found = [item["item_id"] for one in answer["lists"] for item in one["items"]]
        assert found == frame["item_id"].to_list()
