"""One start of a run, from configuration to result: lock, resume, train, measure the best."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint
from reprise.config.schema import TrainConfig, check_value
from reprise.data.dataset import Dataset, open_dataset
from reprise.data.sequences import EvaluationUsers
from reprise.errors import ConfigMismatchError, UsageError
from reprise.evaluation.evaluate import Evaluation, EvaluationInterruptedError, candidates, evaluate
from reprise.runs.folder import (
    Resumption,
    RunFolder,
    Source,
    check_identity,
    find_checkpoint,
    load_checkpoint,
    locked,
    record_events,
    reset_metrics,
    resume,
)
from reprise.runs.loop import Observer, is_finished, measure_best, train
from reprise.runs.signals import StopRequest, stop_requests
from reprise.runtime import environment
from reprise.text.messages import Phrase, Say
from reprise.training.setup import Task, fresh_state, make_task, schedule_of, settled
from reprise.training.state import Progress, TrainState, restore, take_snapshot
from reprise.training.step import make_settle
from reprise.training.stopping import out_of_patience

Split = Literal["valid", "test"]


@dataclass(frozen=True)
class Request:
    """What one start is asked for.

    data_folder: the prepared dataset. best_metric: the metric of an old checkpoint that does not
    know its own. new_learning_rate: a change asked for by name.
    """

    config: TrainConfig
    data_folder: Path
    runs_folder: Path
    resume_from: Source = "latest"
    best_metric: float | None = None
    new_learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.new_learning_rate is not None:
            check_value("learning_rate", self.new_learning_rate)
        if self.best_metric is not None and not 0 <= self.best_metric <= 1:
            expected = Phrase("good_within", low=0, high=1)
            raise UsageError(
                "bad_value", option="best_metric", value=self.best_metric, expected=expected
            )

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.runs_folder / self.config.run_name)


@dataclass(frozen=True)
class Outcome:
    """How a start ended: where the run stands, the metrics of its best model by split (None where
    a signal stopped it) and the exit code.
    """

    progress: Progress
    results: dict[Split, dict[str, float]] | None
    exit_code: int


@dataclass(frozen=True)
class StoredModel:
    """A stored model, its rows caught up, with what it was trained on and for."""

    checkpoint: Checkpoint
    dataset: Dataset
    task: Task
    state: TrainState


@dataclass(frozen=True)
class Measured:
    """A stored model, what its evaluation found, on which users and at which cutoffs;
    hidden: what of a user was to be found, one of `dataset.EVALUATIONS`; training_counts [V+1]
    int64: the training interactions of each item; item_category [V+1] int32, None where no category
    is known.
    """

    checkpoint: Checkpoint
    evaluation: Evaluation
    users: EvaluationUsers
    cutoffs: tuple[int, ...]
    hidden: str
    training_counts: NDArray[np.int64]
    item_category: NDArray[np.int32] | None


class Announcer(Observer, Protocol):
    """An observer that is also told how the start begins."""

    def say(self, key: str, **values: object) -> None:
        """Show a line of the catalogue."""

    def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
        """The run is locked, and what it goes on from is known."""

    def restored(self, progress: Progress) -> None:
        """The resumed state's best is known."""

    def training_begins(self, progress: Progress) -> None:
        """The first step follows."""


