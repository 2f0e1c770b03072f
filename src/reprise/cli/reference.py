"""Generate docs/commands.md from the commands: `python -m reprise.cli.reference` prints it."""

import sys
import textwrap
from collections.abc import Iterator

import click

from reprise.cli.help import command_help, exit_codes, option_record
from reprise.cli.main import cli
from reprise.cli.options import run_options
from reprise.text.messages import Messages

_WIDTH = 120
_RUN = "Options of a run"
_HEADER = """# Commands

Every command and option, as `reprise COMMAND --help` prints them. `make docs` generates this page
from the code, and a test checks that it is up to date: edit the texts in the code, not here.

An option is given as `--option VALUE` or `--option=VALUE`; in its name, `-` and `_` are the same.
INTEGER is a whole number, FLOAT a number, TEXT a word, PATH a file or folder."""


def reference(root: click.Group, name: str = "reprise") -> str:
    """Return the Markdown page of `root` and all its subcommands."""
    parts = [_HEADER, _contents(root, name)]
    parts += [_section(path, command) for path, command in walk(root, name)]
    parts.append(f"## {_RUN}\n\nThe settings that make up a run, and where it and its data are.")
    parts.append("\n".join(_run_options()))
    rows = ["| code | meaning |", "|---|---|"]
    rows += [f"| {code} | {meaning} |" for code, meaning in exit_codes(Messages("en"))]
    return "\n\n".join([*parts, "## Exit codes", "\n".join(rows)]) + "\n"


def walk(root: click.Group, name: str = "reprise") -> Iterator[tuple[str, click.Command]]:
    """Yield the subcommands of `root` with their full names ("reprise data show"), without hidden
    ones and without groups that do nothing by themselves.
    """
    for _, command in sorted(root.commands.items()):
        path = f"{name} {command.name}"
        below = list(walk(command, path)) if isinstance(command, click.Group) else []
        if not command.hidden and getattr(command, "invoke_without_command", not below):
            yield path, command
        yield from below


def options(command: click.Command) -> list[click.Option]:
    """Return the options of a command in help order, without --help and hidden options."""
    found = (parameter for parameter in command.params if isinstance(parameter, click.Option))
    return [option for option in found if not option.hidden]


def _contents(root: click.Group, name: str) -> str:
    return "\n".join(f"- [`{path}`](#{path.replace(' ', '-')})" for path, _ in walk(root, name))


def _section(path: str, command: click.Command) -> str:
    usage = " ".join(command.collect_usage_pieces(click.Context(command)))
    below = path.partition(" ")[2]
    lines, of_a_run = _lines(command, below), _run_options()
    if set(of_a_run) <= set(lines):
        link = f"- and the [options of a run](#{_RUN.lower().replace(' ', '-')}), below"
        lines = [line for line in lines if line not in of_a_run] + [link]
    prose = _prose(command_help(below, "en"))
    return "\n\n".join([f"## `{path}`", f"    {path} {usage}", *prose, "\n".join(lines)])


def _run_options() -> list[str]:
    return _lines(run_options(click.Command("")), "")


def _lines(command: click.Command, path: str) -> list[str]:
    """Return one line per option: its names and its help."""
    context = click.Context(command, show_default=True)
    lines = []
    for option in options(command):
        names, text = option_record(option, path, "en", context)
        told = " ".join(text.split())
        lines.append(_wrapped(f"- `{names}`: {told}", indent="  "))
    return lines


def _prose(text: str) -> Iterator[str]:
    r"""Yield the paragraphs of a help text; those marked with \b (not rewrapped) as code."""
    for part in text.split("\n\n"):
        if part.startswith("\b\n"):
            yield textwrap.indent(part.removeprefix("\b\n"), "    ")
        else:
            yield _wrapped(" ".join(part.split()))


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    sys.stdout.write(reference(cli))
