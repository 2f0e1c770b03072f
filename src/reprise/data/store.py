"""Hold the rows of a source between reading and writing: in memory, or on disk (`spill`).

The dataset is the same either way. A store provides columns for counting; then the kept rows, in
portions that contain all rows of their users; and it joins the splits that are made of portions.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.ordering import Codes, Mask, aligned, chosen, chunks_of, codes_of, looked_up
from reprise.data.rows import Rows
from reprise.data.splits import Users

# Columns about the item: not read row by row, but reduced to one value per item.
TOLD = ("category", "title")
NEEDED = ("user", "item", "time")
ASIDE = (*NEEDED, "target")  # columns of the rows that the filter leaves out


class Held(NamedTuple):
    """The rows of a source.

    frame: the rows; a store may leave out those that lack a user, an item or a time. rows: the
    number of rows that were read; nulls: of these, the missing values by column.
    """

    frame: pl.DataFrame
    rows: int
    nulls: Mapping[str, int]


class Portion(NamedTuple):
    """All kept rows of the users first..first + users - 1, in the order of the source.

    total, total_rows: the number of users and rows of all portions. ranks: [N] int32, each row's
    user, relative to `first`; ids: [N] int32, its item, from 1; times: [N]; targets: [N], which are
    to be found, None: all.
    """

    first: int
    users: int
    total: int
    total_rows: int
    ranks: NDArray[np.int32]
    ids: NDArray[np.int32]
    times: NDArray[Any]
    targets: Mask | None = None


class Store(Protocol):
    """Holds the rows of one source."""

    def expect(self, rows: int, columns: Collection[str]) -> None:
        """Prepare for `rows` rows (0: unknown) with these columns."""

    def hold(self, batches: Iterable[pl.DataFrame]) -> Held:
        """Replace what is held by these batches of rows."""

    def cast(self, frame: pl.DataFrame, name: str, dtype: type[pl.Int64]) -> pl.DataFrame:
        """Return the held frame with a column cast to another type."""

    def filtered(self, frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        """Reduce the held frame to these rows, and return it."""

    def left(self, frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        """Return the rows of the held frame that are not these: user, item and time, and target
        where the rows tell it.
        """

    def codes(self, column: pl.Series) -> Codes:
        """Return a column as codes; see `ordering.codes_of`."""

    def targets(self, frame: pl.DataFrame) -> Sequence[Mask] | None:
        """Return which rows of the held frame are to be found; None where they do not tell."""

    def told(self, frame: pl.DataFrame) -> list[str]:
        """Return which of TOLD the rows have."""

    def first_told(
        self, frame: pl.DataFrame, items: Codes, rows: NDArray[np.int64], size: int
    ) -> pl.DataFrame:
        """Return TOLD of items, [M]: for each column, the first value of the item that is not null.

        items: codes of the frame's rows, below `size`; rows: [M], the first row of each item.
        """

    def least_told(self, frame: pl.DataFrame, items: Codes) -> pl.DataFrame:
        """Return all items with TOLD as text: the alphabetically first value of each."""

    def portions(
        self, rows: Rows, ranks: NDArray[np.int32], ids: NDArray[np.int32], total: int
    ) -> Iterator[Portion]:
        """Yield the rows in portions by ascending rank; `ranks` and `ids` are indexed by code."""

    def joined(self, splits: Iterable[Mapping[str, Users]]) -> dict[str, Users]:
        """Return the splits of all users, given those of each portion."""


class Memory:
    """Holds rows in memory, in one portion."""

    def expect(self, rows: int, columns: Collection[str]) -> None:
        """Do nothing."""

    def hold(self, batches: Iterable[pl.DataFrame]) -> Held:
        """Concatenate the batches."""
        frame = aligned(pl.concat(batches, how="diagonal_relaxed"))
        return Held(frame, len(frame), {name: frame[name].null_count() for name in frame.columns})

    def cast(self, frame: pl.DataFrame, name: str, dtype: type[pl.Int64]) -> pl.DataFrame:
        """Cast the column."""
        return frame.with_columns(pl.col(name).cast(dtype))

    def filtered(self, frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        """Filter the frame."""
        return aligned(frame.filter(pl.Series(rows.mask())))

    def left(self, frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        """Filter the frame."""
        columns = [name for name in ASIDE if name in frame.columns]
        return frame.select(columns).filter(pl.Series(~rows.mask()))

    def codes(self, column: pl.Series) -> Codes:
        """Return the codes."""
        return codes_of(column)

    def targets(self, frame: pl.DataFrame) -> Sequence[Mask] | None:
        """Return the column."""
        return chunks_of(frame["target"]) if "target" in frame.columns else None

    def told(self, frame: pl.DataFrame) -> list[str]:
        """Return which of TOLD are columns."""
        return [name for name in TOLD if name in frame.columns]

    def first_told(
        self, frame: pl.DataFrame, items: Codes, rows: NDArray[np.int64], size: int
    ) -> pl.DataFrame:
        """Read each item's first row, and other rows only where it has a null."""
        told = self.told(frame)
        found = frame[rows].select("item", *told)
        for name in told:
            if found[name].null_count():
                known = frame.lazy().select("item", name).filter(pl.col(name).is_not_null())
                first = known.unique("item", keep="first", maintain_order=True).collect()
                column = found.select("item").join(
                    first, on="item", how="left", maintain_order="left"
                )
                found = found.with_columns(column[name])
        return found.drop("item")

    def least_told(self, frame: pl.DataFrame, items: Codes) -> pl.DataFrame:
        """Group by item."""
        rows = frame.lazy().select("item", *self.told(frame)).unique().cast(pl.String)
        return rows.group_by("item").min().collect(engine="streaming")

    def portions(
        self, rows: Rows, ranks: NDArray[np.int32], ids: NDArray[np.int32], total: int
    ) -> Iterator[Portion]:
        """Yield all rows as one portion."""
        kept = rows.mask()
        own, met = looked_up(ranks, rows.users, kept), looked_up(ids, rows.items, kept)
        targets = None if rows.targets is None else chosen(rows.targets, kept)
        yield Portion(0, total, total, len(own), own, met, chosen(rows.times, kept), targets)

    def joined(self, splits: Iterable[Mapping[str, Users]]) -> dict[str, Users]:
        """Return the splits of the only portion."""
        (only,) = splits
        return dict(only)
