"""`reprise train`."""

import sys
from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import (
    common_options,
    preset_name,
    run_options,
    run_values,
    watch_options,
)
from reprise.config.load import make_config
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, choose_language


@click.command(cls=Command)
@run_options
@click.option("--resume-from", type=click.Choice(["latest", "best"]), default="latest")
@click.option("--best-metric", type=float)
@click.option("--change-learning-rate", type=float)
@watch_options
@common_options
def train(
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    quiet: bool,
    track: tuple[str, ...],
    resume_from: Any,
    best_metric: float | None,
    change_learning_rate: float | None,
    runs_dir: Path,
    data_dir: Path,
    lang: str | None,
    **values: Any,
) -> None:
    """Train a model, or take up its run where it stands: the same command does both."""
    end_at_once_on_interrupt()  # until the training takes signals over
    config = make_config(run_values(preset, config_file, max_iter, max_steps, values))

    from reprise.api import run_request
    from reprise.data.prepare import locate
    from reprise.runs.session import Request
    from reprise.show.commandline import resume_command
    from reprise.show.run import RunConsole, Voice
    from reprise.tracking import require

    require(track)
    voice = Voice(Messages(choose_language(lang)), quiet=quiet)
    request = Request(
        config=config,
        data_folder=locate(data_dir, config.dataset),
        runs_folder=runs_dir,
        resume_from=resume_from,
        best_metric=best_metric,
        new_learning_rate=change_learning_rate,
    )
    command = resume_command("reprise", sys.argv[1:])
    console = RunConsole(voice, config, track, preset_name(preset, config_file), not quiet)
    sys.exit(run_request(request, console, command))
