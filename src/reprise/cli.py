"""The `reprise` command: its group, its exit codes, and how a mistake ends."""

import io
import re
import signal
import sys
from itertools import pairwise
from typing import NoReturn

import click

from reprise import MOST_THREADS, THREADS_ASKED, THREADS_KNOWN, __version__
from reprise.commands.config import config
from reprise.commands.data import data
from reprise.commands.demo import demo
from reprise.commands.evaluate import evaluate
from reprise.commands.export import export
from reprise.commands.import_tf import import_tf
from reprise.commands.inspect import inspect
from reprise.commands.prepare import prepare
from reprise.commands.report import report
from reprise.commands.runs import runs
from reprise.commands.sweep import sweep
from reprise.commands.train import train
from reprise.errors import Phrase, RepriseError, UsageError, WriteError
from reprise.help_language import speak
from reprise.messages import Messages, choose_language

EXIT_CODES = """\b
Exit codes: 0 done; 2 wrong usage; 3 unusable data; 4 the run folder holds another
configuration; 5 the run is in use; 6 no usable checkpoint; 7 the disk refused a write;
8 out of memory; 130 stopped by Ctrl-C; 143 stopped by SIGTERM."""
OUT_OF_MEMORY = 8
_LACKS_MEMORY = re.compile("RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)  # as XLA says it


def run_guarded(command: click.Command, name: str = "") -> NoReturn:
    """Run a click command; a user's mistake ends in one clear line and its exit code. name: as
    `help_language.speak` takes it.
    """
    messages = Messages(choose_language(_asked_language(sys.argv[1:])))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack what a line is marked with
        sys.stdout.reconfigure(errors="replace")
    speak(command, messages.language, name)
    try:
        _check_threads()
        sys.exit(command.main(standalone_mode=False))
    except click.Abort as abort:
        if isinstance(abort.__cause__, EOFError):
            raise abort.__cause__ from None  # of a file: click takes it for the end of a prompt
        sys.exit(128 + signal.SIGINT)
    except click.ClickException as error:
        error.show()
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


def _check_threads() -> None:
    """Refuse a number of XLA's threads that is none: the package was imported all the same."""
    if not THREADS_KNOWN:
        expected = Phrase("good_whole_within", low=1, high=MOST_THREADS)
        raise UsageError(
            "bad_value", option="REPRISE_XLA_THREADS", value=THREADS_ASKED, expected=expected
        )


def _tell(messages: Messages, mistake: Phrase) -> None:
    click.echo(messages.text("error_line", mistake=mistake), err=True)


@click.group(
    epilog=EXIT_CODES,
    # ComiRec spells its flags with underscores: both spellings are understood.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
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
    """Entry point of the `reprise` command."""
    run_guarded(cli)
