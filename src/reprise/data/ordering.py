"""Arrange interactions as arrays: count, number, and order each user's by time.

Everything is counting and moving over numbers, in blocks: no row is hashed, compared with a row of
another user, or seen by Python.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_array

Mask = NDArray[np.bool_]
Codes = Sequence[NDArray[np.uint32]]  # of rows, in the chunks they were read in
# Called with rows; returns the keys that those of one user and time are sorted by.
TieKeys = Callable[[NDArray[Any]], Sequence[NDArray[Any]]]
Sort = Callable[[Sequence[NDArray[Any]]], NDArray[np.int64]]
_BLOCK = 1 << 18  # rows whose numbers stay in a core's cache
_SORTED_BLOCK = 1 << 21
_SPARSE, _ALLOWANCE = 4, 1_000_000  # numbers a row, that arrays over all numbers may hold
_WIDTH = 63  # bits of a sort key


def codes_of(column: pl.Series) -> Codes:
    """Return one number for each value of a column of `Interactions`: small ones, that arrays can
    be indexed by. The column has no nulls.
    """
    codes = chunks_of(column if column.dtype == pl.UInt32 else column.to_physical())
    if size_of(codes) <= _SPARSE * len(column) + _ALLOWANCE:
        return codes
    return [np.unique(np.concatenate(codes), return_inverse=True)[1].astype(np.uint32)]


def chunks_of(column: pl.Series) -> list[NDArray[Any]]:
    """Return the numbers of a column without nulls in its chunks, which are not copied."""
    return [chunk.to_numpy() for chunk in column.get_chunks()]


def size_of(codes: Codes) -> int:
    """Return what all codes are below."""
    return max((int(chunk.max(initial=0)) for chunk in codes), default=0) + 1


def blocks(chunks: Sequence[NDArray[Any]]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield stretches of rows, in order, and their numbers."""
    start = 0
    for chunk in chunks:
        for place in range(0, len(chunk), _BLOCK):
            block = chunk[place : place + _BLOCK]
            yield slice(start + place, start + place + len(block)), block
        start += len(chunk)


def counts_of(codes: Codes, size: int, among: Mask | None = None) -> NDArray[np.int64]:
    """Return how often each of the codes below `size` occurs, [size]; in the rows `among` [N]."""
    counts = np.zeros(size, np.int64)
    for rows, block in blocks(codes):
        np.add.at(counts, block if among is None else block[among[rows]], 1)
    return counts


def are_of(codes: Codes, wanted: Mask) -> Mask:
    """Return which rows have a wanted code, [N]."""
    found = np.empty(sum(map(len, codes)), np.bool_)

    def fill(rows: slice, block: NDArray[np.uint32]) -> None:
        found[rows] = wanted[block]

    _in_threads(fill, blocks(codes))
    return found


def looked_up(table: NDArray[np.int32], codes: Codes, among: Mask) -> NDArray[np.int32]:
    """Return table[codes] of the rows `among`."""
    return _of_rows(codes, among, table.dtype, lambda block: table[block])


def chosen(chunks: Sequence[NDArray[Any]], among: Mask) -> NDArray[Any]:
    """Return the numbers of the rows `among`."""
    return _of_rows(chunks, among, chunks[0].dtype, lambda block: block)


def _of_rows(
    chunks: Sequence[NDArray[Any]],
    among: Mask,
    dtype: DTypeLike,
    made: Callable[[NDArray[Any]], NDArray[Any]],
) -> NDArray[Any]:
    """Return what is made of the numbers of the rows `among`, a block at a time."""
    kept = [int(np.count_nonzero(among[rows])) for rows, _ in blocks(chunks)]
    ends = list(accumulate(kept))
    whole = np.empty(sum(kept), dtype)

    def fill(rows: slice, block: NDArray[Any], count: int, end: int) -> None:
        whole[end - count : end] = made(block[among[rows]])

    places = zip(blocks(chunks), kept, ends, strict=True)
    _in_threads(fill, ((*block, count, end) for block, count, end in places))
    return whole


def _in_threads(work: Callable[..., None], parts: Iterable[tuple[Any, ...]]) -> None:
    """Do the work on every part, on as many cores as Polars uses: NumPy leaves Python to others
    while it moves numbers. What a part makes, it puts where no other does.
    """
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        for done in [pool.submit(work, *part) for part in parts]:
            done.result()


def first_rows(codes: Codes, size: int) -> NDArray[np.int64]:
    """Return the first row of each of the codes below `size`, [size]; N of those without one."""
    first = np.full(size, sum(map(len, codes)), np.int64)
    for rows, block in reversed(list(blocks(codes))):
        # Of repeated places the last assignment stays.
        first[block[::-1]] = np.arange(rows.stop - 1, rows.start - 1, -1)
    return first


