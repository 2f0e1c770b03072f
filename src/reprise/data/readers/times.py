"""Parse times: a number of at least 0, or a date with the year first; null for anything else."""

from functools import partial
from typing import Literal

import polars as pl

_LATEST = 1e19  # the largest number that is a time: the year 2286 in nanoseconds
# Tried in this order on every value by itself: nothing is inferred from other rows.
_DATES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_ZONED = ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M%:z")
_NAME = r"(?: ?[A-Z]{2,5}|\[[\w/+-]+\])?$"  # of a zone after its offset (Go, Java)
_OFFSET = r"(\d:\d{2}(?::\d{2}(?:\.\d+)?)?) ?([+-]\d{2}):?(\d{2})?" + _NAME  # after a time of day
_UTC = "( ?Z| ?UTC| ?GMT)" + r"(?:\[[\w/+-]+\])?$"
_TOO_FINE = r"\.\d{10}"
_FINER = r"\.\d{6}\d*[1-9]"  # than a microsecond


def whole_time(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Parse integers from 0 as Int64."""
    if dtype == pl.String:
        times = column.str.strip_chars().cast(pl.Int64, strict=False)
    elif dtype.is_integer():
        times = column.cast(pl.Int64, strict=False)
    else:
        return pl.lit(None, pl.Int64)
    return pl.when(times >= 0).then(times)


def broken_time(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Parse numbers from 0, integers or not, as Float64."""
    if dtype == pl.String:
        column = column.str.strip_chars()
    elif not dtype.is_numeric():
        return pl.lit(None, pl.Float64)
    times = column.cast(pl.Float64, strict=False)
    return pl.when(times.is_between(0, _LATEST)).then(times)


def micros(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Parse dates as microseconds since 1970; null if they are finer than that."""
    if dtype == pl.String:
        coarse = ~column.str.contains(_FINER)
        return pl.when(coarse).then(since_epoch(column, dtype, "us"))
    times = since_epoch(column, dtype, "us")
    if dtype == pl.Datetime("ns") or (isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns"):
        return pl.when(column.dt.timestamp("ns") % 1000 == 0).then(times)
    return times


def nanos(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Parse dates as nanoseconds since 1970; null from the year 2262 on."""
    return since_epoch(column, dtype, "ns")


def since_epoch(column: pl.Expr, dtype: pl.DataType, unit: Literal["us", "ns"]) -> pl.Expr:
    """Parse dates, year first, as `unit` since 1970; UTC if they name no time zone."""
    if dtype == pl.String:
        times = timestamps(column, unit)
    elif isinstance(dtype, pl.Date | pl.Datetime):
        times = column.cast(pl.Datetime(unit), strict=False).dt.timestamp(unit)
    else:
        return pl.lit(None, pl.Int64)
    return pl.when(times >= 0).then(times)


def timestamps(column: pl.Expr, unit: Literal["us", "ns"] = "us") -> pl.Expr:
    """Parse texts as dates, also before 1970 (negative)."""
    read = partial(_stamps, unit=unit)
    return column.map_batches(read, return_dtype=pl.Int64, is_elementwise=True)


def _stamps(texts: pl.Series, unit: Literal["us", "ns"]) -> pl.Series:
    """Return dates as `unit` since 1970. Formats are tried until all texts are parsed."""
    text = (
        texts.str.strip_chars()
        .str.replace(r"^(\d{4}-\d{2}-\d{2})T", "${1} ")
        .str.replace(_OFFSET, "${1}${2}:${3}")
        .str.replace(":$", ":00")
        .str.replace(_UTC, "+00:00")
    )
    text = text.set(text.str.contains(_TOO_FINE), None)
    found = pl.repeat(None, len(text), dtype=pl.Int64, eager=True)
    for form in (*_DATES, *_ZONED):
        dates = text.str.to_datetime(form, strict=False, time_unit=unit)
        found = found.fill_null(dates.dt.timestamp(unit))
        if found.null_count() == text.null_count():
            break
    return found
