"""The training loop: step, evaluate, record, save, until the budget, patience or a signal ends it.

Everything the loop changes is one TrainState. Evaluations happen at multiples of `test_iter` only,
so that where a run was stopped, and how often, leaves no trace in its trajectory.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from reprise import accelerator, files
from reprise.allocator import keep_freed_memory
from reprise.config import TrainConfig
from reprise.data.dataset import Dataset, EvaluationUsers, Truth
from reprise.errors import UsageError
from reprise.models import Model, ModelShape, get_model
from reprise.models.dynamic import with_dynamic_interests
from reprise.models.encoder import Encoder, with_encoder
from reprise.models.members import with_members
from reprise.models.repeats import with_repeats
from reprise.retrieval.evaluate import EvaluationInterruptedError, evaluate
from reprise.runs import environment, store
from reprise.runs.dispatch import make_work, portions
from reprise.runs.run import RunFolder
from reprise.runs.run_ahead import RunAhead
from reprise.runs.signals import StopRequest
from reprise.training.batches import Sampler, TargetRule, make_sampler, prefetch
from reprise.training.losses import Objective
from reprise.training.schedules import Schedule
from reprise.training.state import Arrays, Best, Progress, Snapshot, TrainState, take_snapshot
from reprise.training.step import (
    Interests,
    Settle,
    TrainStep,
    initial_arrays,
    make_interests,
    make_settle,
    make_train_step,
)
from reprise.training.stopping import out_of_patience, record_evaluation

_QUICKLY = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}


class Observer(Protocol):
    """Who is told what the loop does; nothing an observer does reaches back into the run."""

    def stepped(self, state: TrainState) -> None:
        """A step was dispatched, or several at once."""

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        """An evaluation was recorded; `line` is what metrics.jsonl holds of it."""

    def saved(self, progress: Progress, path: Path) -> None:
        """A checkpoint is durable."""

    def stopping(self, progress: Progress) -> None:
        """A stop request was heard; where the run stands is saved next."""


@dataclass(frozen=True)
class Task:
    """What is trained on what: the config's values turned into functions and data; `selecting`:
    those of the valid users whose metric chooses the best model; at_once: steps that the device is
    given by one dispatch, at most.
    """

    config: TrainConfig
    identity: dict[str, Any]
    environment: dict[str, str]
    step: TrainStep
    settle: Settle
    interests: Interests
    sampler: Sampler
    valid: EvaluationUsers
    test: EvaluationUsers
    selecting: EvaluationUsers
    num_items: int
    item_category: NDArray[np.int32] | None
    truth: Mapping[str, Truth | None]
    at_once: int

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """Where metrics are taken: 20, 50 and the selecting cutoff."""
        return tuple(sorted({20, 50, self.config.top_n}))

    @property
    def selector(self) -> str:
        """The validation metric that chooses the best model."""
        return f"recall@{self.config.top_n}"


def make_task(config: TrainConfig, dataset: Dataset) -> Task:
    """Build the task; UsageError or DataError where config and data do not fit together."""
    accelerator.multiply_in_float32()
    model = _model(config)
    jax.eval_shape(lambda: model.init(jax.random.key(0), _shape(config)))  # or refuse
    if config.routing_penalty > 0 and model.interests_and_attention is None:
        raise UsageError("no_attention", model=config.model)
    train = dataset.splits["train"]
    valid = dataset.evaluation_users("valid", config.maxlen)
    category = np.asarray(dataset.item_category)
    return Task(
        config=config,
        identity=config.identity(dataset.fingerprint),
        environment=environment.current(),
        step=make_train_step(model, config.optimizer, _objective(config), schedule_of(config)),
        settle=make_settle(config.optimizer, schedule_of(config)),
        interests=make_interests(model, config.scoring),
        sampler=make_sampler(
            train,
            dataset.num_items,
            config.batch_size,
            config.maxlen,
            config.num_negatives,
            config.seed,
            config.sampler,
            TargetRule(config.first_target, config.targets, config.next_n, config.next_share),
        ),
        valid=valid,
        test=dataset.evaluation_users("test", config.maxlen),
        selecting=valid.sample(config.valid_users, config.seed) if config.valid_users else valid,
        num_items=dataset.num_items,
        item_category=category if (category >= 0).any() else None,
        truth={split: dataset.truth(split) for split in ("valid", "test")},
        at_once=accelerator.steps_at_once(),
    )


def schedule_of(config: TrainConfig) -> Schedule:
    """Return the schedule of the config's learning rate."""
    return Schedule(config.warmup, config.decay, config.decay_steps)


