"""Durable writes: every byte a run depends on is written by this module.

The commit rule: write to a new temporary name, fsync the files and their folder, rename, fsync the
parent. A name without a leading dot is complete or does not exist. Superseded files are durably
renamed to a dotted name, then deleted. After a failed fsync the attempt is abandoned.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TextIO

from reprise.errors import WriteError

_DRAFT, _TRASH = ".draft-", ".trash-"
_OWNED_DRAFT = re.compile(re.escape(_DRAFT) + r"(\d+)-(.+)")


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
                # which is far cheaper than allocating new ones.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def sync(self, path: Path) -> None:
        """Fsync a file's content or a folder's entries."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
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
    renamed.

    `fill` uses `write_file`, or calls `sync_tree` last. If it fails, nothing is left.
    """
    with _draft_of(path) as draft:
        disk.make_folder(draft)
        fill(draft)


def publish_file(path: Path, fill: Callable[[Path], None]) -> None:
    """Create the file `path` atomically: `fill` creates a temporary file, which is then renamed. If
    it fails, nothing is left.
    """
    with _draft_of(path) as draft:
        fill(draft)


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """Yield a temporary path that is then renamed to `path` durably, or deleted on failure."""
    draft = path.with_name(f"{_DRAFT}{os.getpid()}-{path.name}")
    with _refusals_named(path):
        _delete_abandoned_drafts(path)
        try:
            yield draft
            disk.sync(draft)
            disk.rename(draft, path)
        except BaseException:
            _delete(draft)
            raise
        disk.sync(path.parent)


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
    trash = path.with_name(f"{_TRASH}{path.name.lstrip('.')}")
    try:
        if trash.exists():
            _delete(trash)
        disk.rename(path, trash)
        disk.sync(path.parent)  # else a crash could restore the name with files missing
        _delete(trash)
    except OSError:
        return


def sweep(paths: Iterable[Path]) -> None:
    """Delete crash leftovers: `leftovers` of a locked folder, else `abandoned`."""
    for path in paths:
        _delete(path)


def leftovers(folder: Path) -> list[Path]:
    """Return temporary and trash names in `folder`: crash leftovers if no process writes there."""
    return [*folder.glob(f"{_DRAFT}*"), *folder.glob(f"{_TRASH}*")]


def abandoned(folder: Path) -> list[Path]:
    """Return the leftovers of `folder` that no running process is writing."""
    found = []
    for path in leftovers(folder):
        match = _OWNED_DRAFT.fullmatch(path.name)
        if match is None or not _is_running(int(match[1])):
            found.append(path)
    return found


def sync_tree(folder: Path) -> None:
    """Fsync all files and folders under `folder`."""
    for parent, _, names in os.walk(folder):
        for name in names:
            disk.sync(Path(parent, name))
        disk.sync(Path(parent))


def _delete_abandoned_drafts(path: Path) -> None:
    """Delete the temporary names of `path` whose writing processes have ended."""
    for other in path.parent.iterdir():
        match = _OWNED_DRAFT.fullmatch(other.name)
        if match is not None and match[2] == path.name and not _is_running(int(match[1])):
            _delete(other)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


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
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        was_there = holds_data and os.path.lexists(path)
        key = "write_refused" if was_there else "write_refused_new"
        raise WriteError(key, path=error.filename or path, reason=reason) from error
