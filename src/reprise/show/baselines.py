"""The output of `reprise baselines`."""

from collections.abc import Iterator, Mapping
from typing import Any

from reprise.data.dataset import HELD_OUT
from reprise.evaluation.metrics import BY_NAME
from reprise.show.runs import Page
from reprise.text.messages import Messages

_SHOWN = ("recall", "ndcg")


def show_baselines(facts: Mapping[str, Any], messages: Messages) -> None:
    """Print the table of baselines, and beside them the runs of the same data set."""
    page, found = Page(messages), facts["baselines"]
    if not found:
        return
    first = next(iter(found.values()))
    cutoffs = first["cutoffs"]
    page.line(page.text("report_dataset", dataset=facts["dataset"]))
    page.line(page.text("report_users", users=first["users"], split=facts["split"]))
    page.line(page.text(HELD_OUT[first["held_out"]]))
    page.line(page.text("seen_filtered"))
    keys = [f"{name}@{n}" for name in _SHOWN for n in cutoffs]
    labels = {name: messages.metric(name, BY_NAME[name].label) for name in _SHOWN}
    heads = ["", *(f"{labels[name]}@{n}" for name in _SHOWN for n in cutoffs)]
    page.line()
    page.table([*heads, page.text("baseline_settings")], _rows(facts, keys), left=1)
    for run, entry in facts["runs"].items():
        if entry is None:
            page.line(page.text("baseline_run_unmeasured", run=run, split=facts["split"]))


def _rows(facts: Mapping[str, Any], keys: list[str]) -> Iterator[list[str]]:
    for name, own in facts["baselines"].items():
        settings = ", ".join(f"{key} {value:g}" for key, value in own["settings"].items())
        yield [name, *(_number(own.get(key)) for key in keys), settings]
    for name, entry in facts["runs"].items():
        if entry is not None:
            yield [name, *(_number(entry.get(key)) for key in keys), ""]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