def fresh_state(task: Task) -> TrainState:
    """Return the state of step 0, a pure function of the config."""
    return TrainState(
        _once(lambda: _initial_arrays(task)), Progress(learning_rate=task.config.learning_rate)
    )


def _once(make: Callable[[], Arrays]) -> Arrays:
    """Return make(), as one program that is compiled with little effort; its bits are the same."""
    try:
        made: Arrays = jax.jit(make, compiler_options=_QUICKLY)()
    except jax.errors.JaxRuntimeError:  # another XLA, which does not know these options
        made = jax.jit(make)()
    return made


def initial_shapes(task: Task) -> Arrays:
    """Return shapes and dtypes of a fresh state's arrays, none of which is made."""
    arrays: Arrays = jax.eval_shape(lambda: _initial_arrays(task))
    return arrays


def _initial_arrays(task: Task) -> Arrays:
    config = task.config
    return initial_arrays(
        _model(config),
        _shape(config),
        task.num_items,
        config.seed,
        config.embedding_scale,
        config.scoring,
    )


def is_finished(progress: Progress, config: TrainConfig) -> bool:
    """Whether nothing is left to do: budget or patience used up, and the last step evaluated."""
    return out_of_patience(progress, config.patience) or (
        progress.step >= config.max_steps and not _evaluation_due(progress, config)
    )


def settled(task: Task, state: TrainState) -> TrainState:
    """Return the state with every item row as its step has it; `state` is consumed.

    For what looks at the rows from outside: an evaluation, an export, another learning rate. A
    state stored between evaluations is left as it is, so that a stop leaves no trace in the bits.
    """
    progress = state.progress
    return state.at(task.settle(state.arrays, progress.step, progress.learning_rate))


def measure_best(
    task: Task, state: TrainState, stop: StopRequest, known: float | None = None
) -> TrainState:
    """Make the state's own metric the best, measured where it is not `known`: for states from
    checkpoints that did not keep it.
    """
    state = settled(task, state)
    metric = _evaluate(task, state, stop)[task.selector] if known is None else known
    step, branch = state.progress.step, state.progress.branch
    arrays = state.arrays
    if step % task.config.test_iter == 0:  # this evaluation stands for the one due here
        arrays = arrays._replace(loss_sum=jnp.zeros((), jnp.float32))
    rated = _finite(metric)
    best = None if rated is None else Best(rated, step, branch)
    return state.at(arrays, evaluated_step=step, metric=rated, best=best)


