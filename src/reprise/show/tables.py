"""The table of `reprise runs compare --split`: in a terminal, and as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from rich.text import Text

from reprise.evaluation.metrics import METRICS
from reprise.runs.manage.table import best_of
from reprise.runs.manage.table import columns as columns_of
from reprise.show.runs import Page
from reprise.text.messages import Messages
from reprise.text.shown import shown, shown_in_csv

Format = Literal["markdown", "latex", "csv"]
_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_COLUMNS = (
    "run",
    "folder",
    "dataset",
    "model",
    "split",
    "metric",
    "value",
    "low",
    "high",
    "users",
    "deviation",
    "seeds",
)


def show_table(facts: Mapping[str, Any], page: Page, messages: Messages) -> None:
    """Print the table of `runs.manage.table.table`, with the best value of each row in bold."""
    for warning in facts["warnings"]:
        page.line(page.text(warning), style="yellow")
    page.line(_title(facts, messages), style="bold")
    heads, rows = _cells(facts, messages, lambda text: Text(text, style="bold"))
    page.table(heads, rows, left=1, folded=range(1, len(heads)))


def as_text(facts: Mapping[str, Any], form: Format, messages: Messages) -> str:
    """Return the table as Markdown, LaTeX or CSV."""
    return {"markdown": _markdown, "latex": _latex, "csv": _csv}[form](facts, messages)


def _markdown(facts: Mapping[str, Any], messages: Messages) -> str:
    heads, rows = _cells(facts, messages, lambda text: f"**{text}**")
    marks = [":--", *("--:" for _ in heads[1:])]
    lines = [
        "| " + " | ".join(shown(str(cell)).replace("|", r"\|") for cell in row) + " |"
        for row in (heads, marks, *rows)
    ]
    return "\n".join(lines) + "\n"


def _latex(facts: Mapping[str, Any], messages: Messages) -> str:
    escaped = str.maketrans(_SPECIAL)
    best = r"\textbf{%s}"
    heads, rows = _cells(facts, messages, lambda text: best % text)
    cells = [
        [" ".join(word.translate(escaped) for word in shown(head).split(" ")) for head in heads],
        *([row[0].translate(escaped), *row[1:]] for row in rows),
    ]
    lines = [" & ".join(row) + r" \\" for row in cells]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}"
    return "\n".join(
        [begin, r"\hline", lines[0], r"\hline", *lines[1:], r"\hline", r"\end{tabular}", ""]
    )


def _csv(facts: Mapping[str, Any], messages: Messages) -> str:
    """Return a line a run, or group, and metric, by the metric's key, numbers as they are."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    columns = columns_of(facts, members=True)
    for key in facts["metrics"]:
        for column in columns:
            if (cell := column["cells"].get(key)) is not None:
                about = {**column, **cell, "run": column["name"], "metric": key}
                about["split"] = facts["split"]
                writer.writerow([_field(about.get(name)) for name in _COLUMNS])
    return file.getvalue()


def _field(value: Any) -> Any:
    return shown_in_csv(value) if isinstance(value, str) else value


def _cells(
    facts: Mapping[str, Any], messages: Messages, mark: Callable[[str], Any]
) -> tuple[list[str], list[list[Any]]]:
    """Return the heads and the rows: a metric's name, and each column's value with its interval or
    deviation.
    """
    called = {metric.name: messages.metric(metric.name, metric.label) for metric in METRICS}
    columns = columns_of(facts)
    rows = []
    for key in facts["metrics"]:
        name, _, cutoff = key.partition("@")
        cells = [column["cells"].get(key) for column in columns]
        best = best_of(key, cells) if len(facts["groups"]) > 1 else None
        shown = [_cell(cell, best, mark) for cell in cells]
        rows.append([f"{called[name]}@{cutoff}", *shown])
    return ["", *(column["label"] for column in columns)], rows


def _cell(cell: Mapping[str, Any] | None, best: float | None, mark: Callable[[str], Any]) -> Any:
    if cell is None:
        return "-"
    text = f"{cell['value']:.6f}"
    if cell["deviation"] is not None:
        text += f" ± {cell['deviation']:.6f}"
    if cell["low"] is not None:
        text += f" [{cell['low']:.6f}, {cell['high']:.6f}]"
    return mark(text) if cell["value"] == best else text


def _title(facts: Mapping[str, Any], messages: Messages) -> str:
    counts: Sequence[int] = sorted({run["users"] for run in facts["runs"] if run["users"]})
    users = ", ".join(map(str, counts)) or "-"
    title = messages.text("compare_results", split=facts["split"], users=users)
    if all(len(group["runs"]) == 1 for group in facts["groups"]):
        return title
    return title + "; " + messages.text("compare_of_groups")
