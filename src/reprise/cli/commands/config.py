"""`reprise config`: the configuration that results from flags, a file and a preset."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Group
from reprise.cli.options import common_options, print_json, run_layers, run_options
from reprise.config.layers import Layer, Value, as_toml, resolve, settled_by
from reprise.errors import DataError, UsageError
from reprise.text.messages import Messages, choose_language


@click.group(cls=Group)
def config() -> None:
    """Inspect configurations."""


@config.command()
@click.argument("run", required=False)
@run_options
@click.option("--toml", "to_toml", is_flag=True)
@click.option("--json", "as_json", is_flag=True)
@common_options
def show(
    run: str | None,
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    runs_dir: Path,
    data_dir: Path | None,
    to_toml: bool,
    as_json: bool,
    lang: str | None,
    **values: Any,
) -> None:
    """Show the configuration that results from these options, and the source of each value."""
    if to_toml and as_json:
        raise UsageError("only_one", options="--toml, --json")
    layers = run_layers(preset, config_file, max_iter, max_steps, values)
    if run is not None:
        layers.insert(0, _layer_of(run, runs_dir))
    settings = resolve(layers)
    if not to_toml:  # which is for any data
        settings = _of_data(settings, data_dir)
    if to_toml:
        click.echo(as_toml(settings), nl=False)
    elif as_json:
        facts = [dataclasses.asdict(setting) for setting in settings]
        print_json({setting.pop("key"): setting for setting in facts})
    else:
        from reprise.show.runs import Page, show_settings

        show_settings(settings, Page(Messages(choose_language(lang))))


def _of_data(settings: list[Value], data_dir: Path | None) -> list[Value]:
    """Return the values with those that follow from the data set, where it is at hand. How many
    interactions all users have, of a run that trains on all, only the whole data set tells.
    """
    from reprise.config.by_data import facts_of
    from reprise.data.dataset import read_meta
    from reprise.data.prepare import locate
    from reprise.runs.where import DATA

    known = {one.key: one.value for one in settings}
    if known["dataset"] is None or known["train_users"] == "all":
        return settings
    try:
        meta = read_meta(locate(data_dir or DATA, known["dataset"]))
    except DataError:
        return settings
    return settled_by(settings, facts_of(meta), known["dataset"])


def _layer_of(name: str, runs_dir: Path) -> Layer:
    from reprise.errors import CheckpointError
    from reprise.runs.manage.survey import find, survey

    found = survey(find(runs_dir, name))
    if not found.config:
        raise CheckpointError("no_checkpoint", path=found.folder.path)
    return Layer("run", found.config, found.name)
