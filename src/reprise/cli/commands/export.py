"""`reprise export`: write a stored model's vectors for a vector index or a service."""

from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import common_options, data_option, runs_option, which_option
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, choose_language


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@which_option
@click.option("--split", type=click.Choice(["train", "valid", "test", "all"]))
@click.option("--as-evaluated", is_flag=True)
@click.option("--histories", type=click.Path(path_type=Path), metavar="FILE")
@runs_option
@data_option
@common_options
def export(
    run: Path,
    folder: Path,
    which: Any,
    split: str | None,
    as_evaluated: bool,
    histories: Path | None,
    runs_dir: Path,
    data_dir: Path | None,
    lang: str | None,
) -> None:
    """Write the vectors of RUN's stored model into the new FOLDER."""
    end_at_once_on_interrupt()
    if split is not None and histories is not None:
        raise UsageError("only_one", options="--split, --histories")
    if as_evaluated and split not in ("valid", "test"):
        raise UsageError("evaluated_of_what")
    if folder.exists():  # fail early; checked again when the folder is written
        raise UsageError("export_exists", folder=folder)
    from reprise.runs.manage.survey import path_of
    from reprise.runs.stored import load
    from reprise.runs.where import locator
    from reprise.serving.export import write
    from reprise.serving.histories import users_of_file, users_of_split
    from reprise.show.run import Voice

    messages = Messages(choose_language(lang))
    say = Voice(messages, to_stderr=True).say
    path = path_of(run, runs_dir)
    stored = load(path, which, say, locator(path, data_dir))
    users = None
    if split is not None:
        users = users_of_split(stored.dataset, split, stored.config.maxlen, as_evaluated)
    elif histories is not None:
        users = users_of_file(histories, stored, say)
    made = write(stored, users, folder)
    checkpoint = stored.checkpoint
    click.echo(
        messages.text(
            "exported_items",
            checkpoint=checkpoint.path,
            step=checkpoint.progress.step,
            folder=folder,
            items=made.items,
            dim=made.dim,
        )
    )
    if made.users:
        click.echo(messages.text("exported_users", users=made.users, interests=made.interests))
