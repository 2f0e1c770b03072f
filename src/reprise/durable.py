"""Durable writes: every byte a run depends on is written by this module.

The commit rule: write to a new temporary name, fsync the files and their folder, rename, fsync the
parent. A name without a leading dot is complete or does not exist. Superseded files are durably
renamed to a dotted name, then deleted. After a failed fsync the attempt is abandoned.

Temporary names are random, since writers in two containers may have the same process id, and each
has a lock file beside it that its writer holds: what nobody holds was left by a crash.
"""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TextIO

from reprise.errors import WriteError
from reprise.text.messages import Phrase

_DRAFT, _TRASH, _ASIDE = ".draft-", ".trash-", ".aside-"
_OWN_DRAFT = re.compile(re.escape(_DRAFT) + r"(?P<token>[0-9a-f]{16})(-(?P<name>.+)|\.lock)")
_FORGOTTEN = 86_400.0  # seconds since the last change, after which an unlocked draft is a leftover
# Of file systems that cannot fsync a folder, or have no locks (some NFS, Lustre and FUSE mounts).
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
NO_LOCKS = {*_NOT_SUPPORTED, errno.ENOLCK, errno.EBADF}


class Disk:
    """The primitive operations that change a file system.

    Everything below uses only these, so that tests can record them and reproduce every state that a
    crash can leave (`tests/torture`).
    """

    def write(self, path: Path, mode: Literal["xb", "ab"], *chunks: bytes | memoryview) -> None:
        """Create ("xb") or append to ("ab") a file, and fsync it by the same descriptor."""
        with open(path, mode, buffering=0) as file:
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:  # a disk that fills up writes a part before it fails
                    rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                # The file is not read soon: dropping its pages lets the next write reuse them,
                # which is far cheaper than allocating new ones. Some file systems refuse it.
                with suppress(OSError):
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def sync(self, path: Path) -> None:
        """Fsync a file's content or a folder's entries, these where the file system can
        (`can_sync_folder`).
        """
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            if not (is_folder and error.errno in _NOT_SUPPORTED):
                raise
        finally:
            os.close(descriptor)

    def make_folder(self, path: Path) -> None:
        """Create one folder; raise FileExistsError if the name is taken."""
        path.mkdir()

    def rename(self, path: Path, target: Path) -> None:
        """Rename a file or folder, replacing an existing file."""
        path.rename(target)

    def delete_file(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def delete_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()


disk = Disk()


def write_file(path: Path, *chunks: bytes | memoryview) -> None:
    """Create `path` with the concatenated chunks, and fsync it."""
    with _refusals_named(path):
        disk.write(path, "xb", *chunks)


def replace_file(path: Path, content: bytes) -> None:
    """Replace the content of `path` atomically: readers and crashes see the old or the new content,
    and concurrent writers do not disturb each other.
    """
    publish_file(path, lambda draft: disk.write(draft, "xb", content))


def append_file(path: Path, content: bytes) -> None:
    """Append `content` to an existing file and fsync it."""
    with _refusals_named(path):
        disk.write(path, "ab", content)


@contextmanager
def opened_for_locking(path: Path) -> Iterator[TextIO]:
    """Open a lock file without changing what its holder wrote."""
    with _refusals_named(path, holds_data=False):
        file = open(path, "a+", encoding="ascii", errors="replace")  # noqa: SIM115 - closed below
    with file:
        file.seek(0)
        yield file


def rewrite(file: TextIO, path: Path, text: str) -> None:
    """Overwrite the open file at `path`; not durable, since a lock's holder is not either."""
    with _refusals_named(path, holds_data=False):
        # Not by the file's buffer: what is left there after a refusal is written again on closing.
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), text.encode())


def make_folder(path: Path) -> None:
    """Create a folder and its parents durably, if missing."""
    with _refusals_named(path):
        missing = [path, *path.parents]
        missing = missing[: next(i for i, folder in enumerate(missing) if folder.is_dir())]
        for folder in reversed(missing):
            try:
                disk.make_folder(folder)
            except FileExistsError:
                if not folder.is_dir():  # else another process was faster
                    raise
            disk.sync(folder.parent)


def publish_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Create the folder `path` atomically: `fill` writes into a temporary directory, which is then
    renamed; WriteError where a file of it is missing then.

    `fill` uses `write_file`, or calls `sync_tree` last. If it fails, nothing is left.
    """
    with _draft_of(path) as draft:
        disk.make_folder(draft)
        fill(draft)
        written = _sizes(draft)
    if missing := sorted(written.items() - _sizes(path).items()):
        raise WriteError("published_incomplete", path=path, name=missing[0][0])


def replace_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Create the folder `path` as `publish_folder` does, in the place of one of that name if there
    is one. A crash leaves the old or the new one, under its name or where `restore` finds it.
    """
    restore(path)
    if not path.exists():
        publish_folder(path, fill)
        return
    aside = _aside_of(path)

    def fill_and_make_room(draft: Path) -> None:
        fill(draft)
        disk.sync(draft)
        disk.rename(path, aside)

    try:
        publish_folder(path, fill_and_make_room)
    except BaseException:
        if aside.exists():
            discard(path)  # a new one that is not whole
            with suppress(WriteError):  # `restore` does it later
                move(aside, path)
        raise
    discard(aside)


