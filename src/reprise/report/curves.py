"""A report's curves over the steps: training loss and validation metrics, with marks for the best
and for the run's events.
"""

from collections.abc import Sequence
from functools import cache, partial
from html import escape
from typing import Any

import plotly.graph_objects as go

from reprise.evaluation.metrics import BY_NAME
from reprise.report import facts
from reprise.report.facts import Points, Run
from reprise.report.figures import (
    Figure,
    Point,
    colour_of,
    is_best,
    line_of,
    make_figure,
    points_along,
)
from reprise.report.thinning import places
from reprise.runs.events import Start
from reprise.text.messages import Messages

BEST_COLOUR = "#e3a008"
# Drawn around the curve's point in different sizes, so that several marks at one point show.
SYMBOLS = {
    "resumed": ("triangle-up-open", 15),
    "rewound": ("diamond-open", 21),
    "created": ("square-open", 15),
    "imported": ("square-open", 15),
    "learning rate changed": ("hexagon-open", 18),
}
EVENTS = {
    "created": "page_created",
    "resumed": "page_resumed",
    "rewound": "page_rewound",
    "imported": "page_imported",
    "learning rate changed": "page_rate_changed",
    "environment changed": "page_environment_changed",
    "renamed": "page_renamed",
}
_FIRST = ("train_loss", "recall", "ndcg", "hitrate")  # shown first
_HEALTH = ("interest_share_", "interest_dead", "interests_used", "interest_cosine")


def curves(runs: Sequence[Run], messages: Messages) -> tuple[list[Figure], list[Figure]]:
    """Return the curves of training loss and validation metrics, runs overlaid: those at the
    cutoffs that select a best model, and the others.
    """
    cutoffs = {run.cutoff for run in runs}
    first: list[Figure] = []
    others: list[Figure] = []
    for key in _curve_keys(runs):
        kind, n = _parts(key)
        title = messages.text("page_loss") if n is None else f"{_metric(kind, messages)}@{n}"
        data = [trace for place, run in enumerate(runs) for trace in _curve(run, key, place, runs)]
        data += [
            trace for place, run in enumerate(runs) for trace in _marks(run, key, place, messages)
        ]
        figure = make_figure(f"curve-{_id(key)}", title, data, x=messages.text("page_step"))
        chosen = kind in _FIRST and (n is None or n in cutoffs)
        (first if chosen else others).append(figure)
    return first, others


def event_of(start: Start, messages: Messages) -> str:
    """Describe a start; an unknown kind is described by its name."""
    if start.event not in EVENTS:
        return start.event
    return messages.text(
        EVENTS[start.event],
        step=start.step,
        branch=start.branch,
        parent=start.parent,
        source=start.came_from or "?",
        detail=start.detail,
    )


def _curve(run: Run, key: str, place: int, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return a run's curve: the path to its current state and, dotted, what rewinds discarded."""
    points = points_along(run, key)
    if all(value is None for _, value, _ in points):
        return []
    traces = [line_of(run, points, place, len(runs) > 1)]
    left: list[Point] = []
    for branch, piece in facts.left_behind(run, key):
        kept = [piece[place] for place in places([[value for _, value in piece]])]
        left += [*((step, value, branch) for step, value in kept), (None, None, None)]
    if left:
        trace = line_of(run, left[:-1], place, legend=False)
        trace["line"] |= {"dash": "dot"}
        traces.append(trace | {"opacity": 0.8, "meta": "left"})
    return traces


def _marks(run: Run, key: str, place: int, messages: Messages) -> list[dict[str, Any]]:
    """Return the marks on a run's curve: its best and, by kind, all starts but the first."""
    traces = []
    best = run.best
    if best is not None:
        known = next((line.get(key) for line in run.lines if is_best(run, line)), None)
        value = best.metric if key == run.selector else known
        if value is not None:
            label = messages.text("page_best_mark", step=best.step, metric=f"{best.metric:.6f}")
            trace = _mark(run, place, [(best.step, value)], ("star", 13), [label])
            trace["marker"] |= {
                "color": BEST_COLOUR,
                "line": {"color": colour_of(place), "width": 1},
            }
            traces.append(trace | {"meta": "best", "mode": "markers"})
    curve_of = cache(partial(facts.branch_curve, run, key))
    for event, symbol in SYMBOLS.items():
        events = [start for start in run.starts[1:] if start.event == event]
        found = [(start, facts.height(curve_of(_branch(start)), start.step)) for start in events]
        marked = [(start, value) for start, value in found if value is not None]
        if marked:
            points = [(start.step, value) for start, value in marked]
            hover = [
                messages.text(
                    "page_event_mark", number=start.number, event=event_of(start, messages)
                )
                for start, _ in marked
            ]
            trace = _mark(run, place, points, symbol, hover)
            numbers = [f"#{start.number}" for start, _ in marked]
            traces.append(trace | {"text": numbers, "meta": event})
    return traces


def _branch(start: Start) -> int:
    """Return the branch that a start's mark is on: of a rewind, the parent."""
    if start.event == "rewound" and start.parent is not None:
        return start.parent
    return start.branch


def _mark(
    run: Run, place: int, points: Points, symbol: tuple[str, int], hover: list[str]
) -> dict[str, Any]:
    name, size = symbol
    trace: dict[str, Any] = go.Scatter(
        x=[step for step, _ in points],
        y=[value for _, value in points],
        mode="markers+text",
        textposition="top center" if name != "diamond-open" else "bottom center",
        marker={"symbol": name, "size": size, "color": colour_of(place), "line": {"width": 2}},
        name=escape(run.label),
        legendgroup=str(place),
        showlegend=False,
        hovertext=[escape(text) for text in hover],
        hovertemplate="%{hovertext}<br>%{x}: %{y:.6g}<extra></extra>",
        cliponaxis=False,
    ).to_plotly_json()
    return trace


def _curve_keys(runs: Sequence[Run]) -> list[str]:
    """Return the keys that are drawn as curves: loss, then metrics by kind and cutoff."""
    found = {
        key
        for run in runs
        for line in run.lines
        for key in line
        if key == "train_loss"
        or (key.startswith("valid_") and not key.removeprefix("valid_").startswith(_HEALTH))
    }
    order = ["train_loss", *BY_NAME]
    known = {key: _parts(key) for key in found}
    return sorted(
        found,
        key=lambda key: (
            order.index(known[key][0]) if known[key][0] in order else len(order),
            known[key][0],
            known[key][1] or 0,
        ),
    )


def _parts(key: str) -> tuple[str, int | None]:
    """Split "valid_recall@50" into ("recall", 50)."""
    kind, at, n = key.removeprefix("valid_").partition("@")
    return kind, int(n) if at and n.isdigit() else None


def _metric(kind: str, messages: Messages) -> str:
    metric = BY_NAME.get(kind)
    return kind if metric is None else messages.metric(kind, metric.label)


def _id(key: str) -> str:
    return key.replace("@", "-").replace("_", "-")
