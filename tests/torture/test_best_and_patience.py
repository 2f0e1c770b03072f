"""Scenarios 1-11: best metric, best weights and used patience survive every restart."""

import math
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.checkpoints import (
    IDENTITY,
    harm_file,
    names,
    no_warning,
    rated,
    save_all,
    snapshot,
    warnings_into,
)
from helpers.commands import Recorder, evaluating, run_small, state_digest, stopping_at
from reprise import durable
from reprise.checkpoints import store
from reprise.retrieval import vectors
from reprise.runs.folder import RunFolder, resume
from reprise.runs.loop import evaluate_state
from reprise.runs.manage.inspect import describe
from reprise.runs.signals import StopRequest
from reprise.training.optimizers import Update, make_update
from reprise.training.setup import Task
from reprise.training.state import Best, Progress, Snapshot, TrainState

pytestmark = pytest.mark.users_bits

Script = Callable[[dict[int, float]], None]
WORSE_AFTER_8 = {4: 0.3, 8: 0.5, 12: 0.4, 16: 0.2, 20: 0.1}


def untimed(progress: Progress) -> Progress:
    return replace(progress, seconds=0.0)


def best_weights(folder: RunFolder) -> Any:
    return describe(folder.path, "best", no_warning)["state_digest"]


def test_best_metric_survives_a_restart_at_every_step(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 1 (keras#17012, tf-keras#430): the best is not -inf again after a resume."""
    scripted(WORSE_AFTER_8)
    whole, _, _ = run_small(small_data, tmp_path / "whole")
    for budget in (3, 4, 7, 8, 9, 12, 15, 19):
        run_small(small_data, tmp_path / "torn", max_steps=budget)
    torn, _, _ = run_small(small_data, tmp_path / "torn")
    assert torn.progress.best == Best(0.5, 8, 0)
    assert untimed(torn.progress) == untimed(whole.progress)


def test_best_metric_is_kept_by_a_rewind_past_lost_weights(folder: RunFolder) -> None:
    """Scenario 1 (keras#17012): the best's weights were lost, the next best is older than it."""
    one, two, three = rated({1: 0.2, 2: 0.5, 3: 0.1})
    save_all(folder, [one, two])
    harm_file(folder.checkpoints / "ckpt-2" / "state.json", "flip")  # while the run goes on
    save_all(folder, [three])
    said: list[str] = []
    resumption = resume(folder, IDENTITY, "best", warnings_into(said))
    assert resumption is not None
    assert (resumption.rewound, resumption.snapshot.progress.step) == (True, 1)
    assert said == ["quarantined", "best_lost"]
    assert resumption.snapshot.progress.best == Best(0.5, 2, 0)


def test_best_is_never_replaced_by_a_worse_model_after_a_restart(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 2 (Keras 3.15): the best's weights stay, byte for byte; only a better replaces."""
    scripted(WORSE_AFTER_8 | {24: 0.6})
    _, _, folder = run_small(small_data, tmp_path, max_steps=8)
    best = best_weights(folder)
    for budget in (12, 16, 20):
        run_small(small_data, tmp_path, max_steps=budget)
        assert best_weights(folder) == best
    run_small(small_data, tmp_path, max_steps=24)
    assert best_weights(folder) != best


@pytest.mark.parametrize("stops", [[], [4, 8, 13, 20]])
def test_patience_runs_out_at_the_same_step_with_and_without_stops(
    small_data: Path, tmp_path: Path, scripted: Script, stops: list[int]
) -> None:
    """Scenario 3 (transformers#28544, lightning#1463, fairseq#3531): stops give no new patience."""
    scripted({4: 0.5, **dict.fromkeys(range(8, 100, 4), 0.4)})
    for stop in stops:
        outcome, _, _ = run_small(small_data, tmp_path, stopping_at(stop), max_steps=96, patience=4)
        assert outcome.progress.step == stop
    outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=96, patience=4)
    assert outcome.progress.step == 24  # the fifth evaluation after the best
    assert recorder.keys[-1] == "stopped_early"


def test_checkpoint_holds_the_evaluation_at_its_own_step(
    small_data: Path, tmp_path: Path, scripted: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 4 (lightning#1464): what is stored at step N counts N's evaluation, not N-1's."""
    scripted(WORSE_AFTER_8)
    stored: list[tuple[int, float | None, int]] = []
    real = store.save

    def save(*arguments: Any) -> Path:
        path = real(*arguments)
        held = store.read(path).progress
        stored.append((held.step, held.metric, held.evaluations_without_improvement))
        return path

    monkeypatch.setattr(store, "save", save)
    run_small(small_data, tmp_path)
    assert stored == [(4, 0.3, 0), (8, 0.5, 0), (12, 0.4, 1), (16, 0.2, 2), (20, 0.1, 3)]


@pytest.mark.parametrize("source", ["latest", "best"])
def test_early_stopped_run_stays_stopped(
    small_data: Path, tmp_path: Path, scripted: Script, source: str
) -> None:
    """Scenario 5 (transformers#10290): the same command again trains not one step further."""
    scripted(WORSE_AFTER_8)
    first, _, folder = run_small(small_data, tmp_path, max_steps=99, patience=1)
    assert first.progress.step == 16
    stopped = state_digest(folder)
    for _ in range(2):
        outcome, recorder, _ = run_small(
            small_data, tmp_path, max_steps=99, patience=1, resume_from=source
        )
        assert recorder.keys == ["restored", "stopped_early_already"]
        assert (outcome.exit_code, state_digest(folder)) == (0, stopped)
        assert outcome.results == first.results


def test_patience_raised_later_equals_the_larger_patience_from_the_start(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 5 (transformers#10290): the decision is derived from the patience used, not kept."""
    scripted(WORSE_AFTER_8 | {24: 0.1})
    for patience in (0, 1, 3):
        outcome, _, torn = run_small(small_data, tmp_path / "torn", max_steps=99, patience=patience)
    assert outcome.progress.step == 24
    _, _, whole = run_small(small_data, tmp_path / "whole", max_steps=99, patience=3)
    assert state_digest(torn) == state_digest(whole)
    assert torn.metrics.read_bytes() == whole.metrics.read_bytes()


def test_learning_rate_depends_on_its_setting_and_the_step_alone(
    small_data: Path, tmp_path: Path, trained_on: list[tuple[str, Update]]
) -> None:
    """Scenario 6 (keras#9462): there is no schedule's state to lose; a changed rate is carried."""
    run_small(small_data, tmp_path, max_steps=6)
    run_small(small_data, tmp_path, max_steps=9, new_learning_rate=0.5)
    run_small(small_data, tmp_path, max_steps=12)
    rates = {step: 0.01 if step <= 6 else 0.5 for step in range(1, 13)}
    assert [update for _, update in trained_on] == [
        make_update(rate, step) for step, rate in rates.items()
    ]


@pytest.mark.parametrize("restarted", [False, True])
def test_best_is_not_blocked_by_a_first_metric_of_nan(
    small_data: Path, tmp_path: Path, scripted: Script, restarted: bool
) -> None:
    """Scenario 7 (lightning#2636): NaN first, then numbers: the first number is the best."""
    scripted({4: math.nan, 8: math.nan, 12: 0.0, 16: 0.1, 20: math.nan})
    if restarted:
        for budget in (4, 8):
            outcome, _, _ = run_small(small_data, tmp_path, max_steps=budget)
            assert outcome.progress.best is None
        outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=12, resume_from="best")
        assert outcome.progress.best == Best(0.0, 12, 0)
        assert recorder.resumption is not None
        assert not recorder.resumption.rewound  # no best: the latest is what there is
    outcome, _, _ = run_small(small_data, tmp_path)
    assert outcome.progress.best == Best(0.1, 16, 0)
    assert outcome.progress.evaluations_without_improvement == 1


def test_early_stopping_ends_a_run_of_nothing_but_nan(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 7 (lightning#2636): no best is no crash, neither at the end nor on a restart."""
    scripted(dict.fromkeys(range(4, 100, 4), math.nan))
    for _ in range(2):
        outcome, _, folder = run_small(small_data, tmp_path, max_steps=96, patience=2)
        assert (outcome.exit_code, outcome.progress.step) == (0, 12)
        assert describe(folder.path, "best", no_warning)["best"] is None
    assert set(names(folder)) == {"ckpt-8", "ckpt-12"}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_best_is_never_evicted_by_nan(
    small_data: Path, tmp_path: Path, scripted: Script, bad: float
) -> None:
    """Scenario 8 (Orbax 0.12.8): the best stays stored through NaN and infinity, and a restart."""
    scripted({4: 0.5, 8: bad, 12: bad, 16: bad, 20: 0.4})
    _, _, folder = run_small(small_data, tmp_path, max_steps=4)
    best = best_weights(folder)
    for budget in (16, 20):
        outcome, _, _ = run_small(small_data, tmp_path, max_steps=budget)
        assert outcome.progress.best == Best(0.5, 4, 0)
        assert best_weights(folder) == best
    log = folder.metrics.read_text()
    assert '"valid_recall@10": null' in log  # strict JSON: no NaN, no Infinity
    assert "NaN" not in log
    assert "Infinity" not in log


@pytest.mark.parametrize("restarted", [False, True])
def test_best_keeps_the_first_of_a_tie(
    small_data: Path, tmp_path: Path, scripted: Script, restarted: bool
) -> None:
    """Scenario 9 (the newest of equals, seen in best-N savers): the first stays, restart or not."""
    scripted({4: 0.5, 8: 0.5, 12: 0.5, 16: 0.5, 20: 0.5})
    for budget in (4, 8, 12, 16, 20) if restarted else (20,):
        outcome, _, folder = run_small(small_data, tmp_path, max_steps=budget)
    assert outcome.progress.best == Best(0.5, 4, 0)
    assert outcome.progress.evaluations_without_improvement == 4
    assert names(folder) == ["ckpt-16", "ckpt-20", "ckpt-4"]
    assert describe(folder.path, "best", no_warning)["step"] == 4


def test_best_keeps_the_first_of_a_tie_on_another_branch(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 9 (the newest of equals, seen in best-N savers): nor does a new branch's tie win."""
    scripted({4: 0.5, 8: 0.4, 12: 0.5})
    run_small(small_data, tmp_path, max_steps=8)
    outcome, _, folder = run_small(small_data, tmp_path, max_steps=12, resume_from="best")
    assert outcome.progress.best == Best(0.5, 4, 0)
    facts = describe(folder.path, "best", no_warning)
    assert (facts["branch"], facts["step"]) == (0, 4)


def test_best_survives_moving_and_renaming_the_run(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 10 (transformers#48315): no path is stored anywhere, so none can go stale."""
    scripted(WORSE_AFTER_8)
    _, _, folder = run_small(small_data, tmp_path / "here", max_steps=16)
    best = best_weights(folder)
    moved = tmp_path / "there" / folder.path.name.replace("_t", "_other")
    moved.parent.mkdir()
    shutil.copytree(folder.path, moved)
    shutil.rmtree(tmp_path / "here")
    outcome, recorder, again = run_small(
        small_data, tmp_path / "there", name="other", resume_from="best"
    )
    assert recorder.resumption is not None
    assert (recorder.resumption.rewound, recorder.resumption.snapshot.progress.step) == (True, 8)
    assert outcome.progress.best == Best(0.5, 8, 0)
    assert best_weights(again) == best


@pytest.mark.parametrize(("step", "chunk"), [(4, 0), (4, 2), (20, 4)])
def test_evaluation_that_was_interrupted_is_repeated_completely(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, chunk: int
) -> None:
    """Scenario 11 (lightning#19549): a stop inside an evaluation leaves no metric of its own."""
    monkeypatch.setattr(vectors, "CHUNK", 4)  # 20 users: five places to stop at
    _, _, whole = run_small(small_data, tmp_path / "whole")

    class Asked(StopRequest):
        """The real request, which a signal reaches once it was asked for the chunk's time."""

        def __init__(self, real: StopRequest) -> None:
            super().__init__()
            self.real, self.asked = real, 0

        def __bool__(self) -> bool:
            if self.asked == chunk and recorder.at == step:
                os.kill(os.getpid(), signal.SIGINT)
            self.asked += 1
            return bool(self.real)

    def interrupted(task: Task, state: TrainState, stop: StopRequest) -> dict[str, float]:
        return evaluate_state(task, state, Asked(stop))

    class AtStep(Recorder):
        at = 0

        def stepped(self, state: Any) -> None:
            self.at = state.progress.step

    recorder = AtStep()
    with evaluating(interrupted):
        outcome, _, folder = run_small(small_data, tmp_path / "torn", recorder)
    assert outcome.exit_code == 130
    assert outcome.results is None
    assert (outcome.progress.step, outcome.progress.evaluated_step) == (step, step - 4)
    assert len(recorder.lines) == step // 4 - 1

    run_small(small_data, tmp_path / "torn")
    assert state_digest(folder) == state_digest(whole)
    assert folder.metrics.read_bytes() == whole.metrics.read_bytes()


def test_best_is_never_the_unrated_state_of_an_interrupted_evaluation(
    folder: RunFolder,
) -> None:
    """Scenario 11 (lightning#19549): the metric before is not taken for the newer state's."""
    (one,) = rated({4: 0.5})
    unrated = snapshot(8)
    carried = replace(one.progress, step=8)  # evaluated_step 4, metric 0.5
    save_all(folder, [one, Snapshot(unrated.arrays, carried)])
    best = store.best_of(store.scan(folder.checkpoints))
    assert best is not None
    assert best.path.name == "ckpt-4"


def test_best_keeps_the_rate_it_was_trained_with(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Though the rate is changed at its own step, and whatever comes after."""
    scripted({4: 0.3, 8: 0.5, 12: 0.2, 16: 0.1, 20: 0.1})
    _, _, folder = run_small(small_data, tmp_path, max_steps=8)
    kept, first = best_weights(folder), 0.01
    for steps, rate in ((12, 0.5), (16, 0.25)):
        run_small(small_data, tmp_path, max_steps=steps, new_learning_rate=rate)
        assert best_weights(folder) == kept
    outcome, recorder, _ = run_small(small_data, tmp_path, resume_from="best")
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress.learning_rate == first
    assert (outcome.progress.branch, outcome.progress.learning_rate) == (1, first)


def test_rewind_leaves_a_rate_that_was_just_changed(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    scripted({4: 0.3, 8: 0.5, 12: 0.4})
    run_small(small_data, tmp_path, max_steps=8)
    changed = stopping_at(9)
    run_small(small_data, tmp_path, changed, max_steps=12, new_learning_rate=1e20)
    outcome, _, _ = run_small(small_data, tmp_path, max_steps=12, resume_from="best")
    assert (outcome.progress.branch, outcome.progress.learning_rate) == (1, 0.01)


@pytest.mark.parametrize("trained_on", [True, False])
def test_rewind_to_a_best_of_older_versions_takes_the_rate_it_was_trained_with(
    small_data: Path, tmp_path: Path, scripted: Script, trained_on: bool
) -> None:
    """They kept only the state with the changed rate; run.json has the one before."""
    scripted({4: 0.3, 8: 0.5, 12: 0.4, 16: 0.2})
    run_small(small_data, tmp_path, max_steps=8)
    for rate in (0.5, 0.25):  # changed twice at the same step: the first was trained with
        _, _, folder = run_small(
            small_data, tmp_path, stopping_at(9), max_steps=12, new_learning_rate=rate
        )
        durable.discard(folder.checkpoints / "ckpt-9")
    if trained_on:
        run_small(small_data, tmp_path, max_steps=12)
    durable.discard(folder.checkpoints / "ckpt-8")
    assert best_weights(folder) is not None
    outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=16, resume_from="best")
    assert recorder.resumption is not None
    assert recorder.resumption.checkpoint.path.name.startswith("ckpt-8.")
    assert (outcome.progress.branch, outcome.progress.learning_rate) == (1, 0.01)


def test_evaluate_due_rates_with_the_old_rate(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """A new one takes effect after it, so that the best is stored with the rate it had."""

    def interrupted(task: Task, state: TrainState, stop: StopRequest) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        raise vectors.InterruptedSearchError

    scripted({4: 0.3, 8: 0.5, 12: 0.4})
    run_small(small_data, tmp_path, max_steps=7)
    with evaluating(interrupted):
        run_small(small_data, tmp_path, max_steps=8)
        asked: dict[str, Any] = {"new_learning_rate": 0.5}
        outcome, recorder, folder = run_small(small_data, tmp_path, max_steps=12, **asked)
    assert (outcome.exit_code, outcome.progress.learning_rate) == (143, 0.01)
    assert recorder.keys.count("learning_rate_unchanged") == 1
    outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=12, **asked)
    assert outcome.progress.learning_rate == 0.5
    assert [line["step"] for line in recorder.lines] == [8, 12]
    assert folder.metrics.read_text().count("\n") == outcome.progress.logged.lines
    best = store.best_of(store.scan(folder.checkpoints))
    assert best is not None
    assert (best.progress.step, best.progress.learning_rate) == (8, 0.01)
