"""Items' categories and titles, from tables that have a row an item."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from reprise.data.readers import amazon, tables
from reprise.data.readers.columns import Columns
from reprise.data.readers.format import Found
from reprise.data.readers.interactions import described

_TOLD = ("category", "title")


def items_of(frame: pl.DataFrame, category_ends: str = "|") -> pl.DataFrame:
    """Return item, category and title as text, each item once, its first row counting."""
    item = pl.col("item").cast(pl.String).str.strip_chars()
    frame = described(frame.drop("line", strict=False).with_columns(item), category_ends)
    return frame.unique("item", keep="first", maintain_order=True)


def tables_with_items(paths: Sequence[Path], about: Path | None, columns: Columns) -> Found:
    """Scan tables of interactions, and read the table `about` their items. What that says counts
    for more than what the rows say, but for columns of theirs that the user names; columns that the
    user names and the rows have not are its own.
    """
    if about is None:
        return Found([tables.scan(path, columns) for path in paths])
    if amazon.is_metadata(about):
        items = items_of(amazon.read_metadata(about))
    else:
        named = _named_of(paths, about, columns)
        items = items_of(tables.read(about, ("item",), named))
        columns = columns._replace(**{what: None for what in _TOLD if what in named.given})
    parts = [tables.scan(path, columns) for path in paths]
    items = items.drop([what for what in _TOLD if what in columns.given], strict=False)
    told = [what for what in _TOLD if what in items.columns]
    return Found(
        [part.changed(lambda rows: rows.drop(told, strict=False)) for part in parts], items
    )


def _named_of(paths: Sequence[Path], about: Path, columns: Columns) -> Columns:
    """Return which of the columns that the user names are of the table `about` the items."""
    here = {name for path in paths for name in tables.names_of(path)}
    there = set(tables.names_of(about))
    named = {
        what: name
        for what, name in columns.given.items()
        if what in _TOLD and not columns.by_place and name not in here and name in there
    }
    if columns.item in there:
        named["item"] = columns.item
    return Columns(**named)
