"""`reprise import-tf`: convert a TensorFlow checkpoint into a run."""

from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import PATH, common_options, run_options, run_values
from reprise.config.load import make_config
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, choose_language


@click.command("import-tf", cls=Command)
@click.argument("source", metavar="PATH", type=PATH)
@run_options
@click.option("--step", type=int)
@click.option("--best-metric", type=float)
@click.option("--map", "mapped", multiple=True, metavar="PARAM=VARIABLE")
@click.option("--ignore", "ignored", multiple=True, metavar="VARIABLE")
@common_options
def import_tf(
    source: Path,
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    step: int | None,
    best_metric: float | None,
    mapped: tuple[str, ...],
    ignored: tuple[str, ...],
    runs_dir: Path,
    data_dir: Path | None,
    lang: str | None,
    **values: Any,
) -> None:
    """Convert a TensorFlow checkpoint into a run that `reprise train` can continue."""
    end_at_once_on_interrupt()
    given = run_values(preset, config_file, max_iter, max_steps, values)
    # Check the values before loading TensorFlow; sizes that are not given come from the checkpoint.
    config = make_config(given)

    from reprise.importers.tensorflow.run import ImportRequest, import_checkpoint
    from reprise.runs.where import data_for_new
    from reprise.show.run import Voice, show_import

    voice = Voice(Messages(choose_language(lang)))
    request = ImportRequest(
        source=source,
        values=given,
        data_folder=data_for_new(config.dataset, data_dir, runs_dir),
        runs_folder=runs_dir,
        mapped=dict(parse_mapping(text) for text in mapped),
        ignored=frozenset(ignored),
        step=step,
        best_metric=best_metric,
    )
    imported = import_checkpoint(request, voice.say)
    show_import(voice, source, imported)


def parse_mapping(text: str) -> tuple[str, str]:
    """Parse PARAM=VARIABLE into (parameter, variable)."""
    parameter, equals, variable = text.partition("=")
    if not (parameter and equals and variable):
        raise UsageError("bad_value", option="map", value=text, expected="PARAM=VARIABLE")
    return parameter, variable
