"""Name the flag of a refused value as the user typed it, former names included."""

from collections.abc import Sequence

from reprise.config.schema import SETTINGS
from reprise.text.messages import Phrase

_OF_VALUES = ("bad_value", "bad_name")  # messages that name an option


def as_typed(mistake: Phrase, arguments: Sequence[str]) -> Phrase:
    """Return the refusal of a value with its option as spelled in `arguments`; unchanged if it is
    not among them, such as a value of a file.
    """
    option = mistake.values.get("option")
    if mistake.key not in _OF_VALUES or not isinstance(option, str):
        return mistake
    flags = _flags_of(option)
    for word in reversed(arguments):  # the last one counts
        flag = word.partition("=")[0]
        if flag.startswith("--") and _plain(flag) in flags:
            return Phrase(mistake.key, **{**mistake.values, "option": flag})
    return mistake


def _flags_of(option: str) -> set[str]:
    """Return the current and former flags of an option, without dashes."""
    flags = [option]
    if option in SETTINGS:
        setting = SETTINGS[option]
        flags += [*setting.flags, *(former.name for former in setting.formerly)]
    return set(map(_plain, flags))


def _plain(flag: str) -> str:
    return flag.removeprefix("--").replace("_", "-").casefold()
