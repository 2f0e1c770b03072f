"""Trackers of a run's metrics: always TensorBoard, optionally MLflow and Weights & Biases.

The run's log of evaluations is the reference. A tracker is opened with it and logs the missing
points, so restarts, kills and outages neither duplicate nor lose points; `fill` does so without
training. Each branch is a separate run in the tracker, since steps repeat after a rewind, and so is
what replaces points of a state that was thrown away.
"""

import importlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from reprise.errors import UsageError
from reprise.runs import tracked
from reprise.text.messages import Phrase, Say
from reprise.text.shown import shown

TRACKERS = ("mlflow", "wandb")  # beside TensorBoard: names of the modules here and of the extras
MARKER = "valid/evaluations_without_improvement"  # every evaluation has it
CHANGING = ("learning_rate", "max_steps", "patience", "name")  # settings that a start may change

_DATA = "dataset_fingerprint"

Points = dict[str, float]
Record = dict[int, dict[int, Points]]  # by branch, by step


@dataclass(frozen=True)
class TrackedRun:
    """The run as a tracker sees it: folder, name, current branch, configuration (as it is now) and
    evaluations so far.
    """

    folder: Path
    name: str
    branch: int
    config: Mapping[str, Any]
    record: Record

    @property
    def key(self) -> str:
        """A unique key of this branch of this run."""
        return f"{self.key_of_all}-{self.branch}"

    @cached_property
    def key_of_all(self) -> str:
        """What the keys of all branches begin with. Neither moving the folder nor renaming the run
        changes it; an imported copy has its own.
        """
        events = _events(self.folder)
        made_at = events[0].get("at", "") if events else ""
        renamed = [event.get("old") for event in events if event.get("event") == "renamed"]
        first = self.name
        if renamed:
            first = self.name.removesuffix(str(self.config["name"])) + str(renamed[0])
        copy = tracked.read(self.folder).copy
        of = f"{first} {made_at}" + (f" {copy}" if copy else "")
        return sha256(of.encode()).hexdigest()[:16]

    @property
    def shown_name(self) -> str:
        """The run's name, with its branch after a rewind."""
        return f"{self.name}-b{self.branch}" if self.branch else self.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """The configuration, and the digest of the data: a name alone would not tell data sets
        apart, whose runs stand side by side in a tracker.
        """
        return {**self.config, _DATA: _in_record(self.folder, "identity", dict).get(_DATA)}


class Tracker(Protocol):
    """A tracker; when opened with a TrackedRun, it logs the evaluations it lacks."""

    def log(self, step: int, points: Points) -> None:
        """Log an evaluation's metrics, durably enough to survive a kill."""

    def results(self, step: int, points: Points) -> None:
        """Log the final metrics of the best model, at its step."""

    def close(self, finished: bool) -> None:
        """Close the run; one that is not `finished` may continue later."""


class Trackers:
    """All trackers of a run. One that fails is dropped with a warning; training continues, and
    does not wait for services (`sender`).
    """

    def __init__(self, names: tuple[str, ...], run: TrackedRun, say: Say) -> None:
        self._say = say
        self._open: dict[str, Tracker] = {}
        for name in dict.fromkeys(("tensorboard", *names)):
            self._guarded(name, partial(self._open_log, name, run))

    def evaluated(self, step: int, points: Points) -> None:
        """Log an evaluation to every tracker."""
        for name, tracker in list(self._open.items()):
            self._guarded(name, partial(tracker.log, step, points))

    def results(self, step: int, points: Points) -> None:
        """Log the final metrics of the best model to every tracker."""
        for name, tracker in list(self._open.items()):
            self._guarded(name, partial(tracker.results, step, points))

    def close(self, finished: bool) -> None:
        """Close every tracker."""
        for name, tracker in list(self._open.items()):
            self._guarded(name, partial(tracker.close, finished))
        self._open.clear()

    def _open_log(self, name: str, run: TrackedRun) -> None:
        def open_log() -> Tracker:
            made: Tracker = importlib.import_module(f"reprise.tracking.{name}").open_log(run)
            return made

        if name not in TRACKERS:  # a file, which is written at once
            self._open[name] = open_log()
            return
        kept = tracked.read(run.folder)
        if name not in kept.used:
            tracked.write(run.folder, replace(kept, used=(*kept.used, name)))
        from reprise.tracking.sender import Sender

        self._open[name] = Sender(open_log)

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        # A service's client may raise anything; none of it may stop the training.
        failures: type[Exception] = Exception if name in TRACKERS else OSError
        try:
            act()
        except failures as error:
            self._open.pop(name, None)
            text = " ".join(str(error).split()) or type(error).__name__
            reason = error if isinstance(error, Phrase) else text
            self._say("tracker_off", tracker=name, reason=reason)


def require(names: tuple[str, ...]) -> None:
    """Raise UsageError for unknown trackers and missing packages, with the extra to install."""
    for name in names:
        if name not in TRACKERS:
            expected = " | ".join(TRACKERS)
            raise UsageError("bad_value", option="track", value=name, expected=expected)
        try:
            importlib.import_module(name)
        except ImportError as error:
            values = {"what": f"--track {name}", "extra": name, "reason": error}
            raise UsageError("extra_missing", **values) from error


def points_of(line: Mapping[str, Any]) -> Points:
    """Return a line of metrics.jsonl by tags (train/loss, valid/recall@50, interest/cosine),
    without non-finite values. A line of an imported run may hold any name: it is escaped.
    """
    named = {"train/loss": line["train_loss"], MARKER: line["evaluations_without_improvement"]}
    for name, value in line.items():
        if name.startswith("valid_"):
            named[_tag(name.removeprefix("valid_"))] = value
    return {shown(tag): float(value) for tag, value in named.items() if value is not None}


def points_of_results(results: Mapping[Any, Mapping[str, float]]) -> Points:
    """Return the final metrics of the best model by tag (result/test/recall@50), without values
    that are not numbers.
    """
    return {
        shown(f"result/{split}/{name}"): float(value)
        for split, metrics in results.items()
        for name, value in metrics.items()
        if math.isfinite(value)
    }


def record_of(lines: Iterable[str], branch: int) -> Record:
    """Return a run's evaluations, of the lines of its log, with an entry for its `branch`."""
    record: Record = {branch: {}}
    for line in map(json.loads, lines):
        record.setdefault(line["branch"], {})[line["step"]] = points_of(line)
    return record


def _tag(metric: str) -> str:
    """Return the tag of a validation metric; interest health has its own group."""
    from reprise.evaluation.metrics import metric_of  # NumPy: help does without

    group, _, rest = metric.partition("_")
    of_interests = metric_of(metric) is None and group in ("interest", "interests")
    return f"interest/{rest}" if of_interests else f"valid/{metric}"


def _events(folder: Path) -> list[dict[str, Any]]:
    """Return the events in run.json, oldest first; none where it cannot be read."""
    from reprise.runs.events import is_event  # NumPy: help does without

    events: list[dict[str, Any]] = _in_record(folder, "events", list)
    return events if all(map(is_event, events)) else []


def _in_record(folder: Path, key: str, kind: type[Any]) -> Any:
    """Return a value in run.json of a kind, which is empty where it cannot be read."""
    try:
        value = json.loads((folder / "run.json").read_text(encoding="utf-8"))[key]
    except (OSError, ValueError, KeyError, TypeError):
        return kind()
    return value if isinstance(value, kind) else kind()
