"""Fixtures shared by all tests."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.builders_data import DAY, draft_of, times_in_order
from helpers.builders_features import described, random_features
from helpers.commands import evaluating, run_small
from helpers.effort import make_profiles
from reprise import durable
from reprise.data import npy
from reprise.data.dataset import SPLITS
from reprise.data.prepare import publish
from reprise.data.sequences import Sequences
from reprise.data.synthetic import make_demo
from reprise.models.features import Features
from reprise.runs.folder import RunFolder
from reprise.runtime import device
from reprise.runtime.setup import setup as set_up_process
from reprise.training import setup
from reprise.training.batches import Batch
from reprise.training.optimizers import Update
from reprise.training.setup import Task
from reprise.training.state import Arrays, TrainState
from reprise.training.step import TrainStep, make_train_step

assert set_up_process(), "JAX started before its number of threads could be set"
make_profiles()


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds the prepared demo set, "demo"."""
    data = tmp_path_factory.mktemp("data")
    publish(make_demo(), "demo", data / "demo")
    return data


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds "small": 60 + 20 + 20 users over 40 items, random, with times and a
    feature of each kind.
    """
    rng = np.random.default_rng(0)
    splits = {}
    for split, count in zip(SPLITS, (60, 20, 20), strict=True):
        lengths = rng.integers(5, 15, count)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        splits[split] = Sequences(
            offsets,
            rng.integers(1, 41, offsets[-1]).astype(np.int32),
            times=times_in_order(offsets, 20 * DAY),
        )
    draft = draft_of(splits, np.arange(-1, 40, dtype=np.int32) % 5)
    features = described(random_features(np.random.default_rng(1), 40))
    draft = replace(draft, features=features)
    data = tmp_path_factory.mktemp("data")
    publish(draft, "small", data / "small")
    return data


def _fingerprint(batch: Batch) -> str:
    return hashlib.sha256(
        b"".join(array.tobytes() for array in batch if array is not None)
    ).hexdigest()


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Update]]:
    """Each batch (its fingerprint) and update that a train step was given, in order."""
    given: list[tuple[str, Update]] = []
    real = make_train_step

    def make(*asked: Any) -> TrainStep:
        step = real(*asked)

        def noted(
            arrays: Arrays, batch: Batch, update: Update, features: Features | None = None
        ) -> Arrays:
            given.append((_fingerprint(batch), update))
            return step(arrays, batch, update, features)

        return noted

    monkeypatch.setattr(setup, "make_train_step", make)
    return given


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without a test of users' bits where only these are asked for: importing all
    files takes each worker half a minute.
    """
    if not config.option.markexpr.startswith("users_bits") or collection_path.suffix != ".py":
        return None
    return True if "users_bits" not in collection_path.read_text(encoding="utf-8") else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests counted by `record_property`: crash states tried, processes killed."""
    counts: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                counts.update(dict(report.user_properties))
    if counts:
        terminalreporter.section("counted")
        for name, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:>8,}  {name}")


@pytest.fixture(scope="session")
def undisturbed(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run of `run_small`'s 20 steps, never stopped; only to be looked at."""
    _, _, folder = run_small(small_data, tmp_path_factory.mktemp("undisturbed"))
    return folder


@pytest.fixture(scope="session")
def at_step_12(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The same run where its first 12 steps are made; only to be copied."""
    _, _, folder = run_small(small_data, tmp_path_factory.mktemp("at_step_12"), max_steps=12)
    return folder


@pytest.fixture
def twelve_steps(at_step_12: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of that run under `tmp_path`, to be harmed and taken up again."""
    return RunFolder(Path(shutil.copytree(at_step_12.path, tmp_path / at_step_12.path.name)))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run's folder without checkpoints."""
    durable.make_folder(tmp_path / "run" / "checkpoints")
    return RunFolder(tmp_path / "run")


@pytest.fixture
def scripted() -> Iterator[Callable[[dict[int, float]], None]]:
    """Makes the validation recall at each step what the script says; all else is real."""
    with ExitStack() as stack:

        def use(recalls: dict[int, float]) -> None:
            def evaluate(task: Task, state: TrainState, stop: object) -> dict[str, float]:
                step = state.progress.step
                if step % task.config.test_iter:
                    return {"recall@10": recalls.get(step, 0.0)}  # where a run ended
                return {"recall@10": recalls[step]}

            stack.enter_context(evaluating(evaluate))

        yield use


@pytest.fixture
def tables_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let arrays of tests be as large as those that are mapped, and copied by blocks."""
    monkeypatch.setattr(npy, "MAPPED_FROM", 300)
    monkeypatch.setattr(device, "LARGE", 1)
    monkeypatch.setattr(device, "_AT_ONCE", 1000)
