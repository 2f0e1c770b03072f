"""The help of the commands and what Click says of their use, in Chinese where that is asked for.

English stands where a command and its options are defined. Chinese takes its place before a command
line is read, by `messages_options` and `messages_commands`.
"""

import importlib
import inspect

import click

from reprise.text.messages import Language
from reprise.text.messages_commands import CLICK, COMMANDS, EXIT_CODES
from reprise.text.messages_options import OPTIONS

_AS_IT_STANDS = "\b\n"  # before a paragraph: Click would put blanks between its lines
# Click translates through gettext's functions, which these modules of its hold as _ and ngettext;
# gettext itself reads compiled catalogues from disk only.
_SPEAKING = ("core", "decorators", "exceptions", "formatting", "parser", "termui", "types")
_MEASURING = (
    "_textwrap",
    "formatting",
)  # these count characters, of which a Chinese one is two wide


def speak(command: click.Command, language: Language, name: str = "") -> None:
    """Make a command, and all below it, tell its help in `language`; `name`: of `COMMANDS`."""
    if language == "en":
        return
    for module in map(importlib.import_module, (f"click.{part}" for part in _SPEAKING)):
        for function, replaced in (("_", _said), ("ngettext", _said_of)):
            if hasattr(module, function):
                setattr(module, function, replaced)
    for module in map(importlib.import_module, (f"click.{part}" for part in _MEASURING)):
        for function, measure in (("term_len", _width), ("_truncate_visible", _cut)):
            if hasattr(module, function):
                setattr(module, function, measure)
    _translate(command, name)


def _translate(command: click.Command, name: str) -> None:
    if name in COMMANDS:
        text = inspect.cleandoc(COMMANDS[name])
        command.help = text.replace("\n\n", f"\n\n{_AS_IT_STANDS}")
        command.short_help = text.partition("。")[0].replace("\n", "")
    if command.epilog:
        command.epilog = EXIT_CODES
    if command.options_metavar:
        command.options_metavar = _said(command.options_metavar)
    for parameter in command.params:
        parameter.type.name = _said(parameter.type.name)
        if isinstance(parameter, click.Option) and parameter.help:
            parameter.help = OPTIONS.get(parameter.help, parameter.help)
    if isinstance(command, click.Group):
        command.subcommand_metavar = _said(command.subcommand_metavar)
        for below, own in command.commands.items():
            _translate(own, f"{name} {below}".strip())


def _said(text: str) -> str:
    return CLICK.get(text, text)


def _said_of(one: str, several: str, count: int) -> str:
    return _said(one if count == 1 else several)


def _width(text: str) -> int:
    """Return the columns that a text takes on a terminal, its styles apart."""
    from rich.cells import cell_len

    return cell_len(click.unstyle(text))


def _cut(text: str, width: int) -> str:
    """Return the beginning of a text that fits into `width` columns."""
    from rich.cells import chop_cells

    return next(iter(chop_cells(text, width)), "")
