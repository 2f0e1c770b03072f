"""The output of `reprise evaluate`."""

from collections.abc import Collection, Sequence
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from reprise.data.dataset import HELD_OUT
from reprise.evaluation.metrics import METRICS, Metric
from reprise.runs.evaluation import ASKED
from reprise.show.terminal import make_console
from reprise.text.messages import Messages

_SEEN = {
    "kept": "seen_kept",
    "filtered": "seen_filtered",
    "learned": "seen_learned",
    "given": "seen_given",
}
_CURVE = ("recall", "ndcg", "diversity")  # what a curve over lambda shows, if nothing is asked for


def show_evaluation(facts: dict[str, Any], messages: Messages) -> None:
    """Print `evaluation_facts`; plain text if piped."""
    text, lines = messages.text, _about(facts, messages)
    if facts["checkpoint"] is not None:
        coef = facts["lambda"]
        lines.append(text("lists_by_score" if coef is None else "lists_by_category", coef=coef))
    console = make_console()
    _print_lines(console, lines)
    confidence = facts["confidence"]
    percent, resamples = round(100 * confidence["level"]), confidence["resamples"]
    title = text("report_metrics", percent=percent, resamples=resamples)
    tables = [(title, _metric_table(facts, messages)), ("", _group_table(facts, messages))]
    if "interest_cosine" in facts:
        title = text("report_interests", cosine=_number(facts["interest_cosine"]))
        tables.append((title, _interest_table(facts, messages)))
    for title, table in tables:
        console.print(f"\n{title}" if title else "", markup=False, style="bold")
        console.print(table)


def show_group(facts: dict[str, Any], messages: Messages) -> None:
    """Print `evaluated.group_facts`: each run's metrics, and their mean and deviation."""
    text, runs = messages.text, facts["runs"]
    first = next(iter(runs.values()))
    names = ", ".join(runs)
    console = make_console()
    _print_lines(console, [text("report_group", name=facts["name"], names=names)])
    _print_lines(console, _of_users(first, messages))
    _print_lines(console, [_seen_items(list(runs.values()), messages)])
    table = _table("", *runs, text("report_mean"))
    for metric in METRICS:
        label = messages.metric(metric.name, metric.label)
        for n in first["cutoffs"]:
            if (key := f"{metric.name}@{n}") in facts["metrics"]:
                cells = [_number(of_run[key]) for of_run in runs.values()]
                table.add_row(f"{label}@{n}", *cells, _mean(facts["metrics"][key]))
    console.print()
    console.print(table)


def _mean(found: dict[str, float | None]) -> str:
    deviation = found["deviation"]
    return _number(found["mean"]) + ("" if deviation is None else f" ± {_number(deviation)}")


def show_curve(
    points: Sequence[dict[str, Any]], metrics: Collection[Metric] | None, messages: Messages
) -> None:
    """Print the evaluations of one model by ascending lambda as a table; plain text if piped.

    `metrics`: its columns; None: recall, NDCG and diversity.
    """
    first = points[0]
    keys = [
        (f"{metric.name}@{n}", f"{messages.metric(metric.name, metric.label)}@{n}")
        for n in first["cutoffs"]
        for metric in METRICS
        if (metric.name in _CURVE if metrics is None else metric in metrics)
        and f"{metric.name}@{n}" in first
    ]
    table = _table("lambda", *(label for _, label in keys))
    for facts in points:
        table.add_row(f"{facts['lambda']:g}", *(_number(facts[key]) for key, _ in keys))
    console = make_console()
    _print_lines(console, [*_about(first, messages), messages.text("lists_by_lambda")])
    console.print()
    console.print(table)


def _about(facts: dict[str, Any], messages: Messages) -> list[str]:
    """Return the lines on what was evaluated, and how."""
    seen = _seen_items([facts], messages)
    return [*_subject(facts, messages), *_of_users(facts, messages), seen]


