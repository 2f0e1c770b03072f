"""Errors a user can mend: each carries a message key, its values and a stable exit code."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reprise.messages import Language


class Phrase:
    """A line, or a part of one, that is said in the user's language; in English as a string.

    `key` names an entry of `messages.CATALOGUE`; `values` fill it in.
    """

    def __init__(self, key: str, **values: Any) -> None:
        self.key = key
        self.values = values

    def __str__(self) -> str:
        return self.said_in("en")

    def said_in(self, language: "Language") -> str:
        """Return the text in a language."""
        from reprise.messages import Messages

        return Messages(language).text(self.key, **self.values)


class RepriseError(Phrase, Exception):
    """A failure that is shown as one line, in the user's language, without a traceback."""

    exit_code = 1


class ContentError(Phrase, ValueError):
    """What is wrong with the content of a file, for the error that names the file."""


class UsageError(RepriseError):
    """A wrong option, option value or configuration key."""

    exit_code = 2


class DataError(RepriseError):
    """Input data or a prepared dataset that cannot be used."""

    exit_code = 3


class ConfigMismatchError(RepriseError):
    """A run folder that holds a run of another configuration."""

    exit_code = 4


class RunInUseError(RepriseError):
    """A run folder that another process is writing."""

    exit_code = 5


class CheckpointError(RepriseError):
    """No usable checkpoint where one is needed."""

    exit_code = 6


class WriteError(RepriseError):
    """The disk refused a write."""

    exit_code = 7
