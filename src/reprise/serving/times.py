"""The times of a history and of a request, as users give them: to whole seconds since 1970.

A number is of seconds; a text is ISO 8601, in UTC where it names no offset.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data.moments import relative
from reprise.errors import DataError, UsageError
from reprise.text.messages import Phrase

TIMES = ("times", "request_time")  # columns of a file of histories
_MOST = 10**11  # in the year 5138: larger numbers are milliseconds, or finer


class When(NamedTuple):
    """The times [h] int64 of a history's items, oldest first, and of the request, in seconds since
    1970; None where unknown. Only with the items' is the request's of use.
    """

    items: NDArray[np.int64] | None = None
    request: int | None = None


NEVER = When()


def when_of(times: object, request: object, items: int) -> When:
    """Return the times of a history of `items` items, unknown ones too, and of the request after
    it. UsageError: one is no time, they are too few or many, or not in order.
    """
    if times is None:
        if request is not None:
            raise UsageError("request_time_alone")
        return NEVER
    if isinstance(times, str | bytes) or not isinstance(times, Iterable):
        raise _bad("times", times, Phrase("good_times"))
    seconds = [second_of("times", one) for one in times]
    if len(seconds) != items:
        raise UsageError("times_count", times=len(seconds), items=items)
    asked = None if request is None else second_of("request_time", request)
    _require_order(seconds, asked)
    return When(np.array(seconds, np.int64), asked)


def whens_of(
    path: Path,
    lines: Iterable[int],
    times: Iterable[object],
    requests: Iterable[object],
    items: Iterable[int],
) -> Iterator[When]:
    """Yield the times of each row of a file, see `when_of`; DataError for what is wrong with them,
    and where.
    """
    for line, own, request, size in zip(lines, times, requests, items, strict=True):
        try:
            yield when_of(own, request, size)
        except UsageError as error:
            reason = Phrase(error.key, **error.values)
            raise DataError("histories_times", path=path, line=line, reason=reason) from error


def second_of(option: str, value: object) -> int:
    """Return a moment in whole seconds since 1970, rounded down; UsageError if it is none."""
    found: float | None = None
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[s]").astype(object)  # None where it is no time
    if isinstance(value, str):
        value = _of_text(value)
    if isinstance(value, datetime):
        found = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, date):
        found = datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
        found = float(value)
    if found is None or not math.isfinite(found) or abs(found) >= _MOST:
        raise _bad(option, value, Phrase("good_moment"))
    return math.floor(found)


def known_ones(when: When, known: NDArray[np.bool_]) -> When:
    """Return the times without those of the items that a model does not know."""
    return when if when.items is None else when._replace(items=when.items[known])


def as_read(whens: Sequence[When], length: int) -> NDArray[np.int32]:
    """Return the times [U, length + 1] of the last `length` items of histories, and of requests, as
    `data.moments` has them.
    """
    seconds = np.zeros((len(whens), length + 1), np.int64)
    known = np.zeros(seconds.shape, bool)
    for row, when in enumerate(whens):
        if when.items is None:
            continue
        own = when.items[-length:]
        seconds[row, : len(own)], known[row, : len(own)] = own, True
        if when.request is not None:
            seconds[row, len(own) :], known[row, len(own) :] = when.request, True
    return relative(seconds, known)


def _of_text(text: str) -> object:
    """Return the number or the time that a text is; the text where it is neither."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return text


def _require_order(seconds: Sequence[int], request: int | None) -> None:
    for place, (before, after) in enumerate(pairwise(seconds), start=1):
        if after < before:
            raise UsageError("times_order", place=place, before=_shown(before), after=_shown(after))
    if request is not None and seconds and request < seconds[-1]:
        raise UsageError("request_too_early", request=_shown(request), last=_shown(seconds[-1]))


def _shown(seconds: int) -> str:
    return str(np.datetime64(seconds, "s"))


def _bad(option: str, value: object, expected: Phrase) -> UsageError:
    return UsageError("bad_value", option=option, value=value, expected=expected)
