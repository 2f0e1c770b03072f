"""Standard streams as cron, nohup and supervisors give them: closed, or with a reader that leaves.

Only a process of our own is set up this way: `__main__` calls it before anything else.
"""

import errno
import io
import os
import select
import sys
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO)  # of a pipe without a reader, of a terminal that was closed


def prepare_streams() -> None:
    """Open closed streams on the null device, and drop output that nobody reads any more."""
    _open_closed()
    sys.stdout = _outlasting(sys.stdout)
    sys.stderr = _outlasting(sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; one that is closed, or None as of a daemon, is not."""
    return stream is not None and not stream.closed and stream.isatty()


def give_up(stream: TextIO) -> None:
    """Send the rest of a stream's output nowhere, where it has a file of its own."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    _to_null(number)


def _open_closed() -> None:
    """Give each closed stream a file: else the next file that is opened takes its number, and what
    a library prints is written into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest free number, so the stream's own
            os.set_inheritable(number, True)
            stream = open(number, mode, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _outlasting(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    outlet = _Outlet(stream.fileno())
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Outlet(io.FileIO):
    """The file of a standard stream. Once nobody reads it, what is written is dropped; of standard
    error whatever the reason, since there is nowhere to tell of it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, "wb", closefd=False)
        self._is_terminal = os.isatty(number)
        self._name = "/dev/stderr" if number == 2 else "/dev/stdout"

    def write(self, data: Any, /) -> int:
        """Write what a pipe takes, waiting for one that does not block to take something."""
        try:
            while (written := super().write(data)) is None:
                select.select((), (self,), ())
            return written
        except OSError as error:
            if self._name == "/dev/stdout" and not self._is_gone(error):
                error.filename = self._name
                raise
            _to_null(self.fileno())
            return len(data)

    def _is_gone(self, error: OSError) -> bool:
        return error.errno == errno.EPIPE or (self._is_terminal and error.errno in _GONE)


def _to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, number)
    finally:
        os.close(null)
