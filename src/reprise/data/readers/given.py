"""The source as given by the user: a file, a folder, a glob pattern, or several of these."""

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, TypeAlias

from reprise.data.files import entries_of
from reprise.errors import DataError, UsageError

_MAGIC = re.compile(r"[*?\[]")
_SERVER = re.compile(
    r"((?:postgres|postgresql|mysql|mariadb|mssql|oracle|redshift|snowflake|bigquery|clickhouse|trino"
    r"|presto|mongodb)(?:\+\w+)*):/",
    re.IGNORECASE,
)


class Given(NamedTuple):
    """A source whose patterns are resolved.

    paths: the files and folders to read. root: the folder that their names are shown relative to.
    called: the source as the user gave it. matched: those of `paths` that a pattern matched: the
    user did not name them, and they may be no data. passed: hidden files that a pattern matched,
    which are not read.
    """

    paths: tuple[Path, ...]
    root: Path
    called: str
    matched: frozenset[Path] = frozenset()
    passed: tuple[Path, ...] = ()

    @property
    def where(self) -> Path:
        """The path that errors show."""
        return self.paths[0] if len(self.paths) == 1 else self.root

    def name_of(self, path: Path) -> str:
        """Return a file's path relative to the root, as it is shown."""
        return os.path.relpath(path, self.root)


Source: TypeAlias = str | Path | Sequence[str | Path] | Given


def is_hidden(path: Path) -> bool:
    """Whether a path's name begins with a dot or an underscore: files that macOS and editors, or
    Spark and Hive, put beside the data.
    """
    return path.name.startswith((".", "_"))


def is_hidden_below(path: Path, root: Path) -> bool:
    """Whether a path, or a folder between it and the root, is hidden."""
    return any(is_hidden(Path(part)) for part in Path(os.path.relpath(path, root)).parts)


def given(source: Source) -> Given:
    """Resolve a source: patterns become the files that match, in order of name.

    Raises:
        DataError: A file does not exist, or nothing matches a pattern.
    """
    if isinstance(source, Given):
        return source
    asked = [source] if isinstance(source, str | Path) else source
    if not asked:
        raise UsageError("missing_value", option="source")
    paths: list[Path] = []
    roots: list[Path] = []
    matched: list[Path] = []
    hidden: list[Path] = []
    for one in map(Path, asked):
        if one.exists():
            paths.append(one)
            roots.append(one if one.is_dir() else one.parent)
        elif _MAGIC.search(str(one)):
            fixed = _fixed(one)
            found = sorted(set(_matching(fixed, one.relative_to(fixed).parts)))
            hidden += (own := [path for path in found if is_hidden_below(path, fixed)])
            matched += found
            paths += [path for path in found if path not in own]
            roots.append(fixed)
            if len(own) == len(found):
                raise DataError("nothing_matches", pattern=one)
        else:
            refuse_server(one)
            raise DataError("source_missing", path=one)
    return Given(
        tuple(paths),
        _common(roots),
        ", ".join(map(str, asked)),
        frozenset(matched).intersection(paths),
        tuple(hidden),
    )


def refuse_server(source: str | Path) -> None:
    """Raise DataError where a source is the address of a server."""
    found = _SERVER.match(str(source))
    if found:
        raise DataError("database_server", scheme=found[1])


def _fixed(pattern: Path) -> Path:
    """Return the leading folders of a pattern that have no wildcards."""
    return Path(*takewhile(lambda part: not _MAGIC.search(part), pattern.parts))


def _matching(folder: Path, pattern: Sequence[str]) -> Iterator[Path]:
    """Yield what a pattern's parts match in a folder; `**` stands for any folders, links excepted.
    DataError where a folder cannot be listed, unless it is hidden: that nothing in it matches is
    then not known.
    """
    if not pattern:
        yield folder
        return
    first, *rest = pattern
    if first == "**":
        yield from _matching(folder, rest)
    elif not _MAGIC.search(first):
        if (folder / first).exists():
            yield from _matching(folder / first, rest)
        return
    try:
        found = entries_of(folder)
    except DataError:
        if not is_hidden(folder):
            raise
        found = []
    for path in found:
        if first == "**":
            if path.is_dir() and not path.is_symlink():
                yield from _matching(path, pattern)
        elif fnmatchcase(path.name, first) and (not rest or path.is_dir()):
            yield from _matching(path, rest)


def _common(folders: Sequence[Path]) -> Path:
    """Return the common parent of the folders; a single folder as it is."""
    if len(set(folders)) == 1:
        return folders[0]
    return Path(os.path.commonpath([folder.absolute() for folder in folders]))
