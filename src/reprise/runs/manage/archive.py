"""A run in one file: a tar archive of its folder, ending with the SHA-256 of each file.

    <run>/run.json, <run>/checkpoints/ckpt-<step>/..., <run>/metrics.jsonl, ...
    REPRISE.json      schema, the run's name, size and SHA-256 of each file

The checksums come last, so that one pass writes the archive and a truncated archive has none. The
lock, trackers.json, damaged checkpoints and leftovers are left out. A run can be exported while it
trains: checkpoints never change (the export fails if one is deleted meanwhile), and resuming cuts
the log of evaluations to them.
"""

import hashlib
import io
import json
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from reprise import __version__, durable
from reprise.checkpoints import store
from reprise.checkpoints.store import DamagedCheckpointError
from reprise.data.files import require_file
from reprise.errors import CheckpointError, DataError, UsageError, WriteError
from reprise.runs import tracked
from reprise.runs.folder import RunFolder
from reprise.text.messages import Phrase, Say

SUFFIXES = (".tar.zst", ".tar.gz", ".tgz", ".tar")
_CONTENTS, _SCHEMA = "REPRISE.json", 1
_CHUNK = 1 << 20
_UNREADABLE = (
    *(tarfile.TarError, zstandard.ZstdError, zlib.error, lzma.LZMAError),
    *(OSError, EOFError, ValueError),
)
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_FASTEST = 1  # level of either compressor: weights are noise and hardly compress


class _HashedFile:
    """A file that hashes what is read of it; if it ends early, it has changed."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Read the next `size` bytes."""
        with _reading(self._path):
            content = self._file.read(size)
        if len(content) < size:
            raise CheckpointError("run_changing", path=self._path)
        self.digest.update(content)
        return content


def export(folder: RunFolder, target: Path, warn: Say) -> dict[str, Any]:
    """Write the run to the archive `target` (with one of SUFFIXES) atomically.

    Every checkpoint is verified; damaged ones are listed and left out.

    Returns:
        run, file, files, bytes, checkpoints.

    Raises:
        CheckpointError: No checkpoint is intact.
        UsageError: `target` exists or has another suffix.
    """
    if not target.name.endswith(SUFFIXES):
        expected = " | ".join(f"FILE{suffix}" for suffix in SUFFIXES)
        raise UsageError("bad_value", option="FILE", value=str(target), expected=expected)
    if target.exists():
        raise UsageError("file_exists", path=target)
    if not target.parent.is_dir():
        raise DataError("source_missing", path=target.parent)
    whole = _whole_checkpoints(folder, warn)
    contents: dict[str, dict[str, Any]] = {}

    def fill(draft: Path) -> None:
        with _packed(draft, target.name) as archive:
            for path in _exported(folder, whole):
                relative = path.relative_to(folder.path).as_posix()
                contents[relative] = _add(archive, path, f"{_name(folder)}/{relative}")
            for path in whole:  # walking ignores a folder that is gone
                if (path / store.MANIFEST).relative_to(folder.path).as_posix() not in contents:
                    raise CheckpointError("run_changing", path=path)
            _add_contents(archive, _name(folder), contents)

    durable.publish_file(target, fill)
    return {
        "run": _name(folder),
        "file": str(target),
        "files": len(contents),
        "bytes": target.stat().st_size,
        "checkpoints": [path.name for path in whole],
    }


def import_(source: Path, runs_folder: Path) -> RunFolder:
    """Import the run of an archive into `runs_folder` atomically, and return its folder.

    Raises:
        DataError: It is no file, not such an archive, is truncated, does not match its checksums,
            or has a member outside the run.
        UsageError: The run exists.
    """
    require_file(source)
    with _opened(source) as archive:
        first = _next(archive, source)
        name = first.name.split("/")[0] if first else ""
        if first is None or not _is_plain(name) or name == _CONTENTS:
            raise _damaged(source, Phrase("archive_no_run"))
        folder = RunFolder(runs_folder / name)
        if folder.path.exists():
            raise UsageError("import_exists", path=folder.path)
        durable.make_folder(runs_folder)

        def fill(draft: Path) -> None:
            _unpack(archive, first, name, draft, source)
            try:
                found = [store.read_as_named(path) for path in store.names(draft / "checkpoints")]
                for checkpoint in found:
                    store.verify(checkpoint)
            except DamagedCheckpointError as damage:
                raise _damaged(source, damage) from damage
            if not found:
                raise _damaged(source, Phrase("archive_no_checkpoint"))
            tracked.write(draft, tracked.own_copy())
            durable.sync_tree(draft)

        try:
            durable.publish_folder(folder.path, fill)
        except WriteError:
            if folder.path.exists():  # another import was faster
                raise UsageError("import_exists", path=folder.path) from None
            raise
    return folder


