"""The dialect of delimited text, as given by the user."""

import re
from typing import NamedTuple

from reprise.errors import UsageError
from reprise.text.messages import Phrase

QUOTES = {"none": "", '"': '"', "'": "'"}
_NAMED = {"tab": "\t", "comma": ",", "semicolon": ";", "bar": "|", "\\t": "\t"}


class Dialect(NamedTuple):
    """Separator, quote and encoding given by the user; None: to be detected.

    quote: "" if nothing is quoted.
    """

    separator: str | None = None
    quote: str | None = None
    encoding: str | None = None

    @property
    def given(self) -> list[str]:
        """The names of the options that were given."""
        return [name for name, value in self._asdict().items() if value is not None]


UNTOLD = Dialect()


def dialect_of(separator: str | None, quote: str | None, encoding: str | None) -> Dialect:
    """Return the dialect given by options; raise UsageError for an invalid value."""
    if separator is not None:
        separator = _NAMED.get(separator, separator)
        if re.fullmatch(r"\\x[0-9a-fA-F]{2}", separator):
            separator = chr(int(separator[2:], 16))
        if len(separator) != 1 or not separator.isascii() or separator in "\r\n\"'":
            raise _bad_value("separator", separator, "good_separator")
    if quote is not None and quote not in QUOTES:
        raise _bad_value("quote", quote, "good_quote")
    if encoding is not None:
        try:
            "".encode(encoding)
        except (LookupError, UnicodeError) as error:
            raise _bad_value("encoding", encoding, "good_encoding") from error
    return Dialect(separator, None if quote is None else QUOTES[quote], encoding)


def _bad_value(option: str, value: str, expected: str) -> UsageError:
    return UsageError("bad_value", option=option, value=value, expected=Phrase(expected))
