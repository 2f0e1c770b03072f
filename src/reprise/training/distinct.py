"""Distinct ids, and where they stand, by one sort: `numpy.unique` sorts places by ids, which takes
several times as long as to sort numbers that hold both.
"""

import numpy as np
from numpy.typing import DTypeLike, NDArray


def distinct(ids: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct values of ids [N] (0 to 2^31 - 1), ascending, and the index [N] of each
    in them: `numpy.unique` with `return_inverse`.
    """
    values, places, new = _by_value(ids)
    index = np.empty(len(ids), np.int64)
    index[places] = np.cumsum(new) - 1
    return values[new].astype(np.int64), index


def first_places(ids: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return where each distinct value of ids [N] (0 to 2^31 - 1) stands first, ascending."""
    _, places, new = _by_value(ids)
    first = np.zeros(len(ids), bool)
    first[places[new]] = True
    return np.flatnonzero(first)


def _by_value(
    ids: NDArray[np.integer],
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.bool_]]:
    """Return ids by rising value, equal ones as they stand, their places, and which are the first
    of their value.
    """
    count = len(ids)
    bits = count.bit_length()
    largest = int(ids.max(initial=0))
    # Both in half the bits where they have room: sorted in half the time.
    short = largest.bit_length() + bits <= 32
    kind: DTypeLike = np.uint32 if short else np.uint64
    both = (ids.astype(kind) << bits) | np.arange(count, dtype=kind)
    both.sort()
    values = both >> bits
    new = np.ones(count, bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return values, both & ((1 << bits) - 1), new
