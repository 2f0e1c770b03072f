"""Exact top-N over the whole catalogue by the maximum of inner products over a user's interests.

Equal scores rank by rising id, at the cutoff too, so that a result is one value and not a choice.

Each chunk of queries is computed by one thread from start to end: the thread count changes the
time, never a bit of the result (a BLAS call spread over threads gives other last bits).
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, repeat
from typing import TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import Split
from reprise.retrieval.ranking import NO_ITEM, Ranking, members, merge

# Below this many queries a call, faiss leaves BLAS for a loop ten times slower.
_BLAS_THRESHOLD = 20
# Results asked of faiss beyond those wanted: ties at the cutoff, and seen items, up to so many are
# settled from what it returns. More are settled by `_exhaustive`, query by query.
_SPARE_FOR_TIES = 8
_SPARE_FOR_SEEN = 256

_Input = TypeVar("_Input")
_Found = tuple[NDArray[np.int64], NDArray[np.float32]]


def worker_threads() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def search(
    chunks: Iterable[NDArray[np.float32]],
    items: NDArray[np.float32],
    top_n: int,
    seen: Iterable[Split] | None = None,
    worth: float = -math.inf,
) -> Iterator[Ranking]:
    """Yield the ranking of each chunk of interests [u, K, d] over items [V, d] (ids 1..V). Items
    that the chunk's users have in `seen` (one Split a chunk, a user for each of its u) score
    `worth` more than their inner product; at -inf, they are left out.

    A ranking merges each interest's own top `top_n`; its first `top_n` columns are exactly the
    top-N by the maximum over interests, as an item there is in the list of its best interest.
    """
    workers = worker_threads()

    def rank(chunk: tuple[NDArray[np.float32], Split | None]) -> Ranking:
        interests, own = chunk
        lists = _interest_lists(interests, items, min(top_n, len(items)), own)
        if own is not None and worth > -math.inf:
            _add_seen(lists, interests, items, own, worth)
        return merge(*lists)

    # Lazily, and the interests first: what is seen is looked up for chunks that are there.
    inputs = zip(chunks, repeat(None) if seen is None else seen, strict=False)
    with ThreadPoolExecutor(workers, "search") as pool:
        yield from _ordered_map(pool, rank, inputs, ahead=2 * workers)


def _interest_lists(
    interests: NDArray[np.float32], items: NDArray[np.float32], top_n: int, seen: Split | None
) -> _Found:
    """Return the best `top_n` ids and scores of each interest, [u, K, top_n] each: by falling
    score, ties by rising id (but unordered among themselves where no cut parts them).
    """
    users, count, dim = interests.shape
    queries = np.ascontiguousarray(interests.reshape(-1, dim))
    most_seen = 0 if seen is None else int(seen.lengths.max(initial=0))
    width = min(top_n + _SPARE_FOR_TIES + min(most_seen, _SPARE_FOR_SEEN), len(items))
    ids, scores = _nearest(queries, items, width)
    complete = (ids[:, -1] == NO_ITEM) | (width == len(items))
    floor = scores[:, -1].copy()  # no item outside scores more
    if seen is not None:
        ids, scores = _without(ids, scores, seen, count)
    last, following = scores[:, top_n - 1 : top_n], scores[:, top_n : top_n + 1]
    tied = np.flatnonzero((last == following).any(axis=1) & (ids[:, top_n - 1] != NO_ITEM))
    order = np.lexsort((ids[tied], -scores[tied]))
    ids[tied] = np.take_along_axis(ids[tied], order, 1)
    scores[tied] = np.take_along_axis(scores[tied], order, 1)
    ids, scores = ids[:, :top_n], scores[:, :top_n]
    open_cut = np.flatnonzero(~complete & (scores[:, -1] <= floor))
    _settle(open_cut, queries, items, seen, count, ids, scores)
    shape = (users, count, top_n)
    return ids.reshape(shape), scores.reshape(shape)


def _add_seen(
    lists: _Found,
    interests: NDArray[np.float32],
    items: NDArray[np.float32],
    seen: Split,
    worth: float,
) -> None:
    """Write into each interest's list of unseen items, [u, K, N] ids and scores, the seen ones
    that score enough, by falling score, ties by rising id.
    """
    ids, scores = lists
    for user, made in enumerate(interests):
        own = np.unique(seen.items[seen.offsets[user] : seen.offsets[user + 1]])
        with np.errstate(all="ignore"):  # values that are not finite; no BLAS, as in _exhaustive
            every = np.einsum("kd,nd->kn", made, items[own - 1]) + np.float32(worth)
        known = every > -np.inf  # nor NaN
        every = np.concatenate([scores[user], np.where(known, every, -np.inf)], axis=1)
        every_id = np.concatenate([ids[user], np.where(known, own, NO_ITEM)], axis=1)
        order = np.lexsort((every_id, -every))[:, : ids.shape[2]]
        ids[user] = np.take_along_axis(every_id, order, 1)
        scores[user] = np.take_along_axis(every, order, 1)


def _nearest(queries: NDArray[np.float32], items: NDArray[np.float32], width: int) -> _Found:
    """Return ids and scores [Q, width], best first; NO_ITEM at -inf where no score is a number."""
    faiss.omp_set_num_threads(1)  # this thread's own setting
    faiss.cvar.distance_compute_blas_threshold = _BLAS_THRESHOLD
    scores, index = faiss.knn(queries, items, width, metric=faiss.METRIC_INNER_PRODUCT)
    ids: NDArray[np.int64] = index + 1
    scores[ids == NO_ITEM] = -np.inf
    return ids, scores


def _without(
    ids: NDArray[np.int64], scores: NDArray[np.float32], seen: Split, count: int
) -> _Found:
    """Return the lists [Q, N] of queries, `count` a user, with seen items moved out at the end."""
    dropped = members(ids.reshape(len(ids) // count, -1), seen).reshape(ids.shape)
    ids, scores = np.where(dropped, NO_ITEM, ids), np.where(dropped, np.float32(-np.inf), scores)
    kept_first = np.argsort(dropped, axis=1, kind="stable")
    return np.take_along_axis(ids, kept_first, 1), np.take_along_axis(scores, kept_first, 1)


def _settle(
    rows: NDArray[np.int64],
    queries: NDArray[np.float32],
    items: NDArray[np.float32],
    seen: Split | None,
    count: int,
    ids: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    """Write the exact lists of `rows` into ids and scores [Q, top_n].

    Equal queries share the work: interests that are all zero, where everything ties, are many.
    """
    if len(rows) == 0:
        return
    top_n = ids.shape[1]
    most_seen = 0 if seen is None else int(seen.lengths[rows // count].max())
    distinct, which = np.unique(queries[rows], axis=0, return_inverse=True)
    best = [_exhaustive(query, items, min(top_n + most_seen, len(items))) for query in distinct]
    for row, number in zip(rows, which.ravel(), strict=True):
        own_ids, own_scores = best[number]
        if seen is not None:
            start, stop = seen.offsets[row // count :][:2]
            kept = ~np.isin(own_ids, seen.items[start:stop])
            own_ids, own_scores = own_ids[kept], own_scores[kept]
        found = min(top_n, len(own_ids))
        ids[row], scores[row] = NO_ITEM, -np.inf
        ids[row, :found], scores[row, :found] = own_ids[:found], own_scores[:found]


def _exhaustive(query: NDArray[np.float32], items: NDArray[np.float32], top_n: int) -> _Found:
    """Return the best `top_n` ids and scores of one query, ties by rising id, from every score."""
    with np.errstate(all="ignore"):  # infinite values may give scores that are not numbers
        every = np.einsum("vd,d->v", items, query)  # no BLAS, whose last bits depend on threads
    every[np.isnan(every)] = -np.inf
    cut = np.partition(every, len(every) - top_n)[len(every) - top_n]
    above = np.flatnonzero(every > cut)
    level = np.flatnonzero((every == cut) & (cut > -np.inf))[: top_n - len(above)]
    found = np.concatenate([above, level])
    found = found[np.lexsort((found, -every[found]))]
    return found + 1, every[found]


def _ordered_map(
    pool: ThreadPoolExecutor,
    function: Callable[[_Input], Ranking],
    inputs: Iterable[_Input],
    ahead: int,
) -> Iterator[Ranking]:
    """Like pool.map, but takes inputs only as far ahead as needed to keep the pool busy."""
    source = iter(inputs)
    pending: list[Future[Ranking]] = [pool.submit(function, one) for one in islice(source, ahead)]
    while pending:
        done = pending.pop(0).result()
        pending.extend(pool.submit(function, one) for one in islice(source, 1))
        yield done