def _whole_checkpoints(folder: RunFolder, warn: Say) -> list[Path]:
    def leave_out(path: Path, reason: Phrase) -> None:
        warn("damaged_ignored", path=path, reason=reason)

    whole = []
    for checkpoint in store.scan(folder.checkpoints, leave_out):
        try:
            store.verify(checkpoint)
            whole.append(checkpoint.path)
        except DamagedCheckpointError as damage:
            leave_out(checkpoint.path, damage)
    if not whole:
        raise CheckpointError("no_checkpoint", path=folder.path)
    return whole


def _exported(folder: RunFolder, whole: list[Path]) -> Iterator[Path]:
    """Yield the run's files to export, run.json first."""
    left_out = (folder.lock, folder.path / tracked.FILE)
    for parent, below, names in os.walk(folder.path, onerror=_refuse, followlinks=True):
        here = Path(parent)
        if here == folder.checkpoints:
            below[:] = [path.name for path in whole]
            if folder.log.stored.is_file():
                yield folder.log.stored
            continue
        below[:] = sorted(name for name in below if _is_plain(name))
        for name in sorted(names, key=lambda name: (name != folder.record.name, name)):
            path = here / name
            if _is_plain(name) and path not in left_out and path.is_file():
                yield path


def _refuse(error: OSError) -> None:
    """Raise CheckpointError where a folder that is there cannot be listed: what is in it would be
    left out.
    """
    if isinstance(error, FileNotFoundError):
        return
    raise CheckpointError("folder_unreadable", path=error.filename, reason=error.strerror)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> dict[str, Any]:
    """Add a file at its current size (a log may keep growing); return its size and SHA-256."""
    with _reading(path):
        file = path.open("rb")
    with file:
        status, info = os.fstat(file.fileno()), tarfile.TarInfo(name)
        info.size, info.mtime = status.st_size, int(status.st_mtime)
        read = _HashedFile(path, file)
        archive.addfile(info, read)  # type: ignore[arg-type]  # only its `read` is used
    return {"size": info.size, "sha256": read.digest.hexdigest()}


def _add_contents(archive: tarfile.TarFile, run: str, contents: dict[str, dict[str, Any]]) -> None:
    facts = {"schema": _SCHEMA, "reprise": __version__, "run": run, "files": contents}
    text = f"{json.dumps(facts, indent=1, ensure_ascii=False)}\n".encode()
    info = tarfile.TarInfo(_CONTENTS)
    info.size = len(text)
    archive.addfile(info, io.BytesIO(text))


