"""One start of a run, from configuration to result: lock, resume, train, evaluate the best."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import jax
import numpy as np

from reprise import durable
from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint
from reprise.config.by_data import open_in
from reprise.config.features import chosen
from reprise.config.schema import SETTINGS, TrainConfig, check_value
from reprise.data import texts
from reprise.data.dataset import Dataset, open_dataset
from reprise.data.features import Feature
from reprise.errors import UsageError
from reprise.evaluation.evaluate import evaluate as evaluate_lists
from reprise.evaluation.metrics import METRICS
from reprise.retrieval.vectors import InterruptedSearchError, Retriever
from reprise.runs import features, items, memory, results, where
from reprise.runs.evaluation import ASKED, Measured, evaluation_facts
from reprise.runs.folder import (
    Resumption,
    RunFolder,
    Source,
    check_identity,
    load_checkpoint,
    locked,
    read_record,
    record_events,
    resume,
)
from reprise.runs.loop import (
    Evaluate,
    Observer,
    evaluate_due,
    evaluate_state,
    is_finished,
    measure_best,
    retriever_of_state,
    train,
    with_memory,
)
from reprise.runs.naming import FitOf
from reprise.runs.results import Split
from reprise.runs.signals import StopRequest, stop_requests
from reprise.runs.together import Mute, agreed, follow_start, loaded, shares_of, start_of
from reprise.runtime import environment
from reprise.runtime import mesh as meshes
from reprise.runtime.memory import return_freed_memory
from reprise.runtime.processes import Place
from reprise.text.messages import Phrase, Say, unsaid
from reprise.training.doubts import doubts
from reprise.training.estimate import copy_fits
from reprise.training.setup import (
    Task,
    fresh_state,
    make_task,
    snapshot_of,
    state_of,
    up_to_date,
)
from reprise.training.state import Best, Progress, TrainState
from reprise.training.stopping import out_of_patience


@dataclass(frozen=True)
class Request:
    """The request of one start.

    data_folder: the prepared dataset. folder: the run's. best_metric: the metric of an old
    checkpoint that does not know its own. new_learning_rate: a change asked for by name. fit_of:
    the run, and its best step, that a final fit takes its settings from (`naming.FitOf`). devices:
    how many of each process train it together. place: this process's among those that do; None: it
    is the only one.
    """

    config: TrainConfig
    data_folder: Path
    folder: RunFolder
    resume_from: Source = "latest"
    best_metric: float | None = None
    new_learning_rate: float | None = None
    fit_of: FitOf | None = None
    devices: int = 1
    place: Place | None = None

    def __post_init__(self) -> None:
        if self.new_learning_rate is not None:
            check_value("learning_rate", self.new_learning_rate, "change_learning_rate")
        if self.devices < 1:
            expected = Phrase("good_whole", low=1)
            raise UsageError("bad_value", option="devices", value=self.devices, expected=expected)
        if self.place is not None:
            for option in ("best_metric", "new_learning_rate"):
                if getattr(self, option) is not None:
                    flag = {"new_learning_rate": "change_learning_rate"}.get(option, option)
                    raise UsageError("not_together", option=f"--{flag.replace('_', '-')}")
        if self.best_metric is not None and not 0 <= self.best_metric <= 1:
            expected = Phrase("good_within", low=0, high=1)
            raise UsageError(
                "bad_value", option="best_metric", value=self.best_metric, expected=expected
            )


@dataclass(frozen=True)
class Outcome:
    """The outcome of a start: the run's progress and best, the metrics of its best model by split
    (None if a signal stopped it) and the exit code. leads: whether this process is the one that
    shows it.
    """

    progress: Progress
    best: Best | None
    results: dict[Split, dict[str, float]] | None
    exit_code: int
    leads: bool = True


class Announcer(Observer, Protocol):
    """An observer of training that is also called when the run starts and ends."""

    def say(self, key: str, **values: object) -> None:
        """Show a message."""

    def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
        """The run is locked, and the checkpoint to resume from is known."""

    def restored(self, progress: Progress) -> None:
        """The resumed state's best is known."""

    def measured(self, step: int, metrics: Mapping[Split, dict[str, float]]) -> None:
        """The best model, of that step, was measured at the end."""

    def training_begins(self, progress: Progress) -> None:
        """The first step follows."""


