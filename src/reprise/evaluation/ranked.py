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
    starts = range(0, len(past.lengths), at_once)
    rank = partial(_ranked_some, fitted, past, top_n, at_once, allowed)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(worker_threads()) as pool:
        parts = list(pool.map(rank, starts))
    return np.concatenate([np.zeros((0, top_n), np.int64), *parts])


def _ranked_some(
    fitted: Scores,
    past: Past,
    top_n: int,
    at_once: int,
    allowed: NDArray[np.bool_] | None,
    start: int,
) -> NDArray[np.int64]:
    some = past.of(start, start + at_once)
    scores = fitted.scores(some)
    scores = scores.tocsr() if sparse.issparse(scores) else scores
    num_items = scores.shape[1]
    never = np.zeros(num_items, bool) if allowed is None else ~allowed[1:]
    refused = never.copy()
    found = np.full((len(some.lengths), top_n), NO_ITEM, np.int64)
    for row, (begin, end) in enumerate(zip(some.offsets[:-1], some.offsets[1:], strict=True)):
        seen = some.items[begin:end] - 1
        refused[seen] = True
        if sparse.issparse(scores):
            own = slice(scores.indptr[row], scores.indptr[row + 1])
            best = best_of(scores.indices[own], scores.data[own], refused, top_n)
        else:
            best = best_of(np.arange(num_items), scores[row], refused, top_n)
        found[row, : len(best)] = best + 1
        refused[seen] = never[seen]
    return found


def best_of(
    ids: NDArray[np.integer],
    values: NDArray[np.float32],
    refused: NDArray[np.bool_],
    top_n: int,
) -> NDArray[np.int64]:
    """Return the best `top_n` items, from 0, that are not `refused` [V], best first: of `ids` by
    their values, then of all others.

    Items are numbered in the order of their popularity.
    """
    left = ~refused[ids]
    ids, values = ids[left], values[left]
    if len(ids) > top_n:
        enough = values >= np.partition(values, len(values) - top_n)[len(values) - top_n]
        ids, values = ids[enough], values[enough]
    key = falling(values) << np.uint64(32) | ids.astype(np.uint64)
    key.sort()
    best: NDArray[np.int64] = (key[:top_n] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    if len(best) < top_n:
        others = ~refused
        others[best] = False
        best = np.concatenate([best, _first(others, top_n - len(best))])
    return best


def _first(allowed: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Return the first `count` places that are allowed, without a look at all of a catalogue."""
    looked = count
    found = np.flatnonzero(allowed[:looked])
    while len(found) < count and looked < len(allowed):
        looked *= 4
        found = np.flatnonzero(allowed[:looked])
    return found[:count]
