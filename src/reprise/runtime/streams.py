"""Make standard streams usable that are closed, or whose reader goes away, as with cron and nohup.

Only `__main__` calls this, before anything else; importing the package changes no stream.
"""

import ctypes
import errno
import io
import os
import select
import signal
import sys
from typing import Any, TextIO

WORKER = "REPRISE_WORKER"  # in the environment: where libraries print, see `apart_from_libraries`
_GONE = (errno.EPIPE, errno.EIO)  # a pipe without a reader, a terminal that was closed


def prepare_streams() -> None:
    """Open closed streams on the null device, and drop output once nobody reads it."""
    _open_closed()
    sys.stdout = _outlasting(sys.stdout)
    sys.stderr = _outlasting(sys.stderr)


def is_worker() -> bool:
    """Whether this process trains for a parent, which says how it ends (`cli.worker`)."""
    return WORKER in os.environ


def apart_from_libraries(path: str) -> None:
    """Let what is printed by other code than Python's go to the file `path`."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        stream.flush()
        own = _Outlet(os.dup(number), is_error=number == 2)
        setattr(sys, name, _on(own, stream))
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)


def end_with_parent() -> None:
    """End this process once its parent has ended, on Linux."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; False if it is closed or, as in a daemon, None."""
    return stream is not None and not stream.closed and stream.isatty()


def give_up(stream: TextIO) -> None:
    """Redirect a stream's file to the null device, if it has a file."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    _to_null(number)


def _open_closed() -> None:
    """Open closed streams on the null device. Otherwise the next file that is opened gets the
    stream's number, and output of libraries is written into it.
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
    return _on(_Outlet(stream.fileno()), stream)


def _on(outlet: "_Outlet", stream: TextIO) -> TextIO:
    """Return a stream on another outlet."""
    assert isinstance(stream, io.TextIOWrapper)
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Outlet(io.FileIO):
    """The file of a standard stream, which drops output once nobody reads it. Standard error drops
    it after any failed write, since the failure cannot be reported.
    """

    def __init__(self, number: int, is_error: bool | None = None) -> None:
        super().__init__(number, "wb", closefd=False)
        self._is_terminal = os.isatty(number)
        is_error = number == 2 if is_error is None else is_error
        self._name = "/dev/stderr" if is_error else "/dev/stdout"

    def write(self, data: Any, /) -> int:
        """Write as much as a pipe takes; wait if it is non-blocking and full."""
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
