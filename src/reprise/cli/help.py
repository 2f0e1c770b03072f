"""Help texts of commands and options, looked up in the user's language when help is printed.

The message files store a command's help by its name and an option's by its flag. The English help
of a run's settings is in their declarations (`config.schema`). Click's own words are translated
through gettext.
"""

import gettext
import os
import re
from collections.abc import Iterable, Mapping
from unicodedata import east_asian_width

import click

from reprise.errors import EXIT_CODES
from reprise.text.compiled import DOMAIN, FOLDER
from reprise.text.messages import Language, Messages, catalogue

# Placeholder for the second column of a wide character. A line broken between the two is one column
# too wide, which fits into the two columns that Click leaves free.
_FILL = "\0"
_DEFAULT = re.compile(r"\[(?:default: (?P<value>[^]]*)|required)\]$")
_CHOICES = re.compile(r"[\w-]+(?: \| [\w-]+)+")


def exit_codes(messages: Messages) -> list[tuple[str, str]]:
    """Return each exit code of the commands and what it means."""
    return [(str(code), messages.text(key)) for code, key in EXIT_CODES.items()]


class Formatter(click.HelpFormatter):
    """Lay out help by terminal columns: Click counts characters, but a Chinese one takes two."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the usage line."""
        super().write_usage(prog, _filled(args), _filled(prefix or gettext.gettext("Usage:") + " "))

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        super().write_text(_filled(text))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write terms and their explanations in two columns."""
        filled = [(_filled(term), _filled(text)) for term, text in rows]
        super().write_dl(filled, col_max, col_spacing)

    def getvalue(self) -> str:
        """Return the text written so far."""
        return super().getvalue().replace(_FILL, "")


def _filled(text: str) -> str:
    return "".join(c + _FILL if east_asian_width(c) in "FW" else c for c in text)


class Context(click.Context):
    """The context of a command; its `obj` is the language."""

    formatter_class = Formatter


class Option(click.Option):
    """An option whose help has fields, such as {choices}."""

    def __init__(self, *args: object, fields: Mapping[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields = fields


class Command(click.Command):
    """A command whose help is in the message files."""

    context_class = Context

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the parts of the usage line, translated."""
        return list(map(gettext.gettext, super().collect_usage_pieces(ctx)))

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's help."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(command_help(path_of(ctx), _language(ctx)))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options and their help."""
        path, language = path_of(ctx), _language(ctx)
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        with formatter.section(gettext.gettext("Options")):
            formatter.write_dl([option_record(option, path, language, ctx) for option in options])


class Group(Command, click.Group):
    """A command with subcommands."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options and the subcommands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the subcommands with the first sentence of their help."""
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names))
        with formatter.section(gettext.gettext("Commands")):
            formatter.write_dl([(name, self._brief(ctx, name, limit)) for name in names])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit codes below the help of all commands."""
        if ctx.parent is None:
            messages = Messages(_language(ctx))
            with formatter.section(messages.text("exit_codes")):
                formatter.write_dl(exit_codes(messages))

    def _brief(self, ctx: click.Context, name: str, limit: int) -> str:
        text = command_help(f"{path_of(ctx)} {name}".strip(), _language(ctx))
        if "。" in text:  # otherwise Click finds the end of the sentence
            return text.partition("。")[0]
        return click.Command(name, help=text).get_short_help_str(limit)


def use_language(language: Language) -> None:
    """Set the language of Click's own words, which it translates through gettext."""
    if language != "en":
        os.environ["LANGUAGE"] = language  # takes precedence in gettext
        gettext.bindtextdomain(DOMAIN, FOLDER)
        gettext.textdomain(DOMAIN)


def with_type_translated(error: click.ClickException) -> click.ClickException:
    """Return the error with the name of its option's type translated: Click leaves the type
    ("integer") in English.
    """
    if type(error) is not click.BadParameter or error.param is None:
        return error
    before, name, after = error.message.rpartition(error.param.type.name)
    message = before + gettext.gettext(name) + after if name else error.message
    return click.BadParameter(message, error.ctx, error.param, error.param_hint)


def path_of(ctx: click.Context) -> str:
    """Return a command's name without `reprise` ("data show"), its key in the message files."""
    names = []
    while ctx.parent is not None:
        names.append(ctx.command.name or "")
        ctx = ctx.parent
    root = ctx.command.name or ""
    return " ".join([*([] if root == "reprise" else [root]), *reversed(names)])


def command_help(path: str, language: Language) -> str:
    """Return the help of the command `path` (see `path_of`); "" is `reprise` itself."""
    text: str = catalogue(language)["commands"][path]
    return text.strip("\n")


def option_record(
    option: click.Option, path: str, language: Language, ctx: click.Context
) -> tuple[str, str]:
    """Return an option's names and its help in the command `path`: the two columns of its line.

    The help ends with the option's default, unless it states one itself.
    """
    names, stated = option.get_help_record(ctx) or ("", "")
    kind = option.type.name.upper()
    if option.metavar is None and names.endswith(f" {kind}"):
        names = names.removesuffix(kind) + gettext.gettext(option.type.name).upper()
    declared = option.help or ""
    text = _option_help(option, path, language)
    if text.endswith("]"):
        return names, text
    if own := _DEFAULT.search(declared):
        words = "required" if own["value"] is None else "default: {default}"
        return names, f"{text}[{gettext.gettext(words).format(default=own['value'])}]"
    return names, f"{text}  {stated.removeprefix(declared).strip()}".rstrip()  # Click's layout


def option_key(option: click.Option, path: str, language: Language) -> tuple[str, str] | None:
    """Return the table and key of an option's help in the message files: the flag in [options], or
    the setting's name in [settings]; an entry for the command `path` wins over a general one.
    None if the help is in the declaration only.
    """
    flag = option.opts[0].lstrip("-").replace("_", "-")
    words = path.split()
    owners = [f"{' '.join(words[:count])}." for count in range(len(words), 0, -1)]
    for table, name in (("options", flag), ("settings", option.name)):
        for key in (f"{owner}{name}" for owner in [*owners, ""]):
            if key in catalogue(language).get(table, {}):
                return table, key
    return None


def _option_help(option: click.Option, path: str, language: Language) -> str:
    """Return an option's help; the choices in a translation come from the declared English."""
    declared = option.help or ""
    found = option_key(option, path, language)
    if found is None:
        return gettext.gettext(declared) if declared else ""
    table, key = found
    choices = _CHOICES.search(declared)
    fields = option.fields if isinstance(option, Option) else {"choices": choices and choices[0]}
    text: str = catalogue(language)[table][key]
    return text.format(**fields)


def _language(ctx: click.Context) -> Language:
    return "zh" if ctx.obj == "zh" else "en"
