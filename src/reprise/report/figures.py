"""A report's figures, as plotly figures in plain values.

The page's script fills in colours that depend on light and dark mode (text, grid, background).
Marks differ by shape and number, so that colour is never the only distinction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from reprise.evaluation.groups import COLDNESS, HISTORY, MIXTURE, POPULARITY, UNKNOWN
from reprise.evaluation.metrics import BY_NAME
from reprise.report.facts import Run
from reprise.report.measuring import Measured
from reprise.report.thinning import places
from reprise.runs.events import Line, kept_lines
from reprise.text.messages import Messages

# Distinguishable for most colour vision, with a contrast of at least 3:1 on both backgrounds.
COLOURS = ("#1f83d6", "#d9541e", "#199b6b", "#a65fc4", "#b88300", "#d1477a", "#3b98a5", "#7c8290")
KINDS = {  # of groups, each in its order
    "history_length": HISTORY,
    "popularity": POPULARITY,
    "coldness": COLDNESS,
    "mixture": (*MIXTURE, UNKNOWN),
}
Point = tuple[int | None, float | None, int | None]  # step, value, branch


@dataclass(frozen=True)
class Figure:
    """A figure with its id in the page; `title` is plain text, `data` and `layout` are plotly's."""

    id: str
    title: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


def health(runs: Sequence[Run], messages: Messages) -> list[Figure]:
    """Return the interests' health over the steps that led to each run's current state: shares of
    the lists, one figure per run, then cosines and dead interests with runs overlaid.
    """
    text = messages.text
    figures = [
        _shares(run, place, shown, messages)
        for place, run in enumerate(runs)
        if (shown := share_keys(run))
    ]
    numbers = (
        ("cosine", "page_cosine", "valid_interest_cosine"),
        ("dead", "page_dead", "valid_interest_dead@{n}"),
        ("used", "page_used", "valid_interests_used@{n}"),
    )
    for name, word, key in numbers:
        data = [
            line_of(run, points_along(run, key.format(n=run.cutoff)), place, len(runs) > 1)
            for place, run in enumerate(runs)
            if share_keys(run)
        ]
        if data:
            figure = make_figure(f"interest-{name}", text(word), data, x=text("page_step"))
            if name != "cosine":  # counts, out of the number of interests
                most = max(len(share_keys(run)) for run in runs)
                figure.layout["yaxis"]["range"] = [-0.1, 1.05 * most]
            figures.append(figure)
    return figures


def share_keys(run: Run) -> list[str]:
    """Return the keys of the interests' shares at the run's cutoff; none for a single interest."""
    found = {key for line in run.lines for key in line}
    keys = [
        key
        for key in found
        if key.startswith("valid_interest_share_") and key.endswith(f"@{run.cutoff}")
    ]
    return sorted(keys, key=_interest)


def groups(
    runs: Sequence[Run],
    measured: Sequence[Measured],
    kind: str,
    title: str,
    messages: Messages,
) -> Figure | None:
    """Return the recall by groups of a kind, runs side by side; None if no group is known."""
    data = []
    by_run = of_kind(measured, kind)
    for place, (run, found) in enumerate(zip(runs, by_run, strict=True)):
        if found:
            key = f"recall@{run.cutoff}"
            users = messages.text("users")
            data.append(
                go.Bar(
                    x=[group_name(group, messages) for group in found],
                    y=[values[key] for values in found.values()],
                    customdata=[values["users"] for values in found.values()],
                    name=escape(run.label),
                    marker={"color": colour_of(place)},
                    showlegend=len(runs) > 1,
                    hovertemplate=f"%{{x}}<br>%{{y:.4f}}<br>{users} %{{customdata}}",
                ).to_plotly_json()
            )
    if not data:
        return None
    figure = make_figure(
        f"groups-{kind.replace('_', '-')}", title, data, y=f"Recall@{cutoffs(runs)}"
    )
    there = set().union(*by_run)
    order = [group_name(group, messages) for group in KINDS[kind] if group in there]
    figure.layout["xaxis"] |= {"type": "category", "categoryarray": order}
    figure.layout["yaxis"]["rangemode"] = "tozero"
    return figure


def of_kind(measured: Sequence[Measured], kind: str) -> list[dict[str, dict[str, Any]]]:
    """Return the groups of a kind by name, one dict per run, empty if unknown."""
    return [one.facts["groups"].get(kind, {}) if one.facts else {} for one in measured]


def group_name(group: str, messages: Messages) -> str:
    """Return a group's display name; lengths are unchanged."""
    if group in HISTORY:
        return group
    return messages.text("page_unknown" if group == UNKNOWN else group)


