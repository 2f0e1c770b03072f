"""Render a report as a self-contained HTML file; the same facts give the same bytes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reprise import __version__
from reprise.data.dataset import HELD_OUT
from reprise.evaluation.metrics import METRICS, metric_of
from reprise.report import curves, figures
from reprise.report.facts import Run
from reprise.report.figures import Figure
from reprise.report.measuring import Measured, Trade
from reprise.report.thinning import MOST_POINTS, places
from reprise.runs.baselines_kept import Facts
from reprise.runs.beside import heads_and_rows, unmeasured
from reprise.runs.events import Line
from reprise.runs.manage.apart import apart
from reprise.runs.results import Split
from reprise.text.messages import Messages
from reprise.text.shown import shown

_TEMPLATE = Path(__file__).parent / "template"
_GROUPED = {
    "history_length": "page_by_history",
    "popularity": "page_by_popularity",
    "coldness": "page_by_coldness",
    "mixture": "page_by_mixture",
}
_ABSENT = "–"


def render(
    runs: Sequence[Run],
    measured: Sequence[Measured] | None,
    split: Split,
    messages: Messages,
    baselines: Sequence[Facts] = (),
) -> str:
    """Render the page of the runs; `measured`: one per run, or None without evaluation; baselines:
    what `runs.beside.stored_beside` returns.
    """
    first, others = curves.curves(runs, messages)
    of_health = figures.health(runs, messages)
    of_groups, of_lambda = _of_the_best(runs, measured or (), messages)
    drawn = [*first, *others, *of_health, *of_groups, *of_lambda]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    return environment.get_template("page.html").render(
        text=messages.text,
        language="zh-CN" if messages.language == "zh" else "en",
        version=__version__,
        plotly=get_plotlyjs(),
        runs=runs,
        colours=[figures.colour_of(place) for place in range(len(runs))],
        best_colour=curves.BEST_COLOUR,
        overview=_overview(runs, messages),
        notes=[
            *map(messages.text, apart([run.identity for run in runs])),
            *_notes(runs, [run.notes for run in runs], messages),
            *_long(runs, messages),
        ],
        first=first,
        others=others,
        health=of_health,
        split=split,
        measured=measured,
        measured_notes=_notes(runs, [one.notes for one in measured or ()], messages),
        held_out=HELD_OUT,
        evaluations=[
            (run, one.facts) for run, one in zip(runs, measured or (), strict=False) if one.facts
        ],
        metrics=_metrics(measured or (), messages),
        meanings=_meanings(runs, measured or (), messages),
        numbers=_numbers(runs, measured or (), messages),
        baselines=[_baselines(facts, messages) for facts in baselines],
        groups=of_groups,
        trades=of_lambda,
        configuration=_side_by_side([run.config for run in runs]),
        environments=_side_by_side([run.environment for run in runs]),
        event_of=lambda start: curves.event_of(start, messages),
        figures={figure.id: {"data": figure.data, "layout": figure.layout} for figure in drawn},
        facts=_facts(runs, measured) | {"baselines": list(map(_comparable, baselines))},
    )


def _finalized(value: Any) -> Any:
    """Return what the template shows of a value: texts of files without control characters."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return shown(value, keep="\n") if plain else value


def _of_the_best(
    runs: Sequence[Run], measured: Sequence[Measured], messages: Messages
) -> tuple[list[Figure], list[Figure]]:
    """Return the figures of groups, and of lambda."""
    text = messages.text
    if not measured:
        return [], []
    n = figures.cutoffs(runs)
    found = [
        figures.groups(runs, measured, kind, text(word, n=n), messages)
        for kind, word in _GROUPED.items()
    ]
    of_lambda = figures.trade(runs, measured, text("page_trade"), messages)
    return [one for one in found if one], [of_lambda] if of_lambda else []


