"""Files that users name."""

from pathlib import Path

from reprise.errors import DataError


def require_file(path: Path) -> None:
    """Raise DataError unless `path` is a plain file: what is read twice, or to its end, is neither
    a device nor a pipe.
    """
    if not path.is_file():
        raise DataError("not_a_file" if path.exists() else "source_missing", path=path)
