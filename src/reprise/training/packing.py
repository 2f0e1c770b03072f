"""Pack histories: lay short ones side by side in rows of full length.

On data with short histories most of a batch is padding: five sixths on Beauty and Grocery, at 50
items a history. An encoder of packed rows does not compute it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SIZES = 8  # numbers of rows that a step is compiled for, at most


def packed(lengths: NDArray[np.integer], size: int, shares: int = 1) -> NDArray[np.int32] | None:
    """Lay the first `lengths` [B] items of histories [B, size] side by side in R rows, each of as
    many equal shares of the histories by itself.

    Returns:
        [shares * R, size], the index b * size + l of the item in each place, of a share's histories
        seen as one axis; free places have B / shares * size. R is rounded up to one of at most 8
        numbers; None where it is not below B / shares.
    """
    count = len(lengths) // shares
    each = [_placed(some.tolist(), size) for some in lengths.reshape(shares, count)]
    step = -(-count // _SIZES)
    rows = -(-(max(max(row) for row, _ in each) + 1) // step) * step
    if rows >= count:
        return None
    places = np.full((shares, rows * size), count * size, np.int32)
    for share, (row, start) in enumerate(each):
        within = np.arange(size) < lengths[share * count :][:count, None]
        first = np.array(row) * size + np.array(start)
        into = first[:, None] + np.arange(size)
        places[share, into[within]] = np.flatnonzero(within)
    return places.reshape(shares * rows, size)


def _placed(lengths: Sequence[int], size: int) -> tuple[list[int], list[int]]:
    """Return the row and the first place in it of each length, by best fit: the longest first, each
    into the fullest row that it fits in.
    """
    row, start = [0] * len(lengths), [0] * len(lengths)
    rows = 0
    with_room: list[list[int]] = [[] for _ in range(size + 1)]  # rows by their free places
    rooms = 0  # the bit of each number of places that some row has free
    for one in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        length = lengths[one]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            own = with_room[room].pop()
            if not with_room[room]:
                rooms &= ~(1 << room)
        else:
            room, own, rows = size, rows, rows + 1
        row[one], start[one] = own, size - room
        with_room[room - length].append(own)
        rooms |= 1 << (room - length)
    return row, start
