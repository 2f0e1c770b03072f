"""Units of timestamps: seconds, milli-, micro- or nanoseconds since 1970."""

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
