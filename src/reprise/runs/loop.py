"""The training loop: step, evaluate, record and save until the steps, patience or a signal end it.

The loop changes one TrainState. Evaluations happen only at multiples of `test_iter`, so stops do
not affect the trajectory.
"""

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reprise.checkpoints import store
from reprise.config.by_data import settled
from reprise.config.schema import TrainConfig
from reprise.evaluation.evaluate import evaluate
from reprise.models.scoring import MEMORY
from reprise.retrieval.on_mesh import retriever_of_table
from reprise.retrieval.vectors import InterruptedSearchError, Retriever, retriever_of_rows
from reprise.runs.folder import RunFolder
from reprise.runs.signals import StopRequest
from reprise.runtime.memory import keep_freed_memory
from reprise.training import averaging, features_on_mesh
from reprise.training.dispatch import RunAhead, portions, work_of
from reprise.training.schedules import schedule_of
from reprise.training.setup import Task, averaged, gathered, small, snapshot_of, up_to_date
from reprise.training.state import Best, Progress, Snapshot, TrainState
from reprise.training.stopping import out_of_patience, pass_evaluation, record_evaluation


class Observer(Protocol):
    """Callbacks of the loop; observers cannot affect the run."""

    def stepped(self, state: TrainState) -> None:
        """Called after one or several steps were dispatched."""

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        """Called after an evaluation; `line` is its entry in metrics.jsonl."""

    def saved(self, progress: Progress, path: Path) -> None:
        """Called when a checkpoint is durable."""

    def stopping(self, progress: Progress) -> None:
        """Called on a stop request, before the state is saved."""


def is_finished(progress: Progress, config: TrainConfig) -> bool:
    """Return whether steps or patience are used up and the last step is evaluated."""
    return out_of_patience(progress, config.patience) or (
        progress.step >= config.max_steps and not _evaluation_due(progress, config)
    )


# Returns a state's metrics by name, including the selecting one; no updates may be pending. Raises
# InterruptedSearchError on a stop request.
Evaluate = Callable[[Task, TrainState, StopRequest], dict[str, float]]


def evaluate_state(task: Task, state: TrainState, stop: StopRequest) -> dict[str, float]:
    """Return the metrics of a state over the users that select the best model; none where they are
    trained on.
    """
    if task.config.is_final_fit:
        return {}
    retriever, cutoffs = retriever_of_state(task, state), task.config.cutoffs
    found = evaluate(retriever, task.selecting, cutoffs, should_stop=lambda: bool(stop)).metrics
    agreed: dict[str, float] = task.led(lambda: found)
    return agreed


def retriever_of_state(task: Task, state: TrainState) -> Retriever:
    """Return the retriever of a state without pending updates."""
    config, model = task.config, task.model
    rows, width, params = averaging.served(state.arrays, state.progress.step, config)
    if task.mesh is None:
        served = (rows, width, params)
        return retriever_of_rows(
            model, config.scoring, *served, task.features, config.request_at, task.edges
        )
    if task.features is not None:
        rows, params = features_on_mesh.composed(task.mesh, rows, params, width, task.features)
    if task.edges is None:
        own = (rows, width, task.num_items, params)
        return retriever_of_table(model, config.scoring, task.mesh, *own, config.request_at)
    served = (*gathered(task, rows, width, params),)
    return retriever_of_rows(model, config.scoring, *served, None, config.request_at, task.edges)


def fit_memory(task: Task, state: TrainState, stop: StopRequest) -> TrainState:
    """Fit the numbers of a memory to a state without pending updates, a pure function of it and of
    the data; nothing without a memory, or where nobody is left to fit it to.
    """
    if task.edges is None or task.config.is_final_fit:
        return state
    from reprise.evaluation.memory_fit import fitted  # scipy takes time to import

    alone = replace(retriever_of_state(task, state), memory=None)
    temperature = settled(task.config.temperature) or 1.0
    numbers = fitted(alone, task.edges, task.selecting, temperature, lambda: bool(stop))
    agreed = task.led(numbers.tolist)  # processes on different machines may round otherwise
    return with_memory(task, state, np.array(agreed, np.float32))


def with_memory(task: Task, state: TrainState, numbers: NDArray[np.float32]) -> TrainState:
    """Return a state with these numbers of its memory."""
    params = {**state.arrays.params, MEMORY: small(task, numbers)}
    return state.at(state.arrays._replace(params=params))


def measure_best(
    task: Task,
    state: TrainState,
    stop: StopRequest,
    known: float | None = None,
    evaluate: Evaluate = evaluate_state,
) -> TrainState:
    """Set the best metric of a state from a checkpoint without one, to `known` or by evaluating the
    state. As after every evaluation, the sum of the losses begins anew.
    """
    state = up_to_date(task, state)
    metric = known
    if metric is None:  # a final fit has no evaluation
        metric = evaluate(task, state, stop).get(task.selector, math.nan)
    step, branch = state.progress.step, state.progress.branch
    arrays = state.arrays._replace(loss_sum=small(task, np.zeros((), np.float32)))
    rated = _finite(metric)
    best = None if rated is None else Best(rated, step, branch)
    return state.at(arrays, evaluated_step=step, metric=rated, best=best)


def evaluate_due(
    task: Task,
    state: TrainState,
    folder: RunFolder,
    stop: StopRequest,
    observer: Observer,
    evaluate: Evaluate = evaluate_state,
) -> TrainState:
    """Make the evaluation that an interrupted start left undone, if any, and save its state."""
    if not _evaluation_due(state.progress, task.config):
        return state
    until_here = replace(task, config=replace(task.config, max_steps=state.progress.step))
    state = train(until_here, state, folder, stop, observer, evaluate)
    if not state.progress.is_rated:
        raise InterruptedSearchError
    return state


