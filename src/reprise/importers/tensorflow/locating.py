"""Locate a TensorFlow checkpoint by a path, or say what the path holds instead."""

import re
import zipfile
from pathlib import Path

from reprise import durable
from reprise.errors import CheckpointError, UsageError
from reprise.text.messages import Phrase

_V1_END = (0xDB4775248B80FB57).to_bytes(8, "little")  # the last bytes of TensorFlow's V1 format
_HDF5_START = b"\x89HDF\r\n\x1a\n"


def find_prefix(path: Path) -> Path:
    """Return the checkpoint's prefix.

    path: the prefix itself; one of the checkpoint's files; or a folder, for its latest checkpoint
    by TensorFlow's `checkpoint` file, or its only one if that file is missing.

    Raises:
        UsageError: There are several, and no `checkpoint` file.
        CheckpointError: There is none; the message says what there is.
    """
    if path.is_dir():
        return _in_folder(path)
    if path.exists() and not path.is_file():
        raise CheckpointError("not_a_file", path=path)
    prefix = path.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name))
    if _has_index(prefix):
        return prefix
    _refuse_other(prefix if prefix.is_file() else path)
    if path.name == "checkpoint" and path.is_file():
        return _in_folder(path.parent)
    raise CheckpointError("tf_missing_checkpoint", path=path, there=_there(path.parent))


def _in_folder(folder: Path) -> Path:
    found = _prefixes(folder)
    latest = _latest(folder)
    if latest is not None:
        # The name within this folder first: the folder may have been moved.
        for prefix in (folder / Path(latest).name, folder / latest):
            if _has_index(prefix):
                return prefix
            _refuse_other(prefix)
        there = _there(folder)
        raise CheckpointError("tf_latest_gone", path=folder, latest=latest, there=there)
    if len(found) > 1:
        raise UsageError("tf_several", path=folder, names=_listed(folder))
    if found:
        return found[0]
    if (folder / "saved_model.pb").is_file() or (folder / "saved_model.pbtxt").is_file():
        raise CheckpointError("tf_saved_model", path=folder)
    for file in sorted(folder.iterdir()):
        _refuse_other(file)
    raise CheckpointError("tf_missing_checkpoint", path=folder, there=_there(folder))


def _refuse_other(path: Path) -> None:
    """Raise CheckpointError if `path` is a file of another kind."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(len(_HDF5_START))
        file.seek(max(file.seek(0, 2) - len(_V1_END), 0))
        end = file.read()
    if end == _V1_END and path.suffix != ".index":
        raise CheckpointError("tf_old_format", path=path)
    if start == _HDF5_START or (path.suffix == ".keras" and zipfile.is_zipfile(path)):
        raise CheckpointError("tf_keras_file", path=path)


def _has_index(prefix: Path) -> bool:
    return prefix.with_name(f"{prefix.name}.index").is_file()


def _prefixes(folder: Path) -> list[Path]:
    """Return the prefixes of a folder's checkpoints."""
    return [file.with_suffix("") for file in durable.entries(folder) if file.suffix == ".index"]


def _there(folder: Path) -> Phrase:
    """Return what a folder holds of checkpoints."""
    if not folder.is_dir():
        return Phrase("tf_there_nothing", folder=folder)
    if not _prefixes(folder):
        return Phrase("tf_there_none", folder=folder)
    return Phrase("tf_there", folder=folder, found=_listed(folder))


def _listed(folder: Path) -> str:
    return ", ".join(prefix.name for prefix in _prefixes(folder))


def _latest(folder: Path) -> str | None:
    """Return the path of the latest checkpoint by the folder's `checkpoint` file."""
    try:
        text = (folder / "checkpoint").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    match = re.search(r'^model_checkpoint_path: "(.*)"', text, re.MULTILINE)
    return None if match is None else match[1]
