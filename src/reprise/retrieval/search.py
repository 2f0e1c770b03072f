"""Exact top-N over the whole catalogue by the maximum of inner products over a user's interests.

Equal scores rank by rising id, at the cutoff too, so that a result is one value and not a choice.

A few users at a time are scored against a block of items after the other, small enough for the
scores to stay in a core's cache, and only what is above a user's N-th best so far leaves it. As
popular items come first, that is soon next to nothing, and the search takes little longer than its
matrix products do (`benchmarks/evaluate.py`).

Each tile is computed by one thread from start to end: the thread count changes the time, never a
bit of the result (a BLAS call spread over threads gives other last bits).
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

_BLOCK = 1024  # items scored at a time, by
_TILE = 256  # interests: a megabyte of scores
_POSITION_BITS = 24  # of a number to sort by, beside 32 of the score and the rest of the user

_Input = TypeVar("_Input")
_Scores = NDArray[np.float32]


class _Found(NamedTuple):
    """Candidates of a tile's users, equal scores of a user by rising id: the row of the user, the
    item's id, and its score.
    """

    user: NDArray[np.int64]
    id: NDArray[np.int64]
    score: _Scores


class _Seen(NamedTuple):
    """Pairs of a user, by his row, and an item's id, by rising id: each once."""

    user: NDArray[np.int64]
    id: NDArray[np.int64]

    def of(self, first: int, last: int) -> "_Seen":
        """Return what users first..last - 1 have seen, who are now the first."""
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
    """Yield the ranking of each chunk of interests [u, K, d] over items [V, d] (ids 1..V): exactly
    the top-N by the maximum over interests, each item with the first interest that gives it. With
    `by_interest`, every interest brings a top-N of its own, and all of these are ranked.

    Items that the chunk's users have in `seen` (`Sequences` a chunk, of its u users) score
    `seen_bias` more than their inner product; at -inf, they are left out. What scores no number, or
    -inf, is no candidate.
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

    # Lazily, and the interests first: what is seen is looked up for chunks that are there.
    inputs = zip(chunks, repeat(None) if seen is None else seen, strict=False)
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers, "search") as pool,
    ):
        yield from _ordered_map(pool, rank, inputs, ahead=2 * workers)


def _make_best(items: _Scores, top_n: int) -> tuple[_Best, int]:
    """Return best(interests [u, K, d], seen, seen_bias), the best `top_n` ids and scores of each
    user, [u, top_n], and how many threads are to call it; an accelerator does it if there is one.
    """
    from reprise.retrieval import search_device
    from reprise.runtime import device  # JAX, which whoever has interests has loaded

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
    # As many as have their interests in a tile, and their candidates numbered.
    size = max(1, min(_TILE // count, (1 << _POSITION_BITS) // (2 * top_n + _BLOCK)))
    with np.errstate(all="ignore"):  # values that are not finite give scores that are not numbers
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
        # fmax: an interest without a number leaves the others theirs.
        best = reduce(np.fmax, (scored[:, k * users :][:, :users] for k in range(count)))
        if seen is not None:
            low, high = np.searchsorted(seen.id, (start + 1, start + len(block) + 1))
            best[seen.id[low:high] - start - 1, seen.user[low:high]] += np.float32(seen_bias)
        # Strictly: an item of a later block has a higher id, and loses against its equals.
        at = np.flatnonzero(best > floor)
        pool.append(_Found(at % users, at // users + start + 1, best.ravel()[at]))
        waiting += len(at)
        if waiting > users * top_n:
            pool, waiting = [_cut(pool, users, top_n)], 0
            last = np.flatnonzero(_places(pool[0].user, users) == top_n - 1)
            floor[pool[0].user[last]] = pool[0].score[last]
    return _cut(pool, users, top_n)


def _cut(pool: list[_Found], users: int, top_n: int) -> _Found:
    """Return the best `top_n` of each user, user by user, best first, ties as they come."""
    user, ids, score = (np.concatenate(parts) for parts in zip(*pool, strict=True))
    # One number each: sorting these is many times faster than sorting by three keys.
    key = user.astype(np.uint64) << np.uint64(32) | _falling(score)
    key = key << np.uint64(_POSITION_BITS) | np.arange(len(user), dtype=np.uint64)
    key.sort()
    order = (key & np.uint64((1 << _POSITION_BITS) - 1)).astype(np.int64)
    order = order[_places(user[order], users) < top_n]
    return _Found(user[order], ids[order], score[order])


def _places(user: NDArray[np.int64], users: int) -> NDArray[np.int64]:
    """Return the place, from 0, of each candidate among its user's, of rising rows of users."""
    first: NDArray[np.int64] = np.searchsorted(user, np.arange(users))
    return np.arange(len(user)) - first[user]


def _falling(scores: _Scores) -> NDArray[np.uint64]:
    """Return whole numbers of 32 bits that rise where scores fall, and are equal where they are."""
    bits = (scores + np.float32(0)).view(np.uint32)  # of -0.0, those of 0.0
    return np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF)).astype(np.uint64)


def _origin(interests: _Scores, items: _Scores, ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the first interest of the highest score, [u, N], of each of the ids [u, N]."""
    origin = np.empty(ids.shape, np.int32)
    with np.errstate(all="ignore"):
        for user, (own, found) in enumerate(zip(interests, ids, strict=True)):
            scores = own @ items[found - 1].T  # of no item, any
            origin[user] = np.argmax(np.where(np.isnan(scores), -np.inf, scores), axis=0)
    return np.where(ids == NO_ITEM, np.int32(NO_INTEREST), origin)


def _pairs(seen: Sequences | None, count: int) -> _Seen | None:
    """Return what users have seen, each of them standing for `count` rows in turn."""
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
    """Like pool.map, but takes inputs only as far ahead as needed to keep the pool busy."""
    source = iter(inputs)
    pending: list[Future[Ranking]] = [pool.submit(function, one) for one in islice(source, ahead)]
    while pending:
        done = pending.pop(0).result()
        pending.extend(pool.submit(function, one) for one in islice(source, 1))
        yield done