def run_session(
    request: Request,
    announcer: Announcer,
    evaluate: Evaluate = evaluate_state,
    own_process: bool = True,
) -> Outcome:
    """Start or resume the run, and train it to its end; raise RepriseError for errors that the user
    can fix.

    evaluate: what rates a state while it trains; own_process: as `signals.stop_requests` takes it.
    """
    config, folder = request.config, request.folder
    dataset = open_dataset(request.data_folder)
    mesh = meshes.mesh_of(request.devices, request.place)
    task = make_task(config, dataset, memory.known(folder, announcer.say), mesh)
    config = task.config
    _check_memory(request, task)
    if not task.leads:
        return _follow(task, folder, evaluate, own_process)
    with stop_requests(own_process) as heard, locked(folder):
        stop = heard if mesh is None else agreed(heard, mesh)
        used = chosen(config, dataset)
        resumption = _prepared(request, task, used, announcer.say)
        announcer.began(task, folder, resumption)
        _say_notes(request, task, announcer.say, is_new=resumption is None)
        _say_features(used, announcer.say)
        try:
            state = _starting_state(request, task, resumption, stop, announcer, evaluate)
        except InterruptedSearchError:  # while measuring a stored state: nothing has changed
            progress = _progress(resumption)
            if request.new_learning_rate is not None:
                announcer.say("learning_rate_unchanged")
            return Outcome(progress, progress.best, None, stop.exit_code)
        if resumption is not None:
            announcer.restored(state.progress)
        del resumption  # and the memory of its arrays, which the state has copied
        state = _trained(task, state, folder, stop, announcer, evaluate)
        found = None
        if config.is_final_fit:
            announcer.say("final_fit", users=len(task.sampler.users))
        elif not stop:
            found = _measure_ended(task, dataset, state, folder, stop, announcer, evaluate)
        code = task.led(lambda: stop.exit_code or heard.exit_code)
    progress, stored = state.progress, store.scan(folder.checkpoints)
    best = results.best_known(stored, results.read(folder.path), progress.best)
    return Outcome(progress, best, found, code)


def _prepared(request: Request, task: Task, used: Sequence[Feature], say: Say) -> Resumption | None:
    """Prepare the folder of a run, which is locked, and return what it resumes from."""
    folder, config = request.folder, task.config
    if not durable.can_sync_folder(folder.checkpoints):
        say("folders_not_synced", path=folder.checkpoints)
    check_identity(folder, task.identity, say, task.dataset.folder)
    items.keep(folder, task.dataset, say)
    features.keep(folder, used, say)
    memory.keep(folder, task.edges)
    resumption = resume(
        folder,
        task.identity,
        request.resume_from,
        say,
        finished=lambda latest: is_finished(latest, config),
        load=store.load if task.mesh is None else partial(loaded, task.mesh),
    )
    task.led(partial(start_of, task.identity, resumption))
    return resumption


def _follow(task: Task, folder: RunFolder, evaluate: Evaluate, own_process: bool) -> Outcome:
    """Train a run that another process leads, until that one has ended."""
    assert task.mesh is not None
    with stop_requests(own_process) as heard:
        stop = agreed(heard, task.mesh)
        snapshot = follow_start(folder, task.mesh, task.identity, task.led(lambda: None))
        state = fresh_state(task) if snapshot is None else state_of(task, snapshot)
        del snapshot
        if not is_finished(state.progress, task.config):
            copies = copy_fits(task, state)
            state = train(task, state, folder, stop, Mute(), evaluate, copies)
        if not stop and not task.config.is_final_fit:
            _measure_ended(task, task.dataset, state, folder, stop, Mute(), evaluate)
        code = task.led(lambda: None)
    return Outcome(state.progress, state.progress.best, None, code, leads=False)


def _say_notes(request: Request, task: Task, say: Say, is_new: bool) -> None:
    """Report what users should know of a run's data and settings before it trains."""
    if source := texts.replaced(request.data_folder):
        command = texts.command(request.data_folder, source)
        folders = {"folder": request.data_folder, "source": source}
        say("texts_replaced_since", **folders, command=command)
    if is_new:
        for key, values in doubts(task):
            say(key, **values)
        followed = [
            f"{SETTINGS[name].flags[0]} {getattr(task.config, name)}"
            for name in open_in(request.config)
        ]
        if followed:
            say("settings_by_data", values=", ".join(followed))
        if task.config.item_init == "counts":
            say("items_by_counts")
    if (some := len(task.selecting.lengths)) < (every := len(task.valid.lengths)):
        say("valid_sample", users=some, every=every)
    if task.config.request_at is not None and not task.config.is_final_fit:
        say(ASKED[task.config.request_at])


def _say_features(features: Sequence[Feature], say: Say) -> None:
    """Report the item features that a run uses, and of how many items each is known."""
    told = [f"{one.name} ({100 * float(one.known[1:].mean()):.1f}%)" for one in features]
    if told:
        say("features_used", features=", ".join(told))


def _say_memory(retriever: Retriever, say: Say) -> None:
    """Report what the best model's memory adds, if it has one."""
    if retriever.memory is not None:
        weight = retriever.memory.weight
        say("memory_adds" if weight else "memory_adds_nothing", weight=weight)


