"""Ctrl-C, SIGTERM and SIGHUP: the first requests a stop after the step, the second exits
immediately. A signal that the parent has set to be ignored (nohup, a script's `&`) stays ignored.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """A stop request; `signal` is None until a signal arrives."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def passed(self, step: int) -> None:
        """Take note of a step; a request that several processes agree on does."""

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP, 0 without a request."""
        return 0 if self.signal is None else 128 + self.signal


def end_at_once_on_interrupt() -> None:
    """Let Ctrl-C end the process directly while nothing needs saving: Python's own handler can be
    swallowed while libraries load.
    """
    if not _is_ignored(signal.SIGINT):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def stop_requests(own_process: bool = True) -> Iterator[StopRequest]:
    """Turn the signals that are not ignored into a StopRequest; the store is safe against the
    second's exit.

    Outside the main thread, which signals do not reach, the handlers stay as they are.

    Args:
        own_process: Whether the second signal may end the process; else it raises
            KeyboardInterrupt.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request:
            if not own_process:
                raise KeyboardInterrupt
            with suppress(OSError):  # the terminal may be gone
                if os.isatty(2):
                    os.write(2, b"\x1b[?25h")  # the cursor, which the progress line hides
            os._exit(128 + number)
        request.signal = number

    heard = [number for number in _SIGNALS if not _is_ignored(number)]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