def _overview(runs: Sequence[Run], messages: Messages) -> list[tuple[str, list[str]]]:
    """Return the rows of the table of runs: a heading and one cell per run."""
    text = messages.text
    return [
        (text("page_folder"), [run.folder for run in runs]),
        (
            text("page_trained"),
            [
                text(
                    "page_trained_on",
                    model=run.config.get("model", "?"),
                    dataset=run.config.get("dataset", "?"),
                )
                for run in runs
            ],
        ),
        (
            text("page_step"),
            [
                text(
                    "page_of_steps",
                    step=_ABSENT if run.step is None else run.step,
                    steps=run.config.get("max_steps", "?"),
                )
                for run in runs
            ],
        ),
        (text("page_best"), [_best(run, messages) for run in runs]),
        (text("page_patience"), [_patience(run) for run in runs]),
        (text("page_starts"), [_starts(run, messages) for run in runs]),
        (text("page_time"), [_duration(run.seconds) for run in runs]),
    ]


def _best(run: Run, messages: Messages) -> str:
    if run.best is None:
        return _ABSENT
    metric, step, branch = f"{run.best.metric:.6f}", run.best.step, run.best.branch
    return messages.text("page_best_at", n=run.cutoff, metric=metric, step=step, branch=branch)


def _patience(run: Run) -> str:
    used = _ABSENT if run.patience_used is None else run.patience_used
    return f"{used} / {run.config.get('patience', '?')}"


def _starts(run: Run, messages: Messages) -> str:
    events = [start.event for start in run.starts]
    counts = {event: events.count(event) for event in ("created", "imported", "resumed", "rewound")}
    return messages.text(
        "page_starts_counted",
        starts=sum(counts.values()),
        resumed=counts["resumed"],
        rewound=counts["rewound"],
    )


def _duration(seconds: float | None) -> str:
    """Format seconds as h:mm:ss."""
    if seconds is None:
        return _ABSENT
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _notes(
    runs: Sequence[Run],
    found: Sequence[Sequence[tuple[str, dict[str, Any]]]],
    messages: Messages,
) -> list[str]:
    """Return the notes on missing data, with the run's name if there are several runs."""
    return [
        (f"{run.label}: " if len(runs) > 1 else "") + messages.text(key, **values)
        for run, own in zip(runs, found, strict=False)
        for key, values in own
    ]


def _long(runs: Sequence[Run], messages: Messages) -> list[str]:
    """Return the note that curves are thinned, where some are."""
    most = max((len(run.lines) for run in runs), default=0)
    return [messages.text("page_thinned", most=MOST_POINTS)] if most > MOST_POINTS else []


def _metrics(measured: Sequence[Measured], messages: Messages) -> list[tuple[str, list[str]]]:
    """Return the rows of the table of metrics: a name and each run's value with interval."""
    cutoffs = sorted({n for one in measured if one.facts for n in one.facts["cutoffs"]})
    rows = []
    for metric in METRICS:
        name = messages.metric(metric.name, metric.label)
        for n in cutoffs:
            cells = [_value(one, f"{metric.name}@{n}") for one in measured]
            if any(cells):
                rows.append((f"{name}@{n}", [cell or _ABSENT for cell in cells]))
    return rows


def _meanings(
    runs: Sequence[Run], measured: Sequence[Measured], messages: Messages
) -> list[tuple[str, str]]:
    """Return the name of each metric on the page, and what it means."""
    keys = [key.removeprefix("valid_") for run in runs for line in run.lines[-1:] for key in line]
    keys += [key for one in measured if one.facts for key in one.facts]
    shown = {metric.name for key in keys if (metric := metric_of(key)) is not None}
    return [
        (messages.metric(metric.name, metric.label), messages.text(metric.about))
        for metric in METRICS
        if metric.name in shown
    ]


def _baselines(facts: Facts, messages: Messages) -> dict[str, Any]:
    """Return the table of the baselines of a data set, and what is not in it."""
    heads, rows = heads_and_rows(facts, messages)
    about = {key: facts[key] for key in ("dataset", "split")}
    title = messages.text("baselines_beside", **about)
    return {"title": title, "heads": heads, "rows": rows, "notes": unmeasured(facts, messages)}


