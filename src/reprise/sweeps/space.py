"""The search space of a sweep: fields of the configuration, in the syntax of `--search`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reprise.config.load import field_of, in_todays_names
from reprise.config.schema import SETTINGS
from reprise.errors import UsageError
from reprise.text.messages import Phrase
from reprise.text.suggest import suggest

# What trials are rated by, or named by: values of it could not be compared.
_FIXED = ("dataset", "name", "top_n", "train_users", "valid_users")
_DIGITS = 4  # of a sampled number: more would only make names longer


@dataclass(frozen=True)
class Search:
    """A field and its values: `choices`, or numbers from `low` to `high`; `log`: sampled on a log
    scale.
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
        """Whether the values are integers."""
        return isinstance(self.low, int)

    @property
    def count(self) -> int | None:
        """The number of values; None of numbers that are not whole."""
        if self.choices:
            return len(self.choices)
        return int(self.high) - int(self.low) + 1 if self.is_whole else None

    def value(self, place: int) -> Any:
        """The value at a place from 0, of those that can be counted."""
        return self.choices[place] if self.choices else int(self.low) + place

    def settle(self, value: Any) -> Any:
        """Round a sampled value to few digits."""
        if self.choices or self.is_whole:
            return value
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


def parse_searches(texts: Iterable[str]) -> tuple[Search, ...]:
    """Parse the searches, sorted by field; raise UsageError if one is invalid or repeated."""
    searches = [parse_search(text) for text in texts]
    by_field = {search.field: search for search in searches}
    if len(by_field) < len(searches):
        twice = next(s.field for s in searches if by_field[s.field] is not s)
        raise UsageError("only_one", options=f"--search {twice}=...")
    return tuple(by_field[field] for field in sorted(by_field))


def parse_search(text: str) -> Search:
    """Parse FIELD=LOW..HIGH[:log] or FIELD=A,B,C, and check its values."""
    key, equals, values = text.partition("=")
    asked = field_of(key.strip())
    (name,) = in_todays_names({asked: None})
    known = SETTINGS.keys() - set(_FIXED)
    expected = Phrase("good_search")
    malformed = UsageError("bad_value", option="search", value=text, expected=expected)
    if not (equals and values):
        raise malformed
    if name in _FIXED:
        raise UsageError("not_searched", option=key)
    if name not in known:
        raise UsageError("unknown_key", option=key, suggestion=suggest(known, name))
    setting = SETTINGS[name]
    low, dots, high = values.partition("..")
    high, colon, scale = high.partition(":")
    try:
        if dots and setting.kind in (int, float):
            numbers = setting.parse(low), setting.parse(high)
            search = Search(name, (), *numbers, log=scale == "log")
        else:
            choices = (_choice(asked, value.strip()) for value in values.split(","))
            search = Search(name, tuple(choices))
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
        setting.check(value)
    return search


def _choice(asked: str, text: str) -> Any:
    """Parse a value of the setting `asked`, given by its current or a former name."""
    ((name, value),) = in_todays_names({asked: text}).items()
    return SETTINGS[name].parse(text) if value is text else value
