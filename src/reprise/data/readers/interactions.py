"""Interactions from any format: user, item and time, encoded as numbers.

A source is scanned, not loaded: batches of its rows become numbers on the way in, so that memory
holds 16 to 24 bytes a row however long its ids are. A column is read in the first of its readings
(`_READINGS`) that fits every row: ids that are whole numbers stay numbers, any others are told
apart by a dictionary.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from reprise.data.clock import UNITS, clock_unit, span_of
from reprise.data.ids import spelled
from reprise.data.ordering import aligned, blocks, chunks_of
from reprise.data.readers.format import (
    NOTHING_ASKED,
    Asked,
    OnProgress,
    Part,
    ignore_progress,
)
from reprise.data.readers.times import (
    broken_time,
    good_zone,
    micros,
    nanos,
    timestamps,
    whole_time,
    zone_counts,
)
from reprise.data.store import NEEDED, Held, Memory, Store
from reprise.errors import DataError
from reprise.text.messages import Phrase

_GOOD_TIME = Phrase("good_time")
# What is a time by itself, but not beside the others.
_OTHER_TIMES = ("good_time_number", "good_time_date", "good_time_precision")
_GOOD_ID = Phrase("good_id")
_Reading: TypeAlias = Callable[[pl.Expr, pl.DataType, pl.DataType], pl.Expr]
_SAMPLE, _BATCH = 1000, 1_000_000  # rows


@dataclass(frozen=True)
class Interactions:
    """frame: user and item (UInt32: ids that are numbers, or Categorical), time (Int64 or Float64),
    category and title (as ids are, or null) where the rows tell them and `store`, which holds the
    frame, does not have these apart, and target (Boolean) where not all rows are to be found.

    items: item (String), each once, with category and title (String) where they are known.
    ordered: whether the order of the rows says anything. That of a table in parts does not.
    clocked: whether times are of a clock, and not places. unit: of times that were dates, how many
    a second has. ties: what orders a user's items of one time (`data.ties`). taken: what was read,
    and how, as meta.json keeps it; warnings: what of it may be wrong, each its message's key
    (warning) and its values.
    """

    format_name: str
    frame: pl.DataFrame
    items: pl.DataFrame | None = None
    ordered: bool = True
    clocked: bool = True
    unit: int | None = None
    ties: str = "order"
    taken: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[Mapping[str, Any]] = ()
    store: Store = field(default_factory=Memory)


class Collected(NamedTuple):
    """The frame of `Interactions`, the unit of times that were dates, how many rows were left out:
    in all, and by what they lack; and how many dates have a time zone, and how many have none.
    """

    frame: pl.DataFrame
    unit: int | None
    left_out_rows: int
    left_out: Mapping[str, int]
    zones: tuple[int, int]


def collect(
    parts: Sequence[Part],
    asked: Asked = NOTHING_ASKED,
    on_progress: OnProgress = ignore_progress,
    store: Store | None = None,
) -> Collected:
    """Return what the parts make up, one after another, held by `store` (None: in memory);
    DataError names the first row without an id or a time, where rows without are not to be left
    out, or that no part has rows.
    """
    seen: set[str] = set()
    for part in parts:
        try:
            seen.update(part.rows.collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise part.refuse(error) from error
    words = {name: pl.Categorical(pl.Categories.random()) for name in _READINGS if name in seen}
    reader = _Reader(words, tuple(asked.null_values))
    # What fits the first rows mostly fits all: one pass is enough then.
    sample = parts[0].rows if parts[0].first is None else parts[0].first
    head = parts[0]._replace(rows=sample.head(_SAMPLE), numbers=None)
    store = store or Memory()
    store.expect(rows_of(parts), seen)
    choice, held = _fitting([head], dict.fromkeys(words, 0), reader, ignore_progress, Memory())
    if not held.rows:
        choice = dict.fromkeys(words, 0)
    choice, held = _fitting(parts, choice, reader, on_progress, store)
    frame, rows = held.frame, held.rows
    if not rows:
        raise DataError("no_interactions", path=parts[0].path)
    left_out = {name: held.nulls[name] for name in NEEDED if held.nulls[name]}
    if left_out:
        _refuse_odd(parts)
        whole = aligned(frame.drop_nulls(NEEDED))
        if (
            whole.is_empty()
            or not asked.drop_invalid
            or _are_of_another_kind(parts, choice, reader)
        ):
            raise _first_bad(parts, choice, reader, rows - len(whole), rows)
        frame = whole
    if frame["time"].dtype == pl.Float64 and _are_whole(frame["time"]):
        frame = store.cast(frame, "time", pl.Int64)
    unit = _DATE_UNITS.get(choice["time"])
    zones = (0, 0) if unit is None else _zones(parts)
    return Collected(frame, unit, rows - len(frame), left_out, zones)


def _zones(parts: Sequence[Part]) -> tuple[int, int]:
    """Return how many dates have a time zone, and how many have none."""
    zoned = unzoned = 0
    for part in parts:
        counts = zone_counts(pl.col("time"), part.rows.collect_schema()["time"])
        own = part.rows.select(zoned=counts[0], unzoned=counts[1]).collect(engine="streaming")
        zoned, unzoned = zoned + own["zoned"].item(), unzoned + own["unzoned"].item()
    return zoned, unzoned


def _are_whole(times: pl.Series) -> bool:
    """Whether times are whole numbers, and small enough to tell."""
    return bool(times.max() < 2**53) and all(  # type: ignore[operator]
        (block == np.floor(block)).all() for _, block in blocks(chunks_of(times))
    )


def unit_of(collected: Collected) -> tuple[int | None, dict[str, int]]:
    """Return how many units of its times a second has, None where they are of no clock or of
    several; and of several, how many times are of which.
    """
    time = collected.frame["time"]
    if collected.unit is not None:
        return collected.unit, {}
    least, most = (clock_unit(float(bound)) for bound in (time.min(), time.max()))  # type: ignore[arg-type]
    if least == most:
        return most, {}
    counts = {name: time.is_between(*span_of(unit), closed="left").sum() for name, unit in UNITS}
    mixed = {name: int(count) for name, count in counts.items() if count}
    return (None, mixed) if len(mixed) > 1 else (most, {})


class _Reader(NamedTuple):
    """The dictionary of each column, and the texts that are no values."""

    words: Mapping[str, pl.Categorical]
    nulls: tuple[str, ...]

    def could_be_numbers(self) -> set[str]:
        """Return the columns that may be read as numbers: a text that is no value could be one."""
        columns = {"user", "item", "time", "category"}
        return columns.difference(NEEDED) if self._have_digits() else columns

    def _have_digits(self) -> bool:
        return re.search(r"\d", "".join(self.nulls)) is not None

    def columns(
        self, rows: pl.LazyFrame, choice: Mapping[str, int], names: Sequence[str] | None = None
    ) -> list[pl.Expr]:
        """Return the columns (`names`) that `rows` have, as the chosen readings read them."""
        schema = rows.collect_schema()
        return [
            _READINGS[name][choice[name]](
                self._known(name, choice[name], schema[name]), schema[name], word
            ).alias(name)
            for name, word in self.words.items()
            if name in (schema if names is None else names)
        ]

    def _known(self, name: str, place: int, dtype: pl.DataType) -> pl.Expr:
        """Return a column, null where its text stands for a missing value."""
        column = pl.col(name)
        # What has no digit is no number and no date in any case.
        as_words = _READINGS[name][place] is _id_text or self._have_digits()
        if name not in NEEDED or not self.nulls or dtype != pl.String or not as_words:
            return column
        text = column.str.strip_chars()
        return pl.when(~text.is_in(list(self.nulls))).then(column)


def _fitting(
    parts: Sequence[Part],
    choice: Mapping[str, int],
    reader: _Reader,
    on_progress: OnProgress,
    store: Store,
) -> tuple[dict[str, int], Held]:
    """Return the first readings from `choice` on that leave no value out, or those that leave out
    the fewest; and the rows as they read them.
    """
    left_out: dict[str, dict[int, int]] = {name: {} for name in choice}
    as_numbers = reader.could_be_numbers()
    while True:
        as_numbers -= {name for name, place in choice.items() if place}
        misread: set[str] = set()
        held = store.hold(_batches(parts, choice, as_numbers, reader, on_progress, misread))
        misread |= {name for name in NEEDED if name in as_numbers and held.nulls[name]}
        if misread:
            as_numbers -= misread  # some are none, or not written as numbers are: read as text
            continue
        for name, place in choice.items():
            left_out[name][place] = held.nulls[name]
        worse = {
            name: place + 1
            for name, place in choice.items()
            if left_out[name][place] and place + 1 < len(_READINGS[name])
        }
        if not worse:
            break
        choice = {**choice, **worse}
    best = {name: min(tried, key=tried.__getitem__) for name, tried in left_out.items()}
    if best != choice:
        held = store.hold(_batches(parts, best, (), reader, on_progress, set()))
    return best, held


def _batches(
    parts: Sequence[Part],
    choice: Mapping[str, int],
    as_numbers: Collection[str],
    reader: _Reader,
    on_progress: OnProgress,
    misread: set[str],
) -> Iterator[pl.DataFrame]:
    """Yield the rows of the parts as the chosen readings read them. as_numbers: the columns that a
    text's reader may read as numbers; misread: gets those of them that it must not.
    """
    rows, of = 0, rows_of(parts)
    for part in parts:
        numbers = part.numbers(as_numbers) if as_numbers and part.numbers is not None else None
        scanned = part.rows if numbers is None else numbers.rows
        try:
            wanted = scanned.select(reader.columns(scanned, choice))
            yield wanted.collect_schema().to_frame()  # of a part without rows
            for batch in wanted.collect_batches(
                chunk_size=_BATCH, maintain_order=True, engine="streaming"
            ):
                yield batch
                rows += len(batch)
                on_progress("read", rows, of)
            if numbers is not None:
                misread |= numbers.misread()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise part.refuse(error) from error


def rows_of(parts: Sequence[Part]) -> int:
    """Return how many rows the parts have, before any is left out; 0 where nobody knows."""
    return sum(part.size for part in parts) if all(part.size for part in parts) else 0


def _refuse_odd(parts: Sequence[Part]) -> None:
    """Raise DataError where a line has other fields than it should."""
    for part in parts:
        if "odd" not in part.rows.collect_schema():
            continue
        odd = part.rows.filter(pl.col("odd").is_not_null()).select("line", "odd").head(1)
        for line, text in odd.collect(engine="streaming").rows():
            expected = part.fields
            raise DataError(
                "bad_line", path=part.path, line=line, text=text[:80], expected=expected
            )


def _are_of_another_kind(parts: Sequence[Part], choice: Mapping[str, int], reader: _Reader) -> bool:
    """Whether some times that the chosen reading leaves out are dates where numbers are read, or
    numbers where dates are.
    """
    for part in parts:
        readings = [
            reader.columns(part.rows, {**choice, "time": place}, ("time",))[0].alias(f"by {place}")
            for place in range(len(_READINGS["time"]))
        ]
        read = pl.any_horizontal(pl.all().is_not_null())
        left = pl.col(f"by {choice['time']}").is_null()
        if len(part.rows.select(readings).filter(left, read).head(1).collect(engine="streaming")):
            return True
    return False


def _first_bad(
    parts: Sequence[Part], choice: Mapping[str, int], reader: _Reader, count: int, rows: int
) -> DataError:
    """Return the error that names the first row, of all parts, without an id or a time, and how
    many of the rows there are.
    """
    found: list[tuple[Part, dict[str, Any]]] = []
    for part in parts:
        made = [column.name.prefix("made ") for column in reader.columns(part.rows, choice)]
        missing = pl.any_horizontal(pl.col(f"made {name}").is_null() for name in NEEDED)
        first = part.rows.with_columns(made).filter(missing).head(1).collect(engine="streaming")
        if len(first):
            found.append((part, first.row(0, named=True)))
            break
    part, row = found[0]
    column = next(name for name in NEEDED if row[f"made {name}"] is None)
    value = "" if row[column] is None else str(row[column])[:80]
    expected = _GOOD_ID
    if column == "time":
        expected = _good_time(row[column], choice["time"] in _DATE_UNITS)
    if column != "time" and value.strip() in reader.nulls:
        expected = Phrase("good_id_known", value=value.strip())
    of_another_kind = expected.key in _OTHER_TIMES
    return DataError(
        "bad_time_in_row" if of_another_kind else "bad_values_in_rows",
        path=part.path,
        line=row["line"],
        column=column,
        value=value,
        expected=expected,
        count=count,
        rows=rows,
    )


def _good_time(bad: object, among_dates: bool) -> Phrase:
    """Return what should stand in the place of a bad time: what is a time by itself is none among
    those of another kind, and a date none among dates of a precision that does not reach it.
    """
    text = "" if bad is None else str(bad)
    date = pl.select(timestamps(pl.lit(text))).item()
    if date is not None and date < 0:
        return Phrase("good_time_since_epoch")
    if date is not None:
        return Phrase("good_time_precision" if among_dates else "good_time_number")
    number = pl.select(broken_time(pl.lit(text), pl.String())).item()
    return (good_zone(text) or _GOOD_TIME) if number is None else Phrase("good_time_date")


def described(frame: pl.DataFrame, category_ends: str = "|") -> pl.DataFrame:
    """Return category and title as text: of several categories the first of a text, the last (the
    narrowest) of a list.
    """
    numbers = frame.schema.get("category", pl.UInt32()).is_integer()
    frame = frame.with_columns(
        as_text(pl.col(name), frame.schema[name])
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
    text = as_text(column, dtype)
    return pl.when(text != "").then(text).cast(word)


def as_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return a column as text, without blanks around it; null of what is nested."""
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        return as_text(column.list.last(), inner if isinstance(inner, pl.DataType) else inner())
    if dtype.is_nested():
        return pl.lit(None, pl.String)
    return spelled(column, dtype)


def _id_text(column: pl.Expr, dtype: pl.DataType, word: pl.DataType) -> pl.Expr:
    return pl.lit(None, word) if dtype.is_nested() else _word(column, dtype, word)


def _time(read: Callable[[pl.Expr, pl.DataType], pl.Expr]) -> _Reading:
    return lambda column, dtype, word: read(column, dtype)


def _as_is(column: pl.Expr, dtype: pl.DataType, word: pl.DataType) -> pl.Expr:
    return column


# Of each column, the likeliest and cheapest first.
_READINGS: dict[str, tuple[_Reading, ...]] = {
    "user": (_number, _id_text),
    "item": (_number, _id_text),
    "time": tuple(map(_time, (whole_time, broken_time, micros, nanos))),
    "category": (_number, _word),
    "title": (_word,),
    "target": (_as_is,),
}
_DATE_UNITS = {2: 10**6, 3: 10**9}  # of the readings of the time, those of dates
