"""Read categories and titles of items from tables with one row per item."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import polars as pl

from reprise.data.readers import amazon, tables
from reprise.data.readers.columns import Columns
from reprise.data.readers.dialect import Dialect
from reprise.data.readers.format import Asked, Found, Part
from reprise.data.readers.interactions import described
from reprise.errors import DataError

# A table, and the columns that the names of its folders tell.
Source: TypeAlias = tuple[Path, Mapping[str, str | None]]
_TOLD = ("category", "title")


def items_of(frame: pl.DataFrame, category_ends: str = "|") -> pl.DataFrame:
    """Return item, category and title as text, each item once, its first row counting."""
    item = pl.col("item").cast(pl.String).str.strip_chars()
    frame = described(frame.drop("line", strict=False).with_columns(item), category_ends)
    return frame.unique("item", keep="first", maintain_order=True)


def tables_with_items(parts: Sequence[Source], about: Path | None, asked: Asked) -> Found:
    """Scan tables of interactions, and read the table `about` their items. What that says counts
    for more than what the rows say, but for columns of theirs that the user names; columns that the
    user names and the rows have not are its own.
    """
    columns, dialect = asked.columns, asked.dialect

    def scanned() -> list[Part]:
        found = [
            tables.scan(path, columns, dialect=dialect, partition=partition)
            for path, partition in parts
        ]
        _refuse_other_times(found)
        return found

    if about is None:
        return Found(scanned())
    if amazon.is_metadata(about):
        items = items_of(amazon.read_metadata(about))
    else:
        named = _named_of(parts, about, asked)
        items = items_of(tables.read(about, ("item",), named, Dialect(encoding=dialect.encoding)))
        columns = columns._replace(**{what: None for what in _TOLD if what in named.given})
    rows = scanned()
    items = items.drop([what for what in _TOLD if what in columns.given], strict=False)
    told = [what for what in _TOLD if what in items.columns]
    rows = [part.changed(lambda rows: rows.drop(told, strict=False)) for part in rows]
    return Found(rows, items, about=about)


def _refuse_other_times(parts: Sequence[Part]) -> None:
    """Raise DataError where parts have their times in columns of several names: they may mean
    several things.
    """
    found: dict[str, Path] = {}
    for part in parts:
        time = part.told["columns"].get("time")
        if time is not None:
            found.setdefault(time["column"], part.path)
    if len(found) > 1:
        (first, here), (second, there) = list(found.items())[:2]
        raise DataError("other_times", first=here, column=first, second=there, other=second)


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