def run_session(request: Request, announcer: Announcer) -> Outcome:
    """Start or resume the run and see it through; RepriseError for what the user can mend."""
    config, folder = request.config, request.folder
    dataset = open_dataset(request.data_folder)
    task = make_task(config, dataset)
    with stop_requests() as stop, locked(folder):
        check_identity(folder, task.identity, announcer.say)
        resumption = resume(
            folder,
            task.identity,
            request.resume_from,
            announcer.say,
            finished=lambda latest: is_finished(latest, config),
        )
        announcer.began(task, folder, resumption)
        if (some := len(task.selecting.lengths)) < (every := len(task.valid.lengths)):
            announcer.say("valid_sample", users=some, every=every)
        try:
            state = _starting_state(request, task, resumption, stop, announcer)
        except EvaluationInterruptedError:  # while measuring an old checkpoint: nothing has changed
            return Outcome(_progress(resumption), None, stop.exit_code)
        if resumption is not None:
            announcer.restored(state.progress)
        del resumption  # and the memory of its arrays, which the state has copied
        reset_metrics(folder, state.progress.evaluations)
        if is_finished(state.progress, config):
            _say_finished(state.progress, config, announcer.say)
        else:
            announcer.training_begins(state.progress)
            state = train(task, state, folder, stop, announcer)
            if out_of_patience(state.progress, config.patience):
                trials = state.progress.evaluations_without_improvement
                announcer.say("stopped_early", step=state.progress.step, trials=trials)
        results = None if stop else _best_results(task, state, folder, stop, announcer.say)
    return Outcome(state.progress, results, stop.exit_code)


def evaluate_run(
    path: Path,
    locate: Callable[[str], Path],
    split: Split,
    which: Source,
    say: Say,
    top_n: int | None = None,
    coef: float | None = None,
    filter_seen: bool = False,
) -> Measured:
    """Measure a run's stored model on a split, whole.

    `locate` gives the folder of a dataset by its name; its content must be what the run was
    trained on. `top_n` adds a cutoff; `coef` and `filter_seen` as in `evaluate`.
    """
    if coef is not None and not 0 <= coef < math.inf:
        raise UsageError(
            "bad_value", option="lambda", value=coef, expected=Phrase("good_from", low=0)
        )
    return measure(stored_model(path, locate, which, say, top_n), split, coef, filter_seen)


def stored_model(
    path: Path, locate: Callable[[str], Path], which: Source, say: Say, top_n: int | None = None
) -> StoredModel:
    """Load a run's stored model, and its dataset, as `evaluate_run`."""
    checkpoint = find_checkpoint(path, which, say)
    dataset = open_dataset(locate(str(checkpoint.identity["dataset"])))
    if dataset.fingerprint != checkpoint.identity["dataset_fingerprint"]:
        raise ConfigMismatchError("dataset_changed", path=path, dataset=dataset.folder)
    changes = {} if top_n is None else {"top_n": top_n}
    task = make_task(_stored_config(checkpoint, **changes), dataset)
    state = settled(task, restore(load_checkpoint(checkpoint)))
    return StoredModel(checkpoint, dataset, task, state)


def measure(
    stored: StoredModel,
    split: Split,
    coef: float | None = None,
    filter_seen: bool = False,
    cutoffs: tuple[int, ...] | None = None,
) -> Measured:
    """Measure a stored model on a split, whole, at its task's cutoffs or those given."""
    task, dataset = stored.task, stored.dataset
    users = task.valid if split == "valid" else task.test
    cutoffs = task.cutoffs if cutoffs is None else cutoffs
    evaluation = evaluate(
        stored.state.arrays,
        task.interests,
        users,
        cutoffs,
        task.item_category,
        task.truth[split],
        coef,
        filter_seen,
        scoring=task.config.scoring,
    )
    counts = np.bincount(dataset.splits["train"].items, minlength=dataset.num_items + 1)
    return Measured(
        stored.checkpoint,
        evaluation,
        users,
        cutoffs,
        dataset.evaluation,
        counts,
        task.item_category,
    )


def item_embeddings(checkpoint: Checkpoint) -> NDArray[np.float32]:
    """Return what a stored model scores items by, [V+1, d], row 0 the padding: their values, at
    length 1 where it was trained with a temperature.
    """
    snapshot = load_checkpoint(checkpoint)
    arrays, progress = restore(snapshot).arrays, snapshot.progress
    config = _stored_config(checkpoint)
    settle = make_settle(config.optimizer, schedule_of(config))
    return candidates(settle(arrays, progress.step, progress.learning_rate), config.scoring)