def train(
    task: Task,
    state: TrainState,
    folder: RunFolder,
    stop: StopRequest,
    observer: Observer,
    evaluate: Evaluate = evaluate_state,
    saves_copies: bool = True,
) -> TrainState:
    """Train until finished or stopped; the returned state is saved durably.

    A stop request takes effect after the step, or during an evaluation, which the next start
    repeats. saves_copies: whether training goes on while a copy of the state is being written; else
    it waits.
    """
    keep_freed_memory()
    config = task.config
    started = time.monotonic() - state.progress.seconds
    at, ahead = state.progress, RunAhead()
    every = averaging.interval(config) if config.average_decay else config.test_iter
    work = work_of(
        task.step,
        task.sampler,
        at.branch,
        at.learning_rate,
        schedule_of(config),
        task.at_once,
        portions(at.step + 1, config.max_steps, every, task.at_once),
        task.features,
        task.mesh,
        task.dataset.refuse_short,
    )

    with closing(work), _saver(task, folder, observer, saves_copies) as saver:
        while True:
            if _evaluation_due(state.progress, config):
                task.dataset.refuse_changed()  # before anything that was trained on it is stored
                state = up_to_date(task, state)
                try:
                    state = fit_memory(task, state, stop)
                    metrics = evaluate(task, state, stop)
                except InterruptedSearchError:
                    break
                saver.wait()
                state, line = _record(task, state, metrics)
                state = state.at(state.arrays, seconds=time.monotonic() - started)
                if task.leads:
                    folder.log.append(_text(line))
                observer.evaluated(state.progress, line)
                saver.submit(state)
            if stop or is_finished(state.progress, config):
                break
            last, run = next(work)
            state = averaged(task, state.at(run(state.arrays), step=last))
            ahead.dispatched(state.arrays.loss_sum)
            saver.check()
            observer.stepped(state)
            stop.passed(last)
        if stop:
            observer.stopping(state.progress)
        saver.wait()
        task.dataset.refuse_changed(thoroughly=not stop)
        state = state.at(state.arrays, seconds=time.monotonic() - started)
        saver.submit(state)
    return state


def _saver(task: Task, folder: RunFolder, observer: Observer, copies: bool) -> "BackgroundSaver":
    """Return what saves the states of a task."""

    def write(snapshot: Snapshot) -> Path:
        about = (task.identity, task.environment, task.processes)
        if task.leads:
            return store.save(folder.checkpoints, snapshot, *about)
        store.save_share(folder.checkpoints, snapshot, task.processes)
        return folder.checkpoints

    return BackgroundSaver(partial(snapshot_of, task, copied=copies), write, observer, copies)


class BackgroundSaver:
    """Copies states and writes the copies in a background thread, one at a time. Without copies, it
    writes the states themselves, and each call waits for that.

    A failed write raises at the next call; leaving the context waits for the current write.
    """

    def __init__(
        self,
        take: Callable[[TrainState, Snapshot | None], Snapshot],
        write: Callable[[Snapshot], Path],
        observer: Observer,
        copies: bool = True,
    ) -> None:
        self._take, self._write = take, write
        self._observer, self._copies = observer, copies
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._pending: tuple[Future[Path], Progress] | None = None
        self._snapshot: Snapshot | None = None

    def __enter__(self) -> "BackgroundSaver":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self.wait()

    def submit(self, state: TrainState) -> None:
        """Copy `state` and start writing it, after waiting for the previous write, whose memory the
        copy reuses. A state equal to the last one is ignored.
        """
        self.wait()
        last, progress = self._snapshot, state.progress
        if last is None or last.progress.trajectory() != progress.trajectory():
            self._snapshot = self._take(state, last)
            self._pending = self._pool.submit(self._write, self._snapshot), progress
            if not self._copies:
                self._snapshot = Snapshot({}, progress)  # no view outlives the write
                self.wait()

    def check(self) -> None:
        """If the write is finished, raise its error or notify the observer."""
        if self._pending is not None and self._pending[0].done():
            self.wait()

    def wait(self) -> None:
        """Wait for the current write; raise its error."""
        if self._pending is not None:
            (written, progress), self._pending = self._pending, None
            self._observer.saved(progress, written.result())


def _evaluation_due(progress: Progress, config: TrainConfig) -> bool:
    return progress.step % config.test_iter == 0 and progress.step > progress.evaluated_step


def _record(
    task: Task, state: TrainState, metrics: dict[str, float]
) -> tuple[TrainState, dict[str, Any]]:
    """Return the state after the evaluation, with the loss sum reset, and the log line."""
    loss = float(state.arrays.loss_sum) / (state.progress.step - state.progress.evaluated_step)
    if task.config.is_final_fit:
        progress = pass_evaluation(state.progress)
    else:
        progress = record_evaluation(state.progress, metrics[task.selector])
    best = progress.best
    line = {
        "step": progress.step,
        "branch": progress.branch,
        "train_loss": _finite(loss),
        **{f"valid_{name}": _finite(value) for name, value in metrics.items()},
        f"best_{task.selector}": None if best is None else best.metric,
        "best_step": None if best is None else best.step,
        "evaluations_without_improvement": progress.evaluations_without_improvement,
    }
    progress = replace(progress, logged=progress.logged.after(f"{_text(line)}\n".encode()))
    return TrainState(
        state.arrays._replace(loss_sum=small(task, np.zeros((), np.float32))), progress
    ), line


def _text(line: dict[str, Any]) -> str:
    return json.dumps(line, allow_nan=False)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