def _seen_items(every: Sequence[dict[str, Any]], messages: Messages) -> str:
    """Return the line on seen items, of several runs with the mean of what they have learned."""
    worths = [worth for facts in every if (worth := facts.get("repeat_worth")) is not None]
    worth = _number(fmean(worths), 3) if worths else ""
    return messages.text(_SEEN[every[0]["seen_items"]], worth=worth)


def _of_users(facts: dict[str, Any], messages: Messages) -> list[str]:
    """Return the lines on the users and what is held out."""
    text = messages.text
    return [
        text("report_users", users=facts["users"], split=facts["split"]),
        text(HELD_OUT[facts["held_out"]]),
        *(
            [text("held_out_events", events=", ".join(facts["target_events"]))]
            if "target_events" in facts
            else []
        ),
        *([text(ASKED[facts["request_time"]])] if "request_time" in facts else []),
    ]


def _print_lines(console: Console, lines: Sequence[str]) -> None:
    for line in lines:  # not wrapped: programs may search for them
        console.print(line, markup=False, soft_wrap=True)


def _subject(facts: dict[str, Any], messages: Messages) -> list[str]:
    """Return the lines on what was evaluated."""
    text, path = messages.text, facts["checkpoint"]
    if path is None:
        lines = [text("report_lists", path=facts["lists"])]
    else:
        lines = [text("report_model", path=path, step=facts["step"])]
    if "dataset" in facts:
        lines.append(text("report_dataset", dataset=facts["dataset"]))
    return lines


def _metric_table(facts: dict[str, Any], messages: Messages) -> Table:
    bounds = facts["confidence"]["intervals"]
    table = _table("", *(f"@{n}" for n in facts["cutoffs"]))
    for metric in METRICS:
        cells = []
        for key in (f"{metric.name}@{n}" for n in facts["cutoffs"]):
            if key in facts:
                low, high = bounds.get(key, (None, None))
                shown = "" if low is None else f" [{_number(low)}, {_number(high)}]"
                cells.append(_number(facts[key]) + shown)
        if cells:
            table.add_row(messages.metric(metric.name, metric.label), *cells)
    return table


def _group_table(facts: dict[str, Any], messages: Messages) -> Table:
    n = max(facts["cutoffs"])
    head = (messages.text("users"), f"Recall@{n}", f"NDCG@{n}")
    table = _table(messages.text("report_groups"), *head)
    for kind, found in facts["groups"].items():
        for name, group in found.items():
            values = (_number(group[f"{metric}@{n}"]) for metric in ("recall", "ndcg"))
            shown = _group_name(kind, name, group, messages)
            table.add_row(shown, str(group["users"]), *values)
    return table


def _group_name(kind: str, name: str, group: dict[str, Any], messages: Messages) -> str:
    text = messages.text
    if kind == "history_length":
        return text("report_history", group=name)
    if kind == "popularity":
        return text("report_popularity", group=text(name), items=group["items"])
    if kind == "coldness":
        return text("report_coldness", group=text(name), items=group["items"])
    if "bits" not in group:
        return text("report_mixture_unknown")
    low, high = (_number(bits, 2) for bits in group["bits"])
    return text("report_mixture", group=text(name), low=low, high=high)


def _interest_table(facts: dict[str, Any], messages: Messages) -> Table:
    columns = (messages.text(key) for key in ("report_shares", "report_dead", "report_used"))
    table = _table("", *columns)
    for n in facts["cutoffs"]:
        shares = [
            value
            for key, value in facts.items()
            if key.startswith("interest_share_") and key.endswith(f"@{n}")
        ]
        dead = _number(facts[f"interest_dead@{n}"], 0)
        table.add_row(
            f"@{n}",
            "  ".join(_number(share, 3) for share in shares),
            f"{dead} / {len(shares)}",
            _number(facts[f"interests_used@{n}"], 2),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _number(value: float | None, digits: int = 6) -> str:
    return "nan" if value is None else f"{value:.{digits}f}"
