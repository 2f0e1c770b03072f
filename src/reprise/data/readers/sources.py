"""Which files of a folder make up a source: its parts, its texts, and the metadata beside them.

Hidden files are no data: macOS and editors leave them beside what they copy.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from reprise.data.readers import tables
from reprise.errors import DataError

_SPLITS = ("train",), ("valid", "val", "dev"), ("test",)
_IN_SPLITS = frozenset(sum(_SPLITS, ()))
_NUMBERS = re.compile(r"\s*\d+(\s+\d+)+\s*")
_TEXT = re.compile(r"\.(txt|dat)(\.|$)")  # which need not be a table


def matching(folder: Path, pattern: str) -> list[Path]:
    """Return what is in a folder by a pattern of names, sorted."""
    return [path for path in sorted(folder.glob(pattern)) if not _is_hidden(path)]


def sequences_in(folder: Path) -> list[Path]:
    """Return the texts in a folder that begin as sequences do, of numbers: words may be a note."""
    texts = [path for path in matching(folder, "*") if path.suffix in (".txt", ".dat")]
    return [path for path in texts if path.is_file() and _NUMBERS.fullmatch(tables.opening(path))]


def parts_of(folder: Path) -> list[Path]:
    """Return the tables of a folder by name, or if it has none, of the folders in it; those of
    splits in their order; texts that need not be tables and metadata are left out. DataError where
    they are of several kinds.
    """
    found = _tables(matching(folder, "*"))
    if not found:
        found = [
            path
            for path in _tables(sorted(folder.rglob("*")))
            if not any(_is_hidden(part) for part in (path, *path.relative_to(folder).parents))
        ]
    parts = [path for path in found if not (_about(path) or _TEXT.search(path.name))]
    if len({tables.kind(path) for path in parts}) > 1:
        names = ", ".join(path.name for path in parts)
        raise DataError("parts_differ", path=folder, files=names)
    return sorted(parts, key=_place)


def are_ordered(paths: list[Path]) -> bool:
    """Whether the order of the parts' rows says anything: of one, or of those named by splits."""
    return len(paths) == 1 or all(_stem(path) in _IN_SPLITS for path in paths)


def metadata_of(source: Path) -> Path | None:
    """Return the metadata of items beside a table or in a folder of parts: named after the table,
    or the only one there.
    """
    folder = source if source.is_dir() else source.parent
    found = [path for path in _tables(matching(folder, "*")) if _about(path) and path != source]
    own = [path for path in found if _about(path) == _stem(source)]
    fitting = own or found
    return fitting[0] if len(fitting) == 1 else None


def may_describe(path: Path) -> bool:
    """Whether metadata may be of the data set, not of its items, as Kaggle's dataset-metadata.json
    is.
    """
    return "metadata" in path.name


def _tables(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file() and tables.kind(path)]


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


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
    return next((place for place, names in enumerate(_SPLITS) if _stem(path) in names), 0)


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]
