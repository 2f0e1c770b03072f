"""The `reprise` command: its group, its exit codes, and how a mistake ends."""

import io
import re
import signal
import sys
from itertools import pairwise
from typing import NoReturn

import click

from reprise import __version__
from reprise.cli.commands.config import config
from reprise.cli.commands.data import data
from reprise.cli.commands.demo import demo
from reprise.cli.commands.evaluate import evaluate
from reprise.cli.commands.export import export
from reprise.cli.commands.import_tf import import_tf
from reprise.cli.commands.inspect import inspect
from reprise.cli.commands.prepare import prepare
from reprise.cli.commands.report import report
from reprise.cli.commands.resume import resume
from reprise.cli.commands.runs import runs
from reprise.cli.commands.sweep import sweep
from reprise.cli.commands.train import train
from reprise.cli.help import Group, use_language, with_type_translated
from reprise.errors import RepriseError, WriteError
from reprise.runtime.setup import setup
from reprise.text.messages import Messages, Phrase, choose_language

OUT_OF_MEMORY = 8
_LACKS_MEMORY = re.compile("RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)  # as XLA says it


def run_guarded(command: click.Command) -> NoReturn:
    """Run a click command; a user's mistake ends in one clear line and its exit code."""
    messages = Messages(choose_language(_asked_language(sys.argv[1:])))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack what a line is marked with
        sys.stdout.reconfigure(errors="replace")
    use_language(messages.language)
    try:
        setup()
        sys.exit(command.main(standalone_mode=False, obj=messages.language))
    except click.Abort as abort:
        if isinstance(abort.__cause__, EOFError):
            raise abort.__cause__ from None  # of a file: click takes it for the end of a prompt
        sys.exit(128 + signal.SIGINT)
    except click.ClickException as error:
        with_type_translated(error).show()
        sys.exit(error.exit_code)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _LACKS_MEMORY.search(str(error)):
            raise
        _tell(messages, Phrase("out_of_memory", reason=str(error).partition("\n")[0]))
        sys.exit(OUT_OF_MEMORY)
    except RepriseError as error:
        _tell(messages, error)
        sys.exit(error.exit_code)
    except OSError as error:
        path, reason = error.filename or "?", error.strerror or error
        _tell(messages, Phrase("os_refused", path=path, reason=reason))
        sys.exit(WriteError.exit_code)


def _tell(messages: Messages, mistake: Phrase) -> None:
    click.echo(messages.text("error_line", mistake=mistake), err=True)


@click.group(
    "reprise",
    cls=Group,
    epilog="exit_codes",
    # ComiRec spells its flags with underscores: both spellings are understood.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
        "show_default": True,
    },
)
@click.version_option(__version__, prog_name="reprise")
def cli() -> None:
    """Train multi-interest recommenders that stop at any instant and resume exactly."""


cli.add_command(config)
cli.add_command(data)
cli.add_command(demo)
cli.add_command(evaluate)
cli.add_command(export)
cli.add_command(import_tf)
cli.add_command(inspect)
cli.add_command(prepare)
cli.add_command(report)
cli.add_command(resume)
cli.add_command(runs)
cli.add_command(sweep)
cli.add_command(train)


def _asked_language(arguments: list[str]) -> str | None:
    for this, following in pairwise([*arguments, ""]):
        if this == "--lang":
            return following
        if this.startswith("--lang="):
            return this.removeprefix("--lang=")
    return None


def main() -> NoReturn:
    """Run the `reprise` command."""
    run_guarded(cli)