def _trained(
    task: Task,
    state: TrainState,
    folder: RunFolder,
    stop: StopRequest,
    announcer: Announcer,
    evaluate: Evaluate,
) -> TrainState:
    """Train a state to the end of its run, unless it is there."""
    config = task.config
    if is_finished(state.progress, config):
        _say_finished(state.progress, config, announcer.say)
        return state
    announcer.training_begins(state.progress)
    if not (copies := copy_fits(task, state)):
        announcer.say("saves_wait")
    state = train(task, state, folder, stop, announcer, evaluate, copies)
    if out_of_patience(state.progress, config.patience):
        trials = state.progress.evaluations_without_improvement
        announcer.say("stopped_early", step=state.progress.step, trials=trials)
    return state


def _starting_state(
    request: Request,
    task: Task,
    resumption: Resumption | None,
    stop: StopRequest,
    announcer: Announcer,
    evaluate: Evaluate,
) -> TrainState:
    """Return the state to train on from, and record the start in run.json. Asking for a run that
    has ended is no start.
    """
    folder = request.folder
    state = (
        _first_state(request, task) if resumption is None else state_of(task, resumption.snapshot)
    )
    progress = state.progress
    is_start = resumption is None or not is_finished(progress, task.config)

    def save(state: TrainState) -> None:
        store.save(folder.checkpoints, snapshot_of(task, state), task.identity, task.environment)

    if resumption is not None and not resumption.checkpoint.best_known:
        if request.place is not None:
            raise UsageError("old_not_together", path=resumption.checkpoint.path)
        if request.best_metric is None:
            announcer.say("old_checkpoint")
        state = measure_best(task, state, stop, request.best_metric, evaluate)
        save(state)
        is_start = True
    elif request.best_metric is not None:
        announcer.say("best_metric_unused")
    by_lazy_adam = resumption is not None and "optimizer" not in resumption.checkpoint.identity
    if by_lazy_adam and task.config.optimizer != "lazy-adam":
        announcer.say("old_optimizer", optimizer=task.config.optimizer)
    events = _events_of_start(request, task, resumption, progress, announcer.say)
    rate = request.new_learning_rate
    if rate is not None and rate != progress.learning_rate:
        # What is rated, and may be the best, was trained with the old rate: it is stored with it.
        state = evaluate_due(task, state, folder, stop, announcer, evaluate)
        state, change = _with_rate(task, state, rate, announcer.say)
        events.append(change)
        save(state)
        is_start = True
    used = task.environment
    if not is_start:
        used, events = read_record(folder, unsaid).get("environment", used), []
    config, hint = dataclasses.asdict(task.config), where.hint(folder, request.data_folder)
    record_events(folder, task.identity, config, used, events, hint)
    return state


def _first_state(request: Request, task: Task) -> TrainState:
    """Return the state of step 0; that of a final fit has the memory of the run it is based on."""
    state, numbers = fresh_state(task), _numbers_of_fit(request)
    if task.edges is None or numbers is None:
        return state
    return with_memory(task, state, np.array(numbers, np.float32))


def _check_memory(request: Request, task: Task) -> None:
    """Refuse a new run on all users with a memory that nobody is left to fit it to."""
    if task.edges is None or not task.config.is_final_fit or _numbers_of_fit(request) is not None:
        return
    if not store.scan(request.folder.checkpoints):
        raise UsageError("memory_unfitted", memory=task.config.memory)


def _numbers_of_fit(request: Request) -> list[float] | None:
    """Return the numbers of a final fit's memory: those of its first start, or of this one."""
    events = read_record(request.folder, unsaid).get("events", [])
    begun = [fit for event in events if isinstance(fit := event.get("final_fit_of"), dict)]
    found: list[float] | None = (begun[0] if begun else request.fit_of or {}).get("memory")
    return found


def _events_of_start(
    request: Request,
    task: Task,
    resumption: Resumption | None,
    progress: Progress,
    say: Say,
) -> list[dict[str, object]]:
    """Return the events of a start: that it is one, and, with a warning, that the environment is
    another one than before.
    """
    events: list[dict[str, object]] = [
        {
            "event": "created" if resumption is None else "resumed",
            "from": None if resumption is None else resumption.checkpoint.path.name,
            "step": progress.step,
            "branch": progress.branch,
            **({"final_fit_of": dict(request.fit_of)} if request.fit_of else {}),
        }
    ]
    before = {} if resumption is None else resumption.checkpoint.environment
    if changes := environment.changes(before, task.environment):
        say("environment_changed", changes="; ".join(changes))
        events.append({"event": "environment changed", "changes": changes, "step": progress.step})
    was, now = (used.get(environment.MESH, "1") for used in (before, task.environment))
    if resumption is not None and was != now:
        say("mesh_changed", before=was, after=now)
        change = {"changes": [f"devices: {was} -> {now}"], "step": progress.step}
        events.append({"event": "environment changed", **change})
    return events


