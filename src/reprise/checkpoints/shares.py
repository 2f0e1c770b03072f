"""How several processes write one checkpoint: each its share of the rows into one temporary
directory, which the leading process makes, and renames once it has heard of all files.

So a checkpoint is whole or absent, whichever of them ends first: until the rename there is only a
temporary directory, which the next start deletes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reprise.errors import WriteError
from reprise.runtime.processes import Processes
from reprise.training.state import Progress

Manifest = dict[str, dict[str, Any]]


def begin(together: Processes, progress: Progress, draft: Path | None) -> None:
    """Tell the others where to write; None: nothing is to be written."""
    if together.count > 1:
        together.tell(_key(progress, "draft"), None if draft is None else draft.name)


def others(together: Processes, progress: Progress) -> Manifest:
    """Return the facts of the files of all others, once they are durable; WriteError where one
    could not be written.
    """
    manifest: Manifest = {}
    for index in range(1, together.count):
        told = together.hear(_key(progress, index))
        if "refused" in told:
            raise WriteError("write_refused", **told["refused"])
        manifest |= told
    return manifest


def end(together: Processes, progress: Progress) -> None:
    """Tell the others that the checkpoint is whole."""
    if together.count > 1:
        together.tell(_key(progress, "whole"), True)


def draft(together: Processes, folder: Path, progress: Progress) -> Path | None:
    """Return the directory that the leading process has made."""
    name = together.hear(_key(progress, "draft"))
    return None if name is None else folder / name


@contextmanager
def told(together: Processes, progress: Progress) -> Iterator[Manifest]:
    """Yield a manifest to be filled, and tell the leading process of it, or of the failure."""
    manifest: Manifest = {}
    key = _key(progress, together.index)
    try:
        yield manifest
    except WriteError as refused:
        values = {name: str(value) for name, value in refused.values.items()}
        together.tell(key, {"refused": values})
        raise
    together.tell(key, manifest)


def wait(together: Processes, progress: Progress) -> None:
    """Wait until the checkpoint is whole."""
    together.hear(_key(progress, "whole"))


def _key(progress: Progress, what: object) -> str:
    """Return a key that is used once: a start saves no state twice."""
    return f"save/{progress.branch}/{progress.step}/{progress.evaluated_step}/{what}"