def restore(path: Path) -> None:
    """Finish what a crash left of `replace_folder`: a folder that was set aside gets its name back
    where no new one has it, and is deleted where one has.
    """
    aside = _aside_of(path)
    if aside.exists():
        if path.exists():
            discard(aside)
        else:
            move(aside, path)
    for trash in map(_trash_of, (path, aside)):
        _delete(trash)


def _aside_of(path: Path) -> Path:
    return path.with_name(f"{_ASIDE}{path.name}")


def publish_file(path: Path, fill: Callable[[Path], None]) -> None:
    """Create the file `path` atomically: `fill` creates a temporary file, which is then renamed. If
    it fails, nothing is left.
    """
    with _draft_of(path) as draft:
        fill(draft)


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """Yield a temporary path that is then renamed to `path` durably, or deleted on failure."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise WriteError("write_refused_new", path=path, reason=Phrase("no_plain_file"))
    with _refusals_named(path):
        sweep(left for left in abandoned(path.parent) if _is_of(left, path.name))
        with _locked_token(path.parent) as token:
            draft = path.with_name(f"{_DRAFT}{token}-{path.name}")
            try:
                yield draft
                disk.sync(draft)
                disk.rename(draft, path)
            except BaseException:
                _delete(draft)
                raise
        disk.sync(path.parent)


@contextmanager
def _locked_token(folder: Path) -> Iterator[str]:
    """Yield the random part of a temporary name in `folder`, and hold its lock file."""
    token = os.urandom(8).hex()
    lock = _lock_of(folder, token)
    with lock.open("x", encoding="ascii") as file:
        with suppress(OSError):  # no locks there, or it is being tried: it counts by its age then
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield token
        finally:
            with suppress(OSError):
                lock.unlink()


def _lock_of(folder: Path, token: str) -> Path:
    return folder / f"{_DRAFT}{token}.lock"


def _sizes(folder: Path) -> dict[str, int]:
    """Return the sizes of the files below `folder`, by their paths in it."""
    return {
        str(path.relative_to(folder)): path.lstat().st_size
        for parent, _, names in os.walk(folder)
        for path in (Path(parent, name) for name in names)
    }


def move(path: Path, target: Path) -> None:
    """Rename within a file system, durably."""
    with _refusals_named(path):
        disk.rename(path, target)
        disk.sync(target.parent)
        disk.sync(path.parent)


def discard(path: Path) -> None:
    """Delete a file or folder after renaming it to a trash name. Never raise: `sweep` deletes what
    is left, and a failed clean-up must not stop a run.
    """
    trash = _trash_of(path)
    try:
        if trash.exists():
            _delete(trash)
        disk.rename(path, trash)
        disk.sync(path.parent)  # else a crash could restore the name with files missing
        _delete(trash)
    except OSError:
        return


def _trash_of(path: Path) -> Path:
    return path.with_name(f"{_TRASH}{path.name.lstrip('.')}")


def sweep(paths: Iterable[Path]) -> None:
    """Delete crash leftovers: `leftovers` of a locked folder, else `abandoned`."""
    for path in paths:
        _delete(path)


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted by name; nothing where it does not exist. OSError where it
    cannot be listed: that it is empty is then not known.
    """
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def leftovers(folder: Path) -> list[Path]:
    """Return temporary and trash names in `folder`: crash leftovers if no process writes there."""
    return [path for path in entries(folder) if path.name.startswith((_DRAFT, _TRASH))]


def abandoned(folder: Path) -> list[Path]:
    """Return the leftovers of `folder` that no running process is writing."""
    return [path for path in leftovers(folder) if not _is_being_written(path)]


def can_sync_folder(folder: Path) -> bool:
    """Whether the file system of an existing folder can make its entries durable; where it cannot,
    what is renamed or deleted there may be lost with the power, not with the process.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        return False
    finally:
        os.close(descriptor)
    return True


def sync_tree(folder: Path) -> None:
    """Fsync all files and folders under `folder`."""
    for parent, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            disk.sync(Path(parent, name))
        disk.sync(Path(parent))


def _raise(error: OSError) -> None:
    raise error


def _is_of(leftover: Path, name: str) -> bool:
    """Whether a leftover was to become `name`, or is a lock file, which does not tell."""
    match = _OWN_DRAFT.fullmatch(leftover.name)
    return match is not None and match["name"] in (name, None)


def _is_being_written(path: Path) -> bool:
    """Whether a process may be writing a temporary name: its lock file is held, or there is none
    that tells (that of an older version, say), and its last change is less than a day ago.
    """
    if path.name.startswith(_TRASH):
        return False
    try:
        if match := _OWN_DRAFT.fullmatch(path.name):
            with _lock_of(path.parent, match["token"]).open("r+", encoding="ascii") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        pass  # it is missing, or another user's, or there are no locks
    try:
        return time.time() - path.lstat().st_mtime < _FORGOTTEN
    except OSError:
        return True  # gone


def _delete(path: Path) -> None:
    """Delete a file or folder as far as the system allows."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            for entry in list(path.iterdir()):
                _delete(entry)
            disk.delete_folder(path)
        else:
            disk.delete_file(path)


@contextmanager
def _refusals_named(path: Path, holds_data: bool = True) -> Iterator[None]:
    """Raise WriteError for an OSError; it says that what was saved before is intact only where
    there was something.
    """
    was_there = holds_data and os.path.lexists(path)
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        key = "write_refused" if was_there else "write_refused_new"
        raise WriteError(key, path=error.filename or path, reason=reason) from error
