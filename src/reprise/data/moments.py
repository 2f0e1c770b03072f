"""Times of histories as models read them: small integers in which gaps and the calendar are exact.

A row is of one user: the times of the history's items, oldest first, then of the request, and where
there are fewer than L items, the request's again: [L + 1] int32, in seconds since the Monday, 00:00
UTC, on or before the first of them. UNKNOWN stands where a time is not known.
"""

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
_NANOSECONDS = 1_000_000_000
_WEEK, _MONDAY = 7 * 86_400, 4 * 86_400  # 1 January 1970 was a Thursday
_LATEST = 2**31 - 1


def whole_seconds(nanoseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return times in nanoseconds since 1970 in whole seconds, rounded down."""
    return nanoseconds // _NANOSECONDS


def at_requests(
    items: NDArray[np.int64], lengths: NDArray[np.integer], requests: NDArray[np.int64] | None
) -> NDArray[np.int32]:
    """Return times as models read them, from those of the items of histories [U, L] of `lengths`
    [U], and of the requests [U], in seconds since 1970; None: unknown.
    """
    place = np.arange(items.shape[1] + 1)
    inside = place < lengths[:, None]
    asked = np.zeros(len(items), np.int64) if requests is None else requests
    seconds = np.where(inside, np.pad(items, ((0, 0), (0, 1))), asked[:, None])
    return relative(seconds, inside | (requests is not None))


def relative(
    seconds: NDArray[np.int64], known: NDArray[np.bool_] | None = None
) -> NDArray[np.int32]:
    """Return times [U, L + 1] int64, in seconds since 1970, as models read them.

    known [U, L + 1]: where there is a time; None: everywhere. What is 68 years after the first
    stays there.
    """
    known = np.ones(seconds.shape, bool) if known is None else known
    first = np.where(known, seconds, np.iinfo(np.int64).max).min(axis=1, keepdims=True)
    first = np.where(known.any(axis=1, keepdims=True), first, 0)
    monday = (first - _MONDAY) // _WEEK * _WEEK + _MONDAY
    since = np.minimum(np.where(known, seconds, first) - monday, _LATEST)
    return np.where(known, since, UNKNOWN).astype(np.int32)


def unknown_times(users: int, length: int) -> NDArray[np.int32]:
    """Return the times [U, L + 1] of histories of `length` items of which none is known."""
    return np.full((users, length + 1), UNKNOWN, np.int32)
