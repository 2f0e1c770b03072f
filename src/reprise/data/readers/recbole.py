"""RecBole's atomic files: `<x>.inter`, and `<x>.item` beside it for categories and titles."""

from pathlib import Path

import polars as pl

from reprise.data.readers import tables
from reprise.data.readers.columns import UNNAMED, Columns, find
from reprise.data.readers.format import Asked, Format, Found, Part, unknown_format
from reprise.data.readers.items import items_of
from reprise.data.readers.sources import matching
from reprise.data.readers.texts import lines_of, scan_fields, unreadable
from reprise.errors import DataError

_USUAL = {"user": "user_id", "item": "item_id", "time": "timestamp"}


def recognises(path: Path) -> bool:
    """Recognise a file by its name, a folder by a single one in it."""
    return len(matching(path, "*.inter")) == 1 if path.is_dir() else path.suffix == ".inter"


def read(source: Path, asked: Asked) -> Found:
    """Scan the interactions; read the items, whose category and title may be named."""
    path = source
    if source.is_dir():
        found = matching(source, "*.inter")
        if len(found) != 1:
            raise unknown_format(source)
        path = found[0]
    about = path.with_suffix(".item")
    if not about.is_file():
        return Found([scan_inter(path, asked.columns)])
    told = Columns(category=asked.columns.category, title=asked.columns.title)
    items = items_of(tables.read(about, needed=("item",), columns=told), category_ends=" ")
    return Found([scan_inter(path, asked.columns._replace(category=None, title=None))], items)


def scan_inter(path: Path, columns: Columns = UNNAMED) -> Part:
    """Return the rows of an `.inter` file (tab separated, header `name:type`), its columns user_id,
    item_id and timestamp, or those named instead or besides, as written.
    """
    if not path.is_file():
        raise DataError("file_missing", path=path)
    whole = lines_of(path)
    try:
        first = whole.head(2).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    header = first["text"][0].split("\t") if len(first) else []
    names = [field.split(":")[0] for field in header]
    found = find(path, names, columns, _USUAL)
    missing = [name for what, name in _USUAL.items() if what not in found]
    if missing:
        raise DataError("inter_columns", path=path, missing=", ".join(missing), header=header)
    if len(first) < 2:
        raise DataError("no_interactions", path=path)
    places = {names.index(name): what for what, name in found.items()}
    body = whole.filter(pl.col("line") > first["line"][0])
    return scan_fields(path, body, "\t", [places.get(n, "") for n in range(len(names))], header)


FORMAT = Format(recognises, read, named_columns="recbole")
