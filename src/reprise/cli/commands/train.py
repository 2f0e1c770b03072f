"""`reprise train`."""

import sys
from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import (
    PATH,
    common_options,
    preset_name,
    resume_options,
    run_layers,
    run_options,
    say,
    say_unused,
    together,
    watch_options,
)
from reprise.cli.worker import in_worker, refuse_together
from reprise.runs.signals import end_at_once_on_interrupt


@click.command(cls=Command)
@run_options
@click.option("--new", is_flag=True)
@click.option("--final-fit", "fit_of", metavar="RUN", type=PATH)
@click.option("--seeds", metavar="SEED,SEED,...")
@resume_options
@watch_options
@common_options
def train(
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    quiet: bool,
    track: tuple[str, ...],
    new: bool,
    fit_of: Path | None,
    seeds: str | None,
    resume_from: Any,
    best_metric: float | None,
    change_learning_rate: float | None,
    devices: int,
    runs_dir: Path,
    data_dir: Path | None,
    lang: str | None,
    **values: Any,
) -> None:
    """Train a model, or resume its run: the same command does both."""
    end_at_once_on_interrupt()  # until training installs its own signal handlers
    place = in_worker(values, say)
    layers = run_layers(preset, config_file, max_iter, max_steps, values)
    given = together(layers)

    from reprise.runs.folder import RunFolder
    from reprise.runs.manage.groups import for_seeds, seeds_of
    from reprise.runs.manage.survey import path_of
    from reprise.runs.naming import for_final_fit, for_training

    # Wrong settings are refused before JAX is imported.
    refuse_together(place, {"--new": new, "--seeds": seeds is not None})
    if seeds is not None:
        of_one_run = {
            "--new": new,
            "--final-fit": fit_of is not None,
            "--best-metric": best_metric is not None,
            "--change-learning-rate": change_learning_rate is not None,
        }
        named = for_seeds(given, seeds_of(seeds), runs_dir, of_one_run)
    elif fit_of is None:
        named = [for_training(given, runs_dir, new)]
    else:
        named = [for_final_fit(RunFolder(path_of(fit_of, runs_dir)), given, runs_dir, new)]

    from reprise.cli.starting import Watch, start, start_group
    from reprise.show.commandline import resume_command
    from reprise.tracking import require

    require(track)
    say_unused(layers, named[0].config)
    watch = Watch(quiet, track, lang, preset_name(preset, config_file))
    if seeds is not None:
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