def _stored_config(checkpoint: Checkpoint, **changes: object) -> TrainConfig:
    """Return the configuration of a stored model, its name aside. (One that does not name its
    optimizer is given the default: its rows all stand at its step.)
    """
    values: dict[str, Any] = {**checkpoint.identity, **changes}
    del values["dataset_fingerprint"]
    return TrainConfig(name="stored", **values)


def _starting_state(
    request: Request,
    task: Task,
    resumption: Resumption | None,
    stop: StopRequest,
    announcer: Announcer,
) -> TrainState:
    """Return the state to train on from, and record the start in run.json."""
    folder = request.folder
    state = fresh_state(task) if resumption is None else restore(resumption.snapshot)
    progress = state.progress

    def save(state: TrainState) -> None:
        store.save(folder.checkpoints, take_snapshot(state), task.identity, task.environment)

    if resumption is not None and not resumption.checkpoint.best_known:
        if request.best_metric is None:
            announcer.say("old_checkpoint")
        state = measure_best(task, state, stop, request.best_metric)
        save(state)
    elif request.best_metric is not None:
        announcer.say("best_metric_unused")
    by_lazy_adam = resumption is not None and "optimizer" not in resumption.checkpoint.identity
    if by_lazy_adam and task.config.optimizer != "lazy-adam":
        announcer.say("old_optimizer", optimizer=task.config.optimizer)
    events: list[dict[str, object]] = [
        {
            "event": "created" if resumption is None else "resumed",
            "from": None if resumption is None else resumption.checkpoint.path.name,
            "step": progress.step,
            "branch": progress.branch,
        }
    ]
    before = {} if resumption is None else resumption.checkpoint.environment
    if changes := environment.changes(before, task.environment):
        announcer.say("environment_changed", changes="; ".join(changes))
        events.append({"event": "environment changed", "changes": changes, "step": progress.step})
    rate = request.new_learning_rate
    if rate is not None and rate != progress.learning_rate:
        change = {"old": progress.learning_rate, "new": rate, "step": progress.step}
        announcer.say("learning_rate_changed", **change)
        events.append({"event": "learning rate changed", **change})
        state = settled(task, state)
        state = state.at(state.arrays, learning_rate=rate)
        save(state)
    config = dataclasses.asdict(task.config)
    record_events(folder, task.identity, config, task.environment, events)
    return state


def _best_results(
    task: Task, state: TrainState, folder: RunFolder, stop: StopRequest, say: Say
) -> dict[Split, dict[str, float]] | None:
    """Measure the best model on both splits (the last state where none was rated); None where a
    stop request came in between.
    """
    best = store.best_of(store.scan(folder.checkpoints))
    if best is not None and best.progress.trajectory() != state.progress.trajectory():
        try:
            state = restore(store.load(best))
        except store.DamagedCheckpointError as damage:
            say("damaged_ignored", path=best.path, reason=damage)
    state = settled(task, state)
    try:
        return {
            "valid": _evaluate(task, state, "valid", stop),
            "test": _evaluate(task, state, "test", stop),
        }
    except EvaluationInterruptedError:
        return None


def _evaluate(
    task: Task,
    state: TrainState,
    split: Split,
    stop: StopRequest | None = None,
) -> dict[str, float]:
    return evaluate(
        state.arrays,
        task.interests,
        task.valid if split == "valid" else task.test,
        task.cutoffs,
        item_category=task.item_category,
        truth=task.truth[split],
        should_stop=lambda: bool(stop),
        scoring=task.config.scoring,
    ).metrics


def _say_finished(progress: Progress, config: TrainConfig, say: Say) -> None:
    if out_of_patience(progress, config.patience):
        trials = progress.evaluations_without_improvement
        say("stopped_early_already", step=progress.step, trials=trials, patience=config.patience)
    else:
        say("finished_already", step=progress.step, steps=config.max_steps)


def _progress(resumption: Resumption | None) -> Progress:
    assert resumption is not None  # only a restored state is measured before training
    return resumption.snapshot.progress
