"""One writer per run: a lock file with its holder's pid, released when the process ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from reprise import durable
from reprise.errors import RunInUseError

LOCK = "LOCK"
_LOOKS, _LOOK_SECONDS = 3, 0.02


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock the existing `folder` for writing; raise RunInUseError if another process has the lock.
    The system releases it when the process ends, in whatever way.
    """
    path = folder / LOCK
    with durable.opened_for_locking(path) as lock:
        if not _take(lock):
            raise RunInUseError("run_in_use", path=folder, pid=_holder(lock))
        durable.rewrite(lock, path, f"{os.getpid()}\n")
        yield


@contextmanager
def briefly_held(folder: Path) -> Iterator[None]:
    """Hold a folder itself, which leaves no file there, waiting for who has it: for what takes a
    moment, and may happen while a run is being written.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def writer_of(folder: Path) -> str | None:
    """Return the pid of the process that has the lock ("?" if not written yet), None if there is
    none. Nothing is written; it takes microseconds, which `held` waits for.
    """
    try:
        with (folder / LOCK).open(encoding="ascii", errors="replace") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(lock)
    except OSError:  # never started, or not readable, and then unknown
        return None
    return None


def _holder(lock: TextIO) -> str:
    return lock.read().strip() or "?"


def _take(lock: TextIO) -> bool:
    """Lock an open file for writing; False if another process writes (not only `writer_of`)."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_LOOK_SECONDS)
    return False
