"""The output of `reprise data show`: a dataset's statistics, with bars."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reprise.data.readers import FORMATS
from reprise.data.readers.columns import ROLES
from reprise.show.choice import choice_lines, target_lines
from reprise.text.messages import Messages

if TYPE_CHECKING:
    from rich.table import Table

_BAR_WIDTH = 40  # columns
_CHOSEN = {
    "named": "taken_by_named",
    "usual": "taken_by_usual",
    "partition": "taken_by_partition",
    "finest": "taken_by_finest",
}
# Older versions do not name the rule.
_TIES = {
    "order": "data_ties_order",
    "hash": "data_ties_hash",
    "popularity": "data_ties_popularity",
    "older": "data_ties_older",
}
_ASIDE = {
    "hidden": "aside_hidden",
    "empty": "aside_empty",
    "metadata": "aside_metadata",
    "folder": "aside_folder",
    "foreign": "aside_foreign",
    "other": "aside_other",
}
# What takes a column that looks useful.
_TAKES = {
    "category": " (--category-col {column})",
    "title": " (--title-col {column})",
    "rating": " (--rating-col {column} --min-rating X)",
}
_FEATURES = {
    "codes": "feature_codes",
    "bags": "feature_bags",
    "numbers": "feature_numbers",
    "vectors": "feature_vectors_of",
}
_SHOWN = 20  # names of columns that are not used
# Descriptions of what `prepare` did, as meta.json stores them in English, and their messages.
_DONE = (
    "done_as_split",
    "done_together",
    "done_unfiltered",
    "done_items",
    "done_users",
    "done_in_ten",
    "done_generated",
)


def show_facts(facts: dict[str, Any], messages: Messages) -> None:
    """Print the facts of `statistics.describe`; plain text if piped."""
    from reprise.show.terminal import make_console

    text = messages.text
    console = make_console()
    for line in _lines(facts, messages):
        console.print(line, markup=False, soft_wrap=True)
    for key, kind in (("data_lengths", "history_length"), ("data_popularity", "popularity")):
        title = text(key, mean=f"{facts[kind]['mean']:.1f}", **_quantiles(facts[kind]))
        console.print(f"\n{title}", markup=False, style="bold", soft_wrap=True)
        console.print(_bars(facts[kind]["histogram"]))
    if facts["warnings"]:
        console.print()
    for line in warning_lines(facts["warnings"], messages):
        console.print(line, markup=False, soft_wrap=True)


def warning_lines(warnings: Sequence[Mapping[str, Any]], messages: Messages) -> list[str]:
    """Return one line per warning about a dataset."""
    lines = []
    for warning in warnings:
        values = {key: value for key, value in warning.items() if key != "warning"}
        lines.append(messages.text(warning["warning"], **values))
    return lines


def taken_lines(source: Mapping[str, Any], messages: Messages) -> list[str]:
    """Return the lines on what was read and how it was interpreted, as far as meta.json has it."""
    taken = source.get("taken")
    if not taken:
        return []
    text, names = messages.text, taken["files"]
    more = taken["num_files"] - len(names)
    lines = [text("taken_files", files=", ".join(names) + (f", ... (+{more})" if more else ""))]
    if "query" in source:
        lines.append(text("taken_query", query=source["query"]))
    if taken.get("aside"):
        lines.append(text("taken_aside", files=_aside(taken["aside"], messages)))
    if "separator" in taken:
        written = {
            "separator": " ".join(map(repr, taken["separator"])),
            "quote": " ".join(taken["quote"]),
            "encoding": " ".join(taken["encoding"]),
        }
        lines.append(text("taken_text", **written))
    columns = [
        text(
            _CHOSEN[column["by"]],
            what=ROLES[what],
            column=column["column"],
            others=", ".join(column.get("others", ())),
        )
        for what, column in taken.get("columns", {}).items()
    ]
    if columns:
        lines.append(text("taken_columns", columns=", ".join(columns)))
    if taken.get("unused"):
        lines.append(text("taken_unused", columns=", ".join(taken["unused"][:_SHOWN])))
    if taken.get("useful"):
        shown = [
            one["column"] + _TAKES.get(one["what"], "").format(column=shlex.quote(one["column"]))
            for one in taken["useful"][:_SHOWN]
        ]
        lines.append(text("taken_useful", columns=", ".join(shown)))
    if taken["left_out"]:
        reasons = [
            text("taken_without", count=count, what=ROLES[what])
            for what, count in taken["left_out"].items()
        ]
        lines.append(text("taken_left_out", reasons=", ".join(reasons), rows=taken["rows"]))
    lines += choice_lines(taken, messages)
    if "items_told" in taken:
        told, items = taken["items_told"], source["kept"]["items"]
        lines.append(text("taken_about", file=taken.get("about", "?"), told=told, items=items))
    return lines


def _aside(aside: Mapping[str, Mapping[str, Any]], messages: Messages) -> str:
    """Return how many files were left aside, and the first names, by why."""
    shown = []
    for reason, own in aside.items():
        names = [*own["names"], *(["..."] if own["count"] > len(own["names"]) else [])]
        facts = {"count": own["count"], "names": ", ".join(names)}
        shown.append(messages.text(_ASIDE[reason], **facts))
    return "; ".join(shown)


def _lines(facts: dict[str, Any], messages: Messages) -> list[str]:
    from reprise.data.dataset import HELD_OUT

    text, users, interactions = messages.text, facts["users"], facts["interactions"]
    source, popularity = facts["source"], facts["popularity"]
    repeats = facts["repeated_targets"]
    return [
        text(
            "data_counts",
            name=facts["name"],
            users=users["all"],
            items=facts["items"],
            interactions=interactions["all"],
        ),
        text("data_splits", **{key: users[key] for key in ("train", "valid", "test")}),
        text("data_source", format=source.get("format", "?"), protocol=_done(source, messages)),
        *taken_lines(source, messages),
        *kept_lines(source, messages),
        *feature_lines(facts.get("item_features", {}), messages),
        text(HELD_OUT[facts["evaluation"]]),
        text(
            "data_categories",
            categories=facts["categories"],
            items=_percent(facts["category_coverage"]["items"]),
            interactions=_percent(facts["category_coverage"]["interactions"]),
        ),
        text(
            "data_concentration",
            top=_percent(popularity["top_share"]),
            hundredth=_percent(popularity["top_hundredth_share"]),
            gini=f"{popularity['gini']:.3f}",
        ),
        text(
            "data_repeats",
            interactions=_percent(facts["repeated_interactions"]),
            valid=_percent(repeats["valid"]),
            test=_percent(repeats["test"]),
        ),
    ]


def _done(source: dict[str, Any], messages: Messages) -> str:
    """Describe what `prepare` did with the source; unknown parts are left in English."""
    english = Messages("en")
    keys = {english.text(key): key for key in _DONE}
    parts = source.get("protocol", "?").split(", ")
    return ", ".join(messages.text(keys[part]) if part in keys else part for part in parts)


def kept_lines(source: Mapping[str, Any], messages: Messages) -> list[str]:
    """Return the lines of what the filter kept, of its times, of those it was split at, and of the
    order of items of one time, where the source tells.
    """
    lines = []
    if {"read", "kept"} <= source.keys():
        read = {f"{what}_read": count for what, count in source["read"].items()}
        lines.append(messages.text("data_kept", **source["kept"], **read))
    for key, what in (("data_times", "times"), ("data_cut", "cut")):
        if what in source:
            first, last = (_day(time, source) for time in source[what])
            lines.append(messages.text(key, first=first, last=last))
    if source.get("format") in FORMATS and (rule := source.get("ties", "older")) in _TIES:
        lines.append(messages.text(_TIES[rule]))
    if source.get("timed") is False:
        lines.append(messages.text("data_untimed"))
    if "cold" in source:
        lines.append(messages.text("data_cold", **source["cold"]))
    if source.get("aside_rows"):
        lines.append(messages.text("data_aside", rows=source["aside_rows"]))
    return lines + target_lines(source, messages)


def feature_lines(told: Mapping[str, Any], messages: Messages) -> list[str]:
    """Return a line for each feature of the items, and one for columns that are none."""
    lines = []
    for one in told.get("features", ()):
        first = one.get("first", ())
        more = ", ..." if len(first) < one.get("size", 1) - 1 else ""
        about = messages.text(
            _FEATURES[one["kind"]],
            values=one.get("size", 1) - 1,
            first=", ".join(first) + more,
            mean=f"{one.get('mean', 0):.4g}",
            std=f"{one.get('std', 0):.4g}",
            length=one.get("length", 0),
        )
        facts = {name: one[name] for name in ("name", "column", "file")}
        coverage = {name: _percent(share) for name, share in one["coverage"].items()}
        lines.append(messages.text("data_feature", about=about, **facts, **coverage))
    if "titles_from" in told:
        lines.append(messages.text("data_titles", **told["titles_from"]))
    if told.get("left_out"):
        columns = ", ".join(told["left_out"][:_SHOWN])
        lines.append(messages.text("data_features_left_out", columns=columns))
    return lines


def _day(time: float, source: Mapping[str, Any]) -> str:
    """Return the day (UTC) of a timestamp; any other number as it is."""
    from reprise.data.clock import clock_unit

    # Missing in data sets of older versions.
    unit = source["time_unit"] if "time_unit" in source else clock_unit(time)
    if unit is None:
        return f"{time:g}" if isinstance(time, float) else str(time)
    return datetime.fromtimestamp(time / unit, UTC).date().isoformat()


def _quantiles(distribution: dict[str, Any]) -> dict[str, int]:
    names = {"0": "least", "50": "median", "95": "high", "100": "most"}
    return {name: distribution["quantiles"][q] for q, name in names.items()}


def _bars(histogram: list[list[int]]) -> "Table":
    from rich.bar import Bar
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column()
    most = max(count for _, _, count in histogram)
    for low, high, count in histogram:
        named = str(low) if low == high else f"{low}-{high}"
        table.add_row(named, str(count), Bar(most, 0, count, width=_BAR_WIDTH))
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"
