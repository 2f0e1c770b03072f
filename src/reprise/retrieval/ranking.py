"""Ranked lists of items: the data type, merging lists per interest, and membership in sets."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data.sequences import Sequences

NO_ITEM = 0
NO_INTEREST = -1


class Ranking(NamedTuple):
    """Lists of distinct items by descending score, ties by ascending id: ids [U, M] int64, scores
    [U, M] float32, and interests [U, M] int32, the interest (from 0) of each score. Short lists
    are padded with NO_ITEM, -inf and NO_INTEREST.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    interests: NDArray[np.int32]

    def of(self, user: int) -> "Ranking":
        """Return one user's list, [1, M]."""
        rows = slice(user, user + 1)
        return Ranking(self.ids[rows], self.scores[rows], self.interests[rows])


def merge(ids: NDArray[np.int64], scores: NDArray[np.float32]) -> Ranking:
    """Merge the lists of K interests, ids and scores [u, K, N], keeping each item once with its
    best score and the first interest of that score.
    """
    users, _, length = ids.shape
    ids, scores = ids.reshape(users, -1), scores.reshape(users, -1)
    order = np.lexsort((ids, -scores))  # stable: the first interest wins ties
    ids, scores = np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
    by_id = np.argsort(ids, axis=1, kind="stable")
    sorted_ids = np.take_along_axis(ids, by_id, 1)
    repeated = np.zeros(ids.shape, bool)
    np.put_along_axis(repeated, by_id[:, 1:], sorted_ids[:, 1:] == sorted_ids[:, :-1], 1)
    repeated |= ids == NO_ITEM
    interests = np.where(repeated, NO_INTEREST, order // length).astype(np.int32)
    ids, scores = np.where(repeated, NO_ITEM, ids), np.where(repeated, -np.inf, scores)
    kept_first = np.argsort(repeated, axis=1, kind="stable")
    return Ranking(
        np.take_along_axis(ids, kept_first, 1),
        np.take_along_axis(scores, kept_first, 1).astype(np.float32),
        np.take_along_axis(interests, kept_first, 1),
    )


def members(ids: NDArray[np.int64], sets: Sequences) -> NDArray[np.bool_]:
    """Return whether each of ids [U, N] is among its user's items in `sets`; NO_ITEM never is."""
    users = np.arange(len(ids))
    stride = int(max(ids.max(initial=0), sets.items.max(initial=0))) + 1
    wanted = np.repeat(users, sets.lengths) * stride + sets.items
    found: NDArray[np.bool_] = np.isin(users[:, None] * stride + ids, wanted) & (ids != NO_ITEM)
    return found
