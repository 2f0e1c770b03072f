"""Units of timestamps: seconds, milli-, micro- or nanoseconds since 1970."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_EARLIEST = 10**8  # seconds: 1973
UNITS = (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9))  # how many a second has


def span_of(unit: int) -> tuple[int, int]:
    """Return the least time of a clock that its size tells (1973), and what is too much (2286)."""
    return _EARLIEST * unit, min(100 * _EARLIEST * unit, 2**63 - 1)


def clock_unit(time: float) -> int | None:
    """Return how many units a second has of a time since 1970 that lies from 1973 to 2286, in
    seconds, milli-, micro- or nanoseconds; None of any other number.
    """
    spans = ((unit, *span_of(unit)) for _, unit in UNITS)
    return next((unit for unit, first, end in spans if first <= time < end), None)


def fits_nanoseconds(unit: int | None, least: float, most: float) -> bool:
    """Return whether times of a clock, from `least` to `most`, are known in nanoseconds: whether
    their unit is (None: it is not), and they lie within 64 bits, which end in the years 1677 and
    2262.
    """
    if unit is None:
        return False
    factor = 10**9 // unit
    return least * factor >= -(2**63) and most * factor < 2**63


def nanoseconds(times: NDArray[Any], unit: int, in_place: bool = False) -> NDArray[np.int64]:
    """Return times as nanoseconds, [N] int64, which they fit. in_place: whether `times` may be
    overwritten.
    """
    factor = 10**9 // unit
    if times.dtype != np.int64:  # doubles
        return np.asarray(np.rint(times * factor).astype(np.int64))
    if factor == 1:
        return np.asarray(times)
    return np.asarray(np.multiply(times, factor, out=times if in_place else None))
