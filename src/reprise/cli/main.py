"""The `reprise` command group, and the error lines and exit codes of its failures."""

import importlib
import io
import re
import signal
import sys
from collections import UserDict
from collections.abc import Iterable
from itertools import pairwise
from typing import NoReturn

import click

from reprise import __version__
from reprise.cli.help import Group, use_language, with_type_translated
from reprise.errors import RepriseError, WriteError
from reprise.runtime.setup import setup
from reprise.text.messages import Messages, Phrase, choose_language

OUT_OF_MEMORY = 8
COMMANDS = (
    "comirec",
    "config",
    "data",
    "demo",
    "evaluate",
    "export",
    "import-tf",
    "inspect",
    "prepare",
    "report",
    "resume",
    "runs",
    "sweep",
    "train",
)
_LACKS_MEMORY = re.compile("RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)  # as XLA says it


def run_guarded(command: click.Command) -> NoReturn:
    """Run a Click command; an error that the user can fix ends in one line and its exit code."""
    messages = Messages(choose_language(_asked_language(sys.argv[1:])))
    if isinstance(sys.stdout, io.TextIOWrapper):  # the encoding may lack a symbol
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


class Commands(UserDict[str, click.Command]):
    """The commands by name; only the module of the command in use is imported, to start fast."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self.data = dict.fromkeys(names)  # type: ignore[assignment]

    def __getitem__(self, name: str) -> click.Command:
        if name not in self.data:
            raise KeyError(name)
        own = name.replace("-", "_")
        module = importlib.import_module(f"reprise.cli.commands.{own}")
        command: click.Command = getattr(module, own)
        return command


@click.group(
    "reprise",
    cls=Group,
    commands=Commands(COMMANDS),
    epilog="exit_codes",
    # Flags are accepted with underscores, too, as ComiRec spells them.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
        "show_default": True,
    },
)
@click.version_option(__version__, prog_name="reprise")
def cli() -> None:
    """Train multi-interest recommenders that stop at any instant and resume exactly."""


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


def main_of_comirec() -> NoReturn:
    """Run ComiRec's command line (`reprise comirec`) as a program of its own."""
    from reprise.cli.commands.comirec import comirec

    run_guarded(comirec)
