"""The table of `reprise runs compare --split`: in a terminal, and as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from rich.text import Text

from reprise.evaluation.metrics import METRICS
from reprise.runs.manage.table import best_of
from reprise.show.runs import Page, label
from reprise.text.messages import Messages
from reprise.text.shown import shown, shown_in_csv

Format = Literal["markdown", "latex", "csv"]
_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_COLUMNS = ("run", "folder", "dataset", "model", "split", "metric", "value", "low", "high", "users")


def show_table(facts: Mapping[str, Any], page: Page, messages: Messages) -> None:
    """Print the table of `runs.manage.table.table`, with the best value of each row in bold."""
    if not facts["same_data"]:
        page.line(page.text("compare_other_data"), style="yellow")
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
    """Return a line a run and metric, by the metric's key, numbers as they are."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for key, cells in facts["metrics"].items():
        for run, cell in zip(facts["runs"], cells, strict=True):
            if cell is not None:
                about = [
                    shown_in_csv(str(run[name])) for name in ("name", "folder", "dataset", "model")
                ]
                numbers = [cell[name] for name in ("value", "low", "high")]
                writer.writerow([*about, facts["split"], key, *numbers, run["users"]])
    return file.getvalue()


def _cells(
    facts: Mapping[str, Any], messages: Messages, mark: Callable[[str], Any]
) -> tuple[list[str], list[list[Any]]]:
    """Return the heads and the rows: a metric's name, and each run's value with its interval."""
    called = {metric.name: messages.metric(metric.name, metric.label) for metric in METRICS}
    rows = []
    for key, cells in facts["metrics"].items():
        name, _, cutoff = key.partition("@")
        best = best_of(key, cells)
        shown = [_cell(cell, best, mark) for cell in cells]
        rows.append([f"{called[name]}@{cutoff}", *shown])
    return ["", *label(facts["runs"])], rows


def _cell(cell: Mapping[str, Any] | None, best: float | None, mark: Callable[[str], Any]) -> Any:
    if cell is None:
        return "-"
    text = f"{cell['value']:.6f}"
    if cell["low"] is not None:
        text += f" [{cell['low']:.6f}, {cell['high']:.6f}]"
    return mark(text) if cell["value"] == best else text


def _title(facts: Mapping[str, Any], messages: Messages) -> str:
    counts: Sequence[int] = sorted({run["users"] for run in facts["runs"] if run["users"]})
    users = ", ".join(map(str, counts)) or "-"
    return messages.text("compare_results", split=facts["split"], users=users)
