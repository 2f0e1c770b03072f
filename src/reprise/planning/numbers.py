"""Numbers as people write them: 1e9 items, 40M users, 64GB of memory, 100Gbit/s, 20us."""

import re
from decimal import Decimal

from reprise.errors import UsageError
from reprise.runtime.memory import bytes_of
from reprise.text.messages import Phrase

_WHOLE = re.compile(r"(\d+(?:\.\d+)?(?:e\+?\d{1,2})?) ?([kMGB]?)", re.ASCII)
_THOUSANDS = re.compile(r"\d{1,3}(?:[,_]\d{3})+", re.ASCII)
_TIMES = {"k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "": 1}
_RATE = re.compile(r"(\d+(?:\.\d+)? ?[kKMGT]?)(bit|B)(?:/s)?", re.ASCII)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?) ?(us|ms|s)", re.ASCII)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def whole_of(option: str, text: str, most: int) -> int:
    """Return the whole number from 1 to `most` that a text means: 1e9, 40M, 1,000,000."""
    plain = re.sub("[,_]", "", text) if _THOUSANDS.fullmatch(text.strip()) else text.strip()
    found = _WHOLE.fullmatch(plain)
    number = Decimal(found[1]) * _TIMES[found[2]] if found else Decimal(0)
    if not 1 <= number <= most or number != int(number):
        raise _bad(option, text, Phrase("good_count", most=f"{most:,}"))
    return int(number)


def size_of(option: str, text: str) -> int:
    """Return the bytes that a text means: 64GB."""
    size = bytes_of(text)
    if not size:
        raise _bad(option, text, Phrase("good_size"))
    return size


def rate_of(option: str, text: str) -> float:
    """Return the bytes a second that a text means: 25GB or 25GB/s, 200Gbit."""
    found = _RATE.fullmatch(text.strip())
    size = bytes_of(found[1]) if found else None
    if found is None or not size:
        raise _bad(option, text, Phrase("good_rate"))
    return size / 8 if found[2] == "bit" else float(size)


def seconds_of(option: str, text: str) -> float:
    """Return the seconds that a text means: 20us, 0.5ms."""
    found = _SECONDS.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else -1.0
    if not 0 <= seconds <= 1:
        raise _bad(option, text, Phrase("good_latency"))
    return seconds


def _bad(option: str, value: str, expected: Phrase) -> UsageError:
    return UsageError("bad_value", option=option, value=value, expected=expected)
