"""Edges by counts of which items follow which, and the choice of the best edges of each item.

A pure function of training sequences and settings. Counts are made by blocks of items, and of a
popular item no more than some occurrences are counted, so memory is bounded at any size.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reprise.data.sequences import Sequences
from reprise.memory.counting import occurrences
from reprise.memory.edges import Edges

WINDOW = 30  # the greatest distance of a pair
MOST_COUNTED = 2_000  # occurrences of an item, drawn by a hash of their place
_PAIRS = 4_000_000  # counted at a time, of more than one item

_Float = NDArray[np.float64]


def counted_edges(train: Sequences, num_items: int, keep: int) -> Edges:
    """Return the best `keep` edges of each item by c_ij / root(n_j): c_ij is the sum of d^-1/2 over
    pairs of i and a later j at distance d <= WINDOW in a sequence, n_j how often j occurs. Equal
    ones by ascending item. Pairs of a single user are no edges.
    """
    root = np.sqrt(np.maximum(occurrences(train, num_items), 1))
    parts = []
    for first, end, row, column, count in _counted(train, num_items):
        parts.append(_best(first, end, row, column, count / root[column], keep))
    return _joined(parts)


def matrix_edges(blocks: Iterator[tuple[int, _Float]], keep: int) -> Edges:
    """Return the greatest `keep` positive values of each row of a matrix [V, V] without its
    diagonal, as edges; blocks: its rows from some number on, [n, V], in order.
    """
    parts = []
    for first, rows in blocks:
        own = np.arange(len(rows))
        rows[own, first + own] = 0
        row, column = np.nonzero(rows > 0)
        parts.append(_best(first, first + len(rows), row + first, column, rows[row, column], keep))
    return _joined(parts)


_Part = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]


def _best(
    first: int,
    end: int,
    row: NDArray[np.integer],
    column: NDArray[np.integer],
    value: _Float,
    keep: int,
) -> _Part:
    """Return the best `keep` values of each of the rows first..end - 1: how many there are, their
    columns, ascending, and the values, relative to the greatest of the row.
    """
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    begin = np.searchsorted(row, np.arange(first, end))
    of = row - first
    kept = np.arange(len(row)) - begin[of] < keep
    value = (value / value[begin[of]])[kept]
    row, column = row[kept], column[kept]
    order = np.lexsort((column, row))
    lengths = np.bincount(row - first, minlength=end - first)
    return lengths, column[order].astype(np.int32), value[order].astype(np.float32)


def _joined(parts: list[_Part]) -> Edges:
    lengths, column, value = (np.concatenate(each) for each in zip(*parts, strict=True))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Edges(offsets, column + np.int32(1), value)


def _counted(
    train: Sequences, num_items: int
) -> Iterator[tuple[int, int, NDArray[np.int64], NDArray[np.int64], _Float]]:
    """Yield the counts of one block of items after another: the first one and the end, and of each
    pair that enough users have its items, from 0, and their count.
    """
    item = train.items.astype(np.int64) - 1
    place = train.places
    left = np.repeat(train.lengths, train.lengths) - place - 1
    user = np.repeat(np.arange(len(train.lengths)), train.lengths)
    at, starts = _chosen(item, num_items)
    for first, end in _blocks(np.diff(starts)):
        own = at[starts[first] : starts[end]]
        keys, users, weights = [], [], []
        for distance in range(1, WINDOW + 1):
            own = own[left[own] >= distance]
            keys.append((item[own] - first) * num_items + item[own + distance])
            users.append(user[own])
            weights.append(np.full(len(own), 1 / np.sqrt(distance)))
        key, user_of, weight = (np.concatenate(each) for each in (keys, users, weights))
        order = np.argsort(key, kind="stable")
        key, user_of, weight = key[order], user_of[order], weight[order]
        begin = np.flatnonzero(np.diff(key, prepend=-1))
        row, column = np.divmod(key[begin], num_items)
        if not len(begin):
            yield first, end, row, column, np.zeros(0)
            continue
        count = np.add.reduceat(weight, begin)
        several = np.minimum.reduceat(user_of, begin) != np.maximum.reduceat(user_of, begin)
        good = several & (row + first != column)
        yield first, end, row[good] + first, column[good], count[good]


def _chosen(item: NDArray[np.int64], num_items: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the interactions to count, by item and then ascending, and where each item's begin,
    [V+1]: of an item that occurs too often, those with the least hashes.
    """
    every = np.arange(len(item))
    order = np.lexsort((_hashes(every), item))
    starts = np.searchsorted(item[order], np.arange(num_items + 1))
    kept = every - np.repeat(starts[:-1], np.diff(starts)) < MOST_COUNTED
    chosen = np.sort(order[kept])
    chosen = chosen[np.argsort(item[chosen], kind="stable")]
    return chosen, np.searchsorted(item[chosen], np.arange(num_items + 1))


def _hashes(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a hash of each number (SplitMix64's finaliser)."""
    mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _blocks(occurring: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the first and the end of blocks of items with few enough pairs, or of one item."""
    total = np.concatenate([[0], np.cumsum(occurring * WINDOW)])
    first = 0
    while first < len(occurring):
        end = int(np.searchsorted(total, total[first] + _PAIRS, side="right")) - 1
        end = min(max(end, first + 1), len(occurring))
        yield first, end
        first = end
