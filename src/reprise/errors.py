"""Errors that a user can fix: each is a message with its values, and has a stable exit code."""

from reprise.text.messages import Phrase


class RepriseError(Phrase, Exception):
    """A failure that is shown as one line, in the user's language, without a traceback."""

    exit_code = 1


class ContentError(Phrase, ValueError):
    """A problem with a file's content; callers add the file's name in an error of their own."""


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


class MemoryLimitError(RepriseError):
    """Too little memory."""

    exit_code = 8


class DeviceError(RepriseError):
    """A device that was asked for but cannot be used."""

    exit_code = 9


class TrackerError(RepriseError):
    """A tracker that did not take a run's numbers."""

    exit_code = 10
