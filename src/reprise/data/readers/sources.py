"""Find the files of a source: its parts, its text files, and the metadata beside them."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from reprise.data.files import entries_of
from reprise.data.readers import foreign, tables
from reprise.data.readers.given import Given, is_hidden
from reprise.errors import DataError

_SPLITS = ("train",), ("valid", "val", "dev"), ("test",)
_IN_SPLITS = frozenset(sum(_SPLITS, ()))
_NUMBERS = re.compile(r"\s*\d+(\s+\d+)+\s*")
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_TEXT = re.compile(r"\.(txt|dat)(\.|$)")  # which need not be a table


def matching(folder: Path, pattern: str) -> list[Path]:
    """Return what is in a folder by a pattern of names, sorted."""
    return [path for path in entries_of(folder) if path.match(pattern) and not is_hidden(path)]


def _below(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted; none in hidden ones; DataError as `entries_of`."""
    found = []
    for path in entries_of(folder):
        if path.is_dir() and not is_hidden(path):
            found += _below(path)
        elif not is_hidden(path):
            found.append(path)
    return sorted(found)


def sequences_in(folder: Path) -> list[Path]:
    """Return the texts in a folder that begin as sequences do, of numbers: words may be a note."""
    texts = [path for path in matching(folder, "*") if path.suffix in (".txt", ".dat")]
    return [path for path in texts if path.is_file() and _NUMBERS.fullmatch(tables.opening(path))]


def parts_of(folder: Path) -> list[Path]:
    """Return the tables of a folder by name, or if it has none, of the folders in it; those of
    splits in their order; texts that need not be tables and metadata are left out. DataError where
    they are of several kinds, one is there twice, or a log that is not read tells which count.
    """
    foreign.refuse_lake(folder)
    found = _tables(matching(folder, "*"))
    if not found:
        found = _tables(_below(folder))
    parts = [path for path in found if not (_about(path) or _TEXT.search(path.name))]
    _refuse_others(parts, folder)
    return sorted(parts, key=_place)


def parts_of_all(given: Given) -> list[Path]:
    """Return the tables that make up one or several sources, as `parts_of` does those of a folder,
    but for the texts that are given by name.
    """
    found = [
        part
        for path in given.paths
        for part in (parts_of(path) if path.is_dir() else [path])
        if len(given.paths) == 1 or not _about(part)
    ]
    _refuse_others(found, given.where)
    return sorted(found, key=lambda path: (_place(path), given.name_of(path)))


def _refuse_others(parts: Sequence[Path], where: Path) -> None:
    """Raise DataError where parts are of several kinds, or one is there twice."""
    if len({tables.kind(path) for path in parts}) > 1:
        names = ", ".join(path.name for path in parts)
        raise DataError("parts_differ", path=where, files=names)
    _refuse_copies(parts)


def _refuse_copies(paths: Iterable[Path]) -> None:
    """Raise DataError where a file is there twice: by two names, or plain and packed."""
    known: dict[Path, Path] = {}
    real: dict[Path, Path] = {}
    for path in paths:
        if (first := real.setdefault(path.resolve(), path)) is not path:
            raise DataError("given_twice", first=first, second=path)
        plain = path.with_suffix("") if path.suffix in tables.PACKED else path
        if known.setdefault(plain, path) != path:
            raise DataError("packed_copy", first=known[plain], second=path.name)


def partition_of(path: Path, folder: Path) -> dict[str, str | None]:
    """Return the columns, and their values, that the names of a part's folders tell, as Hive and
    Spark write them: dt=2026-11-27.
    """
    found: dict[str, str | None] = {}
    for part in Path(os.path.relpath(path, folder)).parts[:-1]:
        name, sign, value = part.partition("=")
        if sign and name:
            found[unquote(name)] = None if value == _NULL_PARTITION else unquote(value)
    return found


def are_ordered(paths: list[Path]) -> bool:
    """Whether the order of the parts' rows says anything: of one, or of those named by splits."""
    stems = {_stem(path) for path in paths}
    return len(paths) == 1 or (stems <= _IN_SPLITS and len(stems) == len(paths))


def by_splits(paths: Sequence[Path]) -> list[Path]:
    """Return files that are named after splits (x.train.inter) in the order of these; none where
    one is not.
    """
    ends = {path: set(path.name.split(".")[1:-1]) & _IN_SPLITS for path in paths}
    if not all(len(found) == 1 for found in ends.values()):
        return []
    return sorted(paths, key=lambda path: _place_of(*ends[path]))


def metadata_of(source: Path) -> Path | None:
    """Return the metadata of items beside a table or in a folder of parts: named after the table,
    or the only one there.
    """
    folder = source if source.is_dir() else source.parent
    found = [path for path in _tables(matching(folder, "*")) if _about(path) and path != source]
    own = [path for path in found if _about(path) == _stem(source)]
    fitting = own or found
    return fitting[0] if len(fitting) == 1 else None


def metadata_of_all(given: Given) -> Path | None:
    """Return the metadata beside one or several sources; DataError where several have their own."""
    own = [path for path in given.paths if path.is_dir() or not _about(path)] or given.paths
    found = list(filter(None, dict.fromkeys(map(metadata_of, own))))
    if len(found) > 1:
        raise DataError("several_metadata", first=found[0], second=found[1])
    return found[0] if found else None


def is_metadata(path: Path) -> bool:
    """Whether a file is a table of items by its name."""
    return bool(tables.kind(path) and _about(path))


def may_describe(path: Path) -> bool:
    """Whether metadata may be of the data set, not of its items, as Kaggle's dataset-metadata.json
    is.
    """
    return "metadata" in path.name


def _tables(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file() and tables.kind(path)]


def _about(path: Path) -> str | None:
    """Return what a file tells more of by its name: x of meta_x, x_meta and x.meta, "*" where the
    name does not say; None where it is no metadata.
    """
    stem, *ends = path.name.split(".")
    if any(end in ("meta", "metadata") for end in ends):
        return stem
    named = re.fullmatch(r"meta(?:data)?_(?P<x>.+)|(?P<y>.+)(?:_meta(?:data)?|-metadata)", stem)
    if named:
        return str(named["x"] or named["y"])
    return "*" if stem in ("meta", "metadata") else None


def _place(path: Path) -> int:
    """Return where a part stands that is named after a split: time runs from train to test."""
    return _place_of(_stem(path))


def _place_of(name: str) -> int:
    return next((place for place, names in enumerate(_SPLITS) if name in names), 0)


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]
