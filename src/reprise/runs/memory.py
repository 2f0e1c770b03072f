"""A run's copy of its memory's edges, stored when the run starts.

    memory/<name>.npy       the arrays of the edges (`memory.edges`)
    memory/MANIFEST.json    SHA-256 and size of all

So a model answers without its data set, and a run continues on a machine that would round a ridge
regression otherwise. What is read must have the digest of the run's identity.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from reprise import durable
from reprise.checkpoints import store
from reprise.checkpoints.store import DamagedCheckpointError
from reprise.config.memory import EDGES_KEY
from reprise.errors import DataError
from reprise.memory.edges import Edges
from reprise.runs.folder import RunFolder, read_record
from reprise.text.messages import Say, unsaid

_PARTS = tuple(one.name for one in fields(Edges))


def known(folder: RunFolder, warn: Say) -> Edges | None:
    """Return the run's edges, to continue with; None where it has none, or a damaged copy."""
    if not folder.memory.is_dir():
        return None
    digest = read_record(folder, unsaid).get("identity", {}).get(EDGES_KEY)
    try:
        return _read(folder, digest)
    except DamagedCheckpointError as damage:
        warn("items_damaged", path=folder.memory, reason=damage)
        return None


def keep(folder: RunFolder, edges: Edges | None) -> None:
    """Store a run's edges in its folder, all or nothing; an intact copy is kept."""
    if edges is None:
        return
    if folder.memory.is_dir():
        try:
            _read(folder, edges.digest)
            return
        except DamagedCheckpointError:
            durable.discard(folder.memory)
    content: dict[str, Any] = {f"{name}.npy": getattr(edges, name) for name in _PARTS}
    durable.publish_folder(folder.memory, lambda draft: store.fill(draft, content))


def read(folder: RunFolder, identity: Mapping[str, Any]) -> Edges | None:
    """Return the edges of a run of this identity, None where it has no memory; raise DataError
    where they are not to be had.
    """
    digest = identity.get(EDGES_KEY)
    if digest is None:
        return None
    if not folder.memory.is_dir():
        raise DataError("memory_missing", path=folder.memory)
    try:
        return _read(folder, digest)
    except DamagedCheckpointError as damage:
        raise DataError("items_unusable", path=folder.memory, reason=damage) from damage


def _read(folder: RunFolder, digest: str | None) -> Edges:
    """Return the edges, verified against the manifest and, if one is given, their digest."""
    manifest = store.read_manifest(folder.memory)
    try:
        parts = {name: store.read_array(folder.memory, f"{name}.npy", manifest) for name in _PARTS}
        edges = Edges(**parts)
        if digest is not None and edges.digest != digest:
            raise DamagedCheckpointError("unexpected_content")
    except (TypeError, ValueError) as error:
        raise DamagedCheckpointError("file_content", name="edges", error=error) from error
    return edges
