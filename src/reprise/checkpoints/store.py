"""The checkpoint store: durable, verified on loading; latest and best are derived from the files.

    checkpoints/ckpt-<step>/    ckpt-<step>-b<branch>/ after a rewind
        <array>.npy             one file per array; of rows that are dealt to devices, one per
                                device: rows.0-of-4.npy has the rows 0, 4, 8, ...
        state.json              schema, progress, the run's identity and environment
        MANIFEST.json           SHA-256, size (arrays: dtype, shape) of each file
    checkpoints/metrics.jsonl   the evaluations so far, see `log`
    checkpoints/quarantine/     checkpoints that did not match their manifest

No name is written twice: a step that is stored again (with an evaluation that was interrupted, a
best metric that an older schema lacked, another learning rate) gets ".1" appended.

After a crash at any instant, each checkpoint is complete or absent (`durable`). The rename is the
commit, and superseded checkpoints are deleted after it: the newest two and the best stay.
"""

import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise import durable
from reprise.checkpoints import shares
from reprise.checkpoints.migrate import (
    FIRST_SCHEMA_WITH_BEST,
    FIRST_SCHEMA_WITH_ROW_STEPS,
    SCHEMA,
    lift_arrays,
    migrate,
)
from reprise.data import npy
from reprise.errors import CheckpointError, WriteError
from reprise.runtime.memory import forget
from reprise.runtime.processes import ALONE, Processes
from reprise.text.messages import Phrase, Say
from reprise.training.state import (
    TABLES,
    Best,
    LogMark,
    Progress,
    Shaped,
    Snapshot,
    share_name,
    share_of,
)

KEEP_NEWEST = 2
MOST_KEPT = KEEP_NEWEST + 2  # at an instant: with the best, and the one that is being written
QUARANTINE = "quarantine"
_NAME = re.compile(r"ckpt-(\d+)(?:-b(\d+))?(?:\.(\d+))?")
MANIFEST = "MANIFEST.json"
LOG = "metrics.jsonl"  # of a checkpoint before schema 11, of its folder since
_STATE = "state.json"
_BLOCK = 1 << 24  # bytes read at once


class DamagedCheckpointError(Phrase, Exception):
    """Raised for a checkpoint that does not match its manifest; the phrase says where."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose small files are verified; `load` verifies its arrays.

    Attributes:
        path: Its folder.
        progress: Its progress.
        identity: Configuration and dataset of its run.
        environment: The environment that wrote it (`runtime.environment`); empty if unknown.
        schema: The schema it was written with; the fields are migrated to today's.
    """

    path: Path
    progress: Progress
    identity: Mapping[str, Any]
    environment: Mapping[str, str]
    schema: int

    @property
    def best_known(self) -> bool:
        """Whether the checkpoint stores its run's best (older schemas do not)."""
        return self.schema >= FIRST_SCHEMA_WITH_BEST

    @property
    def order(self) -> tuple[int, int, int]:
        """(branch, step, repetition): the sort key within the run."""
        return parse_name(self.path.name)


def save(
    folder: Path,
    snapshot: Snapshot,
    identity: Mapping[str, Any],
    environment: Mapping[str, str] = MappingProxyType({}),
    together: Processes = ALONE,
) -> Path:
    """Write a checkpoint into `folder`, delete what it supersedes, and return its path. Of several
    processes, the one that leads calls this, and all others `save_share`.

    Nothing is written if the latest checkpoint is the same state. Earlier ones are not compared:
    the run does not resume from them (the learning rate may have changed and changed back), and
    their updates may still be pending.
    """
    before = scan(folder)
    for stored in before[-1:]:
        if stored.best_known and stored.progress.trajectory() == snapshot.progress.trajectory():
            durable.disk.sync(
                folder
            )  # the attempt that renamed it may have failed before this sync
            shares.begin(together, snapshot.progress, None)
            return stored.path
    path = _free_path(folder, snapshot.progress)
    about = {"identity": dict(identity), "environment": dict(environment)}
    try:
        durable.publish_folder(path, lambda draft: _fill(draft, snapshot, about, together))
    except WriteError as refused:
        if not before or refused.key != "write_refused_new":
            raise
        raise WriteError("write_refused", **refused.values) from refused
    shares.end(together, snapshot.progress)
    _retain(folder)
    return path


