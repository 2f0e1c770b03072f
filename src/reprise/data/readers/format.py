"""The interface of a format: recognise a source, read it, and the types that reading returns."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data.readers import FORMATS
from reprise.data.readers.columns import UNNAMED, Columns
from reprise.data.readers.dialect import UNTOLD, Dialect
from reprise.data.readers.given import Given
from reprise.errors import DataError

if TYPE_CHECKING:
    import polars as pl

# What stands for a missing value in exports of databases, R, Python and Spark.
NULLS: tuple[str, ...] = ("\\N", "NULL", "null", "NA", "NaN", "nan", "None", "<NA>")
Stage = Literal["read", "filter", "order", "write"]
# Called with a stage, the rows it has seen, and of how many (0: unknown).
OnProgress = Callable[[Stage, int, int], None]


def ignore_progress(stage: Stage, rows: int, of: int) -> None:
    """Report nothing."""


class Asked(NamedTuple):
    """What the user says of a source: its format (None: recognise it), its columns, the behaviours
    that count (None: views), how its text is written, which texts are no values, whether rows
    without an id or a time are left out, and the rule of TIES for rows without an order.

    events: those that are taken (None: all); target_events: those of them that are to be found
    (None: all); min_rating: the least rating that is taken.
    """

    format_name: str | None = None
    columns: Columns = UNNAMED
    behaviours: Sequence[str] | None = None
    dialect: Dialect = UNTOLD
    null_values: Sequence[str] = NULLS
    drop_invalid: bool = False
    ties: str | None = None
    events: Sequence[str] | None = None
    target_events: Sequence[str] | None = None
    min_rating: float | None = None


NOTHING_ASKED = Asked()


class Numbers(NamedTuple):
    """A file's rows with some columns parsed as numbers on the way, null where they are none.

    misread: returns, once all rows are read, the columns of ids whose numbers do not tell how they
    are written: 07 is not 7.
    """

    rows: "pl.LazyFrame"
    misread: Callable[[], set[str]]


class Part(NamedTuple):
    """A file's rows, to be scanned: user, item, time, and category and title where there are any
    (event and rating where they are asked for), as text or as stored; and line, the row's number. A
    line of the wrong number of fields has none of them, and its text is in the column odd, which is
    null in all others.

    refuse: returns the error for a failure to read them; fields: what a line should have; numbers:
    returns the same rows of a text with columns parsed as numbers on the way, which takes a third
    of the time; first: some of the first rows; told: what was taken of the file; size: how many
    rows it has, before any is left out, 0 where nobody has counted.
    """

    path: Path
    rows: "pl.LazyFrame"
    refuse: Callable[[Exception], DataError]
    fields: str = ""
    numbers: "Callable[[Collection[str]], Numbers] | None" = None
    first: "pl.LazyFrame | None" = None
    told: Mapping[str, Any] = MappingProxyType({})
    size: int = 0

    def changed(self, change: "Callable[[pl.LazyFrame], pl.LazyFrame]") -> "Part":
        """Return the part with its rows changed."""
        as_numbers = self.numbers

        def numbers(names: Collection[str]) -> Numbers:
            assert as_numbers is not None
            made = as_numbers(names)
            return made._replace(rows=change(made.rows))

        return self._replace(
            rows=change(self.rows),
            numbers=None if as_numbers is None else numbers,
            first=None if self.first is None else change(self.first),
        )


class Found(NamedTuple):
    """A source's interactions: parts, to be collected one after another.

    items: item (String), each once, with category and title (String) where they are known.
    ordered: whether the order of the rows says anything. That of a table in parts does not.
    clocked: whether times are of a clock, and not places. about: the file that tells of the items;
    about_unused: its columns that are not used.
    events: those that are taken where the user names none; None: all.
    """

    parts: Sequence[Part]
    items: "pl.DataFrame | None" = None
    ordered: bool = True
    clocked: bool = True
    about: Path | None = None
    about_unused: Sequence[str] = ()
    events: Sequence[str] | None = None


class FoundSplit(NamedTuple):
    """A source that is split already. By split, the file (paths) and its interactions (frames): a
    row an interaction, with user, item (1..V), time and line.

    raw_items: the own ids of items 1..V; category [V+1] int32, -1 where unknown; about: the files
    that these are from.
    """

    paths: Mapping[str, Path]
    frames: "Mapping[str, pl.DataFrame]"
    raw_items: "pl.Series"
    category: NDArray[np.int32]
    about: Sequence[Path] = ()


@dataclass(frozen=True)
class Format:
    """A format, which has one of `read` and `read_split`.

    recognises(path): whether a file or folder is of it, by its name and, of a text, its first
    lines. A format that FORMATS has before it is asked first.

    read(source, asked): scan a source's interactions; read_together(given, asked), if there is
    such: those of several sources; read_split(source): read those of a format that is split into
    train, valid and test. DataError names what is wrong, and where.

    named_columns: what of the format has columns that the user may name, as an error lists it; ""
    where nothing has. behaviours: whether its rows tell what the user did (`Asked.behaviours`).
    """

    recognises: Callable[[Path], bool]
    read: Callable[[Path, Asked], Found] | None = None
    read_split: Callable[[Path], FoundSplit] | None = None
    named_columns: str = ""
    behaviours: bool = False
    read_together: Callable[[Given, Asked], Found] | None = None


def unknown_format(source: Path) -> DataError:
    """Return the error for a source that is of no format."""
    return DataError("unknown_format", path=source, formats=" | ".join(FORMATS))
