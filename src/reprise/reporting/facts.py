"""What a run's folder tells of its course: its evaluations, its starts, its best, and which of its
branches led to where it stands. Plain values, read without loading a model.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reprise.errors import CheckpointError, ContentError, Phrase
from reprise.runs import run, store
from reprise.runs.run import RunFolder
from reprise.runs.store import Checkpoint
from reprise.training.state import Best

Line = Mapping[str, Any]
Say = Callable[..., None]
Points = list[tuple[int, float]]
_DEFAULT_CUTOFF = 50


@dataclass(frozen=True)
class Start:
    """One entry of a run's history, by its number from 1.

    event: created, resumed, rewound, imported, learning rate changed, environment changed.
    step, branch: where the run stood then; came_from: the checkpoint it went on from, and parent
    the branch that has it. detail: what an entry tells besides.
    """

    number: int
    at: str
    event: str
    step: int
    branch: int
    came_from: str | None
    parent: int | None
    detail: str


@dataclass(frozen=True)
class Run:
    """What is known of a run.

    label: its name beside the others of a report; folder: its folder's name. lines: those of
    metrics.jsonl, in the order in which they were made. step, patience_used, seconds: as the
    latest checkpoint has them, None where there is none. notes: (message key, values) of what
    could not be read.
    """

    label: str
    folder: str
    path: Path
    config: Mapping[str, Any]
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


def read_runs(paths: Sequence[Path], say: Say) -> list[Run]:
    """Read the runs, each once, and tell them apart by the shortest names that do so;
    CheckpointError where there is none. What is damaged is said, and kept in the run's notes.
    """
    distinct = list({path.resolve(): path for path in paths}.values())
    runs = [_read(path, say) for path in distinct]
    labels, depth = [str(run.config.get("name", run.folder)) for run in runs], 0
    while len(set(labels)) < len(labels):
        depth += 1  # of the folders that tell two apart
        labels = ["/".join(run.path.resolve().parts[-depth:]) for run in runs]
    return [replace(run, label=label) for run, label in zip(runs, labels, strict=True)]


def noting(notes: list[tuple[str, dict[str, Any]]], say: Say) -> Say:
    """Return a `say` that notes, too, what is said: paths by their last part, as a page does not
    tell where its maker keeps things.
    """

    def note(key: str, **values: Any) -> None:
        say(key, **values)
        shown = {name: v.name if isinstance(v, Path) else v for name, v in values.items()}
        notes.append((key, shown))

    return note


def kept_path(run: Run) -> list[tuple[int, int | None]]:
    """Return the (branch, last step) that led to where the run stands, oldest first; None: to its
    end. A rewind leaves behind what its parent branch made after the step it goes back to.
    """
    forks = _forks(run)
    current = [start.branch for start in run.starts] or [line["branch"] for line in run.lines]
    branch, last = (current[-1] if current else 0), None
    path: list[tuple[int, int | None]] = [(branch, None)]
    while branch in forks:
        branch, last = forks[branch]
        path.append((branch, last))
    return path[::-1]


def kept_lines(run: Run) -> list[Line]:
    """Return the evaluations on the way to where the run stands."""
    return [
        line
        for branch, last in kept_path(run)
        for line in run.lines
        if line["branch"] == branch and (last is None or line["step"] <= last)
    ]


def left_behind(run: Run, key: str) -> list[tuple[int, Points]]:
    """Return the pieces of the curve `key` that a rewind left behind, each with its branch and
    with the point before, where it has one.
    """
    until = dict(kept_path(run))
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
    """Return the finite points of `key` on a branch, with the point that it goes out from."""
    forks, own = _forks(run), _points(run, key, branch)
    if branch in forks:
        parent, step = forks[branch]
        return [point for point in branch_curve(run, key, parent) if point[0] == step] + own
    return own


def height(run: Run, key: str, branch: int, step: int) -> float | None:
    """Return where the curve `key` of a branch stands at a step: between its evaluations on the
    straight line, outside of them at the nearest; None where it has no point.
    """
    curve = branch_curve(run, key, branch)
    if not curve:
        return None
    before = [point for point in curve if point[0] <= step]
    after = [point for point in curve if point[0] >= step]
    if not (before and after):
        return (before or after)[-1 if before else 0][1]
    (left, low), (right, high) = before[-1], after[0]
    return low if left == right else low + (high - low) * (step - left) / (right - left)


def _forks(run: Run) -> dict[int, tuple[int, int]]:
    """Return of each branch the (parent branch, step) that it goes out from. A branch that was lost
    before it saved anything leaves its number to the next: the last one counts.
    """
    return {
        start.branch: (start.parent, start.step)
        for start in run.starts
        if start.event == "rewound" and start.parent is not None
    }


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

    record = run.read_record(folder, unreadable)
    try:
        starts = _starts(record.get("events", []))
    except (TypeError, ValueError):
        unreadable("", reason=Phrase("unexpected_content"))
        starts = []
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
        environment=record.get("environment") or (latest.environment if latest else {}),
        starts=tuple(starts),
        lines=tuple(lines),
        best=_best(lines, progress.best if progress else None),
        step=progress.step if progress else None,
        patience_used=progress.evaluations_without_improvement if progress else None,
        seconds=progress.seconds if progress else None,
        notes=tuple(notes),
    )


def _latest(path: Path, note: Say) -> Checkpoint | None:
    try:
        return run.find_checkpoint(path, "latest", note)
    except CheckpointError as error:
        if error.key != "no_checkpoint":
            raise
        return None


def _read_lines(folder: RunFolder, latest: Checkpoint | None, note: Say) -> list[Line]:
    """Return the evaluations of metrics.jsonl; where it is damaged, those that the latest
    checkpoint keeps. A last line that is still being written is not counted.
    """
    kept = latest.progress.evaluations if latest is not None else ()
    try:
        content = folder.metrics.read_text(encoding="utf-8")
        return [_parsed(line) for line in content.splitlines(keepends=True) if line.endswith("\n")]
    except FileNotFoundError as error:
        if kept:
            note("page_metrics_damaged", reason=error.strerror)
    except (OSError, ValueError, KeyError, TypeError) as error:
        note("page_metrics_damaged", reason=error)
    return [_parsed(line) for line in kept]


def _parsed(text: str) -> Line:
    line = json.loads(text)
    if not isinstance(line, dict):
        raise ContentError("damage_evaluation", line=text.strip())
    return {**line, "step": int(line["step"]), "branch": int(line.get("branch", 0))}


def _starts(events: list[dict[str, Any]]) -> list[Start]:
    """Return the history; an event that tells no branch is of the last one."""
    starts: list[Start] = []
    branch = 0
    for number, event in enumerate(events, start=1):
        branch = int(event.get("branch", branch))
        kind, source = str(event.get("event", "?")), event.get("from")
        parent = None if source is None or kind != "resumed" else _branch_of(str(source))
        if parent is not None and parent < branch:
            kind = "rewound"
        starts.append(
            Start(
                number=number,
                at=str(event.get("at", "")),
                event=kind,
                step=int(event.get("step", 0)),
                branch=branch,
                came_from=None if source is None else Path(source).name,
                parent=parent,
                detail=_detail(event),
            )
        )
    return starts


def _detail(event: Mapping[str, Any]) -> str:
    if "old" in event:
        return f"{event['old']} -> {event['new']}"
    return "; ".join(map(str, event.get("changes", [])))


def _branch_of(name: str) -> int | None:
    try:
        return store.parse_name(name)[0]
    except store.DamagedCheckpointError:
        return None


def _best(lines: Sequence[Line], stored: Best | None) -> Best | None:
    """Return the best as the last evaluation knows it, which may not be stored yet."""
    for name, metric in (lines[-1] if lines else {}).items():
        if name.startswith("best_recall@") and metric is not None:
            step, valid = lines[-1]["best_step"], name.replace("best_", "valid_")
            branches = [
                line["branch"]
                for line in lines
                if line["step"] == step and line.get(valid) == metric
            ]
            branch = branches[0] if branches else stored.branch if stored else 0
            return Best(metric, step, branch)
    return stored
