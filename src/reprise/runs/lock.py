"""One writer at a time: a lock file that names who holds it, and ends with its process."""

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
    """Hold `folder`, which exists, for writing; RunInUseError names the process that has it. The
    lock ends with its process, however that ends.
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
    """Return the pid of the process that holds `folder` ("?" where it has not told it yet), None
    where none does. Nothing is written; the look takes microseconds, and `held` waits it out.
    """
    try:
        with (folder / LOCK).open(encoding="ascii", errors="replace") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(lock)
    except OSError:  # never started; or not for us to open, nor then to say that it runs
        return None
    return None


def _holder(lock: TextIO) -> str:
    return lock.read().strip() or "?"


def _take(lock: TextIO) -> bool:
    """Lock an open file for writing; False where another has it, not just to look (`writer_of`)."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_LOOK_SECONDS)
    return False
