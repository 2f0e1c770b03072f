"""Files and folders that users name."""

from pathlib import Path

from reprise import durable
from reprise.errors import DataError


def require_file(path: Path) -> None:
    """Raise DataError unless `path` is a plain file: what is read twice, or to its end, is neither
    a device nor a pipe.
    """
    if not path.is_file():
        raise DataError("not_a_file" if path.exists() else "source_missing", path=path)


def beginning_of(path: Path) -> bytes:
    """Return the first 16 bytes of a file, which tell many kinds apart; none where it cannot be
    opened: reading it reports the error.
    """
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError:
        return b""


def entries_of(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted; DataError where it cannot be listed."""
    try:
        return durable.entries(folder)
    except OSError as error:
        raise DataError("folder_unreadable", path=folder, reason=error.strerror) from error
