"""Users' item sequences in CSR form, and the users of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 17  # interactions


@dataclass(frozen=True)
class Sequences:
    """Users' item sequences in CSR form: user u has items[offsets[u]:offsets[u + 1]], oldest first.

    offsets [U+1] int64, items [N] int32; targets [N] bool: which of them are to be found, the
    others being history only; None: all are. times [N] int64: when they were, in nanoseconds since
    1970; None: unknown.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    targets: NDArray[np.bool_] | None = None
    times: NDArray[np.int64] | None = None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Items of each user, [U] int64."""
        return np.diff(self.offsets)

    @property
    def places(self) -> NDArray[np.int64]:
        """The place of each interaction in its sequence, from 0, [N] int64."""
        starts = self.offsets[:-1] - self.offsets[0]
        found: NDArray[np.int64] = np.arange(len(self.items)) - np.repeat(starts, self.lengths)
        return found

    def slices(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> "Sequences":
        """Return the `lengths` interactions from each of `starts` on, a user each, copied."""
        arrays = self.items, self.targets, self.times
        told = [array for array in arrays if array is not None]
        offsets, taken = _slices(told, starts, lengths)
        parts = iter(taken)
        own = [None if array is None else next(parts) for array in arrays]
        return Sequences(offsets, *own)  # type: ignore[arg-type]

    def users(self, first: int, end: int) -> "Sequences":
        """Return the users first..end - 1, not copied."""
        rows = slice(self.offsets[first], self.offsets[end])
        return Sequences(
            self.offsets[first : end + 1] - self.offsets[first],
            self.items[rows],
            None if self.targets is None else self.targets[rows],
            None if self.times is None else self.times[rows],
        )

    def histories(
        self, users: NDArray[np.integer], position: NDArray[np.integer], length: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the last `length` items before each position, right-padded with 0: [B, length]
        int32, oldest first, and how many there are, [B] int32.
        """
        known = np.minimum(position, length)
        own = _windows(self.items, self.offsets[users] + position - known, known, length)
        return own.astype(np.int32), known.astype(np.int32)

    def history_times(
        self, users: NDArray[np.integer], position: NDArray[np.integer], length: int
    ) -> NDArray[np.int64]:
        """Return the times of the items that `histories` returns: [B, length] int64, padded with 0.

        There are times.
        """
        assert self.times is not None
        known = np.minimum(position, length)
        return _windows(self.times, self.offsets[users] + position - known, known, length)


@dataclass(frozen=True)
class Past:
    """Users' whole histories, as slices of a split's interactions, which are not copied.

    items [N] int32, times [N] int64 or None where unknown (may be memory-mapped); starts and
    lengths [U] int64.
    """

    items: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    times: NDArray[np.int64] | None = None

    def of(self, first: int, last: int) -> Sequences:
        """Return the histories of users first..last - 1 (fewer where there are fewer), without
        their times.
        """
        return slices(self.items, self.starts[first:last], self.lengths[first:last])

    def whole(self) -> Sequences:
        """Return all histories, with their times."""
        return Sequences(np.empty(0, np.int64), self.items, None, self.times).slices(
            self.starts, self.lengths
        )

    def chosen(self, users: NDArray[np.integer]) -> "Past":
        """Return the histories of some users, in this order."""
        return Past(self.items, self.starts[users], self.lengths[users], self.times)

    def last_times(self, length: int) -> NDArray[np.int64] | None:
        """Return the times of the last `length` items of each, oldest first: [U, length] int64,
        right-padded with 0; None where they are unknown.
        """
        if self.times is None:
            return None
        known = np.minimum(self.lengths, length)
        return _windows(self.times, self.starts + self.lengths - known, known, length)


@dataclass(frozen=True)
class EvaluationUsers:
    """Users of a split with their history and the items to find.

    history [U, L] int32 right-padded with 0, lengths [U] int32: the last L items of `past`, which
    is everything before the targets; targets in CSR form: target_offsets [U+1] int64 and
    target_items [T] int32. held_out_time [U] int64: when the first item after `past` was; None
    where times are unknown.
    """

    history: NDArray[np.int32]
    lengths: NDArray[np.int32]
    target_offsets: NDArray[np.int64]
    target_items: NDArray[np.int32]
    past: Past
    held_out_time: NDArray[np.int64] | None = None

    @cached_property
    def times(self) -> NDArray[np.int64] | None:
        """The times of `history`: [U, L] int64, 0 where it is padded; None where unknown."""
        return self.past.last_times(self.history.shape[1])

    @cached_property
    def last_known_time(self) -> NDArray[np.int64] | None:
        """When the last item of `past` was, [U] int64; None where times are unknown."""
        last = self.past.last_times(1)
        return None if last is None else last[:, 0]

    def sample(self, count: int, seed: int) -> "EvaluationUsers":
        """Return so many of the users, drawn by the seed alone, in the order they have; all where
        there are no more.
        """
        users = len(self.lengths)
        if count >= users:
            return self
        rng = np.random.Generator(np.random.Philox(key=[seed, users]))
        drawn = np.sort(rng.choice(users, count, replace=False))
        starts, known = self.target_offsets[drawn], np.diff(self.target_offsets)[drawn]
        targets = slices(self.target_items, starts, known)
        return EvaluationUsers(
            self.history[drawn],
            self.lengths[drawn],
            targets.offsets,
            targets.items,
            self.past.chosen(drawn),
            None if self.held_out_time is None else self.held_out_time[drawn],
        )


def slices(
    items: NDArray[np.int32], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Sequences:
    """Return items[starts[u]:starts[u] + lengths[u]] of each user, copied."""
    offsets, (own,) = _slices([items], starts, lengths)
    return Sequences(offsets, own)


def _slices(
    arrays: Sequence[NDArray[Any]], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
    """Return the offsets of slices, and the slices of each array, copied: users together whose
    places stay in a core's cache.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    found = [np.empty(offsets[-1], array.dtype) for array in arrays]
    ends = np.searchsorted(offsets, np.arange(_BLOCK, offsets[-1], _BLOCK))
    for first, end in pairwise(np.unique([0, *ends, len(lengths)])):
        rows = slice(offsets[first], offsets[end])
        index = np.arange(rows.start, rows.stop)
        index += np.repeat(starts[first:end] - offsets[first:end], lengths[first:end])
        for array, own in zip(arrays, found, strict=True):
            own[rows] = array[index]
    return offsets, found


def _windows(
    values: NDArray[Any], starts: NDArray[np.integer], known: NDArray[np.integer], length: int
) -> NDArray[Any]:
    """Return values[starts[b]:starts[b] + known[b]] of each row, right-padded with 0: [B, length],
    of the values' type. known: at most `length`.
    """
    column = np.arange(length)
    real = column < known[:, None]
    index = np.where(real, starts[:, None] + column, 0)
    values = values if len(values) else np.zeros(1, values.dtype)
    return np.where(real, values[index], values.dtype.type(0))
