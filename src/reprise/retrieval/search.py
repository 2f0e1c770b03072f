"""Exact top-N over all items by the maximum of inner products over a user's interests.

Equal scores rank by ascending id, also at the cutoff, so that results are deterministic.

Small tiles of users are scored against one block of items after another, so that the scores stay in
a core's cache, and only scores above a user's N-th best so far are kept. Popular items come first,
so soon almost nothing is kept, and the search takes little longer than its matrix products
(`benchmarks/evaluate.py`).

Each product is computed by one thread: the thread count changes the time, and results are bitwise
identical (a multi-threaded BLAS call rounds differently). Threads take turns in chunks or, where
there is only one, as in a server, share its items. Few users are scored by a narrow product, whose
columns are rounded as those of a wide one (`columns.py`).
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial, reduce
from itertools import chain, islice
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from reprise.retrieval import columns
from reprise.retrieval.ranking import NO_INTEREST, NO_ITEM, Ranking, merge
from reprise.retrieval.terms import EVERYTHING, NO_TERMS, Allowed, Terms
from reprise.retrieval.vectors import CHUNK

BLOCK = 1024  # items per block
_TILE = columns.WIDEST  # interests per tile
_TOGETHER = 512  # listed items whose interests are found together: their vectors stay in the cache
_POSITION_BITS = 24  # of a sort key, beside 32 bits of score; the rest is the user

_Input = TypeVar("_Input")
_Scores = NDArray[np.float32]


class Chunk(NamedTuple):
    """Users to search for, and how.

    interests: [u, K, d]; one of NaN lists nothing. top_n: length of the lists. terms: what counts
    beside inner products. by_interest: whether to rank the union of each interest's own top-N.
    """

    interests: _Scores
    top_n: int
    terms: Terms = NO_TERMS
    by_interest: bool = False


class _Found(NamedTuple):
    """Candidates of a tile's users, a user's equal scores by ascending id: user row, item id and
    score.
    """

    user: NDArray[np.int64]
    id: NDArray[np.int64]
    score: _Scores


_NOTHING = _Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))

# best(interests [u, K, d], terms, top_n, rows): the best ids and scores of each user, [u, top_n];
# `rows` users are a full chunk.
Best = Callable[[_Scores, Terms, int, int], tuple[NDArray[np.int64], _Scores]]


def worker_threads() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def search(chunks: Iterable[Chunk], items: _Scores, best: Best | None = None) -> Iterator[Ranking]:
    """Yield the ranking of each chunk of users over items [V, d] (ids 1..V): the exact top-N by
    the maximum over interests plus what is added, each item with the first interest of the highest
    inner product. Items whose score is NaN or -inf, or that are not allowed, are no candidates.

    A user's list is bitwise the same whoever else is in the chunk. Chunks are taken as needed.

    Args:
        chunks: Users, one chunk after another.
        items: Item vectors.
        best: Finds each user's best items, as an index does; None: exactly, over all items.
    """
    source = iter(chunks)
    first = list(islice(source, 2))
    workers = worker_threads()
    if best is None:
        best, workers = _make_best(items, alone=len(first) < 2)

    def rank(chunk: Chunk) -> Ranking:
        interests, top_n = chunk.interests, min(chunk.top_n, len(items))
        if not chunk.by_interest:
            ids, scores = best(interests, chunk.terms, top_n, CHUNK)
            return Ranking(ids, scores, _origin(interests, items, ids))
        users, count, dim = interests.shape
        singles = interests.reshape(users * count, 1, dim)
        ids, scores = best(singles, chunk.terms.repeated(count), top_n, CHUNK * count)
        shape = (users, count, top_n)
        return merge(ids.reshape(shape), scores.reshape(shape))

    if len(first) < 2:  # as in a server, for which threads would take longer to start
        with one_blas_thread():
            yield from map(rank, first)
        return
    with one_blas_thread(), ThreadPoolExecutor(workers, "search") as pool:
        yield from _ordered_map(pool, rank, chain(first, source), ahead=2 * workers)


def _make_best(items: _Scores, alone: bool) -> tuple[Best, int]:
    """Return what finds the best items, on an accelerator if there is one, and how many threads
    should call it; `alone`: there is only one chunk.
    """
    from reprise.retrieval import search_device
    from reprise.runtime import device  # imports JAX, which interests have needed already

    if device.present():
        return search_device.make_best(items), 1
    if alone:
        return partial(best_by_tiles, items, threads=worker_threads()), 1
    return partial(best_by_tiles, items), worker_threads()


def best_by_tiles(
    items: _Scores,
    interests: _Scores,
    terms: Terms,
    top_n: int,
    rows: int = CHUNK,
    threads: int = 1,
) -> tuple[NDArray[np.int64], _Scores]:
    """Return the best `top_n` ids and scores of each user, [u, top_n], of interests [u, K, d]:
    bitwise the same for any number of threads; `rows` has no effect.
    """
    users, count, dim = interests.shape
    ids = np.full((users, top_n), NO_ITEM, np.int64)
    scores = np.full((users, top_n), -np.inf, np.float32)
    layout = _layout(dim, len(items))
    # Users whose interests fit a tile, and whose candidates fit _POSITION_BITS.
    size = max(1, min(_TILE // count, (1 << _POSITION_BITS) // (2 * top_n + BLOCK)))
    size = size if layout.widths else 1  # whose columns are always at the same places
    parts = _parts(len(items), threads)
    with ThreadPoolExecutor(threads, "blocks") as pool:
        each = pool.map if len(parts) > 1 else map
        for start in range(0, users, size):
            tile = interests[start:][:size]
            queries = _queries(tile, layout)
            asked = partial(
                _best_of_blocks, items, queries, top_n, terms.of(start, start + len(tile))
            )
            # Two at a time, because more candidates may not fit.
            found = reduce(partial(_merged, len(tile), top_n), each(asked, parts))
            place = places(found.user, len(tile))
            ids[start + found.user, place] = found.id
            scores[start + found.user, place] = found.score
    return ids, scores


def _parts(count: int, threads: int) -> list[range]:
    """Return the starts of the blocks of `count` items in as many runs as threads, none empty."""
    starts = range(0, count, BLOCK)
    size = max(1, -(-len(starts) // threads))
    return [starts[at : at + size] for at in range(0, len(starts), size)] or [starts]


class _Queries(NamedTuple):
    """A tile's interests as columns [d, margin + widths + margin]: interest k of user n of `users`
    is in column margin + k * width + n.
    """

    columns: _Scores
    users: int
    interests: int
    width: int
    margin: int


def _best_of_blocks(
    items: _Scores, queries: _Queries, top_n: int, terms: Terms, starts: range
) -> _Found:
    """Return the best `top_n` of each user of a tile among the items of the blocks at `starts`,
    user by user, best first.
    """
    made, users, count, width, margin = queries
    every = np.empty((BLOCK, made.shape[1]), np.float32)
    pool = [_NOTHING]
    waiting, floor = 0, np.full(users, -np.inf, np.float32)
    for start in starts:
        block = items[start:][:BLOCK]
        if not _any_allowed(terms.allowed, start, len(block)):
            continue
        with np.errstate(all="ignore"):  # non-finite values give NaN scores
            scored = np.matmul(block, made, out=every[: len(block)])[:, margin:]
            # fmax ignores interests whose score is NaN.
            best = reduce(np.fmax, (scored[:, k * width :][:, :users] for k in range(count)))
            _apply(terms, best, start)
            # Strictly: items of later blocks have higher ids and lose ties.
            at = np.flatnonzero(best > floor)
        pool.append(_Found(at % users, at // users + start + 1, best.ravel()[at]))
        waiting += len(at)
        if waiting > users * top_n:
            pool, waiting = [_cut(pool, users, top_n)], 0
            last = np.flatnonzero(places(pool[0].user, users) == top_n - 1)
            floor[pool[0].user[last]] = pool[0].score[last]
    return _cut(pool, users, top_n)


def _queries(interests: _Scores, layout: columns.Layout) -> _Queries:
    """Return a tile's interests [u, K, d] as columns."""
    users, count, dim = interests.shape
    own = layout.width(users * count)
    width, margin = own // count, layout.margin
    made = np.zeros((dim, own + 2 * margin), np.float32)
    within = made[:, margin : margin + count * width]
    within.reshape(dim, count, width)[:, :, :users] = interests.transpose(2, 1, 0)
    return _Queries(made, users, count, width, margin)


