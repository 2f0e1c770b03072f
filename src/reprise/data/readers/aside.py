"""Report what is not read of a source: files, and columns that look useful."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reprise import durable
from reprise.data.readers import foreign, sources, tables
from reprise.data.readers.given import Given, is_hidden, is_hidden_below
from reprise.errors import DataError

_NAMED = 3  # files shown per reason
# What a column may hold, by its name. No option uses a price.
_LOOKS = {
    "category": r"categor|(^|_)cat(_|$)|genre|brand|department|(item|product)_type|^(class|tags?)$",
    "title": r"title|headline|(product|item|article)_?name|^name$",
    "rating": r"rating|^stars?$|^score$|^overall$",
    "price": r"price|amount|revenue",
}


def left_aside(given: Given, used: Collection[Path]) -> dict[str, dict[str, Any]]:
    """Return the files and folders of a source that were not read, by reason: count, names."""
    left = [path for path in given.paths if path.is_file() and path not in used]
    left += given.passed
    for folder in given.paths:
        if folder.is_dir():
            below = [path for path in used if folder in path.parents]
            left += _unused(folder, used, deep=any(path.parent != folder for path in below))
    told: dict[str, dict[str, Any]] = {}
    for path in sorted(set(left)):
        own = told.setdefault(_reason(path, given), {"count": 0, "names": []})
        own["count"] += 1
        own["names"] += [given.name_of(path)] if len(own["names"]) < _NAMED else []
    return told


def _unused(folder: Path, used: Collection[Path], deep: bool) -> Iterator[Path]:
    """Yield unused files; a folder as a whole, unless deep, which descends into it."""
    try:
        found = durable.entries(folder)
    except OSError:  # an unreadable folder has no files to report
        found = []
    for path in found:
        if path.is_dir() and deep and not is_hidden(path):
            yield from _unused(path, used, deep)
        elif path not in used:
            yield path


def _reason(path: Path, given: Given) -> str:
    if is_hidden_below(path, given.root):
        return "hidden"
    if path.is_dir():
        return "folder"
    if sources.is_metadata(path):
        return "metadata"
    if foreign.is_foreign(path):
        return "foreign"
    return "empty" if _is_empty(path) else "other"


def _is_empty(path: Path) -> bool:
    try:
        return tables.kind(path) is not None and tables.is_empty(path)
    except DataError:
        return False


def useful(columns: Sequence[str], known: Collection[str]) -> list[Mapping[str, str]]:
    """Return the columns that look useful, each with what it may hold, except what is already
    `known`.
    """
    return [
        {"column": name, "what": what}
        for name in columns
        for what in [_look(name.partition(":")[0])]
        if what is not None and what not in known
    ]


def _look(name: str) -> str | None:
    plain = name.lower().replace("-", "_").replace(" ", "_")
    return next((what for what, words in _LOOKS.items() if re.search(words, plain)), None)
