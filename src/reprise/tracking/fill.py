"""Send trackers what a run holds and they lack, without training."""

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from reprise.config.load import make_config
from reprise.errors import CheckpointError, TrackerError, UsageError
from reprise.runs import tracked
from reprise.runs.folder import RunFolder
from reprise.runs.lock import held
from reprise.runs.manage.survey import Survey, measured, survey
from reprise.runs.naming import read
from reprise.text.messages import Phrase
from reprise.tracking import TRACKERS, TrackedRun, points_of_results, record_of


def trackers_of(folder: RunFolder, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the trackers asked for, or those that the run was logged to.

    Raises:
        UsageError: There are none.
    """
    used = tuple(name for name in tracked.read(folder.path).used if name in TRACKERS)
    if not (asked or used):
        raise UsageError("track_none", path=folder.path, known=" | ".join(TRACKERS))
    return tuple(dict.fromkeys(asked)) or used


def fill_in(folder: RunFolder, names: Sequence[str]) -> int:
    """Log a run's evaluations and results to trackers and to TensorBoard's files, as far as they
    lack them; return the number of evaluations of the current branch.

    Raises:
        CheckpointError: There is no checkpoint.
        RunInUseError: The run is being trained, and logs by itself.
        TrackerError: A tracker failed.
    """
    with held(folder.path):
        found = replace(survey(folder), pid=None)  # which is this process
        if found.latest is None:
            raise CheckpointError("no_checkpoint", path=folder.path)
        run = _as_tracked(found)
        for name in ("tensorboard", *names):
            try:
                _fill_one(name, run, found)
            except Exception as error:  # of a service's client: anything
                text = " ".join(str(error).split()) or type(error).__name__
                reason = error if isinstance(error, Phrase) else text
                raise TrackerError("track_failed", tracker=name, reason=reason) from error
        kept = tracked.read(folder.path)
        used = tuple(dict.fromkeys((*kept.used, *names)))
        if used != kept.used:
            tracked.write(folder.path, replace(kept, used=used))
    return len(run.record[run.branch])


def _as_tracked(found: Survey) -> TrackedRun:
    assert found.latest is not None
    progress, folder = found.latest.progress, found.folder
    config = make_config({**read(folder).values, "name": found.name})
    record = record_of(folder.log.read(progress).lines, progress.branch)
    now = asdict(config) | {"learning_rate": progress.learning_rate}
    return TrackedRun(folder.path, config.run_name, progress.branch, now, record)


def _fill_one(name: str, run: TrackedRun, found: Survey) -> None:
    tracker = importlib.import_module(f"reprise.tracking.{name}").open_log(run)
    results = {split: _metrics(measured(found, split)) for split in ("valid", "test")}
    if found.best is not None and any(results.values()):
        tracker.results(found.best.progress.step, points_of_results(results))
    tracker.close(finished=found.state in ("finished", "stopped early"))


def _metrics(entry: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the metrics of an entry of results.json."""
    return {
        key: float(value)
        for key, value in (entry or {}).items()
        if "@" in key and isinstance(value, int | float) and math.isfinite(value)
    }
