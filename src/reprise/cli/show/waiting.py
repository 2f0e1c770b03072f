"""What a terminal shows while one waits: a line that is gone in the end, and nothing in a pipe."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reprise.text.messages import Messages

if TYPE_CHECKING:
    from reprise.data.download import Heard
    from reprise.data.readers.format import OnProgress

_STAGES = {
    "read": "stage_read",
    "filter": "stage_filter",
    "order": "stage_order",
    "write": "stage_write",
}


@contextmanager
def shown_stages(messages: Messages) -> Iterator["OnProgress"]:
    """Yield what shows the stage of a preparation and the rows it has seen."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        task = progress.add_task("", total=None)

        def tell(stage: str, rows: int) -> None:
            progress.update(task, description=messages.text(_STAGES[stage], rows=f"{rows:,}"))

        yield tell


@contextmanager
def shown_downloads() -> Iterator["Heard"]:
    """Yield what shows how much of a file has arrived."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    tasks: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:

        def heard(name: str, here: int, of: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=of or None)
            progress.update(tasks[name], completed=here)

        yield heard
