"""Interactions, whatever they were read from: who met which item, and when.

A source is scanned, not loaded: batches of its rows become numbers on the way in, so that memory
holds 16 to 24 bytes a row however long its ids are. A column is read in the first of its readings
(`_READINGS`) that fits every row: ids that are whole numbers stay numbers, any others are told
apart by a dictionary.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from reprise.errors import DataError

Tell = Callable[[str, int], None]  # of progress: a stage of STAGES, and the rows it has seen
STAGES = ("read", "filter", "order", "write")

_LATEST = 1e19  # of a time: nanoseconds reach it in the year 2286
_GOOD_TIME = "a time: a number from 0, or a date such as 2026-11-27 08:30:00"
_GOOD_ID = "an id"
_NEEDED = ("user", "item", "time")
_SAMPLE, _BATCH = 1000, 1_000_000  # rows
# Tried in this order on every value, wherever it stands: nothing is inferred from its neighbours.
_DATES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_ZONED = "%Y-%m-%d %H:%M:%S%.f%:z"


class Part(NamedTuple):
    """A file's rows, to be scanned: user, item, time, and category and title where there are any,
    as text or as stored; and line, the row's number. A line that has not its fields has none of
    them, and stands in the column odd, which is null in all others.

    refuse: returns what to say of a failure to read them; fields: what a line should have.
    """

    path: Path
    rows: pl.LazyFrame
    refuse: Callable[[Exception], DataError]
    fields: str = ""


@dataclass(frozen=True)
class Interactions:
    """frame: user and item (UInt32: ids that are numbers, or Categorical), time (Int64 or Float64),
    and category and title (as ids are, or null) where the rows tell them.

    items: item (String), each once, with category and title (String) where they are known.
    ordered: whether the order of the rows says anything. That of a table in parts does not.
    clocked: whether times are of a clock, and not places.
    """

    layout: str
    frame: pl.DataFrame
    items: pl.DataFrame | None = None
    ordered: bool = True
    clocked: bool = True


def silent(stage: str, rows: int) -> None:
    """Tell nobody of the progress."""


def collect(parts: Sequence[Part], tell: Tell = silent) -> pl.DataFrame:
    """Return the frame of `Interactions` that the parts make up, one after another; DataError names
    the first row without an id or a time, or a part that has no rows.
    """
    schemas = []
    for part in parts:
        try:
            schemas.append(part.rows.collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise part.refuse(error) from error
    columns = [name for name in _READINGS if any(name in schema for schema in schemas)]
    words = {name: pl.Categorical(pl.Categories.random()) for name in columns}

    def select(schema: pl.Schema, choice: Mapping[str, int]) -> list[pl.Expr]:
        return [
            _READINGS[name][choice[name]](pl.col(name), schema[name], words[name]).alias(name)
            for name in columns
            if name in schema
        ]

    # What fits the first rows mostly fits all: one pass is enough then.
    head = [parts[0]._replace(rows=parts[0].rows.head(_SAMPLE))]
    choice, _ = _fitting(head, schemas, dict.fromkeys(columns, 0), select, silent)
    choice, frame = _fitting(parts, schemas, choice, select, tell)
    if any(frame[name].null_count() for name in _NEEDED):
        raise _first_bad(parts, schemas, choice, select)
    return frame


_Select = Callable[[pl.Schema, Mapping[str, int]], list[pl.Expr]]


def _fitting(
    parts: Sequence[Part],
    schemas: Sequence[pl.Schema],
    choice: Mapping[str, int],
    select: _Select,
    tell: Tell,
) -> tuple[dict[str, int], pl.DataFrame]:
    """Return the first readings from `choice` on that leave no value out, or those that leave out
    the fewest; and the rows as the last ones tried read them.
    """
    left_out: dict[str, dict[int, int]] = {name: {} for name in choice}
    while True:
        batches = _batches(parts, schemas, choice, select, tell)
        frame = pl.concat(batches, how="diagonal_relaxed").rechunk()
        for name, place in choice.items():
            left_out[name][place] = frame[name].null_count()
        worse = {
            name: place + 1
            for name, place in choice.items()
            if left_out[name][place] and place + 1 < len(_READINGS[name])
        }
        if not worse:
            break
        choice = {**choice, **worse}
    return {name: min(tried, key=lambda place: tried[place]) for name, tried in left_out.items()}, frame


def _batches(
    parts: Sequence[Part],
    schemas: Sequence[pl.Schema],
    choice: Mapping[str, int],
    select: _Select,
    tell: Tell,
) -> Iterator[pl.DataFrame]:
    rows = 0
    for part, schema in zip(parts, schemas, strict=False):
        before = rows
        try:
            for batch in part.rows.select(select(schema, choice)).collect_batches(
                chunk_size=_BATCH, maintain_order=True, engine="streaming"
            ):
                yield batch
                rows += len(batch)
                tell("read", rows)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise part.refuse(error) from error
        if rows == before:
            raise DataError("no_interactions", path=part.path)


def _first_bad(
    parts: Sequence[Part],
    schemas: Sequence[pl.Schema],
    choice: Mapping[str, int],
    select: _Select,
) -> DataError:
    """Return the error that names the first row, of all parts, without an id or a time."""
    found: list[tuple[Part, dict[str, Any]]] = []
    for part, schema in zip(parts, schemas, strict=True):
        made = [column.name.prefix("made ") for column in select(schema, choice)]
        missing = pl.any_horizontal(pl.col(f"made {name}").is_null() for name in _NEEDED)
        first = part.rows.with_columns(made).filter(missing).head(1).collect(engine="streaming")
        if len(first):
            found.append((part, first.row(0, named=True)))
            break
    (path, _, _, fields), row = found[0]
    if row.get("odd") is not None:
        text = row["odd"][:80]
        return DataError("bad_line", path=path, line=row["line"], text=text, expected=fields)
    column = next(name for name in _NEEDED if row[f"made {name}"] is None)
    return DataError(
        "bad_value_in_row",
        path=path,
        line=row["line"],
        column=column,
        value="" if row[column] is None else str(row[column])[:80],
        expected=_GOOD_TIME if column == "time" else _GOOD_ID,
    )


def described(frame: pl.DataFrame, category_ends: str = "|") -> pl.DataFrame:
    """Return category and title as text: of several categories the first of a text, the last (the
    narrowest) of a list.
    """
    frame = frame.with_columns(
        _text(pl.col(name), frame.schema[name])
        for name in ("category", "title")
        if name in frame.columns
    )
    if "category" not in frame.columns:
        return frame
    first = pl.col("category").str.split(category_ends).list.first().str.strip_chars()
    return frame.with_columns(first.alias("category"))


def _number(column: pl.Expr, dtype: pl.DataType, word: pl.DataType) -> pl.Expr:
    """Read ids that are small whole numbers, written in one way only: 01 is not 1."""
    if dtype == pl.String:
        plain = (column >= "1") | (column == "0")
        return pl.when(plain).then(column.cast(pl.UInt32, strict=False))
    if dtype.is_float():
        return pl.when(column == column.floor()).then(column.cast(pl.UInt32, strict=False))
    return column.cast(pl.UInt32, strict=False) if dtype.is_integer() else pl.lit(None, pl.UInt32)


def _word(column: pl.Expr, dtype: pl.DataType, word: pl.DataType) -> pl.Expr:
    """Read any ids, by a dictionary."""
    text = _text(column, dtype)
    return pl.when(text != "").then(text).cast(word)


def _text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_float():  # which ids get where one is missing
        whole = pl.when(column == column.floor()).then(column.cast(pl.Int64, strict=False))
        known = pl.when(column.is_not_nan()).then(column)
        return pl.coalesce(whole.cast(pl.String), known.cast(pl.String))
    if isinstance(dtype, pl.List):
        assert dtype.inner is not None
        return _text(column.list.last(), pl.List(dtype.inner).inner)
    if dtype.is_nested():
        return pl.lit(None, pl.String)
    return column.cast(pl.String).str.strip_chars()


def _id_text(column: pl.Expr, dtype: pl.DataType, word: pl.DataType) -> pl.Expr:
    return pl.lit(None, word) if dtype.is_nested() else _word(column, dtype, word)


def _whole_time(column: pl.Expr, dtype: pl.DataType, word: pl.DataType) -> pl.Expr:
    if dtype in (pl.Date, pl.Datetime):
        times = column.cast(pl.Datetime("us")).dt.timestamp("us")
    elif dtype == pl.String:
        times = column.str.strip_chars().cast(pl.Int64, strict=False)
    elif dtype.is_integer():
        times = column.cast(pl.Int64, strict=False)
    else:
        return pl.lit(None, pl.Int64)
    return pl.when(times >= 0).then(times)


def _broken_time(column: pl.Expr, dtype: pl.DataType, word: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        column = column.str.strip_chars()
    elif not dtype.is_numeric():
        return pl.lit(None, pl.Float64)
    times = column.cast(pl.Float64, strict=False)
    return pl.when(times.is_between(0, _LATEST)).then(times)


def _date(column: pl.Expr, dtype: pl.DataType, word: pl.DataType) -> pl.Expr:
    """Read dates, the year first, as microseconds; those without a zone are taken as UTC."""
    if dtype != pl.String:
        return _broken_time(column, dtype, word)
    text = column.str.strip_chars().str.replace("T", " ").str.replace("(Z| UTC)$", "+00:00")
    naive = [text.str.to_datetime(form, strict=False, time_unit="us") for form in _DATES]
    zoned = text.str.to_datetime(_ZONED, strict=False, time_unit="us").dt.replace_time_zone(None)
    times = pl.coalesce(*naive, zoned).dt.timestamp("us")
    return pl.when(times >= 0).then(times)


_Reading = Callable[[pl.Expr, pl.DataType, pl.DataType], pl.Expr]
# Of each column, the likeliest and cheapest first.
_READINGS: dict[str, tuple[_Reading, ...]] = {
    "user": (_number, _id_text),
    "item": (_number, _id_text),
    "time": (_whole_time, _broken_time, _date),
    "category": (_number, _word),
    "title": (_word,),
}
