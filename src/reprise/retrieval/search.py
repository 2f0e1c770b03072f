"""Exact top-N over all items by the maximum of inner products over a user's interests.

Equal scores rank by ascending id, also at the cutoff, so that results are deterministic.

Small tiles of users are scored against one block of items after another, so that the scores stay in
a core's cache, and only scores above a user's N-th best so far are kept. Popular items come first,
so soon almost nothing is kept, and the search takes little longer than its matrix products
(`benchmarks/evaluate.py`).

Each tile is computed by one thread: the thread count changes the time, and results are bitwise
identical (a multi-threaded BLAS call rounds differently).
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial, reduce
from itertools import islice, repeat
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reprise.data.sequences import Sequences
from reprise.retrieval.ranking import NO_INTEREST, NO_ITEM, Ranking, merge

_BLOCK = 1024  # items per block
_TILE = 256  # interests per tile: a megabyte of scores
_POSITION_BITS = 24  # of a sort key, beside 32 bits of score; the rest is the user

_Input = TypeVar("_Input")
_Scores = NDArray[np.float32]


class _Found(NamedTuple):
    """Candidates of a tile's users, a user's equal scores by ascending id: user row, item id and
    score.
    """

    user: NDArray[np.int64]
    id: NDArray[np.int64]
    score: _Scores


class _Seen(NamedTuple):
    """Distinct pairs of a user's row and an item's id, by ascending id."""

    user: NDArray[np.int64]
    id: NDArray[np.int64]

    def of(self, first: int, last: int) -> "_Seen":
        """Return the pairs of users first..last - 1, with rows from 0."""
        theirs = (self.user >= first) & (self.user < last)
        return _Seen(self.user[theirs] - first, self.id[theirs])


_Best = Callable[[_Scores, _Seen | None, float], tuple[NDArray[np.int64], _Scores]]


def worker_threads() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def search(
    chunks: Iterable[_Scores],
    items: _Scores,
    top_n: int,
    seen: Iterable[Sequences] | None = None,
    seen_bias: float = -math.inf,
    by_interest: bool = False,
) -> Iterator[Ranking]:
    """Yield the ranking of each chunk of interests [u, K, d] over items [V, d] (ids 1..V): the
    exact top-N by the maximum over interests, each item with the first interest of that score.

    Args:
        chunks: Interests, one chunk of users after another.
        items: Item vectors.
        top_n: Length of the lists.
        seen: Per chunk, the items that its users have seen.
        seen_bias: Added to the scores of seen items; at -inf, they are left out. Items whose score
            is NaN or -inf are no candidates.
        by_interest: Whether to rank the union of each interest's own top-N.
    """
    top_n = min(top_n, len(items))
    best, workers = _make_best(items, top_n)

    def rank(chunk: tuple[_Scores, Sequences | None]) -> Ranking:
        interests, own = chunk
        if not by_interest:
            ids, scores = best(interests, _pairs(own, 1), seen_bias)
            return Ranking(ids, scores, _origin(interests, items, ids))
        users, count, dim = interests.shape
        singles = interests.reshape(users * count, 1, dim)
        ids, scores = best(singles, _pairs(own, count), seen_bias)
        shape = (users, count, top_n)
        return merge(ids.reshape(shape), scores.reshape(shape))

    # Lazily, and interests first, so that seen items are looked up only for existing chunks.
    inputs = zip(chunks, repeat(None) if seen is None else seen, strict=False)
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers, "search") as pool,
    ):
        yield from _ordered_map(pool, rank, inputs, ahead=2 * workers)


def _make_best(items: _Scores, top_n: int) -> tuple[_Best, int]:
    """Return best(interests [u, K, d], seen, seen_bias), which finds the best `top_n` ids and
    scores of each user, [u, top_n], on an accelerator if there is one, and how many threads should
    call it.
    """
    from reprise.retrieval import search_device
    from reprise.runtime import device  # imports JAX, which interests have needed already

    if not device.present():
        return partial(best_by_tiles, items, top_n), worker_threads()
    of_pairs, none = search_device.make_best(items, top_n), np.zeros(0, np.int64)

    def best(
        interests: _Scores, seen: _Seen | None, seen_bias: float
    ) -> tuple[NDArray[np.int64], _Scores]:
        user, item = (none, none) if seen is None else seen
        return of_pairs(interests, user, item, seen_bias)

    return best, 1


def best_by_tiles(
    items: _Scores, top_n: int, interests: _Scores, seen: _Seen | None, seen_bias: float
) -> tuple[NDArray[np.int64], _Scores]:
    """Return the best `top_n` ids and scores of each user, [u, top_n], of interests [u, K, d]."""
    users, count, _ = interests.shape
    ids = np.full((users, top_n), NO_ITEM, np.int64)
    scores = np.full((users, top_n), -np.inf, np.float32)
    # Users whose interests fit a tile, and whose candidates fit _POSITION_BITS.
    size = max(1, min(_TILE // count, (1 << _POSITION_BITS) // (2 * top_n + _BLOCK)))
    with np.errstate(all="ignore"):  # non-finite values give NaN scores
        for start in range(0, users, size):
            tile = interests[start:][:size]
            own = None if seen is None else seen.of(start, start + len(tile))
            found = _best_of_tile(tile, items, top_n, own, seen_bias)
            place = _places(found.user, len(tile))
            ids[start + found.user, place] = found.id
            scores[start + found.user, place] = found.score
    return ids, scores


def _best_of_tile(
    interests: _Scores, items: _Scores, top_n: int, seen: _Seen | None, seen_bias: float
) -> _Found:
    """Return the best `top_n` of each user of a tile [u, K, d], user by user, best first."""
    users, count, dim = interests.shape
    queries = interests.transpose(1, 0, 2).reshape(count * users, dim).T.copy()
    every = np.empty((_BLOCK, count * users), np.float32)
    pool: list[_Found] = []
    waiting, floor = 0, np.full(users, -np.inf, np.float32)
    for start in range(0, len(items), _BLOCK):
        block = items[start:][:_BLOCK]
        scored = np.matmul(block, queries, out=every[: len(block)])
        # fmax ignores interests whose score is NaN.
        best = reduce(np.fmax, (scored[:, k * users :][:, :users] for k in range(count)))
        if seen is not None:
            low, high = np.searchsorted(seen.id, (start + 1, start + len(block) + 1))
            best[seen.id[low:high] - start - 1, seen.user[low:high]] += np.float32(seen_bias)
        # Strictly: items of later blocks have higher ids and lose ties.
        at = np.flatnonzero(best > floor)
        pool.append(_Found(at % users, at // users + start + 1, best.ravel()[at]))
        waiting += len(at)
        if waiting > users * top_n:
            pool, waiting = [_cut(pool, users, top_n)], 0
            last = np.flatnonzero(_places(pool[0].user, users) == top_n - 1)
            floor[pool[0].user[last]] = pool[0].score[last]
    return _cut(pool, users, top_n)


def _cut(pool: list[_Found], users: int, top_n: int) -> _Found:
    """Return the best `top_n` of each user, user by user, best first; ties keep their order."""
    user, ids, score = (np.concatenate(parts) for parts in zip(*pool, strict=True))
    # One integer key: many times faster to sort than three keys.
    key = user.astype(np.uint64) << np.uint64(32) | falling(score)
    key = key << np.uint64(_POSITION_BITS) | np.arange(len(user), dtype=np.uint64)
    key.sort()
    order = (key & np.uint64((1 << _POSITION_BITS) - 1)).astype(np.int64)
    order = order[_places(user[order], users) < top_n]
    return _Found(user[order], ids[order], score[order])


def _places(user: NDArray[np.int64], users: int) -> NDArray[np.int64]:
    """Return each candidate's position, from 0, among its user's candidates; `user` ascends."""
    first: NDArray[np.int64] = np.searchsorted(user, np.arange(users))
    return np.arange(len(user)) - first[user]


def falling(scores: _Scores) -> NDArray[np.uint64]:
    """Map scores to 32-bit integers in descending order; equal scores to equal integers."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    return np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF)).astype(np.uint64)