def _layout(dim: int, count: int) -> columns.Layout:
    """Return the layout of queries for blocks of `count` items in all."""
    rows = {min(count, BLOCK), count % BLOCK} - {0}
    with one_blas_thread():
        return columns.layout(dim, tuple(sorted(rows)), _TILE)


def _any_allowed(allowed: Allowed | None, start: int, size: int) -> bool:
    """Return whether any user of a tile may be listed any of the items start..start + size - 1."""
    if allowed is None or (allowed.mask_of == EVERYTHING).any():
        return True
    return bool(allowed.masks[np.unique(allowed.mask_of), start : start + size].any())


def _apply(terms: Terms, best: _Scores, start: int) -> None:
    """Apply what counts beside inner products to scores [b, u] of the items from `start` on."""
    added, allowed = terms
    if added is not None:
        low, high = np.searchsorted(added.item, (start + 1, start + len(best) + 1))
        best[added.item[low:high] - start - 1, added.user[low:high]] += added.value[low:high]
    if allowed is not None:
        some = np.flatnonzero(allowed.mask_of != EVERYTHING)
        listed = allowed.masks[allowed.mask_of[some], start : start + len(best)].T
        best[:, some] = np.where(listed, best[:, some], np.float32(-np.inf))


def _cut(pool: list[_Found], users: int, top_n: int) -> _Found:
    """Return the best `top_n` of each user, user by user, best first; ties keep their order."""
    user, ids, score = (np.concatenate(parts) for parts in zip(*pool, strict=True))
    # One integer key: many times faster to sort than three keys.
    key = user.astype(np.uint64) << np.uint64(32) | falling(score)
    key = key << np.uint64(_POSITION_BITS) | np.arange(len(user), dtype=np.uint64)
    key.sort()
    order = (key & np.uint64((1 << _POSITION_BITS) - 1)).astype(np.int64)
    order = order[places(user[order], users) < top_n]
    return _Found(user[order], ids[order], score[order])


