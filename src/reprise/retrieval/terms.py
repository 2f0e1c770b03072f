"""What a search takes into account beside inner products: values added to scores, and masks of
items that may be listed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EVERYTHING = -1  # the mask of users whose lists may hold any item


class Added(NamedTuple):
    """Values added to scores, by ascending item: user row, item id and value, [P] each. Pairs of
    user and item are distinct. -inf leaves an item out.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    value: NDArray[np.float32]

    def of(self, first: int, last: int) -> "Added":
        """Return the values of users first..last - 1, with rows from 0."""
        theirs = (self.user >= first) & (self.user < last)
        return Added(self.user[theirs] - first, self.item[theirs], self.value[theirs])

    def repeated(self, count: int) -> "Added":
        """Return the values with `count` consecutive rows per user."""
        rows = self.user[:, None] * count + np.arange(count)
        return Added(rows.ravel(), np.repeat(self.item, count), np.repeat(self.value, count))


class Allowed(NamedTuple):
    """Which items may be listed: masks [F, V] of items 1..V, and each user's row of them [u], or
    EVERYTHING.
    """

    masks: NDArray[np.bool_]
    mask_of: NDArray[np.int64]

    def of(self, first: int, last: int) -> "Allowed":
        """Return the masks of users first..last - 1, with rows from 0."""
        return Allowed(self.masks, self.mask_of[first:last])

    def repeated(self, count: int) -> "Allowed":
        """Return the masks with `count` consecutive rows per user."""
        return Allowed(self.masks, np.repeat(self.mask_of, count))


class Terms(NamedTuple):
    """What counts for a chunk of users beside inner products; None: nothing, and all is allowed."""

    added: Added | None = None
    allowed: Allowed | None = None

    def of(self, first: int, last: int) -> "Terms":
        """Return the terms of users first..last - 1, with rows from 0."""
        added, allowed = self
        return Terms(added and added.of(first, last), allowed and allowed.of(first, last))

    def repeated(self, count: int) -> "Terms":
        """Return the terms with `count` consecutive rows per user."""
        added, allowed = self
        return Terms(added and added.repeated(count), allowed and allowed.repeated(count))


NOTHING_ADDED = Added(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
NO_TERMS = Terms()
