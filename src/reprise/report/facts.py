"""Read a run's training history from its folder: evaluations, starts, best, and branches.

Plain values, read without loading a model.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reprise.checkpoints.store import Checkpoint
from reprise.errors import CheckpointError, ContentError
from reprise.runs import results
from reprise.runs.events import Line, Start, best_of, forks, kept_path, starts
from reprise.runs.folder import NOTHING, RunFolder, find_checkpoint, read_record
from reprise.text.messages import Say
from reprise.text.shown import shown
from reprise.training.state import Best

Points = list[tuple[int, float]]
_DEFAULT_CUTOFF = 50


@dataclass(frozen=True)
class Run:
    """A run's facts.

    label: its unique name in the report; folder: its folder's name. lines: those of metrics.jsonl,
    in order of time. identity: settings and data. step, patience_used, seconds: of the latest
    checkpoint, None without one. notes: (message key, values) of what could not be read.
    """

    label: str
    folder: str
    path: Path
    config: Mapping[str, Any]
    identity: Mapping[str, Any]
    environment: Mapping[str, str]
    starts: tuple[Start, ...]
    lines: tuple[Line, ...]
    best: Best | None
    step: int | None
    patience_used: int | None
    seconds: float | None
    notes: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def cutoff(self) -> int:
        """The N of the recall@N that selects the best model."""
        return int(self.config.get("top_n", _DEFAULT_CUTOFF))

    @property
    def selector(self) -> str:
        """The key, in an evaluation, of the metric that selects the best model."""
        return f"valid_recall@{self.cutoff}"


def read_runs(paths: Sequence[Path], say: Say) -> list[Run]:
    """Read the distinct runs, and label them by the shortest unique names. Damage is printed, and
    kept in the run's notes. Raise CheckpointError for a missing run.
    """
    distinct = list({path.resolve(): path for path in paths}.values())
    runs = [_read(path, say) for path in distinct]
    labels, depth = [str(run.config.get("name", run.folder)) for run in runs], 0
    while len(set(labels)) < len(labels):
        depth += 1  # parent folders needed for unique names
        labels = ["/".join(run.path.resolve().parts[-depth:]) for run in runs]
    return [replace(run, label=shown(label)) for run, label in zip(runs, labels, strict=True)]


def noting(notes: list[tuple[str, dict[str, Any]]], say: Say) -> Say:
    """Return a `say` that also notes what is said, with only the last part of paths, so that a page
    does not show its author's local paths.
    """

    def note(key: str, **values: Any) -> None:
        say(key, **values)
        shown = {name: v.name if isinstance(v, Path) else v for name, v in values.items()}
        notes.append((key, shown))

    return note


def left_behind(run: Run, key: str) -> list[tuple[int, Points]]:
    """Return the parts of the curve `key` that rewinds discarded, each with its branch and, if
    there is one, the point before.
    """
    until = dict(kept_path(run.starts, run.lines))
    pieces = []
    for branch in sorted({line["branch"] for line in run.lines}):
        last = until.get(branch, -1)
        if last is not None:
            curve = branch_curve(run, key, branch)
            after = [place for place, (step, _) in enumerate(curve) if step > last]
            if after:
                pieces.append((branch, curve[max(0, after[0] - 1) :]))
    return pieces


def branch_curve(run: Run, key: str, branch: int) -> Points:
    """Return the finite points of `key` on a branch, with the point that it starts from."""
    parents, own = forks(run.starts), _points(run, key, branch)
    if branch in parents:
        parent, step = parents[branch]
        return [point for point in branch_curve(run, key, parent) if point[0] == step] + own
    return own


def height(curve: Points, step: int) -> float | None:
    """Interpolate a curve of `branch_curve` linearly at a step; outside it, return the nearest
    value; None without points.
    """
    if not curve:
        return None
    place = bisect_left(curve, step, key=lambda point: point[0])
    right, high = curve[min(place, len(curve) - 1)]
    if place in (0, len(curve)) or right == step:
        return high
    left, low = curve[place - 1]
    return low + (high - low) * (step - left) / (right - left)


def _points(run: Run, key: str, branch: int) -> Points:
    return [
        (line["step"], line[key])
        for line in run.lines
        if line["branch"] == branch and line.get(key) is not None
    ]


def _read(path: Path, say: Say) -> Run:
    folder = RunFolder(path)
    if not folder.checkpoints.is_dir():
        raise CheckpointError("run_missing", path=path)
    notes: list[tuple[str, dict[str, Any]]] = []

    note = noting(notes, say)
    latest = _latest(path, note)

    def unreadable(key: str, **values: Any) -> None:
        note("page_record_damaged", reason=values["reason"])

    record = read_record(folder, unreadable)
    if latest is None and not record:
        raise CheckpointError("no_checkpoint", path=path)
    lines = _read_lines(folder, latest, note)
    identity = dict(latest.identity) if latest is not None else record.get("identity", {})
    progress = None if latest is None else latest.progress
    return Run(
        label="",
        folder=path.resolve().name,
        path=path,
        config=record.get("config") or identity,
        identity=identity,
        environment=record.get("environment") or (latest.environment if latest else {}),
        starts=tuple(starts(record.get("events", []))),
        lines=tuple(lines),
        best=_best(folder, lines, latest),
        step=progress.step if progress else None,
        patience_used=progress.evaluations_without_improvement if progress else None,
        seconds=progress.seconds if progress else None,
        notes=tuple(notes),
    )


def _best(folder: RunFolder, lines: Sequence[Line], latest: Checkpoint | None) -> Best | None:
    """Return the run's best, the rating of where it ended included."""
    known = best_of(lines, latest.progress.best if latest else None)
    at_end = [latest] if latest is not None else []
    return results.best_known(at_end, results.read(folder.path), known)


def _latest(path: Path, note: Say) -> Checkpoint | None:
    try:
        return find_checkpoint(path, "latest", note)
    except CheckpointError as error:
        if error.key != "no_checkpoint":
            raise
        return None


def _read_lines(folder: RunFolder, latest: Checkpoint | None, note: Say) -> list[Line]:
    """Return the evaluations so far, those after the latest checkpoint included. An incomplete last
    line, still being written, is ignored.
    """
    stored = NOTHING if latest is None else latest.progress
    found = folder.log.read(stored, beyond=True)
    if not found.whole:
        note("page_log_damaged", kept=len(found.lines), lines=stored.logged.lines)
    elif found.source != folder.metrics:
        note("page_metrics_damaged")
    return [_parsed(line) for line in found.lines]


def _parsed(text: str) -> Line:
    line = json.loads(text)
    if not isinstance(line, dict):
        raise ContentError("damage_evaluation", line=text.strip())
    return {**line, "step": int(line["step"]), "branch": int(line.get("branch", 0))}