def _merged(users: int, top_n: int, some: _Found, more: _Found) -> _Found:
    """Return the best `top_n` of each user of two parts; the first one's ids are the lower."""
    return _cut([some, more], users, top_n)


def places(user: NDArray[np.int64], users: int) -> NDArray[np.int64]:
    """Return each candidate's position, from 0, among its user's candidates; `user` ascends."""
    first: NDArray[np.int64] = np.searchsorted(user, np.arange(users))
    return np.arange(len(user)) - first[user]


def falling(scores: _Scores) -> NDArray[np.uint64]:
    """Map scores to 32-bit integers in descending order; equal scores to equal integers."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    return np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF)).astype(np.uint64)


def interest_scores(interests: _Scores, vectors: _Scores) -> _Scores:
    """Return the inner products [..., K, N] of users' interests [..., K, d] with their items'
    vectors [..., N, d], each rounded the same whatever the others are.
    """
    # A matrix product rounds by its shape.
    scores: _Scores = np.vecdot(interests[..., :, None, :], vectors[..., None, :, :])
    return scores


def _origin(interests: _Scores, items: _Scores, ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the first interest with the highest score, [u, N], for ids [u, N]."""
    origin = np.empty(ids.shape, np.int32)
    size = max(1, _TOGETHER // max(1, ids.shape[1]))
    with np.errstate(all="ignore"):
        for start in range(0, len(ids), size):
            some = slice(start, start + size)
            scores = interest_scores(interests[some], items[ids[some] - 1])  # arbitrary for NO_ITEM
            np.copyto(scores, -np.inf, where=np.isnan(scores))
            origin[some] = np.argmax(scores, axis=1)
    return np.where(ids == NO_ITEM, np.int32(NO_INTEREST), origin)


_limiting = threading.Lock()
_limited: list[object] = []  # the searches that need BLAS to use one thread, and the limit first


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread while any search is under way, in whatever thread of the program."""
    with _limiting:
        if not _limited:
            _limited.append(_blas().limit(limits=1, user_api="blas"))
        _limited.append(None)
    try:
        yield
    finally:
        with _limiting:
            _limited.pop()
            if len(_limited) == 1:
                _limited.pop().restore_original_limits()  # type: ignore[attr-defined]


@cache
def _blas() -> ThreadpoolController:
    """Return what controls NumPy's BLAS; finding it takes a millisecond."""
    return ThreadpoolController()


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
