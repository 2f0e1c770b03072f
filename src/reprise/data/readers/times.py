"""Parse times: a number of at least 0, or a date with the year first; null for anything else."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Literal

import polars as pl

from reprise.text.messages import Phrase

_LATEST = 1e19  # the largest number that is a time: the year 2286 in nanoseconds
# Tried in this order on every value by itself: nothing is inferred from other rows.
_DATES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_ZONED = ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M%:z")
_NAME = r"(?: ?[A-Z]{2,5}|\[[\w/+-]+\])?$"  # of a zone after its offset (Go, Java)
_OFFSET = r"(\d:\d{2}(?::\d{2}(?:\.\d+)?)?) ?([+-]\d{2}):?(\d{2})?" + _NAME  # after a time of day
_UTC = "( ?Z| ?UTC| ?GMT)" + r"(?:\[[\w/+-]+\])?$"
_PLACE = r"(:\d{2}(?:\.\d+)?) ?\[?([A-Z]\w+(?:/[\w+-]+)+)\]?$"  # Europe/Berlin, without an offset
_ABBREVIATION = r"\d ?([A-Z]{2,5})$"  # CET
_DAY = r"^\s*\d{4}-\d{2}-\d{2}"
_UNZONED = _DAY + r"([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?\s*$"
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
            return found
    for local in _local(text, unit):
        found = found.fill_null(local)
    return found


def _local(texts: pl.Series, unit: Literal["us", "ns"]) -> Iterator[pl.Series]:
    """Yield the dates of each time zone that texts name by a place, as they are since 1970; null of
    moments that its clocks show twice or never.
    """
    parts = texts.to_frame("text").select(
        place=pl.col("text").str.extract(_PLACE, 2),
        clock=pl.col("text").str.replace(_PLACE, "${1}"),
    )
    for place in parts["place"].drop_nulls().unique(maintain_order=True):
        clocks = parts.select(pl.when(pl.col("place") == place).then("clock")).to_series()
        for form in _DATES:
            dates = clocks.str.to_datetime(form, strict=False, time_unit=unit)
            try:
                moments = dates.dt.replace_time_zone(place, ambiguous="null", non_existent="null")
            except pl.exceptions.ComputeError:  # there is no such place
                break
            yield moments.dt.timestamp(unit)


def good_zone(text: str) -> Phrase | None:
    """Return what should stand in the place of a text that is no date for its time zone alone."""
    abbreviation = re.search(_ABBREVIATION, text)
    if abbreviation and re.match(_DAY, text):
        return Phrase("good_time_zone", zone=abbreviation[1])
    place = re.search(_PLACE, text)
    if place and re.match(_DAY, text):
        return Phrase("good_time_place", zone=place[2])
    return None


def zone_counts(time: pl.Expr, dtype: pl.DataType) -> tuple[pl.Expr, pl.Expr]:
    """Return how many of a column's dates have a time zone, and how many have none."""
    if dtype == pl.String:
        without = time.str.contains(_UNZONED)
        return (time.str.contains(_DAY) & ~without).sum(), without.sum()
    none, all_ = pl.lit(0), time.count()
    return (all_, none) if getattr(dtype, "time_zone", None) else (none, all_)
