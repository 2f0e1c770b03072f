"""Temporary names as a crash leaves them, and as a process that is writing has them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def left_draft(folder: Path, name: str, number: int = 1) -> Path:
    """Return the temporary folder that a process which was killed has left of `name`, beside the
    lock file that nobody holds.
    """
    token = f"{number:016x}"
    (folder / f".draft-{token}.lock").write_text("")
    draft = folder / f".draft-{token}-{name}"
    draft.mkdir()
    return draft


@contextmanager
def living_draft(folder: Path, name: str, number: int = 2) -> Iterator[Path]:
    """Yield a temporary folder of `name` that is being written."""
    draft = left_draft(folder, name, number)
    with (folder / f".draft-{number:016x}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield draft
