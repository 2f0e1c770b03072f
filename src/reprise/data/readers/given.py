"""The source as given by the user: a file, a folder, a glob pattern, or several of these."""

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, TypeAlias

from reprise import durable
from reprise.errors import DataError, UsageError

_MAGIC = re.compile(r"[*?\[]")


class Given(NamedTuple):
    """paths: the files and folders to read; root: the folder below which their names tell of them;
    called: what they were given as.

    matched: those of the paths that a pattern found, which need not be data; passed: what a pattern
    found, too, and is not read.
    """

    paths: tuple[Path, ...]
    root: Path
    called: str
    matched: frozenset[Path] = frozenset()
    passed: tuple[Path, ...] = ()

    @property
    def where(self) -> Path:
        """What an error names."""
        return self.paths[0] if len(self.paths) == 1 else self.root

    def name_of(self, path: Path) -> str:
        """Return the name of a file as it is shown: below the root."""
        return os.path.relpath(path, self.root)


Source: TypeAlias = str | Path | Sequence[str | Path] | Given


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is no data by its name: macOS and editors leave those that begin
    with a dot beside what they copy, Spark and Hive those that begin with an underscore.
    """
    return path.name.startswith((".", "_"))


def is_hidden_below(path: Path, root: Path) -> bool:
    """Whether a file or a folder that it is in, below the root, is hidden."""
    return any(is_hidden(Path(part)) for part in Path(os.path.relpath(path, root)).parts)


def given(source: Source) -> Given:
    """Return what a source is, patterns resolved to what they match, by name; DataError where a
    file is not there, or nothing matches.
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
            raise DataError("source_missing", path=one)
    return Given(
        tuple(paths),
        _common(roots),
        ", ".join(map(str, asked)),
        frozenset(matched).intersection(paths),
        tuple(hidden),
    )


def _fixed(pattern: Path) -> Path:
    """Return the folder of a pattern above its first part that is one."""
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


def entries_of(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted; DataError where it cannot be listed."""
    try:
        return durable.entries(folder)
    except OSError as error:
        raise DataError("folder_unreadable", path=folder, reason=error.strerror) from error


def _common(folders: Sequence[Path]) -> Path:
    """Return the folder that all are below, or the only one as it is."""
    if len(set(folders)) == 1:
        return folders[0]
    return Path(os.path.commonpath([folder.absolute() for folder in folders]))
