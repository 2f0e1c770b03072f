"""Power loss: in every state that a disk may be left in, the run resumes to the same end."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from helpers.checkpoints import as_before_logs, rewrite_state
from helpers.commands import Recorder, evaluating, run_small, small_config
from helpers.crash_states import NAMES_LOST, CrashState, RecordingDisk, crash_states
from helpers.effort import some_at_length
from reprise import durable
from reprise.checkpoints import store
from reprise.data.dataset import open_dataset
from reprise.runs.folder import Resumption, RunFolder, check_identity, locked, resume
from reprise.training.setup import Task
from reprise.training.state import LogMark, Progress, Snapshot, TrainState

pytestmark = pytest.mark.users_bits

CONFIG: dict[str, Any] = {
    "model": "ComiRec-DR",
    "embedding_dim": 8,
    "hidden_size": 8,
    "maxlen": 3,
    "negatives": 8,
}
# The validation recall by branch and step: the best is soon older than the newest two.
RECALLS = {
    (0, 4): 0.2, (0, 8): 0.5, (0, 12): 0.3, (0, 16): 0.4, (0, 20): 0.1,
    (1, 12): 0.3, (1, 16): 0.6, (1, 20): 0.2, (1, 24): 0.1, (1, 28): 0.6, (1, 32): 0.1,
    (2, 32): 0.2, (2, 36): 0.1, (2, 40): 0.3, (2, 44): 0.2,
}  # fmt: skip
# What each start is asked for; the ones before it have run.
STARTS: dict[str, dict[str, Any]] = {
    "fresh": {"max_steps": 20},
    "rewound": {"max_steps": 24, "resume_from": "best"},
    "latest damaged": {"max_steps": 28},
    "old schema": {"max_steps": 28, "new_learning_rate": 0.02},
    "gone on": {"max_steps": 32},
    "rewound again": {"max_steps": 44, "resume_from": "best"},
}
OPENED = {"rewound": 1, "rewound again": 2}  # the branch that a start opens
# At least so many distinct states there are of each start: over ten thousand in all.
LEAST_STATES = {
    "fresh": 3_500,
    "rewound": 3_000,
    "latest damaged": 1_000,
    "old schema": 1_000,
    "gone on": 500,
    "rewound again": 3_000,
}


@dataclass
class Acknowledged:
    """What the run was told is stored: orders and metrics, in the order of telling."""

    orders: list[tuple[int, int, int]] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    digests: dict[str, Progress] = field(default_factory=dict)


@pytest.fixture
def scripted() -> Iterator[None]:
    def evaluate(task: Task, state: TrainState, stop: object) -> dict[str, float]:
        return {"recall@10": RECALLS[state.progress.branch, state.progress.step]}

    with evaluating(evaluate):
        yield


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: these tests sync tens of thousands of times."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def start(data: Path, runs: Path, name: str, **changes: Any) -> RunFolder:
    """Give the start `name` of STARTS."""
    return run_small(data, runs, Recorder(), **CONFIG, **(STARTS[name] | changes))[2]


def befall(folder: RunFolder, name: str) -> None:
    """Do to the run what happens to it before the start `name`."""
    if name == "latest damaged":
        rows = folder.checkpoints / "ckpt-24-b1" / "rows.npy"
        rows.write_bytes(rows.read_bytes()[:-1])
    if name == "old schema":
        as_before_logs(folder)
        for path in folder.checkpoints.glob("ckpt-*"):
            rewrite_state(path, _as_schema_1)


def _as_schema_1(state: dict[str, Any]) -> dict[str, Any]:
    known = ("step", "branch", "learning_rate", "seconds")
    progress = {key: state["progress"][key] for key in known}
    return {"schema": 1, "progress": progress, "identity": state["identity"]}


def record(
    data: Path, runs: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[RecordingDisk, Acknowledged, RunFolder]:
    """Run the starts before `name`, then `name` itself on a recording disk."""
    runs.mkdir()
    folder = RunFolder(runs / small_config(**CONFIG).folder_name)
    for earlier in list(STARTS)[: list(STARTS).index(name)]:
        befall(folder, earlier)
        start(data, runs, earlier)
    befall(folder, name)
    disk, told, real_save = RecordingDisk(runs), Acknowledged(), store.save
    for checkpoint in store.scan(folder.checkpoints):
        with suppress(store.DamagedCheckpointError):
            snapshot = store.load(checkpoint)
            told.digests[snapshot.digest()] = snapshot.progress

    def save(path: Path, snapshot: Snapshot, *about: Any) -> Path:
        told.digests[snapshot.digest()] = snapshot.progress
        saved = real_save(path, snapshot, *about)
        checkpoint = store.read(saved)
        told.orders.append(checkpoint.order)
        rated = checkpoint.progress.is_rated and checkpoint.progress.metric is not None
        told.metrics.append(checkpoint.progress.metric or 0.0 if rated else 0.0)
        disk.acknowledge()
        return saved

    with monkeypatch.context() as patch:
        patch.setattr(durable, "disk", disk)
        patch.setattr(store, "save", save)
        start(data, runs, name)
    return disk, told, folder


# Most states differ in which names were lost only: of those, one in so many is tried. (A prime, so
# that no choice of names is left out over and over.)
FEW, ALL = 31, 1


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("name", some_at_length(STARTS, ["fresh"]))
@pytest.mark.parametrize(
    "one_in", [pytest.param(FEW, id="few"), pytest.param(ALL, id="all", marks=pytest.mark.long)]
)
def test_crash_states_all_have_an_intact_best_and_latest_and_resume(
    small_data: Path,
    memory: Path,
    name: str,
    one_in: int,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """Scenarios 14, 17, 20, 21, 22, 26, 43 (lightning#1150, Orbax, lightning#688,
    transformers#35782, power loss, tensorboard#3732): the run opens, holds what was
    acknowledged, and ends as if nothing had happened.
    """
    disk, told, real = record(small_data, memory / "real", name, monkeypatch)
    expected_end = ending(real)
    dataset = open_dataset(small_data / "small")
    identity = small_config(**CONFIG).identity(dataset.fingerprint) | {
        "item_ids": dataset.item_ids_digest
    }
    tried: Counter[str] = Counter()
    outcomes: dict[object, CrashState] = {}
    saved_over: set[object] = set()
    found: Counter[str] = Counter()
    for state in crash_states(disk):
        found[state.model] += 1
        if state.model == NAMES_LOST and found[state.model] % one_in:
            continue
        tried[state.model] += 1
        trial = memory / "trial"
        trial.mkdir()
        state.build(trial)
        folder = RunFolder(trial / real.path.name)
        resumption = check(folder, identity, told, state, name, saved_over)
        if resumption is not None:
            reached = (resumption.snapshot.digest(), resumption.snapshot.progress.logged)
            outcomes.setdefault(reached, state)
        shutil.rmtree(trial)
    for number, state in enumerate(outcomes.values()):
        runs = memory / f"ended-{number}"
        runs.mkdir()
        state.build(runs)
        assert ending(finish(small_data, runs, name)) == expected_end, state.model
    for model, count in tried.items():
        record_property(f"crash states, {model}", count)
    record_property("crash states in all", tried.total())
    record_property("different resumptions of them, each trained to its end", len(outcomes))
    assert found.total() >= LEAST_STATES[name]


def check(
    folder: RunFolder,
    identity: dict[str, Any],
    told: Acknowledged,
    state: CrashState,
    name: str,
    saved_over: set[object],
) -> Resumption | None:
    """Open and resume as a start does, hold what was told to what is found, and save.

    saved_over: what an opened folder held when something was saved there; it adds to it. Of the
    same files and state the same comes of a save, and opening makes many crash states the same.
    """
    said: list[str] = []

    def warn(key: str, **values: object) -> None:
        said.append(f"{key} {values}")

    with locked(folder):
        check_identity(folder, identity, warn)
        best = resume(folder, identity, "best", warn)
        latest = resume(folder, identity, "latest", warn)
        orders = told.orders[: state.acknowledged]
        if latest is None or best is None:
            assert not orders, state.model
            return None
        # The best is opened as the start of a new branch: as it is stored, it is loaded here.
        for snapshot in (latest.snapshot, store.load(best.checkpoint)):
            known = told.digests[snapshot.digest()]
            assert replace(known, seconds=0) == replace(snapshot.progress, seconds=0), state.model
        if orders:
            assert latest.checkpoint.order >= max(orders), state.model
            assert (best.checkpoint.progress.metric or 0.0) >= max(
                told.metrics[: state.acknowledged]
            ), state.model
        damaged = ["quarantined"] if name == "latest damaged" else []
        assert {line.split()[0] for line in said} <= set(damaged), said
        for copy in (folder.metrics, folder.log.stored):
            assert LogMark.of(copy.read_bytes()) == latest.snapshot.progress.logged, state.model
        progress = replace(latest.snapshot.progress, step=latest.snapshot.progress.step + 1)
        following = Snapshot(latest.snapshot.arrays, progress)
        opened = (latest.snapshot.digest(), contents(folder.path))
        if opened in saved_over:
            return latest
        saved_over.add(opened)
        saved = store.save(folder.checkpoints, following, identity)
        assert store.load(store.read(saved)).digest() == following.digest()
    return latest


def contents(folder: Path) -> frozenset[tuple[str, bytes | None]]:
    """Return every path in the folder with what it holds, None for folders."""
    found: list[tuple[str, bytes | None]] = []
    for place, folders, names in os.walk(folder):
        found += [(f"{place}/{name}", None) for name in folders]
        for name in names:
            with open(f"{place}/{name}", "rb") as file:
                found.append((file.name, file.read()))
    return frozenset(found)


def finish(data: Path, runs: Path, name: str) -> RunFolder:
    """Give the interrupted start again: where the rewinding has been stored, it is not repeated."""
    folder = RunFolder(runs / small_config(**CONFIG).folder_name)
    found = store.scan(folder.checkpoints)
    rewound = any(checkpoint.progress.branch == OPENED.get(name) for checkpoint in found)
    asked = STARTS[name].get("resume_from", "latest")
    return start(data, runs, name, resume_from="latest" if rewound else asked)


def ending(folder: RunFolder) -> tuple[str, object, bytes]:
    """What must not depend on crashes: the final state, its best, and the record."""
    latest = store.scan(folder.checkpoints)[-1]
    return store.load(latest).digest(), latest.progress.best, folder.metrics.read_bytes()
