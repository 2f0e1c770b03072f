"""What a sweep searches over: fields of the configuration, as `--search` writes them."""

import difflib
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from reprise.config.schema import TrainConfig, check_value, field_of
from reprise.errors import UsageError
from reprise.text.messages import Phrase

_FIXED = ("dataset", "name", "top_n")  # whose trials could not be compared, or told apart
_DIGITS = 4  # of a number that was drawn: what lies beyond makes no difference, but long names


@dataclass(frozen=True)
class Search:
    """A field and its values: `choices`, or the numbers from `low` to `high`, `log`: drawn by
    their logarithm.
    """

    field: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False

    def __str__(self) -> str:
        if self.choices:
            return f"{self.field}={','.join(map(str, self.choices))}"
        return f"{self.field}={self.low}..{self.high}{':log' if self.log else ''}"

    @property
    def first(self) -> Any:
        """The first choice, or the lowest number."""
        return self.choices[0] if self.choices else self.low

    @property
    def is_whole(self) -> bool:
        """Whether the numbers are whole."""
        return isinstance(self.low, int)

    def settle(self, value: Any) -> Any:
        """Return a drawn value with few digits."""
        if self.choices or self.is_whole:
            return value
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


def parse_searches(texts: Iterable[str]) -> tuple[Search, ...]:
    """Return the searches, by field; UsageError where one cannot be read, or comes twice."""
    searches = [parse_search(text) for text in texts]
    by_field = {search.field: search for search in searches}
    if len(by_field) < len(searches):
        twice = next(s.field for s in searches if by_field[s.field] is not s)
        raise UsageError("only_one", options=f"--search {twice}=...")
    return tuple(by_field[field] for field in sorted(by_field))


def parse_search(text: str) -> Search:
    """Return the search of FIELD=LOW..HIGH[:log] or FIELD=A,B,C, its values checked."""
    key, equals, values = text.partition("=")
    name = field_of(key.strip())
    known = {item.name for item in fields(TrainConfig)} - set(_FIXED)
    expected = Phrase("good_search")
    malformed = UsageError("bad_value", option="search", value=text, expected=expected)
    if not (equals and values):
        raise malformed
    if name not in known:
        (closest,) = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
        raise UsageError("unknown_key", option=key, suggestion=closest)
    kind = _kind(name)
    low, dots, high = values.partition("..")
    high, colon, scale = high.partition(":")
    try:
        if dots and kind is not str:
            search = Search(name, (), kind(low), kind(high), log=scale == "log")
        else:
            search = Search(name, tuple(kind(value.strip()) for value in values.split(",")))
    except ValueError:
        raise malformed from None
    if search.choices:
        if len(set(search.choices)) < len(search.choices):
            raise malformed
    elif (colon and scale != "log") or not search.low < search.high:
        raise malformed
    elif search.log and search.low <= 0:
        expected = Phrase("good_logarithm")
        raise UsageError("bad_value", option=name, value=search.low, expected=expected)
    for value in search.choices or (search.low, search.high):
        check_value(name, value)
    return search


def _kind(name: str) -> Callable[[str], Any]:
    """Return the type of a field's values, None aside."""
    hint = typing.get_type_hints(TrainConfig)[name]
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind: type[int] | type[float] | type[str] = next(k for k in kinds if k is not type(None))
    return kind
