"""Write the flags and commands in a message as the keywords and calls of the Python API.

`--data-dir {folder}` becomes `data_dir={folder}`, and `reprise prepare SOURCE --name NAME` becomes
`reprise.prepare(SOURCE, name=NAME)`. Commands without a call of their own, in backticks, stay.
"""

import functools
import json
import re
import shlex
from pathlib import Path

# Flags whose keyword is not their name, and those that take no value.
_NAMED = {"lambda": "diversity"}
_OF_RESUME = ("best-metric", "change-learning-rate")  # flags that no call takes
_SWITCHES = ("drop-invalid", "filter-seen", "new", "overwrite")
QUOTED = "q"  # the conversion of a field whose value is an argument: see `quoted`

# A value behind a flag: a placeholder, a field, or one of the values that messages name.
_VALUE = (
    r"[A-Z]+(?:,[A-Z]+)*\b|\{\w+\}|\d+"
    r"|(?:lazy-adam|leave-one-out|none|popularity|table|test|time-split|valid)\b"
)
_FLAG = re.compile(rf"--((?:\{{\w+\}}|[a-z])[a-z0-9-]*)(?![\w-])(?: ({_VALUE}))?")
_FLAGS = re.compile(rf"{_FLAG.pattern}(?: {_FLAG.pattern})*")
_CALL = re.compile(
    r"reprise (prepare|train|evaluate)(?! --help)"
    rf"(?P<arguments>(?: (?:[A-Z]+\b|\{{\w+\}}|{_FLAG.pattern}))*)"
)
_KEPT = re.compile(r"(`[^`]*`)")


@functools.cache
def as_keywords(sentence: str) -> str:
    """Return the text of a message with keywords and calls instead of flags and commands."""
    sentence = _CALL.sub(lambda call: _call(call[1], call["arguments"]), sentence)
    parts = _KEPT.split(sentence)
    return "".join(part if part[:1] == "`" else _FLAGS.sub(_keywords, part) for part in parts)


def keywords_of(options: str) -> str:
    """Return what code names as flags, with or without values, as keywords: `--user-col who
    --item-col what` as `user_col="who", item_col="what"`.
    """
    if not options.startswith("--"):
        plain = re.fullmatch(r"[a-z][a-z0-9-]*", options)
        return _named(options) if plain else options
    found: list[str] = []
    for word in shlex.split(options.replace(", --", " --")):
        if word.startswith("--"):
            found.append(_named(word.removeprefix("--")))
        else:
            found[-1] += f"={quoted(word)}"
    return ", ".join(found)


def quoted(value: object) -> str:
    """Return a value as Python writes it in a call."""
    return (
        json.dumps(str(value), ensure_ascii=False) if isinstance(value, str | Path) else f"{value}"
    )


def _call(function: str, arguments: str) -> str:
    if not arguments:
        return f"reprise.{function}"
    subject = [_argument(word) for word in _FLAG.sub("", arguments).split()]
    flags = [_keyword(flag) for flag in _FLAG.finditer(arguments)]
    return f"reprise.{function}({', '.join([*subject, *flags])})"


def _keywords(flags: re.Match[str]) -> str:
    """Return flags in a row as keywords with commas between them."""
    return ", ".join(_keyword(flag) for flag in _FLAG.finditer(flags[0]))


def _keyword(flag: re.Match[str]) -> str:
    name, value = flag[1], flag[2]
    if name in _OF_RESUME:
        return f"`reprise resume NAME --{name} X`"
    keyword = _named(name)
    if name in _SWITCHES:
        return f"{keyword}=True" + (f" {value}" if value else "")
    return keyword if value is None else f"{keyword}={_argument(value)}"


def _argument(word: str) -> str:
    if word[0] == "{":
        return f"{word[:-1]}!{QUOTED}}}"
    return f'"{word}"' if word[0].islower() else word


def _named(flag: str) -> str:
    return _NAMED.get(flag, flag.replace("-", "_"))
