"""Arranging interactions as arrays: counting, numbering, and each user's in the order of time.

Everything is counting and moving over numbers, in blocks: no row is hashed, compared with a row of
another user, or seen by Python.
"""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

Codes = NDArray[np.uint32]
_BLOCK = 1 << 22  # rows
_SPARSE, _ALLOWANCE = 4, 1_000_000  # numbers a row, that arrays over all numbers may hold
_WIDTH = 63  # bits of a sort key


def codes_of(column: pl.Series) -> Codes:
    """Return one number for each value of a column of `Interactions`, [N]: small ones, that arrays
    can be indexed by. The column has no nulls.
    """
    numbers = column if column.dtype == pl.UInt32 else column.to_physical()
    codes = numbers.to_numpy()
    if codes.max(initial=0) > _SPARSE * len(codes) + _ALLOWANCE:
        return np.unique(codes, return_inverse=True)[1].astype(np.uint32)
    return codes


def blocks(length: int) -> Iterator[slice]:
    """Yield slices that cover `length` rows, in order."""
    for start in range(0, length, _BLOCK):
        yield slice(start, min(start + _BLOCK, length))


def counts_of(codes: Codes, size: int, among: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Return how often each of the codes below `size` occurs, [size]; in the rows `among`."""
    counts = np.zeros(size, np.int64)
    for block in blocks(len(codes)):
        own = codes[block] if among is None else codes[block][among[block]]
        counts += np.bincount(own, minlength=size)
    return counts


def first_rows(codes: Codes, size: int) -> NDArray[np.int64]:
    """Return the first row of each of the codes below `size`, [size]; N of those without one."""
    first = np.full(size, len(codes), np.int64)
    for block in reversed(list(blocks(len(codes)))):
        # Of repeated places the last assignment stays.
        first[codes[block][::-1]] = np.arange(block.stop - 1, block.start - 1, -1)
    return first


def k_core(users: Codes, items: Codes, size: int) -> NDArray[np.bool_]:
    """Return which rows are of the largest set of users and items that have `size` rows of the set
    each, [N]: none where there is no such set.
    """
    kept = np.ones(len(users), np.bool_)
    left = len(kept)
    while True:
        for codes in (items, users):
            enough = counts_of(codes, int(codes.max(initial=0)) + 1, kept) >= size
            for block in blocks(len(kept)):
                kept[block] &= enough[codes[block]]
        before, left = left, int(np.count_nonzero(kept))
        if left in (before, 0):
            return kept


def by_popularity(counts: NDArray[np.int64], ties: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the codes that occur, by falling counts, equals by rising `ties`."""
    seen = np.flatnonzero(counts)
    return seen[np.lexsort((ties[seen], -counts[seen]))]


def numbering(codes: NDArray[np.integer], size: int, start: int) -> NDArray[np.int32]:
    """Return the numbers that codes get in the order they are given in, from `start`; start - 1 of
    those not given: [size].
    """
    numbers = np.full(size, start - 1, np.int32)
    numbers[codes] = np.arange(start, start + len(codes), dtype=np.int32)
    return numbers


def in_order(
    ranks: NDArray[np.int32], times: NDArray[np.number], num_users: int, ties: NDArray | None = None
) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
    """Return where each user's rows begin, [U+1], and the rows by user, then by time, then by
    `ties`, or as they stand, [N]. ranks: the user of each row, 0..U-1.
    """
    rows = np.arange(len(ranks) + 1, dtype=np.int32 if len(ranks) < 2**31 - 1 else np.int64)
    # A matrix with one entry a row, the users its columns, by columns: rows sorted by counting.
    columns = csr_array((times, ranks, rows), shape=(len(ranks), num_users)).tocsc()
    offsets, order, times = columns.indptr.astype(np.int64), columns.indices, columns.data
    bounds = [0]
    while bounds[-1] < num_users:
        end = int(np.searchsorted(offsets, offsets[bounds[-1]] + _BLOCK, side="right")) - 1
        bounds.append(max(end, bounds[-1] + 1))

    def sort(first: int, last: int) -> None:
        own = slice(offsets[first], offsets[last])
        users = np.repeat(np.arange(last - first), np.diff(offsets[first : last + 1]))
        keys = [users, times[own]]
        if ties is not None:
            keys.append(ties[order[own]])
        elif not np.any((keys[1][1:] < keys[1][:-1]) & (users[1:] == users[:-1])):
            return  # as they stand
        order[own] = order[own][_sorted(keys)]

    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        list(pool.map(sort, bounds[:-1], bounds[1:]))
    return offsets, order


def _sorted(keys: Sequence[NDArray[np.number]]) -> NDArray[np.int64]:
    """Return the order by keys that are not negative, the first counting most, equals as they
    stand: by one number a row where the keys fit into one.
    """
    if not all(np.issubdtype(key.dtype, np.integer) for key in keys):
        return np.lexsort(keys[::-1])
    lows = [int(key.min()) for key in keys]
    widths = [(int(key.max()) - low).bit_length() for key, low in zip(keys, lows, strict=True)]
    if sum(widths) > _WIDTH:
        return np.lexsort(keys[::-1])
    packed = np.zeros(len(keys[0]), np.int64)
    for key, low, width in zip(keys, lows, widths, strict=True):
        packed <<= width
        packed |= key.astype(np.int64) - low
    return np.argsort(packed, kind="stable")


def gathered(values: NDArray, order: NDArray[np.integer]) -> NDArray:
    """Return values[order], without a copy of the order."""
    made = np.empty(len(order), values.dtype)
    for block in blocks(len(order)):
        made[block] = values[order[block]]
    return made
