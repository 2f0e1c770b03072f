"""What a memory adds to an item's score: how much a user's items lead to it, by edges."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.data.sequences import Sequences
from reprise.memory.edges import Edges

# The first age of each bucket; the last item of a history has age 0.
AGES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
MOST = 256  # last items of a history that count
SIZE = 2 + len(AGES)  # numbers: weight, bend, and one for each bucket

_Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Memory:
    """Edges, and numbers [SIZE] float32 by which they count: weight w, bend b, and a factor r of
    each bucket of ages.

    Of an item j that is not in a user's history h, x_j = sum of r(age) A_hj / sum of r(age), and
    w log(1 + b x_j) / log(1 + b) is added to its score.
    """

    edges: Edges
    numbers: _Numbers

    @property
    def weight(self) -> float:
        """The most that is added to a score; 0: nothing is."""
        return float(self.numbers[0])

    def values(self, past: Sequences) -> Any:
        """Return what is added to the scores of users with these whole histories, [U, V] float32 by
        item number - 1, as a csr_array whose indices need not ascend; an item of a user's history
        may be in it.
        """
        from reprise.memory.counting import by_user  # needs scipy, which takes time to import

        recent = last(past)
        share = self.numbers[2:][buckets(recent)]
        strength = by_user(recent, share, self.edges.num_items) @ self.edges.matrix
        owner = np.repeat(np.arange(len(recent.lengths)), recent.lengths)
        # Unlike np.add.reduceat, it adds a user's the same whoever else there is.
        total = np.bincount(owner, share, len(recent.lengths)).astype(np.float32)
        strength.data /= np.repeat(total, np.diff(strength.indptr))
        strength.data = self.numbers[0] * bent(strength.data, self.numbers[1])
        return strength

    def because(self, history: NDArray[np.int32], items: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return of each item the one of the history that leads to it most, the latest of equal
        ones; 0 where none does.
        """
        recent = last(Sequences(np.array([0, len(history)]), history))
        share = self.numbers[2:][buckets(recent)]
        best, found = np.zeros(len(items), np.float32), np.zeros(len(items), np.int64)
        for item, factor in zip(recent.items.tolist(), share, strict=True):
            own = slice(*self.edges.offsets[item - 1 : item + 1])
            to, value = self.edges.to[own], self.edges.value[own]
            if len(to):
                place = np.minimum(np.searchsorted(to, items), len(to) - 1)
                strength = np.where(to[place] == items, factor * value[place], np.float32(0))
                more = (strength >= best) & (strength > 0)
                best[more], found[more] = strength[more], item
        return found


def last(past: Sequences) -> Sequences:
    """Return the last MOST items of each history."""
    known = np.minimum(past.lengths, MOST)
    begin = past.offsets[1:] - known
    return Sequences(past.offsets, past.items).slices(begin, known)


def buckets(recent: Sequences) -> NDArray[np.int64]:
    """Return the bucket of each item's age."""
    age = np.repeat(recent.lengths, recent.lengths) - recent.places - 1
    found: NDArray[np.int64] = np.searchsorted(AGES, age, side="right") - 1
    return found


def bent(x: NDArray[Any], bend: Any) -> NDArray[Any]:
    """Return log(1 + b x) / log(1 + b): 0 for 0, 1 for 1, the more concave the greater b is."""
    found: NDArray[Any] = np.log1p(bend * x) / np.log1p(bend)
    return found
