"""RecBole's atomic files: `<x>.inter`, and `<x>.item` beside it for categories and titles."""

import re
from collections.abc import Sequence
from pathlib import Path

from reprise.data.readers import tables
from reprise.data.readers.columns import ON_REQUEST, USUAL, Columns
from reprise.data.readers.dialect import Dialect
from reprise.data.readers.format import Asked, Format, Found, Part
from reprise.data.readers.items import items_of, unused_of
from reprise.data.readers.sources import by_splits, matching
from reprise.errors import DataError

_USUAL = {"user": "user_id", "item": "item_id", "time": "timestamp"} | {
    what: USUAL[what] for what in ON_REQUEST
}


def recognises(path: Path) -> bool:
    """Recognise a file by its name, a folder by those in it."""
    return bool(matching(path, "*.inter")) if path.is_dir() else path.suffix == ".inter"


def read(source: Path, asked: Asked) -> Found:
    """Scan the interactions, those of a benchmark's splits one after another; read the items, whose
    category and title may be named.
    """
    paths = _files(source)
    about = paths[0].with_name(f"{_stem(paths[0])}.item")
    columns, items, unused = asked.columns, None, []
    used = about if about.is_file() else None
    if used:
        told = Columns(category=columns.category, title=columns.title)
        dialect = _dialect(asked.dialect)
        items = items_of(tables.read(about, ("item",), told, dialect), category_ends=" ")
        unused = unused_of(about, told, dialect)
        columns = columns._replace(category=None, title=None)
    for path in paths:
        _refuse_histories(path, asked.dialect)
    return Found(scan_inter(paths, columns, asked), items, about=used, about_unused=unused)


def _refuse_histories(path: Path, dialect: Dialect) -> None:
    """Raise DataError where rows have a list of the items before them: they are no interactions."""
    for name in tables.names_of(path, _dialect(dialect)):
        if re.fullmatch(r"item_id_list(:token_seq)?", name):
            raise DataError("recbole_histories", path=path, column=name)


def _files(source: Path) -> Sequence[Path]:
    """Return the file of interactions, or those of the splits of one data set."""
    if not source.is_dir():
        return [source]
    found = matching(source, "*.inter")
    splits = by_splits(found)
    if len(found) == 1 or (splits and len({_stem(path) for path in found}) == 1):
        return splits or found
    names = ", ".join(path.name for path in found) or "-"
    raise DataError("one_inter_needed", path=source, files=names)


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _dialect(asked: Dialect) -> Dialect:
    """Return how atomic files are written: parted by tabs, and nothing is quoted."""
    return asked._replace(
        separator="\t" if asked.separator is None else asked.separator,
        quote="" if asked.quote is None else asked.quote,
    )


def scan_inter(paths: Sequence[Path], columns: Columns, asked: Asked) -> list[Part]:
    """Return the rows of `.inter` files (header `name:type`), their columns user_id, item_id and
    timestamp, or those named instead or besides, as written.
    """
    sources: list[tables.Source] = [(path, {}) for path in paths]
    return tables.scan_all(sources, columns, _dialect(asked.dialect), _USUAL, asked.null_values)


FORMAT = Format(recognises, read, named_columns="recbole")
