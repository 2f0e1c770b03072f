"""`reprise data`: fetching well-known data sets, and looking at prepared ones."""

from pathlib import Path

import click

from reprise.cli.commands.get import get
from reprise.cli.help import Group
from reprise.cli.options import common_options, print_json, sets_option
from reprise.config.schema import check_value
from reprise.text.messages import Messages, choose_language


@click.group(cls=Group)
def data() -> None:
    """Fetch well-known data sets, and look at prepared ones."""


@data.command()
@click.argument("name")
@sets_option
@click.option("--json", "as_json", is_flag=True)
@common_options
def show(name: str, data_dir: Path, as_json: bool, lang: str | None) -> None:
    """Show what the dataset NAME holds, and what of it training may suffer from."""
    from reprise.data.dataset import open_dataset
    from reprise.data.prepare import locate
    from reprise.data.statistics import describe
    from reprise.show.dataset import show_facts

    check_value("dataset", name)
    facts = describe(open_dataset(locate(data_dir, name)))
    if as_json:
        print_json(facts)
    else:
        show_facts(facts, Messages(choose_language(lang)))


data.add_command(get)
