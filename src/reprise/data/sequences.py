"""Users' item sequences in CSR form, and the users of an evaluation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sequences:
    """Users' item sequences in CSR form: user u has items[offsets[u]:offsets[u + 1]], oldest first.

    offsets [U+1] int64, items [N] int32; targets [N] bool: which of them are to be found, the
    others being history only; None: all are.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    targets: NDArray[np.bool_] | None = None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Items of each user, [U] int64."""
        return np.diff(self.offsets)

    def slices(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> "Sequences":
        """Return the `lengths` interactions from each of `starts` on, a user each, copied."""
        own = slices(self.items, starts, lengths)
        if self.targets is None:
            return own
        index = _index(starts, lengths, own.offsets)
        return Sequences(own.offsets, own.items, np.asarray(self.targets[index]))

    def histories(
        self, users: NDArray[np.integer], position: NDArray[np.integer], length: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the last `length` items before each position, right-padded with 0: [B, length]
        int32, oldest first, and how many there are, [B] int32.
        """
        known = np.minimum(position, length)
        column = np.arange(length)
        real = column < known[:, None]
        index = np.where(real, (self.offsets[users] + position - known)[:, None] + column, 0)
        items = self.items if len(self.items) else np.zeros(1, np.int32)
        return np.where(real, items[index], 0).astype(np.int32), known.astype(np.int32)


@dataclass(frozen=True)
class Past:
    """Users' whole histories, as slices of a split's interactions, which are not copied.

    items [N] int32 (may be memory-mapped); starts and lengths [U] int64.
    """

    items: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def of(self, first: int, last: int) -> Sequences:
        """Return the histories of users first..last - 1 (fewer where there are fewer)."""
        return slices(self.items, self.starts[first:last], self.lengths[first:last])


@dataclass(frozen=True)
class EvaluationUsers:
    """Users of a split with their history and the items to find.

    history [U, L] int32 right-padded with 0, lengths [U] int32: the last L items of `past`, which
    is everything before the targets; targets in CSR form: target_offsets [U+1] int64 and
    target_items [T] int32.
    """

    history: NDArray[np.int32]
    lengths: NDArray[np.int32]
    target_offsets: NDArray[np.int64]
    target_items: NDArray[np.int32]
    past: Past

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
        past = Past(self.past.items, self.past.starts[drawn], self.past.lengths[drawn])
        return EvaluationUsers(
            self.history[drawn], self.lengths[drawn], targets.offsets, targets.items, past
        )


def slices(
    items: NDArray[np.int32], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Sequences:
    """Return items[starts[u]:starts[u] + lengths[u]] of each user, copied."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(offsets, np.asarray(items[_index(starts, lengths, offsets)]))


def _index(
    starts: NDArray[np.int64], lengths: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    index: NDArray[np.int64] = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return index
