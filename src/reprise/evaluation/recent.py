"""The most popular items of the days before a user's last known interaction.

Nothing later than that is counted, of any user: what the list holds was known when it was asked
for.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data.sequences import Past, Sequences
from reprise.evaluation.ranked import best_of
from reprise.retrieval.ranking import NO_ITEM
from reprise.retrieval.search import worker_threads

DAYS = (7.0, 30.0, 90.0, 365.0)
_DAY = 86_400 * 10**9


class Recent(NamedTuple):
    """Training interactions by time: items [N] int32 and times [N] int64, ascending; and how many
    days count.
    """

    items: NDArray[np.int32]
    times: NDArray[np.int64]
    num_items: int
    days: float

    def ranked(self, past: Past, top_n: int) -> NDArray[np.int64]:
        """Return what `ranked.ranked` returns, by each user's own days."""
        asked = past.last_times(1)
        assert asked is not None
        last = np.searchsorted(self.times, asked[:, 0], "right")
        first = np.searchsorted(self.times, asked[:, 0] - round(self.days * _DAY), "right")
        order = np.lexsort((first, last))
        new = (np.diff(first[order]) != 0) | (np.diff(last[order]) != 0)
        bounds = [0, *(np.flatnonzero(new) + 1), len(order)]
        groups = [order[begin:end] for begin, end in pairwise(bounds) if end > begin]
        found = np.full((len(order), top_n), NO_ITEM, np.int64)
        fill = partial(self._fill, found, past, first, last)
        with ThreadPoolExecutor(worker_threads()) as pool:
            list(pool.map(fill, groups))
        return found

    def _fill(
        self,
        found: NDArray[np.int64],
        past: Past,
        first: NDArray[np.int64],
        last: NDArray[np.int64],
        users: NDArray[np.int64],
    ) -> None:
        """Write the lists of users who have the same days."""
        counts = np.bincount(self.items[first[users[0]] : last[users[0]]])
        ids = np.flatnonzero(counts)
        longest = int(past.lengths[users].max())
        none = np.zeros(self.num_items, bool)
        best = best_of(ids - 1, counts[ids].astype(np.float32), none, found.shape[1] + longest)
        for user, start, length in zip(users, past.starts[users], past.lengths[users], strict=True):
            seen = past.items[start : start + length]
            own = (best + 1)[~np.isin(best + 1, seen)][: found.shape[1]]
            found[user, : len(own)] = own


def recent(train: Sequences, num_items: int) -> Iterator[tuple[Mapping[str, float], Recent]]:
    """Yield the popular items of the last days, over DAYS; there are times."""
    assert train.times is not None
    order = np.argsort(train.times, kind="stable")
    items, times = np.asarray(train.items)[order], np.asarray(train.times)[order]
    for days in DAYS:
        yield {"days": days}, Recent(items, times, num_items, days)
