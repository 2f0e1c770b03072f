"""The output of `reprise data show`: a dataset's statistics, with bars."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reprise.text.messages import Messages

if TYPE_CHECKING:
    from rich.table import Table

_BAR_WIDTH = 40  # columns
# meta.json describes in English, part by part, what `prepare` did.
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
    for warning in facts["warnings"]:
        values = {key: value for key, value in warning.items() if key != "warning"}
        console.print(text(warning["warning"], **values), markup=False, soft_wrap=True)


def _lines(facts: dict[str, Any], messages: Messages) -> list[str]:
    from reprise.data.dataset import HIDDEN

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
        *_kept(source, messages),
        *_times(source, messages),
        text(HIDDEN[facts["evaluation"]]),
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


def _kept(source: dict[str, Any], messages: Messages) -> list[str]:
    """Return the line on what the filter kept, if known."""
    if not {"read", "kept"} <= source.keys():
        return []
    read = {f"{what}_read": count for what, count in source["read"].items()}
    return [messages.text("data_kept", **source["kept"], **read)]


def _times(source: dict[str, Any], messages: Messages) -> list[str]:
    """Return the lines on the range of times and the cuts, if known."""
    return [
        messages.text(key, first=_day(first), last=_day(last))
        for key, what in (("data_times", "times"), ("data_cut", "cut"))
        if what in source
        for first, last in [source[what]]
    ]


def _day(time: float) -> str:
    """Format a Unix time as a day (UTC); other numbers are unchanged."""
    from reprise.data.splits import clock_unit

    unit = clock_unit(time)
    if unit is None:
        return f"{time:g}"
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
