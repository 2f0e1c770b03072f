"""`reprise track`: fill in trackers."""

from pathlib import Path

import click

from reprise.cli.help import Command
from reprise.cli.options import common_options, runs_option
from reprise.text.messages import Messages, choose_language


@click.command(cls=Command)
@click.argument("name")
@click.option("--track", multiple=True, type=click.Choice(["mlflow", "wandb"]))
@runs_option
@common_options
def track(name: str, track: tuple[str, ...], runs_dir: Path, lang: str | None) -> None:
    """Log the run NAME to trackers, as far as they lack it."""
    from reprise.runs.manage.groups import find_group
    from reprise.tracking import require
    from reprise.tracking.fill import fill_in, trackers_of

    text = Messages(choose_language(lang)).text
    for folder in find_group(runs_dir, name).folders:
        names = trackers_of(folder, track)
        require(names)
        count = fill_in(folder, names)
        click.echo(text("track_done", path=folder.path, count=count, trackers=", ".join(names)))
