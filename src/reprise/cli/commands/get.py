"""`reprise data get`: download a well-known data set from its owner's site."""

import shlex
import sys
from pathlib import Path

import click

from reprise.cli.help import Command
from reprise.cli.options import common_options, sets_option
from reprise.data.known import KNOWN, KnownSet
from reprise.errors import UsageError
from reprise.runtime.streams import is_terminal
from reprise.text.messages import Messages, choose_language
from reprise.text.suggest import suggest

_RAW = "raw"  # below the data folder


@click.command(cls=Command)
@click.argument("name")
@click.option("--accept-licence", is_flag=True)
@click.option("--mirror", metavar="URL")
@sets_option
@common_options
def get(
    name: str, accept_licence: bool, mirror: str | None, data_dir: Path, lang: str | None
) -> None:
    """Download the well-known data set NAME, and print the command that prepares it."""
    from reprise.data.download import fetch
    from reprise.show.terminal import shown_downloads

    if name not in KNOWN:
        suggestion = suggest(KNOWN, name)
        raise UsageError("unknown_set", name=name, suggestion=suggestion, known=", ".join(KNOWN))
    known, messages = KNOWN[name], Messages(choose_language(lang))
    click.echo(messages.text(known.licence, name=name, page=known.page))
    if not accept_licence:
        if not is_terminal(sys.stdin):
            raise UsageError("licence_unaccepted", name=name)
        click.confirm(messages.text("accept_licence"), abort=True)
    folder = data_dir / _RAW / name
    moved = [] if data_dir == Path("data") else ["--data-dir", str(data_dir)]
    again = shlex.join(["reprise", "data", "get", name, *moved])
    with shown_downloads() as heard:
        verified = fetch(known, folder, again, heard, mirror)
    click.echo(
        messages.text(
            "got" if verified else "got_unverified",
            folder=folder,
            command=_following(known, folder, moved),
        )
    )


def _following(known: KnownSet, folder: Path, moved: list[str]) -> str:
    """Return the command that prepares the set."""
    source = str(folder / known.source)
    words = ["reprise", "prepare", source, "--name", known.name, *known.options.split(), *moved]
    return shlex.join(words)