def train(
    task: Task, state: TrainState, folder: RunFolder, stop: StopRequest, observer: Observer
) -> TrainState:
    """Train until finished or stopped, leaving the returned state stored and durable.

    A stop request ends it after the step, or inside an evaluation, which the next start does anew.
    """
    keep_freed_memory()
    config = task.config
    started = time.monotonic() - state.progress.seconds
    at, ahead = state.progress, RunAhead()
    make = make_work(
        task.step, task.sampler, at.branch, at.learning_rate, schedule_of(config), task.at_once
    )
    work = prefetch(make, portions(at.step + 1, config.max_steps, config.test_iter, task.at_once))

    def write(snapshot: Snapshot) -> Path:
        return store.save(folder.checkpoints, snapshot, task.identity, task.environment)

    with closing(work), BackgroundSaver(write, observer) as saver:
        while True:
            if _evaluation_due(state.progress, config):
                state = settled(task, state)
                try:
                    metrics = _evaluate(task, state, stop)
                except EvaluationInterruptedError:
                    break
                saver.wait()
                state, line = _record(task, state, metrics)
                state = state.at(state.arrays, seconds=time.monotonic() - started)
                files.append_file(folder.metrics, f"{state.progress.evaluations[-1]}\n".encode())
                observer.evaluated(state.progress, line)
                saver.submit(state)
            if stop or is_finished(state.progress, config):
                break
            last, run = next(work)
            state = state.at(run(state.arrays), step=last)
            ahead.dispatched(state.arrays.loss_sum)
            saver.check()
            observer.stepped(state)
        if stop:
            observer.stopping(state.progress)
        saver.wait()
        state = state.at(state.arrays, seconds=time.monotonic() - started)
        saver.submit(state)
    return state


class BackgroundSaver:
    """Copies states and writes the copies in one thread, one at a time; an error surfaces at the
    next call, and leaving the context waits for the write under way.
    """

    def __init__(self, write: Callable[[Snapshot], Path], observer: Observer) -> None:
        self._write = write
        self._observer = observer
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
        """Copy `state` and start writing it, after the write before it, whose memory the copy
        uses; the same state again is ignored.
        """
        self.wait()
        last, progress = self._snapshot, state.progress
        if last is None or last.progress.trajectory() != progress.trajectory():
            self._snapshot = take_snapshot(state, into=last)
            self._pending = self._pool.submit(self._write, self._snapshot), progress

    def check(self) -> None:
        """Raise what a finished write raised, or tell the observer of its success."""
        if self._pending is not None and self._pending[0].done():
            self.wait()

    def wait(self) -> None:
        """Wait for the write under way; raise what it raised."""
        if self._pending is not None:
            (written, progress), self._pending = self._pending, None
            self._observer.saved(progress, written.result())


def _model(config: TrainConfig) -> Model:
    encoder = Encoder(config.encoder_layers, config.encoder_heads, config.dropout)
    model = get_model(config.model)
    if config.interest_count == "by-length":
        model = with_dynamic_interests(model)
    model = with_members(with_encoder(model, encoder), config.members)
    return with_repeats(model) if config.scoring.repeats else model


def _shape(config: TrainConfig) -> ModelShape:
    return ModelShape(config.maxlen, config.embedding_dim, config.hidden_size, config.num_interest)


def _objective(config: TrainConfig) -> Objective:
    return Objective(
        selection=config.selection,
        temperature=config.temperature,
        neg_score=config.neg_score,
        hard_negatives=config.hard_negatives,
        routing_penalty=config.routing_penalty,
        item_dropout=config.item_dropout,
        scoring=config.scoring,
    )


def _evaluation_due(progress: Progress, config: TrainConfig) -> bool:
    return progress.step % config.test_iter == 0 and progress.step > progress.evaluated_step


def _evaluate(task: Task, state: TrainState, stop: StopRequest) -> dict[str, float]:
    return evaluate(
        state.arrays,
        task.interests,
        task.selecting,
        task.cutoffs,
        should_stop=lambda: bool(stop),
        scoring=task.config.scoring,
    ).metrics


def _record(
    task: Task, state: TrainState, metrics: dict[str, float]
) -> tuple[TrainState, dict[str, Any]]:
    """Return the state after the evaluation, its loss sum begun anew, and the log line."""
    loss = float(state.arrays.loss_sum) / task.config.test_iter
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
    text = json.dumps(line, allow_nan=False)
    progress = replace(progress, evaluations=(*progress.evaluations, text))
    return TrainState(state.arrays._replace(loss_sum=jnp.zeros((), jnp.float32)), progress), line


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
