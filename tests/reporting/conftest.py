"""A run to report on: killed, stopped, and rewound to its best twice."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import Recorder, evaluating, run_small, stopping_at
from reprise.runs.folder import RunFolder
from reprise.runs.loop import evaluate_state
from reprise.training.setup import Task
from reprise.training.state import TrainState

# The recall@10 that each evaluation finds, by branch and step; all else is real.
RECALLS = dict(
    zip(
        [(0, 4), (0, 8), (0, 12), (0, 16), (1, 12), (1, 16), (1, 20), (2, 20), (2, 24)],
        [0.1, 0.3, 0.2, 0.25, 0.35, 0.4, 0.38, 0.39, 0.37],
        strict=True,
    )
)


class Killed(BaseException):
    """Ends a training where nothing expects it."""


def killing_at(stop: int) -> Recorder:
    def stepped(step: int) -> None:
        if step == stop:
            raise Killed

    return Recorder(stepped)


@pytest.fixture(scope="session")
def eventful(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Killed at step 10, stopped at 14, rewound from 16 to 8, then from 20 to 16; only to be
    looked at.
    """
    runs = tmp_path_factory.mktemp("eventful")

    def evaluate(task: Task, state: TrainState, stop: Any) -> dict[str, float]:
        recall = RECALLS[state.progress.branch, state.progress.step]
        return evaluate_state(task, state, stop) | {"recall@10": recall}

    with evaluating(evaluate):
        with pytest.raises(Killed):
            run_small(small_data, runs, killing_at(10), max_steps=16)
        run_small(small_data, runs, stopping_at(14), max_steps=16)
        run_small(small_data, runs, max_steps=16)
        run_small(small_data, runs, max_steps=20, resume_from="best")
        _, _, folder = run_small(small_data, runs, max_steps=24, resume_from="best")
    return folder


@pytest.fixture
def harmed(eventful: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of that run, to be changed."""
    return RunFolder(Path(shutil.copytree(eventful.path, tmp_path / eventful.path.name)))
