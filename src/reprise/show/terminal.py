"""Output on terminals and pipes: lines and tables fit the terminal's width, with transient progress
lines; piped output is not limited in width and has no progress lines.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
from reprise.text.messages import Messages

if TYPE_CHECKING:
    from reprise.data.download import Heard
    from reprise.data.readers.format import OnProgress

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
    callback.
    """
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not is_terminal(sys.stderr)
    ) as progress:
        task = progress.add_task("", total=None)

        def tell(stage: str, rows: int) -> None:
            progress.update(task, description=messages.text(_STAGES[stage], rows=f"{rows:,}"))

        yield tell


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
