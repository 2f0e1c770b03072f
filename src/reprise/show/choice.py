"""The lines of which rows of a source were taken: by event and by rating."""

from collections.abc import Mapping, Sequence
from typing import Any

from reprise.data.readers.columns import USUAL, plain
from reprise.text.messages import Messages


def choice_lines(taken: Mapping[str, Any], messages: Messages) -> list[str]:
    """Return the lines of what meta.json keeps of the choice, and of a column that was not used
    but looks like one of events.
    """
    text, lines = messages.text, []
    if events := taken.get("events"):
        counts = _counts(events["taken"], messages)
        lines.append(text("taken_events", column=events["column"], counts=counts))
        if events["left"]:
            lines.append(text("taken_other_events", counts=_counts(events["left"], messages)))
    elif likely := [name for name in taken.get("unused", ()) if _are_events(name)]:
        lines.append(text("taken_all_events", column=likely[0]))
    if ratings := taken.get("ratings"):
        values = {"least": f"{ratings['least']:g}", "count": ratings["below"]}
        lines.append(text("taken_ratings", column=ratings["column"], **values))
    return lines


def target_lines(source: Mapping[str, Any], messages: Messages) -> list[str]:
    """Return the lines of which interactions are to be found, where not all are."""
    targets = source.get("targets")
    if not targets:
        return []
    values = {f"{split}_targets": count for split, count in targets["interactions"].items()}
    shown = messages.text("data_targets", events=", ".join(targets["events"]), **values)
    return [shown, messages.text("data_without_targets", **targets["without"])]


def _counts(counted: Sequence[tuple[str | None, int]], messages: Messages) -> str:
    others = messages.text("taken_others")
    return ", ".join(f"{others if event is None else event} {n:,}" for event, n in counted)


def _are_events(column: str) -> bool:
    usual = set(USUAL["event"].split()) - {"type"}  # which is as often that of an item
    return plain(column.split(":")[0]) in usual
