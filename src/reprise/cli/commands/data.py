"""`reprise data`: well-known data sets, and prepared ones."""

from pathlib import Path

import click

from reprise.cli.commands.get import get
from reprise.cli.help import Group
from reprise.cli.options import agreed, common_options, print_json, runs_option, sets_option
from reprise.config.schema import check_value
from reprise.text.messages import Messages, choose_language


@click.group(cls=Group)
def data() -> None:
    """Download well-known data sets; list, show and delete prepared ones."""


@data.command()
@click.argument("name")
@sets_option
@click.option("--json", "as_json", is_flag=True)
@common_options
def show(name: str, data_dir: Path, as_json: bool, lang: str | None) -> None:
    """Show statistics of the dataset NAME, with warnings about data that hurts training."""
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


@data.command("list")
@sets_option
@runs_option
@click.option("--json", "as_json", is_flag=True)
@common_options
def list_sets(data_dir: Path, runs_dir: Path, as_json: bool, lang: str | None) -> None:
    """List the prepared datasets and the runs trained on each."""
    from reprise.runs.manage.datasets import found_in
    from reprise.show.runs import Page, show_datasets

    messages = Messages(choose_language(lang))
    found = found_in(data_dir, runs_dir)
    if as_json:
        print_json(found)
    elif found:
        show_datasets(found, Page(messages))
    else:
        click.echo(messages.text("no_datasets", folder=data_dir))


@data.command()
@click.argument("name")
@click.option("--yes", is_flag=True)
@sets_option
@runs_option
@common_options
def delete(name: str, yes: bool, data_dir: Path, runs_dir: Path, lang: str | None) -> None:
    """Delete the prepared dataset NAME; its source is kept."""
    from reprise.runs.manage.datasets import delete as delete_dataset
    from reprise.runs.manage.datasets import find

    check_value("dataset", name)
    messages, found = Messages(choose_language(lang)), find(data_dir, runs_dir, name)
    folder = found["folder"]
    if found["runs"]:
        click.echo(messages.text("data_used", folder=folder, runs=", ".join(found["runs"])))
    if yes or agreed(messages.text("data_delete_ask", folder=folder), "deletion_unasked"):
        delete_dataset(found, runs_dir)
        click.echo(messages.text("deleted", path=folder))
    else:
        click.echo(messages.text("prune_kept"))


data.add_command(get)
