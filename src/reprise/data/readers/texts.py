"""Scan text files line by line, and split lines into fields."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from reprise.data.readers.format import Part
from reprise.errors import DataError


def lines_of(path: Path) -> pl.LazyFrame:
    """Scan the non-blank lines of a text: columns text and line (its number, from 1). A byte order
    mark at the start of the file is removed.
    """
    text = pl.col("text").str.strip_chars_end("\r").str.strip_prefix("\ufeff")
    lines = pl.scan_lines(path, name="text", glob=False).with_row_index("line", offset=1)
    return lines.with_columns(text).filter(pl.col("text").str.strip_chars() != "")


def scan_fields(
    path: Path, lines: pl.LazyFrame, separator: str, fields: Sequence[str], shown: Sequence[str]
) -> Part:
    """Split lines (columns text and line) at `separator`, without quotes, and return the named
    fields. shown: the expected fields, for the error on a line with more or fewer.
    """
    parts = pl.col("text").str.split(separator)
    whole = parts.list.len() == len(fields)
    named = [
        pl.when(whole).then(parts.list.get(place, null_on_oob=True)).alias(name)
        for place, name in enumerate(fields)
        if name
    ]
    rows = lines.select("line", *named, odd=pl.when(~whole).then("text"))
    return Part(
        path, rows, lambda error: unreadable(path, error), repr(separator)[1:-1].join(shown)
    )


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error for an unreadable file, with the reader's message."""
    return DataError("unreadable", path=path, reason=str(error).partition("\n")[0])
