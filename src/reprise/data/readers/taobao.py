"""Taobao: UserBehavior.csv, with user, item, category, behaviour and time, without a header."""

from pathlib import Path

from reprise.data.readers import tables
from reprise.data.readers.columns import Columns
from reprise.data.readers.format import Asked, Format, Found
from reprise.data.readers.sources import matching

VIEWED = "pv"  # the behaviour that ComiRec trains on
_COLUMNS = Columns(user="1", item="2", category="3", event="4", time="5")


def recognises(path: Path) -> bool:
    """Recognise the file by its name."""
    if path.is_dir():
        return bool(matching(path, "UserBehavior.csv*"))
    return path.name.startswith("UserBehavior")


def read(source: Path, asked: Asked) -> Found:
    """Scan the rows; the behaviours that count are its events."""
    path = source
    if source.is_dir():
        path = next(iter(matching(source, "UserBehavior.csv*")), source / "UserBehavior.csv")
    part = tables.scan(path, _COLUMNS, dialect=asked.dialect)
    return Found([part], events=asked.behaviours or (VIEWED,))


FORMAT = Format(recognises, read, behaviours=True)
