"""The rows of selected users and items, read block by block, without an array of all rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data.ordering import Codes, Mask, are_of, blocks

_BITS = 20  # of a time that one pass of a radix selection resolves
_SIGN = np.uint64(1 << 63)


class Stretch(NamedTuple):
    """Some rows: users and items by code, times, and which are to be found (None: all), [N]."""

    users: NDArray[np.uint32]
    items: NDArray[np.uint32]
    times: NDArray[Any]
    targets: Mask | None


@dataclass(frozen=True)
class Rows:
    """The rows of a frame whose user is `active` and whose item is `popular`.

    users, items, times: columns of the whole frame, in the same chunks; targets: which rows are to
    be found, None: all; active, popular: masks indexed by code.
    """

    users: Codes
    items: Codes
    times: Sequence[NDArray[Any]]
    active: Mask
    popular: Mask
    targets: Sequence[Mask] | None = None

    def mask(self) -> Mask:
        """Return which rows of the frame are selected, [N]."""
        return are_of(self.users, self.active) & are_of(self.items, self.popular)

    def masks(self) -> Iterator[tuple[slice, Mask]]:
        """Yield slices of the frame's rows, in order, and which of their rows are selected."""
        for (rows, users), (_, items) in zip(blocks(self.users), blocks(self.items), strict=True):
            yield rows, self.active[users] & self.popular[items]

    def __iter__(self) -> Iterator[Stretch]:
        """Yield the selected rows in stretches, in order."""
        columns = [self.users, self.items, self.times]
        columns += [] if self.targets is None else [self.targets]
        found = zip(*map(blocks, columns), strict=True)
        for (_, own), stretches in zip(self.masks(), found, strict=True):
            users, items, times, *targets = (block[own] for _, block in stretches)
            yield Stretch(users, items, times, targets[0] if targets else None)

    def with_targets(self, targets: Sequence[Mask] | None) -> "Rows":
        """Return the rows with those that are to be found, of all rows of the frame; None where all
        of these rows are.
        """
        made = replace(self, targets=targets)
        if targets is None or all(own.targets.all() for own in made if own.targets is not None):
            return replace(self, targets=None)
        return made

    def all_times(self) -> "Times":
        """Return the times of the selected rows."""
        return Times(lambda: (own.times for own in self))

    def counts_before(self, time: float) -> NDArray[np.int64]:
        """Return the number of rows before `time` of each item, by code."""
        counts = np.zeros(len(self.popular), np.int64)
        for own in self:
            np.add.at(counts, own.items[own.times < time], 1)
        return counts

    def counts_of_users(self) -> NDArray[np.int64]:
        """Return the number of rows of each user, by code."""
        counts = np.zeros(len(self.active), np.int64)
        for own in self:
            np.add.at(counts, own.users, 1)
        return counts


class Times:
    """At least one time, [N], in blocks that are computed on every pass."""

    def __init__(self, made: Callable[[], Iterable[NDArray[Any]]]) -> None:
        self._made = made

    def __len__(self) -> int:
        return self._facts[0]

    def max(self) -> Any:
        """Return the latest time."""
        return self._facts[2]

    @cached_property
    def _facts(self) -> tuple[int, Any, Any]:
        """The count, the earliest and the latest."""
        found = [(len(one), one.min(), one.max()) for one in self._made() if len(one)]
        counts, least, most = zip(*found, strict=True)
        return sum(counts), min(least), max(most)

    def nth(self, place: int) -> Any:
        """Return the time of this rank, from 0, in ascending order, as
        np.partition(times, place)[place].
        """
        _, first, last = self._facts
        dtype = first.dtype
        low, high = (int(_keys(np.array([time]))[0]) for time in (first, last))
        while True:
            shift = max((high - low).bit_length() - _BITS, 0)
            counts = np.zeros(1 << _BITS, np.int64)
            for times in self._made():
                keys = _keys(times)
                keys = keys[(keys >= np.uint64(low)) & (keys <= np.uint64(high))]
                np.add.at(counts, (keys - np.uint64(low)) >> np.uint64(shift), 1)
            ends = np.cumsum(counts)
            bucket = int(np.searchsorted(ends, place, side="right"))
            place -= int(ends[bucket] - counts[bucket])
            low += bucket << shift
            high = min(high, low + (1 << shift) - 1)
            if not shift:
                return _times(np.array([low], np.uint64), dtype)[0].item()


def _keys(times: NDArray[Any]) -> NDArray[np.uint64]:
    """Return unsigned integers with the same order as the times, integers or doubles."""
    if times.dtype != np.float64:
        return times.astype(np.int64).view(np.uint64) ^ _SIGN
    bits = (times + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    return np.where(bits & _SIGN, ~bits, bits ^ _SIGN)


def _times(keys: NDArray[np.uint64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the times of `_keys`: their inverse."""
    if dtype != np.float64:
        return (keys ^ _SIGN).view(np.int64)
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float64)