def trade(
    runs: Sequence[Run], measured: Sequence[Measured], title: str, messages: Messages
) -> Figure | None:
    """Return diversity against recall over lambda, runs overlaid; None if unknown."""
    data = []
    for place, (run, found) in enumerate(zip(runs, measured, strict=True)):
        if found.trades:
            names = ["-" if one.coef is None else f"{one.coef:g}" for one in found.trades]
            data.append(
                go.Scatter(
                    x=[one.recall for one in found.trades],
                    y=[one.diversity for one in found.trades],
                    text=names,
                    mode="lines+markers" + ("+text" if len(runs) == 1 else ""),
                    textposition="top right",
                    name=escape(run.label),
                    line={"color": colour_of(place)},
                    marker={"size": 8},
                    cliponaxis=False,
                    showlegend=len(runs) > 1,
                    hovertemplate="λ %{text}<br>Recall %{x:.4f}<br>"
                    + _diversity(messages)
                    + " %{y:.4f}",
                ).to_plotly_json()
            )
    n = cutoffs(runs)
    axes = {"x": f"Recall@{n}", "y": f"{_diversity(messages)}@{n}"}
    return make_figure("lambda", title, data, **axes) if data else None


def line_of(run: Run, points: Sequence[Point], place: int, legend: bool) -> dict[str, Any]:
    """Return the trace of a run's curve; None is a gap."""
    trace: dict[str, Any] = go.Scatter(
        x=[step for step, _, _ in points],
        y=[value for _, value, _ in points],
        customdata=[branch for _, _, branch in points],
        mode="lines" if len(points) > 1 else "markers",
        name=escape(run.label),
        legendgroup=str(place),
        showlegend=legend,
        line={"color": colour_of(place), "width": 2},
        hovertemplate="%{x}: %{y:.6g} (b%{customdata})",
        meta="kept",
    ).to_plotly_json()
    return trace


def _shares(run: Run, place: int, keys: list[str], messages: Messages) -> Figure:
    data = []
    kept = kept_lines(run.starts, run.lines)
    columns = [[line.get(key) for line in kept] for key in keys]
    chosen = places(columns)  # the same of each interest, since they are stacked
    for number, (key, values) in enumerate(zip(keys, columns, strict=True)):
        data.append(
            go.Scatter(
                x=[kept[place]["step"] for place in chosen],
                y=[values[place] for place in chosen],
                stackgroup="one",
                mode="lines",
                line={"width": 1, "color": colour_of(number)},
                name=messages.text("page_interest", number=_interest(key)),
                hovertemplate="%{y:.1%}",
            ).to_plotly_json()
        )
    title = messages.text("page_shares", run=run.label, n=run.cutoff)
    figure = make_figure(f"interest-shares-{place}", title, data, x=messages.text("page_step"))
    figure.layout["yaxis"] |= {"tickformat": ".0%", "range": [0, 1]}
    figure.layout["legend"]["traceorder"] = "normal"
    figure.layout["hovermode"] = "x unified"
    return figure


def points_along(run: Run, key: str) -> list[Point]:
    """Return the points that led to the run's current state, thinned; a non-finite value is a gap,
    and the best is kept.
    """
    kept = kept_lines(run.starts, run.lines)
    at_best = [place for place, line in enumerate(kept) if is_best(run, line)]
    chosen = places([[line.get(key) for line in kept]], at_best)
    return [(kept[at]["step"], kept[at].get(key), kept[at]["branch"]) for at in chosen]


def is_best(run: Run, line: Line) -> bool:
    """Return whether an evaluation is the one of the run's best."""
    best = run.best
    return best is not None and (line["branch"], line["step"]) == (best.branch, best.step)


def make_figure(
    name: str, title: str, data: list[dict[str, Any]], x: str = "", y: str = ""
) -> Figure:
    """Return a figure with the common axes and legend."""
    layout = go.Layout(
        xaxis={"title": {"text": x, "standoff": 8}, "automargin": True},
        yaxis={"title": {"text": y, "standoff": 8}, "automargin": True, "exponentformat": "none"},
        margin={"l": 8, "r": 16, "t": 12, "b": 8},
        hovermode="closest",
        legend={"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0},
        template={},
    ).to_plotly_json()
    return Figure(name, title, data, layout)


def _interest(key: str) -> int:
    return int(key.removeprefix("valid_interest_share_").partition("@")[0])


def cutoffs(runs: Sequence[Run]) -> str:
    """Return the cutoffs that select the runs' best models, as text."""
    return ", ".join(str(n) for n in sorted({run.cutoff for run in runs}))


def colour_of(place: int) -> str:
    """Return the colour of the run or interest with this index, from 0."""
    return COLOURS[place % len(COLOURS)]


def _diversity(messages: Messages) -> str:
    metric = BY_NAME["diversity"]
    return messages.metric(metric.name, metric.label)
