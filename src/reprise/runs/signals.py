"""Ctrl-C and SIGTERM: the first requests a stop after the step, the second exits immediately."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """A stop request; `signal` is None until a signal arrives."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, 0 without a request."""
        return 0 if self.signal is None else 128 + self.signal


def end_at_once_on_interrupt() -> None:
    """Let Ctrl-C end the process directly while nothing needs saving: Python's own handler can be
    swallowed while libraries load.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def stop_requests(own_process: bool = True) -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a StopRequest; the store is safe against the second's exit.

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
            if os.isatty(2):
                os.write(2, b"\x1b[?25h")  # the cursor, which the progress line hides
            os._exit(128 + number)
        request.signal = number

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