def _origin(interests: _Scores, items: _Scores, ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the first interest with the highest score, [u, N], for ids [u, N]."""
    origin = np.empty(ids.shape, np.int32)
    with np.errstate(all="ignore"):
        for user, (own, found) in enumerate(zip(interests, ids, strict=True)):
            scores = own @ items[found - 1].T  # arbitrary for NO_ITEM
            origin[user] = np.argmax(np.where(np.isnan(scores), -np.inf, scores), axis=0)
    return np.where(ids == NO_ITEM, np.int32(NO_INTEREST), origin)


def _pairs(seen: Sequences | None, count: int) -> _Seen | None:
    """Return the seen pairs, with `count` consecutive rows per user."""
    if seen is None:
        return None
    users = len(seen.lengths)
    row = np.repeat(np.arange(users), seen.lengths)
    item, user = np.divmod(np.unique(seen.items.astype(np.int64) * users + row), users)
    rows = user[:, None] * count + np.arange(count)
    return _Seen(rows.ravel(), np.repeat(item, count))


def _ordered_map(
    pool: ThreadPoolExecutor,
    function: Callable[[_Input], Ranking],
    inputs: Iterable[_Input],
    ahead: int,
) -> Iterator[Ranking]:
    """Like pool.map, but consume inputs only as far ahead as keeps the pool busy."""
    source = iter(inputs)
    pending: list[Future[Ranking]] = [pool.submit(function, one) for one in islice(source, ahead)]
    while pending:
        done = pending.pop(0).result()
        pending.extend(pool.submit(function, one) for one in islice(source, 1))
        yield done
