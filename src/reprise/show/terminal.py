"""Output on terminals and pipes: lines and tables fit the terminal's width, with transient progress
lines; piped output is not limited in width and has no progress lines.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from reprise.runtime.streams import is_terminal
from reprise.text.messages import Messages, Phrase

if TYPE_CHECKING:
    from reprise.data.download import Heard
    from reprise.data.readers.format import OnProgress

PLAIN_SECONDS = 60.0  # between plain lines
_PLAIN_WIDTH = 200  # columns of piped output
_STAGES = {
    "read": "stage_read",
    "filter": "stage_filter",
    "order": "stage_order",
    "write": "stage_write",
}


def make_console() -> Console:
    """Return a console for plain text, without markup or highlighting."""
    width = None if is_terminal(sys.stdout) else _PLAIN_WIDTH
    return Console(width=width, highlight=False, markup=False)


@contextmanager
def shown_stages(messages: Messages) -> Iterator["OnProgress"]:
    """Show the stage of `prepare` and its number of rows in a transient progress line; yield the
    callback. Elsewhere than on a terminal, print a line a minute.
    """
    console, live = Console(stderr=True), is_terminal(sys.stderr)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not live) as progress:
        task = progress.add_task("", total=None)
        began: dict[str, float] = {}
        shown = time.monotonic()

        def tell(stage: str, rows: int, of: int) -> None:
            nonlocal shown
            now = time.monotonic()
            text = _stage_text(messages, stage, rows, of, now - began.setdefault(stage, now))
            progress.update(task, description=text)
            if not live and now - shown >= PLAIN_SECONDS:
                print(text, file=sys.stderr, flush=True)
                shown = now

        yield tell


def _stage_text(messages: Messages, stage: str, rows: int, of: int, seconds: float) -> str:
    """Return a stage's line: how many rows of how many it has seen, and how long it goes on."""
    if not rows or not of:
        return messages.text(_STAGES[stage], rows=f"{rows or of:,}")
    counted = Phrase("stage_rows", rows=f"{rows:,}", of=f"{of:,}")
    parts = [messages.text(_STAGES[stage], rows=counted), f"{100 * rows // of}%"]
    if seconds and rows < of:
        left = timedelta(seconds=round(seconds * (of - rows) / rows))
        parts.append(messages.text("live_left", time=left))
    return "  ".join(parts)


@contextmanager
def shown_downloads() -> Iterator["Heard"]:
    """Show the progress of downloads in a transient progress line; yield the callback."""
    tasks: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not is_terminal(sys.stderr),
    ) as progress:

        def heard(name: str, here: int, of: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=of or None)
            progress.update(tasks[name], completed=here)

        yield heard