@contextmanager
def _packed(path: Path, name: str) -> Iterator[tarfile.TarFile]:
    """Create an archive at `path`, compressed by the suffix of its final `name`."""
    with ExitStack() as opened:
        file = opened.enter_context(path.open("xb"))
        if name.endswith(".zst"):
            packer = zstandard.ZstdCompressor(_FASTEST)
            stream = opened.enter_context(packer.stream_writer(file, closefd=False))
            yield opened.enter_context(tarfile.open(fileobj=stream, mode="w|"))
        elif name.endswith(".tar"):
            yield opened.enter_context(tarfile.open(fileobj=file, mode="w:"))
        else:
            yield opened.enter_context(
                tarfile.open(fileobj=file, mode="w:gz", compresslevel=_FASTEST)
            )


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive for one sequential pass, with any compression."""
    with ExitStack() as opened:
        file = opened.enter_context(source.open("rb"))
        with _damage_named(source):
            packed = file.read(len(_ZSTD_MAGIC)) == _ZSTD_MAGIC
            file.seek(0)
            if packed:
                stream = opened.enter_context(
                    zstandard.ZstdDecompressor().stream_reader(file, closefd=False)
                )
                archive = opened.enter_context(tarfile.open(fileobj=stream, mode="r|"))
            else:
                archive = opened.enter_context(tarfile.open(fileobj=file, mode="r:*"))
        yield archive


def _next(archive: tarfile.TarFile, source: Path) -> tarfile.TarInfo | None:
    with _damage_named(source):
        return archive.next()


def _unpack(
    archive: tarfile.TarFile, first: tarfile.TarInfo, name: str, draft: Path, source: Path
) -> None:
    """Write the members into `draft`, and verify them against the checksums at the end."""
    found: dict[str, dict[str, Any]] = {}
    contents: dict[str, Any] | None = None
    member: tarfile.TarInfo | None = first
    while member is not None:
        if contents is not None:
            raise _damaged(source, Phrase("archive_more", member=member.name))
        if member.name == _CONTENTS and member.isreg():
            contents = _parse_contents(b"".join(_content(archive, member, source)), name, source)
        else:
            relative = _inside(member, name, source)
            if relative in found:
                raise _damaged(source, Phrase("archive_twice", member=member.name))
            found[relative] = _write(archive, member, draft / relative, source)
        member = _next(archive, source)
    if contents is None:
        raise _damaged(source, Phrase("archive_cut", name=_CONTENTS))
    known = contents["files"]
    for path in {**known, **found}:
        if known.get(path) != found.get(path):
            raise _damaged(source, Phrase("archive_differs", name=path))


def _parse_contents(text: bytes, name: str, source: Path) -> dict[str, Any]:
    with _damage_named(source):
        contents: dict[str, Any] = json.loads(text)
    if not isinstance(contents, dict) or not isinstance(contents.get("files"), dict):
        raise _damaged(source, Phrase("archive_content", name=_CONTENTS))
    if (found := contents.get("schema")) != _SCHEMA:
        raise _damaged(source, Phrase("archive_schema", found=found, known=_SCHEMA))
    if (found := contents.get("run")) != name:
        raise _damaged(source, Phrase("archive_other", found=found, run=name))
    return contents


def _inside(member: tarfile.TarInfo, name: str, source: Path) -> str:
    """Return a member's path in the run; raise DataError if it is not a file inside the run."""
    top, *below = member.name.split("/")
    if not member.isreg() or top != name or not below or not all(map(_is_plain, below)):
        raise _damaged(source, Phrase("archive_outside", member=member.name, run=name))
    return "/".join(below)


def _is_plain(part: str) -> bool:
    """Return whether a part of a path is a plain, visible name."""
    return bool(part) and part.isprintable() and part[0] != "." and Path(part).name == part


def _write(
    archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, source: Path
) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for chunk in _content(archive, member, source):
            digest.update(chunk)
            size += file.write(chunk)
    os.utime(path, (member.mtime, member.mtime))
    return {"size": size, "sha256": digest.hexdigest()}


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, source: Path) -> Iterator[bytes]:
    with _damage_named(source):
        file = archive.extractfile(member)
        assert file is not None  # a regular file
        while chunk := file.read(_CHUNK):
            yield chunk


@contextmanager
def _damage_named(source: Path) -> Iterator[None]:
    """Turn errors of reading an archive into DataError."""
    try:
        yield
    except _UNREADABLE as error:
        said = str(error)
        if said == "empty file" and source.stat().st_size:
            raise _damaged(source, Phrase("archive_cut", name=_CONTENTS)) from error
        if said.startswith("file could not be opened"):  # followed by the methods tried
            raise _damaged(source, Phrase("archive_no_run")) from error
        raise _damaged(source, error) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise CheckpointError for a missing file: its run deleted the checkpoint meanwhile."""
    try:
        yield
    except FileNotFoundError as error:
        raise CheckpointError("run_changing", path=path) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError("checkpoint_unreadable", path=path, reason=reason) from error


def _damaged(source: Path, reason: Phrase | Exception) -> DataError:
    return DataError("archive_damaged", path=source, reason=reason)


def _name(folder: RunFolder) -> str:
    return folder.path.resolve().name
