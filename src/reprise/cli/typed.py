"""A refused value under the flag that gave it, spelled as the user typed it."""

from collections.abc import Sequence

from reprise.config.schema import SETTINGS
from reprise.text.messages import Phrase

_OF_VALUES = ("bad_value", "bad_name")  # refusals of what `option` was given


def as_typed(mistake: Phrase, arguments: Sequence[str]) -> Phrase:
    """Return the refusal of an option's value with the flag in `arguments` that gave it; as it is
    where none did, such as a value of a file.
    """
    option = mistake.values.get("option")
    if mistake.key not in _OF_VALUES or not isinstance(option, str):
        return mistake
    flags = _flags_of(option)
    for word in reversed(arguments):  # the last of a flag holds
        flag = word.partition("=")[0]
        if flag.startswith("--") and _plain(flag) in flags:
            return Phrase(mistake.key, **{**mistake.values, "option": flag})
    return mistake


def _flags_of(option: str) -> set[str]:
    """Return the flags, today's and former ones, that give an option of this name."""
    flags = [option]
    if option in SETTINGS:
        setting = SETTINGS[option]
        flags += [*setting.flags, *(former.name for former in setting.formerly)]
    return set(map(_plain, flags))


def _plain(flag: str) -> str:
    return flag.removeprefix("--").replace("_", "-").casefold()
