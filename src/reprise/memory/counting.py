"""Count which items follow which: what rules, ridge regressions and edges are made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from reprise.data.sequences import Sequences

_PAIRS = 20_000_000  # counted at a time
_NEGLIGIBLE = 1e-7  # weights of pairs, of the greatest, that `decayed_products` leaves out

_MIRRORED = 512  # rows of a symmetric matrix

_Float = NDArray[np.float64]


def rule_counts(train: Sequences, num_items: int, window: int) -> Any:
    """Return the sums of d^-1/2 over pairs of items at distance d <= `window` in a training
    sequence, from the earlier to the later, [V, V] float32.
    """
    counted = sparse.csr_array((num_items, num_items), dtype=np.float32)
    parts: list[tuple[NDArray[np.int32], NDArray[np.int32], float]] = []
    waiting = 0
    for distance in range(1, window + 1):
        here, there = pairs(train, distance)
        if not len(here):
            break
        parts.append((here, there, distance**-0.5))
        waiting += len(here)
        if waiting > _PAIRS:
            counted, parts, waiting = counted + _summed(parts, num_items), [], 0
    if parts:
        counted = counted + _summed(parts, num_items)
    return _without_diagonal(counted)


def decayed_products(
    train: Sequences, num_items: int, decay: float, future: float
) -> tuple[_Float, _Float]:
    """Return P'P and P'F [V, V] of `ridge`'s examples.

    Both are sums over pairs of places of a sequence, so that examples need not be made: the pasts
    of all places from s on have both s and r < s, with the product decay^(s - r) at s and decay^2
    less at each place further on; for P'F, see `_weights_to_future`.
    """
    lengths = np.repeat(train.lengths, train.lengths)
    left = lengths - train.places - 1  # places after each one
    size = num_items * num_items
    own = (1 - decay ** (2 * (left + 1.0))) / (1 - decay**2)
    past, both = np.zeros(size), np.zeros(size)  # of the first, the half above the diagonal
    item = train.items.astype(np.int64) - 1
    np.add.at(past, item * (num_items + 1), own / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (1 - future) / (1 - future ** left.astype(np.float64))
    to_future = np.zeros(len(item))
    for distance in range(1, int(train.lengths.max(initial=1))):
        to_future = _weights_to_future(to_future, share, left, decay, future, distance)
        first = np.flatnonzero(left >= distance)
        if not len(first):
            break
        key = item[first] * num_items + item[first + distance]
        if decay**distance >= _NEGLIGIBLE:
            np.add.at(past, key, decay**distance * own[first + distance])
        np.add.at(both, key, to_future[first])
        if max(decay**distance, to_future.max()) < _NEGLIGIBLE:
            break
    half = past.reshape(num_items, -1)
    return _plus_transposed(half), both.reshape(num_items, -1)


def _weights_to_future(
    nearer: _Float,
    share: _Float,
    left: NDArray[np.int64],
    decay: float,
    future: float,
    distance: int,
) -> _Float:
    """Return the sums over the examples t = s .. r - 1 of decay^(t - s) future^(r - t - 1) / norm_t
    for all places s and r = s + distance, given those of one less: the example t = s is new, and
    the others are those of s + 1, decayed once more.
    """
    others = np.append(nearer[1:], 0) * decay
    return np.where(
        left >= distance, others + np.where(left > 0, share, 0) * future ** (distance - 1), 0
    )


def _plus_transposed(matrix: _Float) -> _Float:
    """Add its transposed matrix to a matrix, in place."""
    for here in row_blocks(len(matrix)):
        matrix[here, here] += matrix[here, here].T.copy()
        matrix[here, here.stop :] += matrix[here.stop :, here].T
        matrix[here.stop :, here] = matrix[here, here.stop :].T
    return matrix


def row_blocks(size: int) -> list[slice]:
    """Return slices of rows that are mirrored at a time, without a copy of the whole matrix."""
    return [slice(at, min(at + _MIRRORED, size)) for at in range(0, size, _MIRRORED)]


def pairs(train: Sequences, distance: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the items, from 0, of all places of training sequences that have another item so many
    places further on, and these items.
    """
    lengths = np.repeat(train.lengths, train.lengths)
    first = np.flatnonzero(train.places + distance < lengths)
    return train.items[first] - 1, train.items[first + distance] - 1


def by_user(some: Sequences, values: NDArray[np.float32], num_items: int) -> Any:
    """Return values of interactions, [u, V], an item's several ones beside each other: with indices
    of 32 bits, as scipy else widens those of a matrix that it is multiplied with, each time.
    """
    offsets = (some.offsets - some.offsets[0]).astype(np.int32)
    shape = len(some.lengths), num_items
    return sparse.csr_array((values, some.items - np.int32(1), offsets), shape=shape)


def occurrences(train: Sequences, num_items: int) -> _Float:
    """Return how often each item occurs, [V] float64."""
    counts: _Float = np.bincount(train.items, minlength=num_items + 1)[1:].astype(np.float64)
    return counts


def _summed(
    parts: Sequence[tuple[NDArray[np.int32], NDArray[np.int32], float]], num_items: int
) -> Any:
    """Return the sum of the weights of each pair of items, [V, V] float32."""
    here, there = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    weight = np.concatenate([np.full(len(part[0]), part[2], np.float32) for part in parts])
    return sparse.csr_array((weight, (here, there)), shape=(num_items, num_items))


def _without_diagonal(matrix: Any) -> Any:
    row = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    matrix.data[row == matrix.indices] = 0
    matrix.eliminate_zeros()
    return matrix
