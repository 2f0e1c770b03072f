"""The output of `reprise baselines`, also where runs are compared."""

from collections.abc import Iterable, Mapping
from typing import Any

from reprise.data.dataset import HELD_OUT
from reprise.runs.beside import heads_and_rows, unmeasured
from reprise.show.runs import Page
from reprise.text.messages import Messages


def show_baselines(facts: Mapping[str, Any], page: Page, messages: Messages) -> None:
    """Print the table of baselines, and beside them the runs of the same data set."""
    if not facts["baselines"]:
        return
    first = next(iter(facts["baselines"].values()))
    page.line(page.text("report_dataset", dataset=facts["dataset"]))
    page.line(page.text("report_users", users=first["users"], split=facts["split"]))
    page.line(page.text(HELD_OUT[first["held_out"]]))
    page.line(page.text("seen_filtered"))
    page.line()
    _show_table(facts, page, messages)


def show_beside(found: Iterable[Mapping[str, Any]], page: Page, messages: Messages) -> None:
    """Print the stored baselines of each data set of some runs, and the runs beside them."""
    for facts in found:
        about = {key: facts[key] for key in ("dataset", "split")}
        page.title(page.text("baselines_beside", **about))
        _show_table(facts, page, messages)


def _show_table(facts: Mapping[str, Any], page: Page, messages: Messages) -> None:
    heads, rows = heads_and_rows(facts, messages)
    page.table(heads, rows, left=1)
    for line in unmeasured(facts, messages):
        page.line(line)
