"""Errors a user can mend: each carries a message key, its values and a stable exit code."""

from typing import Any


class Phrase:
    """A part of a line that is said in the user's language, too: a message key and its values."""

    def __init__(self, key: str, **values: Any) -> None:
        self.key = key
        self.values = values


class RepriseError(Exception):
    """A failure that is shown as one line, in the user's language, without a traceback.

    `key` names an entry of `messages.CATALOGUE`; `values` fill it in.
    """

    exit_code = 1

    def __init__(self, key: str, **values: Any) -> None:
        super().__init__(key, values)
        self.key = key
        self.values = values

    def __str__(self) -> str:
        from reprise.messages import Messages

        return Messages("en").text(self.key, **self.values)


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
