"""Tables: files and folders of parts, as CSV, TSV, Parquet, Arrow or JSON lines (Amazon's reviews),
and metadata of their items beside them (`<x>_meta` or `meta_<x>`) for categories and titles.
"""

from collections.abc import Sequence
from pathlib import Path

from reprise.data.readers import amazon, foreign, sources, tables
from reprise.data.readers.columns import ROLES, UNNAMED, find
from reprise.data.readers.dialect import Dialect
from reprise.data.readers.format import Asked, Format, Found, Part, unknown_format
from reprise.data.readers.given import Given, given
from reprise.data.readers.items import tables_with_items
from reprise.errors import DataError


def recognises(path: Path) -> bool:
    """Recognise any table by its name."""
    return bool(sources.parts_of(path) if path.is_dir() else tables.kind(path))


def read(source: Path, asked: Asked) -> Found:
    """Scan the parts of a file or folder; read the metadata of items beside them."""
    return read_together(given(source), asked)


def read_together(source: Given, asked: Asked) -> Found:
    """Scan the parts of several sources as those of one; read the metadata of items beside them."""
    paths = sources.parts_of_all(source)
    for path in source.paths:
        if path.is_file() or not paths:
            foreign.refuse(path)
    if not paths:
        raise unknown_format(source.where)
    about = sources.metadata_of_all(source)
    if about is not None and (not source.paths[0].is_dir() or sources.may_describe(about)):
        about = about if _tells_items(about, asked) else None
    ordered = sources.are_ordered(paths)
    filled = [path for path in paths if not tables.is_empty(path)] or paths[:1]
    parts = [(path, sources.partition_of(path, source.root)) for path in filled]
    found = tables_with_items(parts, about, asked)
    _refuse_other_columns(found.parts)
    return found._replace(ordered=ordered)


def _refuse_other_columns(parts: Sequence[Part]) -> None:
    """Raise DataError where parts have the same in columns of several names: they may mean several
    things.
    """
    found: dict[str, tuple[str, Path]] = {}
    for part in parts:
        for what, taken in part.told["columns"].items():
            column, path = found.setdefault(what, (taken["column"], part.path))
            if taken["column"] != column:
                there = {"second": part.path, "other": taken["column"], "role": ROLES[what]}
                raise DataError("other_columns", what=what, first=path, column=column, **there)


def _tells_items(path: Path, asked: Asked) -> bool:
    """Whether a file by the name of metadata is a table with a column of items."""
    try:
        if amazon.is_metadata(path):
            return True
        names = tables.names_of(path, Dialect(encoding=asked.dialect.encoding))
    except DataError:
        if sources.may_describe(path):
            return False
        raise
    return asked.columns.item in names or "item" in find(path, names, UNNAMED)


FORMAT = Format(recognises, read, named_columns="table", read_together=read_together)
