"""A sweep: runs of one configuration with a few fields varied, whose values Optuna proposes.

sweeps/<name>/
    sweep.json      the searched fields, and the configuration that all trials share
    trials.db       Optuna's study (SQLite): the trials that have ended, with their results
    sweep.html      the plot
    LOCK            flock: one writer at a time

A trial's values are a pure function of (seed, its number, the results before it), and a trial is an
ordinary run, named by its number. So the study stores only trials that have ended: a killed trial
is proposed again with the same values and its run resumes, and a lost study is rebuilt from the
runs. Trials are compared by the best validation recall, never by the test users.
"""

import dataclasses
import itertools
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import StorageInternalError
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DatabaseError

from reprise import durable
from reprise.config.load import make_config
from reprise.config.schema import TrainConfig
from reprise.data.dataset import open_dataset
from reprise.errors import CheckpointError, RepriseError, UsageError
from reprise.runs.folder import RunFolder, refuse_difference
from reprise.runs.lock import held
from reprise.runs.naming import for_training
from reprise.runs.session import Announcer, Outcome, Request, run_session
from reprise.sweeps.space import Search
from reprise.text.messages import Language, Phrase

SCHEMA = 1
_ATTEMPTS = 20  # proposals for a trial, after which one that was not made yet is taken
_MOST_LISTED = 100_000  # combinations that are looked through for that


@dataclass(frozen=True)
class Sweep:
    """A sweep's definition; `values`: the configuration by field, without the searched fields."""

    folder: Path
    name: str
    searches: tuple[Search, ...]
    values: Mapping[str, Any]
    data_folder: Path
    runs_folder: Path

    @cached_property
    def base(self) -> TrainConfig:
        """The configuration with the first value of each searched field."""
        return self.config("first", {search.field: search.first for search in self.searches})

    def config(self, label: str, params: Mapping[str, Any]) -> TrainConfig:
        """Return a trial's configuration."""
        return make_config({**self.values, **params, "name": f"{self.name}-{label}"})

    def trial_config(self, number: int, params: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration of trial `number`, whose run is named by it."""
        return self.config(f"{number:03d}", params)


class Watcher(Protocol):
    """Callbacks of the trials."""

    def began(self, number: int, params: Mapping[str, Any], config: TrainConfig) -> Announcer:
        """Called when a trial starts or resumes; return the announcer of its run."""

    def ended(self, number: int, trial: FrozenTrial) -> None:
        """Called when a trial has ended, with a recall or without."""

    def covered(self, number: int) -> None:
        """Called when `number` trials have tried all there is."""

    def close(self) -> None:
        """Called when the current run is over."""


def run_sweep(sweep: Sweep, trials: int, watcher: Watcher) -> int:
    """Run the sweep up to `trials` trials in total; return the exit code: 0, or a stop's."""
    durable.make_folder(sweep.folder)
    with held(sweep.folder):
        _check_definition(sweep)
        with opened_study(sweep.folder, create=True) as study:
            for number in range(len(study.trials), trials):
                ended = study.trials
                params = propose(sweep.searches, sweep.base.seed, ended)
                if params is None:
                    watcher.covered(len(ended))
                    break
                trial, stopped = _run_trial(sweep, number, params, watcher)
                if stopped:
                    return stopped
                study.add_trial(trial)
                watcher.ended(number, trial)
                if any(search.field != "learning_rate" for search in sweep.searches):
                    # Otherwise compiled steps of past trials' settings would pile up.
                    jax.clear_caches()  # type: ignore[no-untyped-call]
    return 0


def propose(
    searches: tuple[Search, ...], seed: int, ended: list[FrozenTrial]
) -> dict[str, Any] | None:
    """Propose the next trial's values, a pure function of the arguments. None that were tried: the
    result would be the same, as training is deterministic. None where all were, or where the
    sampler finds no others.
    """
    tried = [trial.params for trial in ended]
    size = _size(searches)
    if size is not None and len({json.dumps(one, sort_keys=True) for one in tried}) >= size:
        return None
    for attempt in range(_ATTEMPTS):
        entropy = [seed, len(ended), attempt] if attempt else [seed, len(ended)]
        mixed = np.random.SeedSequence(entropy).generate_state(1)[0]
        study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=int(mixed)))
        study.add_trials(ended)
        drawn = study.ask(distributions(searches)).params
        params = {search.field: search.settle(drawn[search.field]) for search in searches}
        if params not in tried:
            return params
    if size is None or size > _MOST_LISTED:
        return None
    return next(params for params in _all(searches) if params not in tried)


def _size(searches: tuple[Search, ...]) -> int | None:
    """Return the number of combinations; None where a value is any number of a range."""
    counts = [search.count for search in searches]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def _all(searches: tuple[Search, ...]) -> Iterator[dict[str, Any]]:
    """Yield all combinations of searches that can be counted."""
    fields = [search.field for search in searches]
    values = [[search.value(n) for n in range(search.count or 0)] for search in searches]
    return (dict(zip(fields, one, strict=True)) for one in itertools.product(*values))


def distributions(searches: tuple[Search, ...]) -> dict[str, BaseDistribution]:
    """Return the searches as Optuna's distributions."""
    return {search.field: _distribution(search) for search in searches}