def _with_rate(
    task: Task, state: TrainState, rate: float, say: Say
) -> tuple[TrainState, dict[str, object]]:
    """Return the state with another learning rate, and the event."""
    change = {"old": state.progress.learning_rate, "new": rate, "step": state.progress.step}
    say("learning_rate_changed", **change)
    state = up_to_date(task, state)
    changed = state.at(state.arrays, learning_rate=rate)
    return changed, {"event": "learning rate changed", **change}


def _measure_ended(
    task: Task,
    dataset: Dataset,
    state: TrainState,
    folder: RunFolder,
    stop: StopRequest,
    announcer: Announcer,
    evaluate: Evaluate,
) -> dict[Split, dict[str, float]] | None:
    """Measure the best model of a run that has ended, keep it in results.json, and return its
    metrics by split; None where a stop request came in between.

    A last state between two evaluations is rated now, and is the best where it is better. What is
    stored of it stays as it is, and so does whatever follows where the run is extended.
    """
    say = announcer.say
    latest = _stored(folder, task.led(lambda: store.scan(folder.checkpoints)[-1].path.name))
    state = up_to_date(task, state)  # it is stored: nothing goes on from here
    try:
        if not latest.progress.is_rated:
            rated = evaluate(task, state, stop)[task.selector]
            metric = rated if math.isfinite(rated) else None
            say("final_rated", n=task.config.top_n, step=latest.progress.step, metric=rated)
            if task.leads:
                results.keep(latest, (), say, results.final_of(latest, metric))
        checkpoint, state = _best_state(task, latest, state, folder, say)
        retriever = retriever_of_state(task, state)
        _say_memory(retriever, say)
        found: dict[Split, Measured] = {
            split: _measure(task, dataset, checkpoint, retriever, split, stop)
            for split in ("valid", "test")
        }
    except InterruptedSearchError:
        return None
    if task.leads:
        facts = [evaluation_facts(measured, split, None) for split, measured in found.items()]
        results.keep(checkpoint, facts, say)
    metrics: dict[Split, dict[str, float]] = {
        split: measured.evaluation.metrics for split, measured in found.items()
    }
    announcer.measured(checkpoint.progress.step, metrics)
    return metrics


def _stored(folder: RunFolder, name: str) -> Checkpoint:
    return store.read(folder.checkpoints / name)


def _best_state(
    task: Task, latest: Checkpoint, state: TrainState, folder: RunFolder, say: Say
) -> tuple[Checkpoint, TrainState]:
    """Return the best checkpoint and its state, its rows up to date; the latest's, which `state`
    is, where none was rated or its files are damaged.
    """

    def best_name() -> str:
        best = results.best_of(store.scan(folder.checkpoints), results.read(folder.path)) or latest
        try:
            if best.path != latest.path:
                store.verify(best)
        except store.DamagedCheckpointError as damage:
            say("damaged_ignored", path=best.path, reason=damage)
            best = latest
        return best.path.name

    best = _stored(folder, task.led(best_name))
    if best.path == latest.path:
        return latest, state
    _free(state)  # memory for one of them is enough
    load = store.load if task.mesh is None else partial(shares_of, task.mesh)
    return best, up_to_date(task, state_of(task, load_checkpoint(best, load)))


def _free(state: TrainState) -> None:
    """Free the arrays of a state that nothing goes on from."""
    for array in jax.tree.leaves(state.arrays):
        array.delete()
    return_freed_memory()


def _measure(
    task: Task,
    dataset: Dataset,
    checkpoint: Checkpoint,
    retriever: Retriever,
    split: Split,
    stop: StopRequest,
) -> Measured:
    users = task.valid if split == "valid" else task.test
    counts = dataset.training_counts
    evaluation = evaluate_lists(
        retriever,
        users,
        task.config.cutoffs,
        item_category=task.item_category,
        truth=task.truth[split],
        should_stop=lambda: bool(stop),
        metrics=METRICS,
        training_counts=counts,
    )
    held_out, category = dataset.evaluation, task.item_category
    about = dataset.target_events
    cutoffs = task.config.cutoffs
    return Measured(checkpoint, evaluation, users, cutoffs, held_out, counts, category, about)


def _say_finished(progress: Progress, config: TrainConfig, say: Say) -> None:
    if out_of_patience(progress, config.patience):
        trials = progress.evaluations_without_improvement
        say("stopped_early_already", step=progress.step, trials=trials, patience=config.patience)
    else:
        say("finished_already", step=progress.step, steps=config.max_steps)


def _progress(resumption: Resumption | None) -> Progress:
    assert resumption is not None  # only a restored state is measured before training
    return resumption.snapshot.progress
