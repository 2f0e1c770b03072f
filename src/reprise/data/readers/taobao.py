"""Taobao: UserBehavior.csv, with user, item, category, behaviour and time, without a header."""

from pathlib import Path

import polars as pl

from reprise.data.readers import tables
from reprise.data.readers.columns import Columns
from reprise.data.readers.format import Asked, Format, Found, Part
from reprise.errors import DataError

VIEWED = "pv"  # the behaviour that ComiRec trains on
_COLUMNS = Columns(user="1", item="2", category="3", behaviour="4", time="5")
_GLANCE = 100_000  # rows


def recognises(path: Path) -> bool:
    """Recognise the file by its name."""
    if path.is_dir():
        return bool(list(path.glob("UserBehavior.csv*")))
    return path.name.startswith("UserBehavior")


def read(source: Path, asked: Asked) -> Found:
    """Scan the rows of the behaviours that count; DataError where there are none."""
    path = source
    if source.is_dir():
        path = next(iter(sorted(source.glob("UserBehavior.csv*"))), source / "UserBehavior.csv")
    part = tables.scan(path, _COLUMNS, dialect=asked.dialect)
    counted = asked.behaviours or (VIEWED,)
    known = _behaviours(part.rows.select("behaviour").head(_GLANCE), part)
    if not set(counted) & known:  # none among the first: look at all
        known = _behaviours(part.rows.select("behaviour"), part)
    if not set(counted) & known:
        raise DataError(
            "no_behaviour",
            path=path,
            asked=", ".join(counted),
            behaviours=", ".join(sorted(known)[:10]),
        )

    wanted = pl.col("behaviour").is_in(list(counted))
    return Found([part.changed(lambda rows: rows.filter(wanted).drop("behaviour"))])


def _behaviours(rows: pl.LazyFrame, part: Part) -> set[str]:
    try:
        return set(rows.drop_nulls().unique().collect(engine="streaming")["behaviour"])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise part.refuse(error) from error


FORMAT = Format(recognises, read, behaviours=True)
