"""A run's course, as run.json's events and the lines of metrics.jsonl tell it: its starts, which of
its branches led to where it stands, and its best.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprise.checkpoints import store
from reprise.training.state import Best

Line = Mapping[str, Any]


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


def is_event(value: Any) -> bool:
    """Whether a value is what run.json holds of an event; a later version's may tell more."""
    if not isinstance(value, dict):
        return False
    texts = (value.get(key, "") for key in ("event", "at"))
    counts = (value.get(key, 0) for key in ("step", "branch"))
    source, changes = value.get("from"), value.get("changes", [])
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(count, int) for count in counts)
        and (source is None or isinstance(source, str))
        and isinstance(changes, list)
        and all(isinstance(change, str) for change in changes)
    )


def starts(events: Iterable[Mapping[str, Any]]) -> list[Start]:
    """Return the history; an event that tells no branch is of the last one."""
    found: list[Start] = []
    branch = 0
    for number, event in enumerate(events, start=1):
        branch = event.get("branch", branch)
        kind, source = event.get("event", "?"), event.get("from")
        parent = None if source is None or kind != "resumed" else _branch_of(source)
        if parent is not None and parent < branch:
            kind = "rewound"
        found.append(
            Start(
                number=number,
                at=event.get("at", ""),
                event=kind,
                step=event.get("step", 0),
                branch=branch,
                came_from=None if source is None else Path(source).name,
                parent=parent,
                detail=_detail(event),
            )
        )
    return found


def forks(history: Iterable[Start]) -> dict[int, tuple[int, int]]:
    """Return of each branch the (parent branch, step) that it goes out from. A branch that was lost
    before it saved anything leaves its number to the next: the last one counts.
    """
    return {
        start.branch: (start.parent, start.step)
        for start in history
        if start.event == "rewound" and start.parent is not None
    }


def kept_path(history: Sequence[Start], lines: Sequence[Line]) -> list[tuple[int, int | None]]:
    """Return the (branch, last step) that led to where a run stands, oldest first; None: to its
    end. A rewind leaves behind what its parent branch made after the step it goes back to.
    """
    known = forks(history)
    current = [start.branch for start in history] or [line["branch"] for line in lines]
    branch, last = (current[-1] if current else 0), None
    path: list[tuple[int, int | None]] = [(branch, None)]
    while branch in known:
        branch, last = known[branch]
        path.append((branch, last))
    return path[::-1]


def kept_lines(history: Sequence[Start], lines: Sequence[Line]) -> list[Line]:
    """Return the evaluations on the way to where a run stands."""
    return [
        line
        for branch, last in kept_path(history, lines)
        for line in lines
        if line["branch"] == branch and (last is None or line["step"] <= last)
    ]


def best_of(lines: Sequence[Line], stored: Best | None) -> Best | None:
    """Return the best as the last evaluation knows it, which may not be stored yet."""
    last = lines[-1] if lines else {}
    step = last.get("best_step")
    for name, metric in last.items():
        if (
            name.startswith("best_recall@")
            and isinstance(metric, int | float)
            and isinstance(step, int)
        ):
            valid = name.replace("best_", "valid_")
            branches = [
                line["branch"]
                for line in lines
                if line["step"] == step and line.get(valid) == metric
            ]
            branch = branches[0] if branches else stored.branch if stored else 0
            return Best(metric, step, branch)
    return stored


def _detail(event: Mapping[str, Any]) -> str:
    if "old" in event:
        return f"{event['old']} -> {event['new']}"
    return "; ".join(event.get("changes", []))


def _branch_of(name: str) -> int | None:
    try:
        return store.parse_name(name)[0]
    except store.DamagedCheckpointError:
        return None
