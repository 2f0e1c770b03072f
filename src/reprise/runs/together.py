"""What the processes of a run agree on: where it starts, and after which step it stops."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint
from reprise.errors import CheckpointError
from reprise.runs.folder import Resumption, RunFolder, refuse_difference
from reprise.runs.results import Split
from reprise.runs.signals import StopRequest
from reprise.runtime.mesh import Mesh
from reprise.training.setup import Task
from reprise.training.state import Best, LogMark, Progress, Snapshot, TrainState

_EVERY = 16  # steps between questions, each of which waits for all processes


class Mute:
    """An announcer (`session.Announcer`) that shows nothing."""

    def say(self, key: str, **values: object) -> None:
        """Show nothing."""

    def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
        """Show nothing."""

    def restored(self, progress: Progress) -> None:
        """Show nothing."""

    def measured(self, step: int, metrics: Mapping[Split, dict[str, float]]) -> None:
        """Show nothing."""

    def training_begins(self, progress: Progress) -> None:
        """Show nothing."""

    def stepped(self, state: TrainState) -> None:
        """Show nothing."""

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        """Show nothing."""

    def saved(self, progress: Progress, path: Path) -> None:
        """Show nothing."""

    def stopping(self, progress: Progress) -> None:
        """Show nothing."""


class _AgreedStop(StopRequest):
    """A stop request of any process, known to all after the same step."""

    def __init__(self, heard: StopRequest, mesh: Mesh) -> None:
        super().__init__()
        self._heard, self._mesh = heard, mesh

    def passed(self, step: int) -> None:
        """Ask all processes, at every sixteenth step."""
        if step % _EVERY == 0:
            self.signal = self._mesh.greatest(self._heard.signal or 0) or None


def agreed(heard: StopRequest, mesh: Mesh) -> StopRequest:
    """Return the stop request that all processes act on."""
    return _AgreedStop(heard, mesh) if mesh.processes.count > 1 else heard


def start_of(identity: Mapping[str, Any], resumption: Resumption | None) -> dict[str, Any]:
    """Return what other processes need to know of a start, see `follow_start`."""
    if resumption is None:
        return {"identity": dict(identity), "checkpoint": None}
    return {
        "identity": dict(identity),
        "checkpoint": resumption.checkpoint.path.name,
        "progress": dataclasses.asdict(resumption.snapshot.progress),
    }


def loaded(mesh: Mesh, checkpoint: Checkpoint) -> Snapshot:
    """Return this process's shares of a checkpoint, all of whose files are verified."""
    store.verify(checkpoint)
    return shares_of(mesh, checkpoint)


def shares_of(mesh: Mesh, checkpoint: Checkpoint) -> Snapshot:
    """Return this process's shares of a checkpoint."""
    return store.load_shares(checkpoint, mesh.places, mesh.size)


def follow_start(
    folder: RunFolder, mesh: Mesh, identity: Mapping[str, Any], start: Mapping[str, Any]
) -> Snapshot | None:
    """Return the snapshot that the leading process resumes from; None for a fresh start.

    Raises:
        ConfigMismatchError: It has other settings or data.
        CheckpointError: This process cannot read the checkpoint.
    """
    refuse_difference(folder, start["identity"], identity)
    if start["checkpoint"] is None:
        return None
    path = folder.checkpoints / start["checkpoint"]
    try:
        arrays = shares_of(mesh, store.read(path)).arrays
    except store.DamagedCheckpointError as damage:
        raise CheckpointError("not_shared", path=path, reason=damage) from damage
    known = dict(start["progress"])
    best = known["best"] and Best(**known["best"])
    progress = Progress(**known | {"best": best, "logged": LogMark(**known["logged"])})
    return Snapshot(arrays, progress)