def save_share(folder: Path, snapshot: Snapshot, together: Processes) -> None:
    """Write this process's share of a checkpoint that the leading process saves, and wait until it
    is whole.
    """
    draft = shares.draft(together, folder, snapshot.progress)
    if draft is not None:
        own = {name: array for name, array in snapshot.arrays.items() if share_of(name)}
        with shares.told(together, snapshot.progress) as manifest:
            _write_arrays(draft, own, manifest)
        shares.wait(together, snapshot.progress)


def ignore(path: Path, reason: Phrase) -> None:
    """Do nothing: the next start sets a damaged checkpoint aside."""


def scan(folder: Path, on_damage: Callable[[Path, Phrase], None] = ignore) -> list[Checkpoint]:
    """Return the checkpoints of `folder` whose small files are intact, oldest first; call
    `on_damage` for the others. If the run deletes one meanwhile, scan again.
    """
    found, damaged = [], []
    for path in names(folder):
        try:
            found.append(read_as_named(path))
        except DamagedCheckpointError as damage:
            if not os.path.lexists(path):
                return scan(folder, on_damage)
            damaged.append((path, damage))
    for path, reason in damaged:
        on_damage(path, reason)
    return sorted(found, key=lambda checkpoint: checkpoint.order)


def names(folder: Path) -> list[Path]:
    """Return the paths in `folder` with a checkpoint's name, intact or not; CheckpointError where
    the folder cannot be listed, and may hold some.
    """
    try:
        found = durable.entries(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError("folder_unreadable", path=folder, reason=reason) from error
    return [path for path in found if _NAME.fullmatch(path.name)]


def read_as_named(path: Path) -> Checkpoint:
    """Read like `read`; a checkpoint whose name has another step or branch is damaged, too."""
    checkpoint = read(path)
    if checkpoint.order[:2] != (checkpoint.progress.branch, checkpoint.progress.step):
        raise DamagedCheckpointError("damage_step", step=checkpoint.progress.step)
    return checkpoint


def best_of(checkpoints: list[Checkpoint]) -> Checkpoint | None:
    """Return the checkpoint with the highest finite metric, the first on ties: the run's best, or
    the next best if its weights are lost.
    """
    rated = [c for c in checkpoints if c.progress.metric is not None and c.progress.is_rated]
    return max(rated, key=_goodness, default=None)


def read(path: Path) -> Checkpoint:
    """Read and verify a checkpoint's small files; raise DamagedCheckpointError."""
    manifest = read_manifest(path)
    state = json.loads(verified(path, _STATE, manifest))
    log = verified(path, LOG, manifest) if LOG in manifest else b""
    try:
        schema = int(state["schema"])
        migrated = migrate(state)
        fields = dict(migrated["progress"])
        if fields["best"] is not None:
            fields["best"] = Best(**fields["best"])
        progress = Progress(**fields | {"logged": _mark(fields.get("logged"), log)})
        identity, environment = dict(migrated["identity"]), dict(migrated["environment"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpointError("file_content", name=_STATE, error=error) from error
    return Checkpoint(path, progress, identity, environment, schema)


def _mark(stored: Mapping[str, Any] | None, log: bytes) -> LogMark:
    """Return the mark in state.json; before schema 11, that of the checkpoint's own log."""
    if stored is None:
        return LogMark.of(log)
    return LogMark(int(stored["lines"]), int(stored["size"]), str(stored["digest"]))


def load(
    checkpoint: Checkpoint, of_rows: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> Snapshot:
    """Read the arrays (read-only; without a second copy, but of shares), and verify each against
    the manifest; raise DamagedCheckpointError.

    of_rows: of_rows(rows) returns the part of some rows that is to be read of all; no more of them
    is in memory at a time than a block.
    """
    manifest = read_manifest(checkpoint.path)
    names = _names(manifest)
    in_blocks = [name for name in names if of_rows is not None and _is_of("rows", name)]
    arrays = {
        name: _array(checkpoint.path, name, manifest) for name in names if name not in in_blocks
    }
    whole = dict(Snapshot(arrays, checkpoint.progress).joined().arrays)
    if of_rows is not None:
        whole["rows"] = _read_in_blocks(checkpoint.path, in_blocks, manifest, of_rows)
    lifted = lift_arrays(checkpoint.schema, whole, checkpoint.progress.step)
    return Snapshot(lifted, checkpoint.progress)


def load_shares(checkpoint: Checkpoint, places: Sequence[int], devices: int) -> Snapshot:
    """Read the arrays as `load` does, but of the tables the shares in these places among so many
    devices, whatever devices wrote them. One of the files is in memory at a time, if any, and files
    without rows of these shares are not read.
    """
    if checkpoint.schema < FIRST_SCHEMA_WITH_ROW_STEPS:  # of before there were shares
        return load(checkpoint)
    manifest, found = read_manifest(checkpoint.path), dict[str, NDArray[Any]]()
    names = _names(manifest)
    for name in names:
        table, written, of = share_of(name) or (name, 0, 1)
        if table not in TABLES:
            found[name] = _array(checkpoint.path, name, manifest)
            continue
        count = _length(table, manifest)
        wanted = {
            place: np.arange(place, count, devices)
            for place in places
            if (place - written) % math.gcd(devices, of) == 0
        }
        if not wanted:
            continue
        array = _array(checkpoint.path, name, manifest)
        if of == devices:  # as it was written, without a copy
            found[name] = array
            continue
        for place, ids in wanted.items():
            empty = np.empty((len(ids), *array.shape[1:]), array.dtype)
            own = found.setdefault(share_name(table, place, devices), empty)
            held = ids % of == written
            own[held] = array[ids[held] // of]
        forget(array)
    return Snapshot(found, checkpoint.progress)


def num_items(checkpoint: Checkpoint) -> int:
    """Return the number of items of a checkpoint's model."""
    return _length("rows", read_manifest(checkpoint.path)) - 1


def _length(table: str, manifest: Mapping[str, Any]) -> int:
    """Return the rows of a table in all its files."""
    return sum(manifest[f"{one}.npy"]["shape"][0] for one in _names(manifest) if _is_of(table, one))


def _is_of(table: str, name: str) -> bool:
    return name == table or name.startswith(f"{table}.")


def _names(manifest: Mapping[str, Any]) -> list[str]:
    """Return the names of a checkpoint's arrays, of which the rows have to be there."""
    names = [name.removesuffix(".npy") for name in manifest if name.endswith(".npy")]
    if not any(_is_of("rows", name) for name in names):
        raise DamagedCheckpointError("damage_unlisted", name="rows.npy")
    return names


def _array(path: Path, name: str, manifest: Mapping[str, Mapping[str, Any]]) -> NDArray[Any]:
    """Return an array of a checkpoint, verified: of a large file mapped, so that it need not be in
    memory beside what it is copied into.
    """
    file = f"{name}.npy"
    entry = manifest[file]
    if entry["size"] < npy.MAPPED_FROM:
        array = read_array(path, file, manifest)
    else:
        for _ in _blocks(path, file, manifest):
            pass  # verified
        with _reading(path, file):
            array = npy.open_array(path / file)
    if [array.dtype.str, list(array.shape)] != [entry["dtype"], entry["shape"]]:
        raise DamagedCheckpointError("damage_array", name=file)
    return array


def _read_in_blocks(
    path: Path,
    names: Sequence[str],
    manifest: Mapping[str, Mapping[str, Any]],
    of_rows: Callable[[NDArray[Any]], NDArray[Any]],
) -> NDArray[Any]:
    """Return a part of a table's rows, which is one file or one a share, verified."""
    count, found = _length("rows", manifest), None
    for name in names:
        _, place, devices = share_of(name) or (name, 0, 1)
        for first, block in _blocks(path, f"{name}.npy", manifest):
            part = of_rows(block)
            if found is None:
                found = np.empty((count, *part.shape[1:]), part.dtype)
            found[place + first * devices :: devices][: len(part)] = part
    assert found is not None
    return found


def _blocks(
    path: Path, name: str, manifest: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the rows of an array's file in blocks, each with the number of its first row; raise
    DamagedCheckpointError, at the end, if the file does not match the manifest.
    """
    entry, digest = manifest[name], hashlib.sha256()
    dtype, (length, *shape) = np.dtype(entry["dtype"]), entry["shape"]
    of_row = dtype.itemsize * math.prod(shape)
    at_once = max(1, _BLOCK // max(1, of_row))
    with _reading(path, name), open(path / name, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != entry["size"]:
            raise _other_size(name, size, entry["size"])
        digest.update(file.read(size - length * of_row))  # the header
        for first in range(0, length, at_once):
            content = file.read(min(at_once, length - first) * of_row)
            digest.update(content)
            yield first, np.frombuffer(content, dtype).reshape(-1, *shape)
    if digest.hexdigest() != entry["sha256"]:
        raise DamagedCheckpointError("damage_digest", name=name)


def verify(checkpoint: Checkpoint) -> None:
    """Verify every file against the manifest; raise DamagedCheckpointError for the first that
    differs.
    """
    manifest = read_manifest(checkpoint.path)
    for name, entry in manifest.items():
        with _reading(checkpoint.path, name), open(checkpoint.path / name, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != entry["sha256"]:
            raise DamagedCheckpointError("damage_digest", name=name)


def check_sizes(checkpoint: Checkpoint) -> None:
    """Compare every file's size with the manifest, without reading all bytes as `verify` does;
    raise DamagedCheckpointError for the first that differs.
    """
    for name, entry in read_manifest(checkpoint.path).items():
        with _reading(checkpoint.path, name):
            size = (checkpoint.path / name).stat().st_size
        if size != entry["size"]:
            raise _other_size(name, size, entry["size"])


def set_aside(path: Path, reason: Phrase, warn: Say) -> None:
    """Move a damaged checkpoint into quarantine, without overwriting anything there."""
    quarantine = path.parent / QUARANTINE
    durable.make_folder(quarantine)
    target, copy = quarantine / path.name, 1
    while target.exists():
        target, copy = quarantine / f"{path.name}.{copy}", copy + 1
    durable.move(path, target)
    warn("quarantined", path=path, reason=reason, target=target)


def _goodness(checkpoint: Checkpoint) -> tuple[float, int, int, int]:
    """Return the sort key: metric, then the earlier branch, step and repetition. A step that was
    rated is stored again only where the learning rate changed: the first has the one it was
    trained with.
    """
    branch, step, repetition = checkpoint.order
    metric = checkpoint.progress.metric
    return -math.inf if metric is None else metric, -branch, -step, -repetition


def parse_name(name: str) -> tuple[int, int, int]:
    """Parse `Checkpoint.order` from a name; raise DamagedCheckpointError for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise DamagedCheckpointError("damage_name", name=name)
    step, branch, repetition = (int(group or 0) for group in match.groups())
    return branch, step, repetition


def _free_path(folder: Path, progress: Progress) -> Path:
    """Return an unused path that sorts after all checkpoints of the step."""
    name = f"ckpt-{progress.step}" + (f"-b{progress.branch}" if progress.branch else "")
    of_step = (progress.branch, progress.step)
    orders = [parse_name(path.name) for path in names(folder)]
    repetition = max((order[2] + 1 for order in orders if order[:2] == of_step), default=0)
    return folder / (f"{name}.{repetition}" if repetition else name)


def _write_arrays(
    draft: Path, arrays: Mapping[str, NDArray[Any]], manifest: dict[str, dict[str, Any]]
) -> None:
    """Write arrays, a file each, and add them to the manifest."""
    for name, array in arrays.items():
        facts = {"dtype": array.dtype.str, "shape": list(array.shape)}
        manifest[f"{name}.npy"] = _write(draft / f"{name}.npy", *_npy_chunks(array)) | facts


def _fill(
    draft: Path, snapshot: Snapshot, about: Mapping[str, Any], together: Processes = ALONE
) -> None:
    manifest: dict[str, dict[str, Any]] = {}
    shares.begin(together, snapshot.progress, draft)
    _write_arrays(draft, snapshot.arrays, manifest)
    manifest |= shares.others(together, snapshot.progress)
    manifest[_STATE] = _write(draft / _STATE, _state_json(snapshot.progress, about))
    _write_manifest(draft, manifest)


def _state_json(at: Progress, about: Mapping[str, Any]) -> bytes:
    progress = {name: value for name, value in vars(at).items() if name not in ("logged", "best")}
    progress["best"] = None if at.best is None else vars(at.best)
    progress["logged"] = vars(at.logged)
    return _json({"schema": SCHEMA, "progress": progress, **about})


def fill(draft: Path, content: Mapping[str, bytes | NDArray[Any]]) -> None:
    """Write files by name (arrays as .npy), and their manifest, into a temporary directory."""
    manifest = {}
    for name, one in content.items():
        chunks = (one,) if isinstance(one, bytes) else _npy_chunks(one)
        manifest[name] = _write(draft / name, *chunks)
    _write_manifest(draft, manifest)


def _write_manifest(draft: Path, manifest: Mapping[str, Any]) -> None:
    durable.write_file(draft / MANIFEST, _manifest_json(manifest))


def _manifest_json(manifest: Mapping[str, Any]) -> bytes:
    return _json({"files": manifest, "sha256": _sha256(_json(manifest))})


def read_array(path: Path, name: str, manifest: Mapping[str, Mapping[str, Any]]) -> NDArray[Any]:
    """Return a file's array, verified as `verified` does, read-only."""
    content = verified(path, name, manifest)
    file = io.BytesIO(content)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape)


def _npy_chunks(array: NDArray[Any]) -> Iterator[bytes | memoryview]:
    array = np.ascontiguousarray(array) if array.ndim else array
    yield _npy_header(array.shape, array.dtype)
    yield array.reshape(-1).view(np.uint8).data


def _npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    described = np.lib.format.dtype_to_descr(dtype)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": described, "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


def stored_size(array: Shaped) -> int:
    """Return the bytes of the file that an array is stored in."""
    shape, dtype = array
    return len(_npy_header(shape, dtype)) + math.prod(shape) * dtype.itemsize


def described_size(
    arrays: Mapping[str, Shaped], progress: Progress, about: Mapping[str, Any]
) -> int:
    """Return the bytes of the JSON files of a checkpoint of such arrays."""
    state, digest = _state_json(progress, about), _sha256()
    manifest: dict[str, Any] = {
        f"{name}.npy": {
            "sha256": digest,
            "size": stored_size(one),
            "dtype": one.dtype.str,
            "shape": list(one.shape),
        }
        for name, one in arrays.items()
    }
    manifest[_STATE] = {"sha256": digest, "size": len(state)}
    return len(state) + len(_manifest_json(manifest))


def _write(path: Path, *chunks: bytes | memoryview) -> dict[str, Any]:
    durable.write_file(path, *chunks)
    return {"sha256": _sha256(*chunks), "size": sum(len(chunk) for chunk in chunks)}


def _retain(folder: Path) -> None:
    checkpoints = scan(folder)
    kept = {c.path for c in checkpoints[-KEEP_NEWEST:]}
    best = best_of(checkpoints)
    for checkpoint in checkpoints:
        if checkpoint.path not in kept and (best is None or checkpoint.path != best.path):
            durable.discard(checkpoint.path)


def read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """Return a folder's manifest: facts by file name; raise DamagedCheckpointError if invalid."""
    raw = _bytes_of(path, MANIFEST)
    try:
        return _manifest_of(raw)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpointError("file_content", name=MANIFEST, error=error) from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of all that a checkpoint holds, by its manifest.

    Raises:
        DamagedCheckpointError: It has no manifest.
    """
    return _sha256(_json(read_manifest(path)))


@lru_cache(maxsize=32)  # a start reads each several times, and parsing re-serialises it
def _manifest_of(raw: bytes) -> dict[str, dict[str, Any]]:
    content = json.loads(raw)
    manifest: dict[str, dict[str, Any]] = content["files"]
    if content["sha256"] != _sha256(_json(manifest)) or raw != _json(content):
        raise DamagedCheckpointError("damage_manifest", name=MANIFEST)
    return manifest


def verified(path: Path, name: str, manifest: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return a file's content, verified against the manifest; raise DamagedCheckpointError."""
    if name not in manifest:
        raise DamagedCheckpointError("damage_unlisted", name=name)
    content = _bytes_of(path, name)
    if len(content) != manifest[name]["size"]:
        raise _other_size(name, len(content), manifest[name]["size"])
    if _sha256(content) != manifest[name]["sha256"]:
        raise DamagedCheckpointError("damage_digest", name=name)
    return content


def _other_size(name: str, found: int, known: int) -> DamagedCheckpointError:
    return DamagedCheckpointError("damage_size", name=name, found=found, known=known)


def _bytes_of(path: Path, name: str) -> bytes:
    with _reading(path, name):
        return (path / name).read_bytes()


@contextmanager
def _reading(path: Path, name: str) -> Iterator[None]:
    """Treat missing files as damage, and others that cannot be read as possibly intact."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise DamagedCheckpointError("file_reason", name=name, reason=error.strerror) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError("checkpoint_unreadable", path=path / name, reason=reason) from error


def _sha256(*chunks: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _json(value: Any) -> bytes:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()
