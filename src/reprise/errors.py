"""Errors that a user can fix: each is a message with its values, and has a stable exit code."""

import signal
from collections.abc import Mapping

from reprise.text.messages import Messages, Phrase


class RepriseError(Phrase, Exception):
    """A failure that is shown as one line, in the user's language, without a traceback.

    in_keywords: whether `str` names the keywords of the Python API instead of flags.
    """

    exit_code = 1
    in_keywords = False

    def __str__(self) -> str:
        return Messages("en", self.in_keywords).text(self.key, **self.values)


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


class PeersLostError(RepriseError):
    """Another process of the run that has ended, or cannot be reached."""

    exit_code = 11


# What each exit code means: the key of its message.
EXIT_CODES: Mapping[int, str] = {
    0: "exit_done",
    RepriseError.exit_code: "exit_fault",
    UsageError.exit_code: "exit_usage",
    DataError.exit_code: "exit_data",
    ConfigMismatchError.exit_code: "exit_settings",
    RunInUseError.exit_code: "exit_in_use",
    CheckpointError.exit_code: "exit_checkpoint",
    WriteError.exit_code: "exit_write",
    MemoryLimitError.exit_code: "exit_memory",
    DeviceError.exit_code: "exit_device",
    TrackerError.exit_code: "exit_tracker",
    PeersLostError.exit_code: "exit_peers",
    128 + signal.SIGHUP: "exit_hangup",
    128 + signal.SIGINT: "exit_interrupt",
    128 + signal.SIGTERM: "exit_terminated",
}
