"""`reprise resume`: resume a run by its name, or the runs of several seeds by theirs."""

import sys
from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import (
    common_options,
    data_option,
    longer_options,
    resume_options,
    run_values,
    runs_option,
    say,
    watch_options,
)
from reprise.cli.worker import in_worker, refuse_together
from reprise.runs.signals import end_at_once_on_interrupt


@click.command(cls=Command)
@click.argument("run", metavar="NAME")
@longer_options
@resume_options
@runs_option
@data_option
@watch_options
@common_options
def resume(
    run: str,
    max_iter: float | None,
    max_steps: int | None,
    quiet: bool,
    track: tuple[str, ...],
    resume_from: Any,
    best_metric: float | None,
    change_learning_rate: float | None,
    devices: int,
    runs_dir: Path,
    data_dir: Path | None,
    lang: str | None,
    **values: Any,
) -> None:
    """Resume the run NAME with its stored settings and its data."""
    end_at_once_on_interrupt()  # until training installs its own signal handlers
    place = in_worker(values, say)
    from reprise.errors import UsageError
    from reprise.runs.manage.groups import find_group
    from reprise.runs.naming import for_resuming

    given = run_values(None, None, max_iter, max_steps, values)
    group = find_group(runs_dir, run)
    refuse_together(place, {run: len(group.folders) > 1})
    if len(group.folders) > 1 and (best_metric, change_learning_rate) != (None, None):
        names = ", ".join(one.path.name for one in group.folders)
        raise UsageError("group_resumed_alike", name=run, names=names)
    # Raises before JAX is imported.
    named = [for_resuming(str(one.path), given, runs_dir) for one in group.folders]

    from reprise.cli.starting import Watch, start, start_group
    from reprise.show.commandline import resume_command
    from reprise.tracking import require

    require(track)
    watch = Watch(quiet, track, lang)
    if len(named) > 1:
        again = resume_command("reprise", sys.argv[1:])
        start_group(named, watch, data_dir, again, resume_from=resume_from, devices=devices)
    start(
        named[0],
        watch,
        data_dir,
        resume_from=resume_from,
        devices=devices,
        place=place,
        best_metric=best_metric,
        new_learning_rate=change_learning_rate,
    )
