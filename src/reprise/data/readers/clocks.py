"""Choose among several time columns: the finest one, if every other column equals it in all rows,
rounded down to some unit (such as days). Otherwise raise an error that lists them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from reprise.data.clock import UNITS, span_of
from reprise.data.readers.format import Part
from reprise.data.readers.times import broken_time, since_epoch, whole_time
from reprise.errors import UsageError

_SECOND = 10**9  # in nanoseconds, in which times are compared
# Units that a column may be rounded to, in ns, from a day to a nanosecond.
_CUTS = tuple(_SECOND * unit for unit in (86_400, 3_600, 60, 1))
_CUTS += tuple(_SECOND // 10**digits for digits in range(1, 10))
_DAY_NUMBERS = 19_700_101, 22_000_000  # dates as numbers, such as 20261127
_DAY, _DATE = len(UNITS), len(UNITS) + 1  # kinds of times beyond the clocks of UNITS
_SAMPLE = 1000  # rows that decide whether a column's texts are dates


class Finest(NamedTuple):
    """The column used as the time, and the others, which agree with it."""

    column: str
    others: tuple[str, ...]


def finest(parts: Sequence[Part], names: Sequence[str], nulls: Sequence[str]) -> Finest:
    """Return the finest of the candidate columns `names` (the likeliest first).

    nulls: texts that stand for a missing value.

    Raises:
        UsageError: They disagree; it names the first row where they do.
    """
    facts = [_facts(part, names, nulls) for part in parts]
    filled = [name for name in names if any(fact[f"kind {name}"] is not None for fact in facts)]
    filled = filled or list(names[:1])
    coarsest = {name: _coarsest(facts, name) for name in filled}
    found = max(filled, key=lambda name: coarsest[name])
    others = tuple(name for name in names if name != found)
    told = [name for name in others if name in filled]
    of_one_kind = all(_is_of_one_kind(facts, name) for name in filled)
    good = not any(fact[f"bad {name}"] for fact in facts for name in names)
    if (
        of_one_kind
        and good
        and all(not fact[f"{found} {name} {coarsest[name]}"] for fact in facts for name in told)
    ):
        return Finest(found, others)
    raise _differ(parts, names, nulls, found, coarsest)


def _coarsest(facts: Sequence[Mapping[str, Any]], name: str) -> int:
    """Return the index of the coarsest of _CUTS that divides all times of a column."""
    cuts = range(len(_CUTS))
    return next((cut for cut in cuts if not any(fact[f"{name} {cut}"] for fact in facts)), cuts[-1])


def _is_of_one_kind(facts: Sequence[Mapping[str, Any]], name: str) -> bool:
    kinds = {fact[f"{which} {name}"] for fact in facts for which in ("kind", "last kind")}
    return len(kinds - {None}) <= 1


def _facts(part: Part, names: Sequence[str], nulls: Sequence[str]) -> dict[str, Any]:
    """Return facts of a part's time columns: lowest and highest kind of their values; whether any
    value is bad; by cut, whether any is not a multiple of it, and whether any value of another
    column is not this column's, rounded down to it.
    """
    wanted = []
    for name in names:
        time, kind = pl.col(f"time {name}"), pl.col(f"kind {name}")
        wanted += [kind.min().alias(f"kind {name}"), kind.max().alias(f"last kind {name}")]
        wanted.append(pl.col(f"bad {name}").any())
        for cut, length in enumerate(_CUTS):
            wanted.append((time % length != 0).any().alias(f"{name} {cut}"))
            wanted += [
                _differs(name, other, cut).any().alias(f"{name} {other} {cut}")
                for other in names
                if other != name
            ]
    try:
        rows = _nanoseconds(part, names, nulls)
        return rows.select(wanted).collect(engine="streaming").row(0, named=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise part.refuse(error) from error


def _differs(name: str, other: str, cut: int) -> pl.Expr:
    """Whether `other` has a time that is not `name`'s, rounded down to a cut; also if `name` has
    none.
    """
    time, coarse = pl.col(f"time {name}"), pl.col(f"time {other}")
    return (coarse.is_not_null() & (time - time % _CUTS[cut]).ne_missing(coarse)).fill_null(False)


def _nanoseconds(part: Part, names: Sequence[str], nulls: Sequence[str]) -> pl.LazyFrame:
    """Return the rows with three columns for each time column: time in nanoseconds; kind, an index
    into UNITS (the clock of a number) or _DAY or _DATE; and bad, for values that are none of these.
    """
    schema = part.rows.collect_schema()
    if any(schema[name].is_nested() for name in names):
        raise _several(part, names)
    read, made = [], []
    for name in names:
        column, dtype = pl.col(name), schema[name]
        known = column.is_not_null()
        if dtype == pl.String:
            known &= ~column.str.strip_chars().is_in(["", *nulls])
        if dtype.is_float():
            known &= column.is_not_nan()
        date = since_epoch(column, dtype, "ns")
        head = part.rows.filter(known).head(_SAMPLE).select(date.is_not_null().any())
        if head.collect(engine="streaming").item():
            read.append(pl.when(known).then(date).alias(f"time {name}"))
            kind: pl.Expr = pl.when(pl.col(f"time {name}").is_not_null()).then(_DATE)
        else:
            whole, broken = whole_time(column, dtype), broken_time(column, dtype)
            read.append(pl.when(known).then(whole).alias(f"time {name}"))
            read.append(pl.when(known).then(broken).alias(f"number {name}"))
            time, kind = _of_numbers(pl.col(f"time {name}"), pl.col(f"number {name}"))
            made.append(time.alias(f"time {name}"))
        read.append(known.alias(f"known {name}"))
        made.append(kind.alias(f"kind {name}"))
    bad = [
        (pl.col(f"known {name}") & pl.col(f"kind {name}").is_null()).alias(f"bad {name}")
        for name in names
    ]
    return part.rows.with_columns(read).with_columns(made).with_columns(bad)


def _of_numbers(whole: pl.Expr, broken: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Return time in nanoseconds and kind of numbers: by the clock that numbers of their size are
    of, or _DAY. whole: the numbers that are Int64; broken: all, as Float64.
    """
    day = broken.is_between(*_DAY_NUMBERS) & (broken == broken.floor())
    date = pl.when(day).then(broken).cast(pl.Int64).cast(pl.String)
    of_day = date.str.to_date("%Y%m%d", strict=False).cast(pl.Datetime("ns")).dt.timestamp("ns")
    time: pl.Expr = of_day
    kind: pl.Expr = pl.when(of_day.is_not_null()).then(_DAY)
    for place, (_, unit) in enumerate(UNITS):
        first, end = span_of(unit)
        fits = broken.is_between(first, end, closed="left")
        micros = (broken * (10**6 / unit)).round().cast(pl.Int64, strict=False)
        nanos = pl.coalesce(whole * (_SECOND // unit), micros * 1_000)
        time = pl.when(fits).then(nanos).otherwise(time)
        kind = pl.when(fits).then(place).otherwise(kind)
    return time, kind


def _several(part: Part, names: Sequence[str]) -> UsageError:
    return UsageError("several_times", path=part.path, columns=", ".join(names))


def _differ(
    parts: Sequence[Part],
    names: Sequence[str],
    nulls: Sequence[str],
    found: str,
    coarsest: Mapping[str, int],
) -> UsageError:
    """Return the error that lists the columns and the first row where they differ."""
    wrong = [pl.col(f"bad {name}") for name in names]
    wrong += [_differs(found, name, cut) for name, cut in coarsest.items() if name != found]
    for part in parts:
        rows = _nanoseconds(part, names, nulls).filter(pl.any_horizontal(wrong))
        first = rows.select("line", *names).head(1).collect(engine="streaming")
        for line, *values in first.rows():
            pairs = zip(names, values, strict=True)
            shown = ", ".join(f"{name} = {value}" for name, value in pairs)
            return UsageError("times_differ", path=part.path, line=line, values=shown)
    return _several(parts[0], names)
