"""Recognise the format of a source, and read it into `Interactions`.

Rows of one file keep its order, as do those of parts named after splits, train first. Any other
parts are a set: the result does not depend on how many there are, on their names, or on which rows
are in which.
"""

from importlib import import_module
from pathlib import Path

from reprise.data.readers import FORMATS
from reprise.data.readers.columns import Columns, refuse_one_for_two
from reprise.data.readers.format import (
    NOTHING_ASKED,
    Asked,
    Format,
    OnProgress,
    ignore_progress,
)
from reprise.data.readers.interactions import Interactions, collect
from reprise.errors import UsageError


def asked_of(
    format_name: str | None = None, behaviours: str | None = None, **columns: str | None
) -> Asked:
    """Return what a command line asks: columns as <what>_col, behaviours separated by commas."""
    named = Columns(**{name.removesuffix("_col"): given for name, given in columns.items()})
    counted = None if behaviours is None else tuple(map(str.strip, behaviours.split(",")))
    return Asked(format_name, named, counted)


def get_format(name: str) -> Format:
    """Return the format registered as `name`."""
    found: Format = import_module(FORMATS[name]).FORMAT
    return found


def recognise(source: Path) -> str | None:
    """Return the name of the first format that recognises a source, None where none does."""
    return next((name for name in FORMATS if get_format(name).recognises(source)), None)


def read(
    source: Path,
    name: str,
    asked: Asked = NOTHING_ASKED,
    on_progress: OnProgress = ignore_progress,
) -> Interactions:
    """Read a source of a format that is not split already; DataError names what is wrong with it,
    and where.
    """
    refuse_unused(name, asked)
    reader = get_format(name).read
    assert reader is not None
    found = reader(source, asked)
    frame = collect(found.parts, on_progress)
    return Interactions(name, frame, found.items, found.ordered, found.clocked)


def refuse_unused(name: str, asked: Asked) -> None:
    """Raise UsageError where something is asked that the format has no use for, or one column is
    named for two things.
    """
    own = get_format(name)
    if asked.columns.given and not own.named_columns:
        used = [get_format(other).named_columns for other in FORMATS]
        option = f"{next(iter(asked.columns.given))}-col"
        raise _unused(option, name, [named for named in used if named])
    if asked.behaviours is not None and not own.behaviours:
        raise _unused("behaviours", name, [one for one in FORMATS if get_format(one).behaviours])
    refuse_one_for_two(asked.columns)


def _unused(option: str, name: str, used: list[str]) -> UsageError:
    return UsageError("option_unused", option=option, layout=name, used=", ".join(used))
