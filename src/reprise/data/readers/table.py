"""Tables: one file or a folder of parts, as CSV, TSV, Parquet or JSON lines (Amazon's reviews), and
metadata of their items beside them (`<x>_meta` or `meta_<x>`) for categories and titles.
"""

from pathlib import Path

from reprise.data.readers import amazon, sources, tables
from reprise.data.readers.columns import UNNAMED, Columns, find
from reprise.data.readers.format import Asked, Format, Found, unknown_format
from reprise.data.readers.items import tables_with_items
from reprise.errors import DataError


def recognises(path: Path) -> bool:
    """Recognise any table by its name."""
    return bool(sources.parts_of(path) if path.is_dir() else tables.kind(path))


def read(source: Path, asked: Asked) -> Found:
    """Scan the parts; read the metadata of items beside them."""
    paths = sources.parts_of(source) if source.is_dir() else [source]
    if not paths:
        raise unknown_format(source)
    about = sources.metadata_of(source)
    if about is not None and (source.is_file() or sources.may_describe(about)):
        about = about if _tells_items(about, asked.columns) else None
    found = tables_with_items(paths, about, asked.columns)
    return found._replace(ordered=sources.are_ordered(paths))


def _tells_items(path: Path, columns: Columns) -> bool:
    """Whether a file by the name of metadata is a table with a column of items."""
    try:
        if amazon.is_metadata(path):
            return True
        names = tables.names_of(path)
    except DataError:
        if sources.may_describe(path):
            return False
        raise
    return columns.item in names or "item" in find(path, names, UNNAMED)


FORMAT = Format(recognises, read, named_columns="table")
