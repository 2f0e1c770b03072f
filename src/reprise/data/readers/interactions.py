"""Interactions, whatever they were read from: who met which item, and when.

A source is scanned, not loaded: batches of its rows become numbers on the way in, so that memory
holds 16 to 24 bytes a row however long its ids are. A column is read in the first of its readings
(`_READINGS`) that fits every row: ids that are whole numbers stay numbers, any others are told
apart by a dictionary.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from reprise.data.readers.format import OnProgress, Part, ignore_progress
from reprise.errors import DataError
from reprise.text.messages import Phrase

_LATEST = 1e19  # of a time: nanoseconds reach it in the year 2286
_GOOD_TIME = Phrase("good_time")
_GOOD_ID = Phrase("good_id")
_NEEDED = ("user", "item", "time")
_SAMPLE, _BATCH = 1000, 1_000_000  # rows
# Tried in this order on every value, wherever it stands: nothing is inferred from its neighbours.
_DATES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_ZONED = "%Y-%m-%d %H:%M:%S%.f%:z"


@dataclass(frozen=True)
class Interactions:
    """frame: user and item (UInt32: ids that are numbers, or Categorical), time (Int64 or Float64),
    and category and title (as ids are, or null) where the rows tell them.

    items: item (String), each once, with category and title (String) where they are known.
    ordered: whether the order of the rows says anything. That of a table in parts does not.
    clocked: whether times are of a clock, and not places.
    """

    format_name: str
    frame: pl.DataFrame
    items: pl.DataFrame | None = None
    ordered: bool = True
    clocked: bool = True


def collect(parts: Sequence[Part], on_progress: OnProgress = ignore_progress) -> pl.DataFrame:
    """Return the frame of `Interactions` that the parts make up, one after another; DataError names
    the first row without an id or a time, or a part that has no rows.
    """
    seen: set[str] = set()
    for part in parts:
        try:
            seen.update(part.rows.collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise part.refuse(error) from error
    words = {name: pl.Categorical(pl.Categories.random()) for name in _READINGS if name in seen}
    # What fits the first rows mostly fits all: one pass is enough then.
    head = parts[0]._replace(rows=parts[0].rows.head(_SAMPLE), numbers=None)
    choice, _ = _fitting([head], dict.fromkeys(words, 0), words, ignore_progress)
    choice, frame = _fitting(parts, choice, words, on_progress)
    if any(frame[name].null_count() for name in _NEEDED):
        raise _first_bad(parts, choice, words)
    time = frame["time"]
    if time.dtype == pl.Float64 and time.max() < 2**53 and (time == time.floor()).all():  # type: ignore[operator]
        frame = frame.with_columns(time.cast(pl.Int64))
    return frame


_Words = Mapping[str, pl.Categorical]


def _columns(rows: pl.LazyFrame, choice: Mapping[str, int], words: _Words) -> list[pl.Expr]:
    """Return the columns that `rows` have, as the chosen readings read them."""
    schema = rows.collect_schema()
    return [
        _READINGS[name][choice[name]](pl.col(name), schema[name], word).alias(name)
        for name, word in words.items()
        if name in schema
    ]


def _fitting(
    parts: Sequence[Part], choice: Mapping[str, int], words: _Words, on_progress: OnProgress
) -> tuple[dict[str, int], pl.DataFrame]:
    """Return the first readings from `choice` on that leave no value out, or those that leave out
    the fewest; and the rows as the last ones tried read them.
    """
    left_out: dict[str, dict[int, int]] = {name: {} for name in choice}
    as_numbers = not choice["time"]
    while True:
        frame = pl.concat(
            _batches(parts, choice, as_numbers, words, on_progress), how="diagonal_relaxed"
        )
        if as_numbers and frame["time"].null_count():
            as_numbers = False  # one is none, or a line is blank: read as text
            continue
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
    best = {name: min(tried, key=tried.__getitem__) for name, tried in left_out.items()}
    return best, frame


def _batches(
    parts: Sequence[Part],
    choice: Mapping[str, int],
    as_numbers: bool,
    words: _Words,
    on_progress: OnProgress,
) -> Iterator[pl.DataFrame]:
    rows = 0
    for part in parts:
        before, scanned = rows, part.rows
        if as_numbers and part.numbers is not None:
            scanned = part.numbers
        try:
            for batch in scanned.select(_columns(scanned, choice, words)).collect_batches(
                chunk_size=_BATCH, maintain_order=True, engine="streaming"
            ):
                yield batch
                rows += len(batch)
                on_progress("read", rows)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise part.refuse(error) from error
        if rows == before:
            raise DataError("no_interactions", path=part.path)


def _first_bad(parts: Sequence[Part], choice: Mapping[str, int], words: _Words) -> DataError:
    """Return the error that names the first row, of all parts, without an id or a time."""
    found: list[tuple[Part, dict[str, Any]]] = []
    for part in parts:
        made = [column.name.prefix("made ") for column in _columns(part.rows, choice, words)]
        missing = pl.any_horizontal(pl.col(f"made {name}").is_null() for name in _NEEDED)
        first = part.rows.with_columns(made).filter(missing).head(1).collect(engine="streaming")
        if len(first):
            found.append((part, first.row(0, named=True)))
            break
    part, row = found[0]
    if row.get("odd") is not None:
        text = row["odd"][:80]
        return DataError(
            "bad_line", path=part.path, line=row["line"], text=text, expected=part.fields
        )
    column = next(name for name in _NEEDED if row[f"made {name}"] is None)
    return DataError(
        "bad_value_in_row",
        path=part.path,
        line=row["line"],
        column=column,
        value="" if row[column] is None else str(row[column])[:80],
        expected=_good_time(row[column]) if column == "time" else _GOOD_ID,
    )


def _good_time(bad: object) -> Phrase:
    """Return what should stand in the place of a bad time: what is a time by itself is none among
    those of another kind.
    """
    text = "" if bad is None else str(bad)
    date = pl.select(_timestamps(pl.lit(text))).item()
    if date is not None:
        return Phrase("good_time_since_epoch") if date < 0 else Phrase("good_time_number")
    number = pl.select(_broken_time(pl.lit(text), pl.String(), pl.Null())).item()
    return _GOOD_TIME if number is None else Phrase("good_time_date")


def described(frame: pl.DataFrame, category_ends: str = "|") -> pl.DataFrame:
    """Return category and title as text: of several categories the first of a text, the last (the
    narrowest) of a list.
    """
    numbers = frame.schema.get("category", pl.UInt32()).is_integer()
    frame = frame.with_columns(
        _text(pl.col(name), frame.schema[name])
        for name in ("category", "title")
        if name in frame.columns
    )
    if numbers:
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
        inner = dtype.inner
        return _text(column.list.last(), inner if isinstance(inner, pl.DataType) else inner())
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
    times = _timestamps(column)
    return pl.when(times >= 0).then(times)


def _timestamps(column: pl.Expr) -> pl.Expr:
    text = column.str.strip_chars().str.replace("T", " ").str.replace("(Z| UTC)$", "+00:00")
    naive = [text.str.to_datetime(form, strict=False, time_unit="us") for form in _DATES]
    zoned = text.str.to_datetime(_ZONED, strict=False, time_unit="us").dt.replace_time_zone(None)
    return pl.coalesce(*naive, zoned).dt.timestamp("us")


_Reading = Callable[[pl.Expr, pl.DataType, pl.DataType], pl.Expr]
# Of each column, the likeliest and cheapest first.
_READINGS: dict[str, tuple[_Reading, ...]] = {
    "user": (_number, _id_text),
    "item": (_number, _id_text),
    "time": (_whole_time, _broken_time, _date),
    "category": (_number, _word),
    "title": (_word,),
}
