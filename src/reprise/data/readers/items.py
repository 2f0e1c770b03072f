"""Read categories and titles of items from tables with one row per item."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from reprise.data.ids import spelled
from reprise.data.readers import amazon, tables
from reprise.data.readers.columns import Columns, find
from reprise.data.readers.dialect import Dialect
from reprise.data.readers.format import Asked, Found, Part
from reprise.data.readers.interactions import described
from reprise.data.readers.tables import Source

_TOLD = ("category", "title")


def items_of(frame: pl.DataFrame, category_ends: str = "|") -> pl.DataFrame:
    """Return item, category and title as text, each item once, its first row counting."""
    item = spelled(pl.col("item"), frame.schema["item"])
    told = [name for name in _TOLD if name in frame.columns]
    frame = described(frame.select(item, *told), category_ends)
    return frame.unique("item", keep="first", maintain_order=True)


def unused_of(about: Path, columns: Columns, dialect: Dialect) -> list[str]:
    """Return the columns of a table of items that are not read."""
    names = tables.names_of(about, dialect)
    used = find(about, names, columns).values()
    return [name for name in names if name not in used]


def tables_with_items(parts: Sequence[Source], about: Path | None, asked: Asked) -> Found:
    """Scan tables of interactions, and read the table `about` their items. What that says counts
    for more than what the rows say, but for columns of theirs that the user names; columns that the
    user names and the rows have not are its own.
    """
    columns, dialect = asked.columns, asked.dialect

    def scanned() -> list[Part]:
        return tables.scan_all(parts, columns, dialect, nulls=asked.null_values)

    if about is None:
        return Found(scanned())
    unused: list[str] = []
    if amazon.is_metadata(about):
        items = items_of(amazon.read_metadata(about))
    else:
        named = _named_of(parts, about, asked)
        own = Dialect(encoding=dialect.encoding)
        items = items_of(tables.read(about, ("item",), named, own))
        unused = unused_of(about, named, own)
        columns = columns._replace(**{what: None for what in _TOLD if what in named.given})
    rows = scanned()
    items = items.drop([what for what in _TOLD if what in columns.given], strict=False)
    told = [what for what in _TOLD if what in items.columns]
    rows = [part.changed(lambda rows: rows.drop(told, strict=False)) for part in rows]
    return Found(rows, items, about=about, about_unused=unused)


def _named_of(parts: Sequence[Source], about: Path, asked: Asked) -> Columns:
    """Return which of the columns that the user names are of the table `about` the items."""
    columns = asked.columns
    if not columns.given:
        return columns
    here = {
        name
        for path, partition in parts
        for name in (*tables.names_of(path, asked.dialect), *partition)
    }
    there = set(tables.names_of(about, Dialect(encoding=asked.dialect.encoding)))
    named = {
        what: name
        for what, name in columns.given.items()
        if what in _TOLD and not columns.by_place and name not in here and name in there
    }
    if columns.item in there:
        named["item"] = columns.item
    return Columns(**named)
