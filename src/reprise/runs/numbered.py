"""Items by another numbering, such as that by popularity, which lists of baselines expect."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import Dataset
from reprise.data.sequences import Past, Sequences
from reprise.evaluation.baselines import Fitted


class Numbers(NamedTuple):
    """The other number of each item, rank [V+1] int32, and the item of each such number, item
    [V+1] int64; None where items keep theirs. 0 stays 0.
    """

    rank: NDArray[np.int32] | None
    item: NDArray[np.int64] | None

    @classmethod
    def by_rank(cls, dataset: Dataset) -> "Numbers":
        """Return those by falling popularity in training."""
        if dataset.is_numbered_by_rank:
            return cls(None, None)
        return cls(dataset.rank, np.argsort(dataset.rank))

    @classmethod
    def by_count(cls, counts: NDArray[np.integer], ties: NDArray[np.integer]) -> "Numbers":
        """Return those by falling counts, [V+1], and of equal ones by rising `ties`, [V+1]."""
        item = np.concatenate([[0], np.lexsort((ties[1:], -counts[1:])) + 1])
        return cls(np.argsort(item).astype(np.int32), item)

    def of_train(self, train: Sequences) -> Sequences:
        """Return training sequences in these numbers."""
        return train if self.rank is None else replace(train, items=self.rank[train.items])

    def ranked(self, fitted: Fitted, past: Past, top_n: int) -> NDArray[np.int64]:
        """Return the lists of users, in items, of what was fitted in these numbers."""
        if self.rank is None or self.item is None:
            return fitted.ranked(past, top_n)
        ids = fitted.ranked(replace(past, items=self.rank[past.items]), top_n)
        return self.item[ids]
