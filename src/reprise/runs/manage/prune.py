"""`reprise runs prune`: what a run can do without, found with care and removed under its lock."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reprise import durable
from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint, DamagedCheckpointError
from reprise.errors import WriteError
from reprise.runs.folder import RunFolder, leftovers, locked
from reprise.text.messages import Phrase


@dataclass(frozen=True)
class Removal:
    """What of a run (or, `folder` None, of a folder of runs) can go: checkpoints that are neither
    its latest nor its best, leftovers of what was cut short, and, asked for, its quarantine.
    """

    folder: RunFolder | None
    checkpoints: tuple[Path, ...] = ()
    leftovers: tuple[Path, ...] = ()
    quarantine: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of it."""
        return self.checkpoints + self.leftovers + self.quarantine

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(map(size_of, self.paths))


def plan(folder: RunFolder, with_quarantine: bool = False) -> Removal:
    """Return what of a run can go, without a change to it.

    The latest and the best that stay are verified whole, every byte; what is damaged is left for
    the next start to set aside, and where a latest is damaged, the one before it stays.
    """
    quarantine = folder.checkpoints / store.QUARANTINE
    return Removal(
        folder,
        checkpoints=tuple(_superseded(folder.checkpoints)),
        leftovers=tuple(leftovers(folder)),
        quarantine=(quarantine,) if with_quarantine and quarantine.is_dir() else (),
    )


def plan_beside(runs_folder: Path) -> Removal:
    """Return what imports that were cut short have left in a folder of runs."""
    return Removal(None, leftovers=tuple(durable.abandoned(runs_folder)))


def carry_out(removal: Removal) -> int:
    """Remove what was planned and still may go, and return its bytes.

    RunInUseError for a run that is being written; WriteError where something cannot be removed.
    """
    if removal.folder is None:
        return _remove(removal.leftovers)
    size = removal.size  # taking the lock sweeps leftovers away
    with locked(removal.folder):
        now = plan(removal.folder, with_quarantine=bool(removal.quarantine))
        spared = [path for path in removal.checkpoints if path not in now.checkpoints]
        size -= sum(map(size_of, spared))
        _remove(tuple(path for path in removal.paths if path not in spared and path.exists()))
    return size


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.lstat().st_size if path.exists() else 0
    found = [Path(parent, name) for parent, _, names in os.walk(path) for name in names]
    return sum(file.lstat().st_size for file in found)


def _superseded(folder: Path) -> list[Path]:
    checkpoints = store.scan(folder)
    latest = _first_whole(checkpoints, lambda left: left[-1])
    best = _first_whole(checkpoints, store.best_of)
    # One that does not know its run's best cannot tell which other is.
    if latest is None or not latest.best_known:
        return []
    kept = {latest.path} | ({best.path} if best else set())
    return [checkpoint.path for checkpoint in checkpoints if checkpoint.path not in kept]


def _first_whole(
    checkpoints: list[Checkpoint], choose: Callable[[list[Checkpoint]], Checkpoint | None]
) -> Checkpoint | None:
    """Return the first choice that is whole; those that are not are taken out of the list."""
    while checkpoints and (chosen := choose(checkpoints)) is not None:
        try:
            store.verify(chosen)
            return chosen
        except DamagedCheckpointError:
            checkpoints.remove(chosen)
    return None


def _remove(paths: tuple[Path, ...]) -> int:
    size = sum(map(size_of, paths))
    for path in paths:
        durable.discard(path)
    for path in paths:
        if path.exists():
            raise WriteError("write_refused", path=path, reason=Phrase("not_removed"))
    return size
