"""The `reprise` command group, and the error lines and exit codes of its failures."""

import importlib
import io
import os
import re
import signal
import sys
from collections import UserDict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import click

from reprise import __version__
from reprise.cli.help import Group, use_language, with_type_translated
from reprise.cli.typed import as_typed
from reprise.errors import (
    DataError,
    MemoryLimitError,
    PeersLostError,
    RepriseError,
    WriteError,
)
from reprise.runtime import bus
from reprise.runtime.processes import is_of_peers
from reprise.runtime.setup import setup
from reprise.runtime.streams import give_up, is_worker
from reprise.text.messages import Messages, Phrase, choose_language

COMMANDS = (
    "baselines",
    "comirec",
    "config",
    "data",
    "demo",
    "evaluate",
    "export",
    "import-tf",
    "inspect",
    "plan",
    "prepare",
    "recommend",
    "report",
    "resume",
    "runs",
    "serve",
    "similar",
    "sweep",
    "track",
    "train",
)
_REPEATED = re.compile(r"(Error dispatching computation: )\1+")  # by XLA, of one failure
_CANNOT_LOAD = re.compile("failed to map|cannot allocate", re.IGNORECASE)
# As XLA and CUDA word it.
_LACKS_MEMORY = re.compile("RESOURCE_EXHAUSTED|out[ _]of[ _]memory|ALLOC_FAILED", re.IGNORECASE)


def run_guarded(command: click.Command) -> NoReturn:
    """Run a Click command; an error that the user can fix ends in one line and its exit code."""
    messages = Messages(choose_language(_asked_language(sys.argv[1:])))
    if isinstance(sys.stdout, io.TextIOWrapper):  # the encoding may lack a symbol
        sys.stdout.reconfigure(errors="replace")
    use_language(messages.language)
    bus.end_by(lambda path: _end_of_cut(messages, path))
    try:
        setup()
        try:
            code = command.main(standalone_mode=False, obj=messages.language)
        finally:
            sys.stdout.flush()  # here, where a full disk ends in a line
    except click.Abort as abort:
        if isinstance(abort.__cause__, EOFError):
            raise abort.__cause__ from None  # of a file, not of the prompt that Click assumes
        code = 128 + signal.SIGINT
    except click.ClickException as error:
        with_type_translated(error).show()
        code = error.exit_code
    except (MemoryError, RuntimeError, ValueError, ImportError, RepriseError, OSError) as error:
        mistake, code = _mistake(error)
        if isinstance(error, OSError):
            give_up(sys.stdout)  # else Python, at its end, tries to write the rest again
        _tell(messages, mistake)
    if is_worker() and code:  # JAX would wait for the other processes
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _mistake(error: Exception) -> tuple[Phrase, int]:
    """Return what is said of an error that the user can fix, and the exit code; raise others."""
    if isinstance(error, RepriseError):
        return as_typed(error, sys.argv[1:]), error.exit_code
    if isinstance(error, OSError):
        key = "os_refused_unnamed" if error.filename is None else "os_refused"
        name = error.filename
        path = Path(name) if isinstance(name, str) else name
        values = {"path": path, "reason": error.strerror or error}
        return Phrase(key, **values), WriteError.exit_code
    reason: str | Phrase = _REPEATED.sub(r"\1", str(error).partition("\n")[0]).rstrip(
        "."
    ) or Phrase("memory_none")
    if isinstance(error, ImportError) and _CANNOT_LOAD.search(str(error)):
        return Phrase("memory_refused", reason=reason), MemoryLimitError.exit_code
    if is_worker() and is_of_peers(error):
        return PeersLostError("peers_lost"), PeersLostError.exit_code
    if isinstance(error, MemoryError) or _LACKS_MEMORY.search(str(error)):
        key = "out_of_memory_device" if _is_of_accelerator(error) else "out_of_memory"
        return Phrase(key, reason=reason), MemoryLimitError.exit_code
    raise error


def _is_of_accelerator(error: Exception) -> bool:
    """Whether an error is XLA's, where it computes on an accelerator."""
    if isinstance(error, MemoryError) or "jax" not in sys.modules:
        return False
    from reprise.runtime import device

    return device.present()


def _end_of_cut(messages: Messages, path: Path) -> NoReturn:
    """End at once: whoever reads the file cannot go on, nor be made to stop."""
    mistake = DataError("data_shortened", path=path)
    _tell(messages, mistake)
    os._exit(mistake.exit_code)


def _tell(messages: Messages, mistake: Phrase) -> None:
    try:
        line = messages.text("error_line", mistake=mistake)
    except MemoryError:  # there is none left for the catalogue either
        line = "Error: Out of memory."
    click.echo(line, err=True)


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
