"""End with a word where a mapped file is cut short under its reader.

The system answers the read of what is gone with SIGBUS, which ends a process at once. Handlers of
the module `signal` cannot hear it: they run once the instruction is done, which never is.
"""

import ctypes
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)


class _Watch:
    """The files that are mapped, with their sizes, and what ends the process."""

    def __init__(self) -> None:
        self.sizes: dict[Path, int] = {}
        self.end: Callable[[Path], None] | None = None
        self._handler: Any = None  # kept, as C has only its address

    def begin(self) -> None:
        """Hear SIGBUS from now on."""
        if self._handler is None:
            self._handler = _HANDLER(self._hear)
            self._set(self._handler)

    def _hear(self, number: int) -> None:
        for path, size in self.sizes.items():
            if self.end is not None and _size_of(path) < size:
                self.end(path)
        self._set(None)  # of other reasons: the read is repeated, and ends the process as usual

    def _set(self, handler: Any) -> None:
        setting = ctypes.CDLL(None).signal
        setting.argtypes, setting.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
        setting(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))


_watch = _Watch()


def end_by(end: Callable[[Path], None]) -> None:
    """Have `end` called, which ends the process, when a mapped file turns out to be cut short. Only
    a program that owns its process may ask for that.
    """
    _watch.end = end


def mapped(path: Path, size: int) -> None:
    """Note that a file of so many bytes is mapped."""
    _watch.sizes[path] = size
    if _watch.end is not None:
        _watch.begin()


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
