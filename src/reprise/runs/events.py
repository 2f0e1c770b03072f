"""The training history in run.json's events and metrics.jsonl's lines: starts, the branches that
led to the current state, and the best.
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
    """One entry of a run's history.

    Attributes:
        number: Its number, from 1.
        at: Its time.
        event: created, resumed, rewound, imported, learning rate changed, environment changed.
        step, branch: The run's step and branch at the time.
        came_from: The checkpoint from which the run continued.
        parent: The branch of that checkpoint.
        detail: Details, such as the changes.
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
    """Return whether a value has the form of run.json's events; later versions may add keys."""
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
    """Return the history of events; an event without a branch belongs to the last one."""
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
    """Return the (parent branch, step) that each branch starts from. A branch that was lost before
    its first save passes its number to the next one, so the last one counts.
    """
    return {
        start.branch: (start.parent, start.step)
        for start in history
        if start.event == "rewound" and start.parent is not None
    }


def kept_path(history: Sequence[Start], lines: Sequence[Line]) -> list[tuple[int, int | None]]:
    """Return the (branch, last step) that led to a run's current state, oldest first; None: to the
    branch's end. A rewind discards the parent branch after the step it goes back to.
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
    """Return the evaluations that led to a run's current state."""
    return [
        line
        for branch, last in kept_path(history, lines)
        for line in lines
        if line["branch"] == branch and (last is None or line["step"] <= last)
    ]


def rate_trained_with(events: Iterable[Mapping[str, Any]], branch: int, step: int) -> float | None:
    """Return the learning rate that a step was trained with, if it was changed at that step; None
    where no event says so.
    """
    current = 0
    for event in events:
        current = event.get("branch", current)
        if (current, event.get("step")) == (branch, step) and isinstance(event.get("old"), float):
            return float(event["old"])
    return None


def best_of(lines: Sequence[Line], stored: Best | None) -> Best | None:
    """Return the best recorded by the last evaluation, which may not be in a checkpoint yet."""
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
