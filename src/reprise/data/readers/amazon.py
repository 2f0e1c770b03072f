"""Amazon's item metadata of 2014: one Python literal per line, not JSON."""

import ast
from pathlib import Path

import polars as pl

from reprise.data.ids import spelled_one
from reprise.data.readers import tables
from reprise.data.readers.texts import lines_of, unreadable
from reprise.errors import DataError
from reprise.text.messages import Phrase

# What reading a line as a record raises where it is something else.
_NO_RECORD = (
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)


def is_metadata(path: Path) -> bool:
    """Whether a file has such lines."""
    return tables.kind(path) == "lines" and tables.opening(path).startswith("{'")


def read_metadata(path: Path) -> pl.DataFrame:
    """Read item, title and category, as text."""
    try:  # items, not interactions: few enough to be read one by one
        lines = lines_of(path).select("line", "text").collect().rows()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    names = ("item", "title", "category")
    rows = [_item(path, line, text) for line, text in lines]
    return pl.DataFrame(rows, dict.fromkeys(names, pl.String), orient="row")


def _item(path: Path, line: int, text: str) -> tuple[str | None, ...]:
    """Return the item, title and category of a line; DataError where it is none of an item."""
    try:
        record = ast.literal_eval(text)
        found = record["asin"], record.get("title"), _narrowest(record.get("categories"))
        return tuple(map(_text, found))
    except _NO_RECORD as error:
        expected = Phrase("good_amazon_item")
        raise DataError(
            "bad_line", path=path, line=line, text=text[:80], expected=expected
        ) from error


def _narrowest(categories: object) -> object:
    """Return the last category of a path, or of the first of several; None of an empty one."""
    while isinstance(categories, list) and categories:
        first, last = categories[0], categories[-1]
        categories = first if isinstance(first, list) else last
    return None if categories == [] else categories


def _text(value: object) -> str | None:
    """Return a text, or a number as one; TypeError of anything else but None."""
    if value is not None and not isinstance(value, str | int | float):
        raise TypeError(type(value))
    return spelled_one(value)