def _comparable(facts: Facts) -> dict[str, Any]:
    """Return the facts of baselines without groups, which the page does not show."""
    return {
        key: {name: _without_groups(own) for name, own in value.items()}
        if key in ("baselines", "runs")
        else value
        for key, value in facts.items()
    }


def _without_groups(entry: Facts | None) -> dict[str, Any] | None:
    return None if entry is None else {key: entry[key] for key in entry if key != "groups"}


def _value(measured: Measured, key: str) -> str:
    if measured.facts is None or measured.facts.get(key) is None:
        return ""
    shown = f"{measured.facts[key]:.4f}"
    low, high = measured.facts["confidence"]["intervals"].get(key, (None, None))
    return shown if low is None else f"{shown} [{low:.4f}, {high:.4f}]"


def _numbers(
    runs: Sequence[Run], measured: Sequence[Measured], messages: Messages
) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Return the figures' data as tables: a heading and rows."""
    n = figures.cutoffs(runs)
    tables = []
    for kind, order in figures.KINDS.items():
        by_run = figures.of_kind(measured, kind)
        rows = [
            (
                figures.group_name(group, messages),
                [
                    _counted(found.get(group), f"recall@{run.cutoff}")
                    for run, found in zip(runs, by_run, strict=True)
                ],
            )
            for group in order
            if any(group in found for found in by_run)
        ]
        tables.append((messages.text(_GROUPED[kind], n=n), rows))
    chosen = [{one.coef: one for one in found.trades} for found in measured]
    coefs = sorted(
        {coef for own in chosen for coef in own}, key=lambda coef: -1 if coef is None else coef
    )
    rows = [
        ("-" if coef is None else f"{coef:g}", [_traded(own.get(coef)) for own in chosen])
        for coef in coefs
    ]
    return [*tables, (messages.text("page_lambda", n=n), rows)]


def _counted(group: dict[str, Any] | None, key: str) -> str:
    if group is None or group[key] is None:
        return _ABSENT
    return f"{group[key]:.4f} ({group['users']})"


def _traded(trade: Trade | None) -> str:
    if trade is None or trade.recall is None or trade.diversity is None:
        return _ABSENT
    return f"{trade.recall:.4f}, {trade.diversity:.4f}"


def _side_by_side(tables: Sequence[Any]) -> list[tuple[str, list[str], bool]]:
    """Return one row per key: the key, one cell per table, and whether the cells differ."""
    keys = list(dict.fromkeys(key for table in tables for key in table))
    rows = []
    for key in keys:
        cells = [_cell(table[key]) if key in table else _ABSENT for table in tables]
        rows.append((key, cells, len(set(cells)) > 1))
    return rows


def _cell(value: Any) -> str:
    return _ABSENT if value is None else str(value)


def _facts(runs: Sequence[Run], measured: Sequence[Measured] | None) -> dict[str, Any]:
    """Return the page's facts as JSON values, for programs."""
    plain = [
        {
            "label": run.label,
            "folder": run.folder,
            "config": dict(run.config),
            "environment": dict(run.environment),
            "best": None if run.best is None else dataclasses.asdict(run.best),
            "starts": [dataclasses.asdict(start) for start in run.starts],
            "evaluations": [dict(line) for line in _thinned(run)],
            "evaluations_made": len(run.lines),
        }
        for run in runs
    ]
    found = [
        {
            "evaluation": None if one.facts is None else _portable(one.facts),
            "lambdas": [dataclasses.asdict(trade) for trade in one.trades],
        }
        for one in measured or ()
    ]
    return {"reprise": __version__, "runs": plain, "measured": found}


def _thinned(run: Run) -> list[Line]:
    """Return the evaluations for programs: all, or those that the curves of the metric that selects
    the best, and of the loss, are drawn by.
    """
    columns = [[line.get(key) for line in run.lines] for key in (run.selector, "train_loss")]
    at_best = [place for place, line in enumerate(run.lines) if figures.is_best(run, line)]
    return [run.lines[place] for place in places(columns, at_best)]


def _portable(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts without the author's local paths."""
    return facts | {"checkpoint": Path(facts["checkpoint"]).name}
