"""Lists of what a baseline scores: the best items that are not in a user's history.

Equal scores rank by popularity, and so do items that nothing speaks for.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from reprise.data.sequences import Past, Sequences
from reprise.retrieval.ranking import NO_ITEM
from reprise.retrieval.search import falling, worker_threads

Matrix = Any  # float32: a scipy csr_array, or a NumPy array
_USERS = 64


class Scores(Protocol):
    """What scores items for histories."""

    def scores(self, some: Sequences) -> Matrix:
        """Return the scores of all items, [U, V], by item number - 1, for users with these
        histories.
        """


def ranked(
    fitted: Scores,
    past: Past,
    top_n: int,
    at_once: int = _USERS,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Return the best `top_n` items of users with these histories, [U, top_n], best first; none of
    a user's history, and NO_ITEM where no item is left.

    Args:
        fitted: What scores items.
        past: The users' histories.
        top_n: Length of the lists.
        at_once: Users scored by a thread at a time.
        allowed: What may be listed, [V+1]; None: all items.
    """
    refused = np.zeros(0, np.int64) if allowed is None else np.flatnonzero(~allowed[1:])
    starts = range(0, len(past.lengths), at_once)
    rank = partial(_ranked_some, fitted, past, top_n, at_once, refused)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(worker_threads()) as pool:
        parts = list(pool.map(rank, starts))
    return np.concatenate([np.zeros((0, top_n), np.int64), *parts])


def _ranked_some(
    fitted: Scores,
    past: Past,
    top_n: int,
    at_once: int,
    refused: NDArray[np.int64],
    start: int,
) -> NDArray[np.int64]:
    some = past.of(start, start + at_once)
    scores = fitted.scores(some)
    scores = scores.tocsr() if sparse.issparse(scores) else scores
    num_items = scores.shape[1]
    found = np.full((len(some.lengths), top_n), NO_ITEM, np.int64)
    for row, (begin, end) in enumerate(zip(some.offsets[:-1], some.offsets[1:], strict=True)):
        seen = np.unique(some.items[begin:end]).astype(np.int64) - 1
        seen = np.union1d(seen, refused) if len(refused) else seen
        if sparse.issparse(scores):
            own = slice(scores.indptr[row], scores.indptr[row + 1])
            ids, values = scores.indices[own].astype(np.int64), scores.data[own]
        else:
            ids, values = np.arange(num_items), scores[row]
        best = best_of(ids, values, seen, top_n, num_items)
        found[row, : len(best)] = best + 1
    return found


def best_of(
    ids: NDArray[np.int64],
    values: NDArray[np.float32],
    seen: NDArray[np.int64],
    top_n: int,
    num_items: int,
) -> NDArray[np.int64]:
    """Return the best `top_n` items, from 0, that are not `seen` (ascending), best first: of `ids`
    by their values, then of all others.

    Items are numbered in the order of their popularity.
    """
    place = np.minimum(np.searchsorted(seen, ids), len(seen) - 1)
    new = seen[place] != ids if len(seen) else np.ones(len(ids), bool)
    key = falling(values[new]) << np.uint64(32) | ids[new].astype(np.uint64)
    if len(key) > top_n:
        key = np.partition(key, top_n - 1)[:top_n]
    key.sort()
    best: NDArray[np.int64] = (key & np.uint64(0xFFFFFFFF)).astype(np.int64)
    if len(best) < top_n:
        rest = np.setdiff1d(np.arange(min(num_items, top_n + len(seen))), [*seen, *best])
        best = np.concatenate([best, rest[: top_n - len(best)]])
    return best