@contextmanager
def opened_study(folder: Path, create: bool = False) -> Iterator[optuna.Study]:
    """Open a sweep's study; raise CheckpointError if it is missing or damaged."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / "trials.db"
    if not create and not path.is_file():
        raise CheckpointError("sweep_missing", path=folder)
    # Our own connection: a URL would misread a "?" or a brace in the path.
    connected = {"creator": lambda: sqlite3.connect(path, check_same_thread=False)}
    try:
        storage = optuna.storages.RDBStorage("sqlite:///trials.db", engine_kwargs=connected)
        with ExitStack() as stack:
            stack.callback(storage.engine.dispose)
            yield optuna.create_study(
                storage=storage, study_name="sweep", direction="maximize", load_if_exists=True
            )
            storage.remove_session()
    except (DatabaseError, StorageInternalError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError("sweep_damaged", path=path, reason=reason) from error


def read_definition(folder: Path) -> dict[str, Any]:
    """Read sweep.json; raise CheckpointError if it cannot be read."""
    path = folder / "sweep.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content["search"], content["top_n"], content["dataset"]
    except FileNotFoundError:
        raise CheckpointError("sweep_missing", path=folder) from None
    except (KeyError, TypeError) as error:
        reason = Phrase("unexpected_content")
        raise CheckpointError("sweep_damaged", path=path, reason=reason) from error
    except (OSError, ValueError) as error:
        raise CheckpointError("sweep_damaged", path=path, reason=error) from error
    return content


def results(folder: Path, language: Language = "en") -> dict[str, Any]:
    """Return a sweep's results as JSON values.

    Keys: sweep, dataset, metric, search, best (a trial's number, or None), and trials, each with
    number, state ("complete" or "failed"), value (or None), params, run (its folder's name),
    best_step, steps, and the reason of a failure in `language` (English for programs).
    """
    definition = read_definition(folder)
    with opened_study(folder) as study:
        ended = study.trials
    trials: list[dict[str, Any]] = [
        {
            "number": trial.number,
            "state": "complete" if trial.state is TrialState.COMPLETE else "failed",
            "value": trial.value,
            "params": trial.params,
            **{key: trial.user_attrs.get(key) for key in ("run", "best_step", "steps")},
            "reason": reason_of(trial, language),
        }
        for trial in ended
    ]
    rated = [trial for trial in trials if trial["value"] is not None]
    best = max(rated, key=lambda trial: trial["value"], default=None)
    return {
        "sweep": folder.name,
        "dataset": definition["dataset"],
        "metric": f"recall@{definition['top_n']}",
        "search": definition["search"],
        "best": None if best is None else best["number"],
        "trials": trials,
    }


def reason_of(trial: FrozenTrial, language: Language) -> str | None:
    """Return the reason why a trial failed, in a language; None if it did not."""
    english: str | None = trial.user_attrs.get("reason")
    return trial.user_attrs.get(f"reason_{language}", english)


def _run_trial(
    sweep: Sweep, number: int, params: dict[str, Any], watcher: Watcher
) -> tuple[FrozenTrial, int]:
    """Start or resume a trial's run; return its record and the exit code of a stop."""
    try:
        asked = dataclasses.asdict(sweep.trial_config(number, params))
        named = for_training(asked, sweep.runs_folder)
        with closing(watcher):
            outcome = run_session(
                Request(named.config, sweep.data_folder, named.folder),
                watcher.began(number, params, named.config),
            )
    except RepriseError as error:
        if not _of_values(error, params):
            raise
        reasons = {"reason": error.said_in("en"), "reason_zh": error.said_in("zh")}
        return _record(sweep, params, None, reasons), 0
    return _record(sweep, params, outcome, {"run": named.folder.path.name}), outcome.exit_code


def _of_values(error: RepriseError, params: Mapping[str, Any]) -> bool:
    """Return whether the error is due to the trial's own values, which then fail and are not tried
    again. Otherwise, as with a batch size too large in all trials, the user must fix the sweep.
    """
    if error.key in ("too_few_users", "too_few_with_targets"):
        return not params.keys().isdisjoint(("batch_size", "min_history"))
    return isinstance(error, UsageError) and error.key != "run_ambiguous"


def _record(
    sweep: Sweep, params: dict[str, Any], outcome: Outcome | None, about: dict[str, Any]
) -> FrozenTrial:
    """Return a trial's record for the study; without a finite recall it has failed."""
    best = None if outcome is None else outcome.progress.best
    if outcome is not None:
        about = about | {"steps": outcome.progress.step}
    if best is not None:
        about = about | {"best_step": best.step}
    return optuna.trial.create_trial(
        state=TrialState.FAIL if best is None else TrialState.COMPLETE,
        value=None if best is None else best.metric,
        params=params,
        distributions=distributions(sweep.searches),
        user_attrs=about,
    )


def _distribution(search: Search) -> BaseDistribution:
    if search.choices:
        return CategoricalDistribution(search.choices)
    if search.is_whole:
        return IntDistribution(int(search.low), int(search.high), log=search.log)
    return FloatDistribution(search.low, search.high, log=search.log)


def _check_definition(sweep: Sweep) -> None:
    """Write sweep.json; raise an error with the differences if it defines another sweep."""
    searched = {search.field for search in sweep.searches} | {"name"}
    common = {
        key: value for key, value in dataclasses.asdict(sweep.base).items() if key not in searched
    }
    asked = {
        "schema": SCHEMA,
        "search": "; ".join(map(str, sweep.searches)),
        **common,
        "seed": sweep.base.seed,
        "dataset_fingerprint": open_dataset(sweep.data_folder).fingerprint,
    }
    path = sweep.folder / "sweep.json"
    if path.exists():
        refuse_difference(RunFolder(sweep.folder), read_definition(sweep.folder), asked)
    else:
        durable.replace_file(path, (json.dumps(asked, indent=2) + "\n").encode())