def k_core(users: Codes, items: Codes, size: int) -> Mask:
    """Return which rows are of the largest set of users and items that have `size` rows of the set
    each, [N]: none where there is no such set.
    """
    kept = np.ones(sum(map(len, users)), np.bool_)
    left = len(kept)
    while True:
        for codes in (items, users):
            kept &= are_of(codes, counts_of(codes, size_of(codes), kept) >= size)
        before, left = left, int(np.count_nonzero(kept))
        if left in (before, 0):
            return kept


def by_popularity(counts: NDArray[np.int64], ties: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the codes that occur, by falling counts, equals by rising `ties`."""
    seen = np.flatnonzero(counts)
    return seen[_sorted([counts.max() - counts[seen], ties[seen]])]


def numbering(codes: NDArray[np.integer], size: int, start: int) -> NDArray[np.int32]:
    """Return the numbers that codes get in the order they are given in, from `start`; start - 1 of
    those not given: [size].
    """
    numbers = np.full(size, start - 1, np.int32)
    numbers[codes] = np.arange(start, start + len(codes), dtype=np.int32)
    return numbers


def in_order(
    ranks: NDArray[np.int32],
    times: NDArray[Any],
    num_users: int,
    ties: TieKeys | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
    """Return where each user's rows begin, [U+1], and the rows by user, then by time, then by
    `ties`, or as they stand, [N]. ranks: the user of each row, 0..U-1.
    """
    rows = np.arange(len(ranks), dtype=np.int32 if len(ranks) < 2**31 - 1 else np.int64)
    # A matrix of one row with all entries, the users its columns, by columns: sorted by counting.
    bounds_of_row = np.array([0, len(ranks)], rows.dtype)
    columns = csr_array((rows, ranks, bounds_of_row), shape=(1, num_users)).tocsc()
    offsets, order = columns.indptr.astype(np.int64), columns.data
    del columns
    bounds = [0]
    while bounds[-1] < num_users:
        end = int(np.searchsorted(offsets, offsets[bounds[-1]] + _SORTED_BLOCK, side="right")) - 1
        bounds.append(max(end, bounds[-1] + 1))

    def sort(first: int, last: int) -> None:
        own = slice(offsets[first], offsets[last])
        if own.start == own.stop:
            return
        users = np.repeat(np.arange(last - first), np.diff(offsets[first : last + 1]))
        known = times[order[own]]
        if np.any((known[1:] < known[:-1]) & (users[1:] == users[:-1])):  # else as they stand
            order[own] = order[own][_sorted([users, known])]
        if ties is not None:
            order[own] = _without_ties(order[own], users, times, ties)

    _in_threads(sort, pairwise(bounds))
    return offsets, order


def _without_ties(
    order: NDArray[np.integer], users: NDArray[np.int64], times: NDArray[Any], ties: TieKeys
) -> NDArray[np.integer]:
    """Return rows in order, those of one user and time by the keys that `ties` gives them. users:
    of the rows in order.
    """
    known = times[order]
    same = (users[1:] == users[:-1]) & (known[1:] == known[:-1])
    return _refined(order, same, ties, _sorted)


def _refined(order: NDArray[Any], same: Mask, keys: TieKeys, sort: Sort) -> NDArray[Any]:
    """Return rows in order, neighbours that are the `same` [N-1] sorted by their keys."""
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if not len(tied):
        return order
    group = np.append(0, np.cumsum(~same))[tied]
    refined = order.copy()
    refined[tied] = order[tied][sort([group, *keys(order[tied])])]
    return refined


def _sorted(keys: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Return the order by keys, the first counting most, equals as they stand: by one number a row
    where the keys are whole numbers. Where these, each less its least, do not fit into one, it has
    their first bits, and rows that are equal by it are sorted anew.
    """
    if not len(keys[0]) or not all(np.issubdtype(key.dtype, np.integer) for key in keys):
        return _sorted_one_by_one(keys)
    lows = [int(key.min()) for key in keys]
    widths = [(int(key.max()) - low).bit_length() for key, low in zip(keys, lows, strict=True)]
    packed, room = np.zeros(len(keys[0]), np.uint64), _WIDTH
    for key, low, width in zip(keys, lows, widths, strict=True):
        if taken := min(width, room):
            above_least = key.astype(np.uint64) - np.uint64(low % 2**64)
            packed = (packed << np.uint64(taken)) | (above_least >> np.uint64(width - taken))
            room -= taken
    order = np.argsort(packed, kind="stable")
    if sum(widths) <= _WIDTH:
        return order
    same = packed[order][1:] == packed[order][:-1]
    return _refined(order, same, lambda rows: [key[rows] for key in keys], _sorted_one_by_one)


def _sorted_one_by_one(keys: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.lexsort(keys[::-1])


def gathered(values: NDArray[Any], order: NDArray[np.integer]) -> NDArray[Any]:
    """Return values[order]."""
    found = np.empty(len(order), values.dtype)

    def fill(rows: slice, block: NDArray[np.integer]) -> None:
        found[rows] = values[block]

    _in_threads(fill, blocks([order]))
    return found
