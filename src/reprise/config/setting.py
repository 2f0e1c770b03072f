"""The declaration of one setting: its type, range, default, help and names."""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from reprise.errors import UsageError
from reprise.text.messages import Phrase

Auto = Literal["auto"]
AUTO: Auto = "auto"  # a value that follows from the data: `config.by_data`
LARGEST = 1_000_000  # of any size: a larger number is a typing error
_LONGEST_NAME = 100  # bytes: a run's folder name has two of them, and file systems allow 255
_KEY = "setting"
_TRUTH = {"true": True, "false": False}


class Meaning(Enum):
    """Placeholders for values in a declaration."""

    REQUIRED = "required"  # no default: it must be given
    DEFAULT = "default"  # the setting's default
    OPEN = "open"  # unknown: a run resumes with any value
    KEPT = "kept"  # the given value


@dataclass(frozen=True)
class Former:
    """A former name of a setting; `values`: pairs of former and current values that differ."""

    name: str
    values: tuple[tuple[Any, Any], ...] = ()

    def today(self, value: Any) -> Any:
        """Convert a former value, which may be text from a flag, to the current one."""
        same = (new for old, new in self.values if _text(old) == _text(value))
        return next(same, value)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The declaration of a setting.

    Attributes:
        help: What it does, one English sentence; "{choices}" stands for the choices.
        default: What holds where it is not given.
        at_least, at_most, below: The range of a number; `below` in the place of `at_most`.
        choices: The names it may be, the default first.
        zero_is_none: Whether 0 means None, so that a flag takes out a file's value.
        by_data: Whether a number may be AUTO.
        names_folder: Whether it must be able to name a folder.
        listed: Whether it is names, separated by commas or in a list, in any order.
        absent: What a checkpoint means that does not hold it, being older than the setting.
        untrained: The value of a run of a model that is not trained.
        extendable: Whether it may change between starts: it decides how long a run goes on, not
            its path.
        needs: The setting without which it has no effect.
        of_several: Whether it has no effect with a model of one interest.
        flags: The flags that give it; --name, with dashes, where none are declared.
        formerly: Names it had, which are understood in flags, files and stored runs.
        default_shown: The default in help texts, where the value does not say it.
    """

    help: str
    default: Any
    at_least: float = 1
    at_most: float = LARGEST
    below: float | None = None
    choices: tuple[str, ...] = ()
    zero_is_none: bool = False
    by_data: bool = False
    names_folder: bool = False
    listed: bool = False
    absent: Any = Meaning.DEFAULT
    untrained: Any = Meaning.KEPT
    extendable: bool = False
    needs: str = ""
    of_several: bool = False
    flags: tuple[str, ...] = ()
    formerly: tuple[Former, ...] = ()
    default_shown: str = ""
    name: str = ""
    kind: type[int] | type[float] | type[str] | type[bool] = str
    optional: bool = False

    def check(self, value: Any, called: str | None = None) -> None:
        """Raise UsageError for a value of the wrong type or out of range."""
        called = called or self.name
        if not self._is_possible(value):
            values = {"value": value, "expected": self._expected()}
            raise UsageError("bad_value", option=called, **values)
        if self.names_folder and not _names_a_folder(value):
            raise UsageError("bad_name", option=called, value=value)

    def normalize(self, value: Any) -> Any:
        """Convert a checked value to its stored form: integers to floats where floats are due, and
        0 to None where it means that.
        """
        if value is None or (self.zero_is_none and value == 0):
            return None
        if self.by_data and value == AUTO:
            return AUTO
        if self.listed:
            return joined(value)
        return float(value) if self.kind is float else value

    def parse(self, text: str) -> Any:
        """Convert text to a value; raise ValueError if it cannot be converted."""
        if self.kind is bool and text.casefold() not in _TRUTH:
            raise ValueError(text)
        if self.by_data and text.casefold() == AUTO:
            return AUTO
        return _TRUTH[text.casefold()] if self.kind is bool else self.kind(text)

    def words(self, value: Any) -> list[str]:
        """Return the command line arguments that give a value, which may be text."""
        if self.kind is not bool:
            return [self.flags[0], str(value)]
        on = self.parse(str(value))
        return [self.flags[0] if on else self.flags[0].replace("--", "--no-", 1)]

    @property
    def default_help(self) -> str:
        """The default as the end of the help text; empty for a flag that is off."""
        if self.default is Meaning.REQUIRED:
            return "[required, here or in the file]"
        if self.kind is bool:
            return "[default: on]" if self.default else ""
        shown = self.default
        if self.zero_is_none or isinstance(shown, float):
            shown = f"{shown or 0:g}"
        return f"[default: {self.default_shown or shown}]"

    def _is_possible(self, value: Any) -> bool:
        if value is None:
            return self.optional
        if self.choices:
            return value in self.choices
        if self.by_data and value == AUTO:
            return True
        if self.listed:
            return joined(value) is not None
        if self.kind in (str, bool):
            return isinstance(value, self.kind)
        numbers = int if self.kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, numbers):
            return False
        if self.zero_is_none and value == 0:
            return True
        return self.at_least <= value and (
            value <= self.at_most if self.below is None else value < self.below
        )

    def _expected(self) -> str | Phrase:
        expected = self._of_kind()
        return Phrase("good_or_auto", expected=expected) if self.by_data else expected

    def _of_kind(self) -> str | Phrase:
        if self.choices or self.kind is bool:
            return " | ".join(self.choices or _TRUTH)
        if self.listed:
            return Phrase("good_names")
        if self.kind is str:
            return Phrase("good_text")
        if self.below is not None:
            return Phrase("good_below", low=self.at_least, high=self.below)
        key = "good_whole_within" if self.kind is int else "good_within"
        key = "good_optional" if self.zero_is_none else key
        return Phrase(key, low=self.at_least, high=self.at_most)


def setting(default: Any, text: str, **about: Any) -> Any:
    """Return a dataclass field that declares a setting; `text` is its help, `about` the other
    attributes of `Setting`.
    """
    declared = Setting(help=text, default=default, **about)
    return field(
        default=MISSING if default is Meaning.REQUIRED else default, metadata={_KEY: declared}
    )


def choice(names: tuple[str, ...], text: str, **about: Any) -> Any:
    """Return a field whose value is one of `names`; the first is the default."""
    return setting(names[0], text, choices=names, **about)


def joined(names: Any) -> str | None:
    """Return names, given in a list or separated by commas, ascending, once each, separated by
    commas; None where they are something else, or none.
    """
    each = names.split(",") if isinstance(names, str) else names
    if not isinstance(each, list | tuple) or not all(isinstance(one, str) for one in each):
        return None
    own = {part.strip() for one in each for part in one.split(",")}
    return ",".join(sorted(own)) if own and "" not in own else None


def settings_of(config: type[Any]) -> Mapping[str, Setting]:
    """Return the settings declared by the fields of a dataclass, by name."""
    return {item.name: _declared(item) for item in dataclasses.fields(config)}


def _declared(item: "dataclasses.Field[Any]") -> Setting:
    declared: Setting = item.metadata[_KEY]
    kinds = typing.get_args(item.type) or (item.type,)
    usual = Meaning.OPEN if declared.default is Meaning.REQUIRED else declared.default
    return dataclasses.replace(
        declared,
        help=declared.help.format(choices=" | ".join(declared.choices)),
        flags=declared.flags or (f"--{item.name.replace('_', '-')}",),
        name=item.name,
        kind=next(kind for kind in kinds if kind in (int, float, str, bool)),
        optional=type(None) in kinds,
        absent=usual if declared.absent is Meaning.DEFAULT else declared.absent,
        untrained=usual if declared.untrained is Meaning.DEFAULT else declared.untrained,
    )


def _names_a_folder(text: str) -> bool:
    fit = text.isprintable() and not text.startswith(".") and Path(text).name == text
    return bool(text) and fit and len(text.encode(errors="replace")) <= _LONGEST_NAME


def _text(value: Any) -> str:
    return str(value).casefold()
