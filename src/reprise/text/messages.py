"""Look up messages by key in en.toml or zh.toml, and choose the language."""

import functools
import locale
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from reprise.text.keywords import QUOTED, as_keywords, keywords_of, quoted
from reprise.text.shown import shortened, shown

_FORMATTER = Formatter()
_OPTIONS = ("option", "options", "used")  # fields whose values may be flags, named by the code
Language = Literal["en", "zh"]
# say(key, **values): a callback that reports a message; the caller chooses language and place.
Say = Callable[..., None]


@functools.cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, Any]]:
    """Return the tables of a language's file, which is read on first use."""
    path = Path(__file__).with_name(f"{language}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def choose_language(asked: str | None = None) -> Language:
    """Return the language: `asked`, else REPRISE_LANG, else the locale's; English by default."""
    name = asked or os.environ.get("REPRISE_LANG") or _locale_name()
    return "zh" if name.lower().startswith("zh") else "en"


def unsaid(key: str, **values: object) -> None:
    """Ignore a message: the `Say` of callers that report nothing."""


class Phrase:
    """A message, or part of one, that is translated when it is shown; `str` gives English.

    Args:
        key: The message's key in the language files.
        values: The values of its fields.
    """

    def __init__(self, key: str, **values: Any) -> None:
        self.key = key
        self.values = values

    def __str__(self) -> str:
        return self.said_in("en")

    def said_in(self, language: Language) -> str:
        """Return the text in a language."""
        return Messages(language).text(self.key, **self.values)


class Phrases(tuple[Phrase, ...]):
    """Phrases that a message enumerates."""


class Messages:
    """The messages of one language; `keywords`: of the Python API, instead of flags."""

    def __init__(self, language: Language, keywords: bool = False) -> None:
        self.language = language
        self.keywords = keywords

    def metric(self, name: str, label: str) -> str:
        """Return a metric's translated name, by default `label`, the English one."""
        called: str = catalogue(self.language).get("metrics", {}).get(name, label)
        return called

    def text(self, key: str, **values: Any) -> str:
        """Return the line `key` filled in with `values`, of which a Phrase is a line itself.

        Control characters of other values are escaped, quoted ones and paths that cannot exist are
        shortened; where a field begins a line, its value is lines, and stays so.
        """
        sentence: str = catalogue(self.language)["messages"][key]
        if self.keywords:
            sentence = as_keywords(sentence)
        text = ""
        for literal, field, spec, conversion in _FORMATTER.parse(sentence):
            text += literal
            if field is None:
                continue
            value, _ = _FORMATTER.get_field(field, (), values)
            if isinstance(value, Phrase):
                text += self.text(value.key, **value.values)
                continue
            if isinstance(value, Phrases):
                text += self.text("and_next").join(self.text(one.key) for one in value)
                continue
            if self.keywords and field in _OPTIONS and isinstance(value, str) and not conversion:
                value = keywords_of(value)
            if conversion or isinstance(value, Path):
                value = shortened(value)
            converted = (
                quoted(value)
                if conversion == QUOTED
                else _FORMATTER.convert_field(value, conversion)
            )
            filled = format(converted, spec or "")
            text += shown(filled, keep="\n" if text.endswith("\n") else "")
        return text


def _locale_name() -> str:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(variable):
            return os.environ[variable]
    return locale.getlocale()[0] or "en"
