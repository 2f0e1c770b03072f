"""Interactions, whatever they were read from: who met which item, and when."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from reprise.errors import DataError

_LATEST = 1e19  # of a time: nanoseconds reach it in the year 2286
_GOOD_TIME = "a time: a number from 0, or a date such as 2026-11-27 08:30:00"
_GOOD_ID = "an id"


@dataclass(frozen=True)
class Interactions:
    """frame: user and item (String), time (Int64 or Float64) and line (rising), a row each.

    items: item (String), each once, with category and title (String) where they are known.
    """

    layout: str
    frame: pl.DataFrame
    items: pl.DataFrame | None = None


def checked(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Return the columns user, item and time, as a source has them, in the types of
    `Interactions`, other columns as they are; DataError names the first bad row of `path`.
    """
    made = frame.with_columns(
        _as_text(frame["user"]).alias("user"),
        _as_text(frame["item"]).alias("item"),
        _as_time(frame["time"]).alias("time"),
    )
    good = {
        "user": (made["user"] != "").fill_null(False),
        "item": (made["item"] != "").fill_null(False),
        "time": made["time"].cast(pl.Float64).is_between(0, _LATEST).fill_null(False),
    }
    bad = [(rows[0], name) for name, flags in good.items() if len(rows := (~flags).arg_true())]
    if bad:
        row, name = min(bad)
        raise DataError(
            "bad_value_in_row",
            path=path,
            line=frame["line"][row],
            column=name,
            value="" if frame[name][row] is None else str(frame[name][row])[:80],
            expected=_GOOD_TIME if name == "time" else _GOOD_ID,
        )
    return made


def _as_text(column: pl.Series) -> pl.Series:
    """Return ids as text: whole numbers without a fraction, whatever type holds them."""
    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        column = whole if (whole == column).fill_null(True).all() else column
    if column.dtype.is_nested():
        return pl.repeat(None, len(column), dtype=pl.String, eager=True)
    return column.cast(pl.String, strict=False).str.strip_chars()


def _as_time(column: pl.Series) -> pl.Series:
    """Return times as numbers that tell the order, null where there is none."""
    if column.dtype in (pl.Date, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.timestamp("us")
    if column.dtype == pl.String:
        column = column.str.strip_chars()
        given = column.null_count()
        for kind in (pl.Int64, pl.Float64):
            numbers = column.cast(kind, strict=False)
            if numbers.null_count() == given:
                return _finite(numbers)
        if numbers.null_count() == len(column):  # no number at all
            try:
                return column.str.to_datetime(strict=False).dt.timestamp("us")
            except pl.exceptions.PolarsError:  # nor any date
                pass
        return _finite(numbers)
    if column.dtype.is_numeric():
        return _finite(
            column.cast(pl.Int64 if column.dtype.is_integer() else pl.Float64, strict=False)
        )
    return pl.repeat(None, len(column), dtype=pl.Float64, eager=True)


def _finite(times: pl.Series) -> pl.Series:
    if times.dtype != pl.Float64:
        return times
    return times.set(~times.is_finite().fill_null(False), None)
