"""Remove files that a run does not need, under its lock (`reprise runs prune`)."""

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
    """What can be removed from a run (or, if `folder` is None, from a folder of runs): checkpoints
    that are neither latest nor best, leftovers of crashes and, on request, the quarantine.
    """

    folder: RunFolder | None
    checkpoints: tuple[Path, ...] = ()
    leftovers: tuple[Path, ...] = ()
    quarantine: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All paths to remove."""
        return self.checkpoints + self.leftovers + self.quarantine

    @property
    def size(self) -> int:
        """Total size in bytes."""
        return sum(map(size_of, self.paths))


def plan(folder: RunFolder, with_quarantine: bool = False) -> Removal:
    """Return what can be removed from a run, without changing anything.

    The latest and best checkpoints that stay are verified byte by byte. Damaged ones are left for
    the next start to set aside; if the latest is damaged, the one before it stays.
    """
    quarantine = folder.checkpoints / store.QUARANTINE
    return Removal(
        folder,
        checkpoints=tuple(_superseded(folder.checkpoints)),
        leftovers=tuple(leftovers(folder)),
        quarantine=(quarantine,) if with_quarantine and quarantine.is_dir() else (),
    )


def plan_beside(runs_folder: Path) -> Removal:
    """Return the leftovers of incomplete imports in a folder of runs."""
    return Removal(None, leftovers=tuple(durable.abandoned(runs_folder)))


def carry_out(removal: Removal) -> int:
    """Remove what was planned and is still removable; return its size in bytes.

    Raises:
        RunInUseError: A process is writing the run.
        WriteError: Something cannot be removed.
    """
    if removal.folder is None:
        return _remove(removal.leftovers)
    size = removal.size  # before the lock is taken, which sweeps leftovers
    with locked(removal.folder):
        now = plan(removal.folder, with_quarantine=bool(removal.quarantine))
        spared = [path for path in removal.checkpoints if path not in now.checkpoints]
        size -= sum(map(size_of, spared))
        _remove(tuple(path for path in removal.paths if path not in spared and path.exists()))
    return size


def size_of(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.lstat().st_size if path.exists() else 0
    found = [Path(parent, name) for parent, _, names in os.walk(path) for name in names]
    return sum(file.lstat().st_size for file in found)


def _superseded(folder: Path) -> list[Path]:
    checkpoints = store.scan(folder)
    latest = _first_whole(checkpoints, lambda left: left[-1])
    best = _first_whole(checkpoints, store.best_of)
    # A checkpoint without its run's best metric does not show which one is best.
    if latest is None or not latest.best_known:
        return []
    kept = {latest.path} | ({best.path} if best else set())
    return [checkpoint.path for checkpoint in checkpoints if checkpoint.path not in kept]


def _first_whole(
    checkpoints: list[Checkpoint], choose: Callable[[list[Checkpoint]], Checkpoint | None]
) -> Checkpoint | None:
    """Return the first intact choice, and remove damaged ones from the list."""
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
