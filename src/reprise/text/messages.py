"""Every sentence that a user reads, by key: en.toml and zh.toml, and the choice between them."""

import functools
import locale
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from reprise.text.shown import shown

_FORMATTER = Formatter()
Language = Literal["en", "zh"]
# say(key, **values): how one who does something tells of it, in a language that others choose.
Say = Callable[..., None]


@functools.cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, Any]]:
    """Return the tables of a language's file; it is read when its first sentence is needed."""
    path = Path(__file__).with_name(f"{language}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def choose_language(asked: str | None = None) -> Language:
    """Return the language: `asked`, else REPRISE_LANG, else the locale's; English otherwise."""
    name = asked or os.environ.get("REPRISE_LANG") or _locale_name()
    return "zh" if name.lower().startswith("zh") else "en"


def unsaid(key: str, **values: object) -> None:
    """Say nothing, to who need not be told."""


class Phrase:
    """A line, or a part of one, that is said in the user's language; in English as a string.

    `key` names a sentence of the catalogue; `values` fill it in.
    """

    def __init__(self, key: str, **values: Any) -> None:
        self.key = key
        self.values = values

    def __str__(self) -> str:
        return self.said_in("en")

    def said_in(self, language: Language) -> str:
        """Return the text in a language."""
        return Messages(language).text(self.key, **self.values)


class Messages:
    """The sentences of one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def metric(self, name: str, label: str) -> str:
        """Return what a metric is called, whose English label is declared beside its formula."""
        called: str = catalogue(self.language).get("metrics", {}).get(name, label)
        return called

    def text(self, key: str, **values: Any) -> str:
        """Return the line `key` filled in with `values`, of which a Phrase is a line itself.

        Control characters of other values are escaped; where a field begins a line, its value is
        lines, and stays so.
        """
        sentence: str = catalogue(self.language)["messages"][key]
        text = ""
        for literal, field, spec, conversion in _FORMATTER.parse(sentence):
            text += literal
            if field is None:
                continue
            value, _ = _FORMATTER.get_field(field, (), values)
            if isinstance(value, Phrase):
                text += self.text(value.key, **value.values)
                continue
            filled = format(_FORMATTER.convert_field(value, conversion), spec or "")
            text += shown(filled, keep="\n" if text.endswith("\n") else "")
        return text


def _locale_name() -> str:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(variable):
            return os.environ[variable]
    return locale.getlocale()[0] or "en"
