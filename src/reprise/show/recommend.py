"""The output of `reprise recommend` and `reprise similar`."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from reprise.runtime.streams import is_terminal
from reprise.show.runs import Page
from reprise.show.terminal import PLAIN_SECONDS
from reprise.text.messages import Messages, Phrase
from reprise.text.shown import shown

# Colours of interests, told apart by people who see few colours, too: their numbers are shown.
_COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red", "bright_cyan", "bright_yellow")
_HEADS = {
    "item_id": "recommend_item_id",
    "title": "recommend_title_head",
    "categories": "recommend_categories",
    "score": "recommend_score",
    "interest": "recommend_interest",
    "because": "recommend_because",
    "scores": "recommend_scores",
    "cosine": "recommend_cosine",
}


def show_answer(facts: Mapping[str, Any], title: Phrase, messages: Messages) -> None:
    """Print an answer (`Catalogue.as_json`), each item in the colour of its interest."""
    page, text = Page(messages), messages.text
    page.line(text(title.key, **title.values))
    items = facts["items"]
    if not items:
        page.line(text("recommend_nothing"), style="yellow")
        return
    explained = "because" in items[0]
    about = _columns(items)
    keys = [*about, "score", "interest", *(["because", "scores"] if explained else [])]
    heads = ["", *(text(_HEADS[key]) for key in keys)]
    rows: list[list[str | Text]] = []
    for rank, item in enumerate(items, start=1):
        style = "" if item["interest"] is None else _COLOURS[item["interest"] % len(_COLOURS)]
        rows.append([str(rank), *(Text(_cell(item[key]), style=style) for key in keys)])
    page.table(heads, rows, left=1 + len(about), folded=range(2, 1 + len(about)))


def show_similar(facts: Mapping[str, Any], messages: Messages) -> None:
    """Print the items similar to one (`Catalogue.similar_as_json`)."""
    page, text, items = Page(messages), messages.text, facts["items"]
    own = facts["item"]
    page.line(text("similar_title", item=own["item_id"], title=own["title"] or ""))
    about = _columns(items)
    heads = ["", *(text(_HEADS[key]) for key in (*about, "cosine"))]
    rows = [
        [str(rank), *(_cell(item[key]) for key in (*about, "score"))]
        for rank, item in enumerate(items, start=1)
    ]
    page.table(heads, rows, left=1 + len(about), folded=range(2, 1 + len(about)))


@contextmanager
def shown_users(messages: Messages, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many users of how many (0: unknown) have their lists in a transient progress line;
    yield the callback. Elsewhere than on a terminal, print a line a minute.
    """
    live = is_terminal(sys.stderr)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not live) as progress:
        task = progress.add_task("", total=None)
        began = last = time.monotonic()

        def tell(users: int) -> None:
            nonlocal last
            now = time.monotonic()
            line = _progress(messages, users, total, now - began)
            progress.update(task, description=line)
            if not live and now - last >= PLAIN_SECONDS:
                print(line, file=sys.stderr, flush=True)
                last = now

        yield tell


def _progress(messages: Messages, users: int, total: int, seconds: float) -> str:
    speed = users / max(seconds, 1e-9)
    counted = f"{users:,} / {total:,}" if total else f"{users:,}"
    parts = [messages.text("recommend_progress", users=counted, speed=f"{speed:,.0f}")]
    if total > users:
        left = timedelta(seconds=round((total - users) / speed))
        parts.append(messages.text("live_left", time=left))
    return "  ".join(parts)


def _columns(items: list[dict[str, Any]]) -> list[str]:
    """Return what is shown of items: their ids, and what is known of any."""
    return ["item_id", *(key for key in ("title", "categories") if any(one[key] for one in items))]


def _cell(value: Any) -> str:
    """Return a value as a cell shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        return ", ".join(_cell(one) for one in value)
    return shown(str(value))
