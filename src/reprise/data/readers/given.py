"""The source as given by the user: a file, a folder, a glob pattern, or several of these."""

import os
import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, TypeAlias

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
            found = sorted(fixed.glob(str(one.relative_to(fixed))))
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


def _common(folders: Sequence[Path]) -> Path:
    """Return the folder that all are below, or the only one as it is."""
    if len(set(folders)) == 1:
        return folders[0]
    return Path(os.path.commonpath([folder.absolute() for folder in folders]))
