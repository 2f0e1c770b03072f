"""Hold the rows of a source between reading and writing: in memory, or on disk (`spill`).

What is made of them is the same: a store gives columns to count in, then the rows of the users that
are kept, portion by portion of whole users, and joins the portions' splits.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.ordering import Codes, Mask, aligned, chosen, chunks_of, codes_of, looked_up
from reprise.data.rows import Rows
from reprise.data.splits import Users

# The rows of these are told item by item.
TOLD = ("category", "title")
NEEDED = ("user", "item", "time")


class Held(NamedTuple):
    """Rows that were read: their frame, which may have left out those without a user, an item or a
    time already; how many there were; and by column, how many had no value.
    """

    frame: pl.DataFrame
    rows: int
    nulls: Mapping[str, int]


class Portion(NamedTuple):
    """All kept rows of the users first..first + users - 1, of `total` with `total_rows`, in the
    order they were read.

    ranks [N] int32: each row's user, from 0; ids [N] int32: its item, from 1; times [N]; targets
    [N]: which are to be found; None: all.
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
        """Make ready for so many rows (0: unknown) with these columns."""

    def hold(self, batches: Iterable[pl.DataFrame]) -> Held:
        """Hold batches of rows, and nothing that was held before."""

    def cast(self, frame: pl.DataFrame, name: str, dtype: type[pl.Int64]) -> pl.DataFrame:
        """Return the held frame with a column as another type."""

    def filtered(self, frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        """Return only these rows of the held frame, and hold them."""

    def codes(self, column: pl.Series) -> Codes:
        """Return what `ordering.codes_of` does."""

    def targets(self, frame: pl.DataFrame) -> Sequence[Mask] | None:
        """Return which rows of the held frame are to be found; None where they do not tell."""

    def told(self, frame: pl.DataFrame) -> list[str]:
        """Return which of TOLD the rows tell."""

    def first_told(
        self, frame: pl.DataFrame, items: Codes, rows: NDArray[np.int64], size: int
    ) -> pl.DataFrame:
        """Return TOLD of items: of each what the first row says that says anything.

        items: of the frame's rows, below `size`; rows: the first row of each item asked for.
        """

    def least_told(self, frame: pl.DataFrame, items: Codes) -> pl.DataFrame:
        """Return item and TOLD, as text, of all items: of what the rows say, the least text."""

    def portions(
        self, rows: Rows, ranks: NDArray[np.int32], ids: NDArray[np.int32], total: int
    ) -> Iterator[Portion]:
        """Yield the rows in portions of whole users, by rising ranks. ranks, ids: by code."""

    def joined(self, splits: Iterable[Mapping[str, Users]]) -> dict[str, Users]:
        """Return splits of all users from those of portions."""


class Memory:
    """Holds rows in memory, in one portion."""

    def expect(self, rows: int, columns: Collection[str]) -> None:
        """Take what comes."""

    def hold(self, batches: Iterable[pl.DataFrame]) -> Held:
        """Put batches together."""
        frame = aligned(pl.concat(batches, how="diagonal_relaxed"))
        return Held(frame, len(frame), {name: frame[name].null_count() for name in frame.columns})

    def cast(self, frame: pl.DataFrame, name: str, dtype: type[pl.Int64]) -> pl.DataFrame:
        """Cast."""
        return frame.with_columns(pl.col(name).cast(dtype))

    def filtered(self, frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        """Filter."""
        return aligned(frame.filter(pl.Series(rows.mask())))

    def codes(self, column: pl.Series) -> Codes:
        """Return the codes."""
        return codes_of(column)

    def targets(self, frame: pl.DataFrame) -> Sequence[Mask] | None:
        """Return the column."""
        return chunks_of(frame["target"]) if "target" in frame.columns else None

    def told(self, frame: pl.DataFrame) -> list[str]:
        """Return the columns' names."""
        return [name for name in TOLD if name in frame.columns]

    def first_told(
        self, frame: pl.DataFrame, items: Codes, rows: NDArray[np.int64], size: int
    ) -> pl.DataFrame:
        """Look at the items' first rows, and at others only where these do not tell."""
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
        """Group."""
        rows = frame.lazy().select("item", *self.told(frame)).unique().cast(pl.String)
        return rows.group_by("item").min().collect(engine="streaming")

    def portions(
        self, rows: Rows, ranks: NDArray[np.int32], ids: NDArray[np.int32], total: int
    ) -> Iterator[Portion]:
        """Yield all."""
        kept = rows.mask()
        own, met = looked_up(ranks, rows.users, kept), looked_up(ids, rows.items, kept)
        targets = None if rows.targets is None else chosen(rows.targets, kept)
        yield Portion(0, total, total, len(own), own, met, chosen(rows.times, kept), targets)

    def joined(self, splits: Iterable[Mapping[str, Users]]) -> dict[str, Users]:
        """Return the only ones."""
        (only,) = splits
        return dict(only)
