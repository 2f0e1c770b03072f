"""One writer per run: a lock that names its holder, released when the process ends.

The system's lock of a file, or where a file system has none (some NFS, Lustre and FUSE mounts), a
file that only one process can create; one left by a process that has provably ended is taken over.
"""

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from reprise import durable
from reprise.errors import RunInUseError

LOCK, OWNER = "LOCK", "LOCK.owner"
_LOOKS, _LOOK_SECONDS = 3, 0.02
_BRIEF, _PATIENCE_SECONDS = "LOCK.brief", 10.0


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock the existing `folder` for writing; raise RunInUseError if another process has the lock.
    The system releases it when the process ends, in whatever way.
    """
    path = folder / LOCK
    with durable.opened_for_locking(path) as lock:
        try:
            if not _take(lock):
                raise RunInUseError("run_in_use", path=folder, pid=_holder(lock))
        except OSError as error:
            if error.errno not in durable.NO_LOCKS:
                raise
            with _owned(folder / OWNER):
                yield
            return
        _refuse_owner(folder / OWNER)  # of another machine, whose mount may have no locks
        durable.rewrite(lock, path, f"{os.getpid()}\n")
        yield


@contextmanager
def briefly_held(folder: Path) -> Iterator[None]:
    """Hold a folder itself, waiting for who has it: for what takes a moment, and may happen while
    a run is being written.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in durable.NO_LOCKS:
            raise
        with _owned(folder / _BRIEF, _PATIENCE_SECONDS):
            yield
        return
    try:
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
    except OSError:  # never started, or not readable, or there are no locks
        pass
    owner = _owner_of(folder / OWNER)
    return None if owner is None or _has_ended(owner) else str(owner.get("pid", "?"))


@contextmanager
def _owned(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a lock file by having created it; RunInUseError where another process has it still after
    `patience` seconds.
    """
    until = time.monotonic() + patience
    while not _create(path):
        if time.monotonic() >= until:
            _refuse_owner(path)
        time.sleep(_LOOK_SECONDS)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _create(path: Path) -> bool:
    """Create a lock file that names this process, after deleting that of a process that has ended;
    return False if it is there.
    """
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        json.dump(_this_process(), file)
        return True
    if _has_ended(_owner_of(path)):
        guard = path.with_name(f"{path.name}.takeover")  # of two that see this, one may delete
        with suppress(FileExistsError):
            guard.mkdir()
            try:
                if _has_ended(_owner_of(path)):
                    path.unlink()
            finally:
                guard.rmdir()
    return False


def _refuse_owner(path: Path) -> None:
    """Raise RunInUseError where a lock file's process may be running."""
    owner = _owner_of(path)
    if owner is not None and not _has_ended(owner):
        host, pid = owner.get("host", "?"), owner.get("pid", "?")
        raise RunInUseError("run_in_use_at", path=path.parent, pid=pid, host=host, file=path)


def _owner_of(path: Path) -> dict[str, object] | None:
    """Return what a lock file tells of its process, empty where that cannot be read; None where
    there is no such file.
    """
    try:
        owner = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _has_ended(owner: dict[str, object] | None) -> bool:
    """Whether the process of a lock file has provably ended: one of this machine, since its start
    and in the same container, that is no longer there.
    """
    here = _this_process()
    place = [key for key in here if key not in ("pid", "started")]
    if not owner or any(not here[key] or owner.get(key) != here[key] for key in place):
        return False
    return _started(owner.get("pid")) != owner.get("started")


def _this_process() -> dict[str, object]:
    return {
        "host": platform.node(),
        "boot": _of_system(lambda: Path("/proc/sys/kernel/random/boot_id").read_text().strip()),
        "container": _of_system(lambda: str(Path("/proc/self/ns/pid").readlink())),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }


def _started(pid: object) -> str:
    """Return when a process started, in the system's own count; "" of one that is not there."""
    # The name, the second field, is in parentheses and may have blanks.
    return _of_system(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _of_system(read: Callable[[], str]) -> str:
    try:
        return read()
    except (OSError, IndexError):  # another system than Linux, or no such process
        return ""


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
