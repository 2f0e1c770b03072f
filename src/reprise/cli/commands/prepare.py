"""`reprise prepare`: convert a source of interactions into a dataset folder."""

from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command, Option
from reprise.cli.options import PATH, common_options, sets_option, source_options
from reprise.config.schema import check_value
from reprise.data import PROTOCOLS
from reprise.text.messages import Messages, choose_language


@click.command(cls=Command)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=PATH)
@click.option("--name", required=True)
@click.option(
    "--protocol", default=PROTOCOLS[0], cls=Option, fields={"choices": " | ".join(PROTOCOLS)}
)
@click.option("--k-core", "core", type=int, metavar="K")
@click.option("--cut", metavar="VALID,TEST")
@click.option("--overwrite", is_flag=True)
@click.option("--max-memory", metavar="SIZE")
@click.option("--query", metavar="SQL")
@click.option("--item-features", metavar="NAMES")
@click.option("--items", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--cold-items", type=float, metavar="SHARE")
@click.option("--no-aside", is_flag=True)
@source_options
@sets_option
@common_options
def prepare(
    sources: tuple[Path, ...],
    name: str,
    protocol: str,
    core: int | None,
    cut: str | None,
    overwrite: bool,
    max_memory: str | None,
    query: str | None,
    item_features: str | None,
    items: Path | None,
    cold_items: float | None,
    no_aside: bool,
    data_dir: Path,
    lang: str | None,
    **asked: Any,
) -> None:
    """Convert SOURCE into a dataset folder."""
    from reprise.data.build import More
    from reprise.data.dataset import open_dataset
    from reprise.data.prepare import prepare as make
    from reprise.data.readers.features import features_asked
    from reprise.data.readers.recognise import asked_of
    from reprise.data.statistics import totals
    from reprise.show.dataset import feature_lines, kept_lines, taken_lines, warning_lines
    from reprise.show.terminal import shown_stages

    check_value("dataset", name)
    messages = Messages(choose_language(lang))
    more = More(features_asked(item_features, items), cold_items, not no_aside)
    times = None if cut is None else cut.split(",")
    with shown_stages(messages) as tell:
        folder = make(
            sources,
            name,
            data_dir,
            protocol,
            core,
            asked_of(**asked),
            times,
            tell,
            overwrite,
            max_memory,
            lambda key, **values: click.echo(messages.text(key, **values), err=True),
            query,
            more,
        )
        dataset = open_dataset(folder)
    users, interactions = totals(dataset)
    click.echo(
        messages.text(
            "prepared",
            name=name,
            users=users,
            items=dataset.num_items,
            interactions=interactions,
            folder=dataset.folder,
        )
    )
    told = dataset.meta.get("source", {})
    kept = *taken_lines(told, messages), *kept_lines(told, messages)
    for line in (*kept, *feature_lines(dataset.features_told, messages)):
        click.echo(line)
    for line in warning_lines(told.get("warnings", ()), messages):
        click.echo(line, err=True)
