"""Detect that ComiRec's text files were replaced after a dataset was prepared from them.

A dataset stores size, modification time and SHA-256 of each file. A file of another size was
replaced; one of the same size but another time, only if its SHA-256 is different, too.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reprise.data import PROTOCOLS
from reprise.data.dataset import SPLITS, file_digest, fingerprint_of, read_meta
from reprise.data.files import entries_of
from reprise.errors import DataError

_TEXT = re.compile(rf".*_({'|'.join(SPLITS)}|item_cate|item_map)\.txt")
# Protocols by the words that describe them in a dataset's meta.json.
_PROTOCOLS = {"as split": PROTOCOLS[0], "leave-one-out": "leave-one-out"}


def facts_of(source: Path) -> dict[str, Any]:
    """Return size, modification time and SHA-256 of a folder's text files, by name."""
    return {
        name: {"size": size, "mtime_ns": changed, "sha256": file_digest(source / name)}
        for name, (size, changed) in _looks(source).items()
    }


def refuse_replaced(folder: Path) -> None:
    """Raise DataError if the text files that the dataset `folder` was made of were replaced."""
    source = replaced(folder)
    if source is not None:
        raise DataError(
            "texts_replaced", folder=folder, source=source, command=command(folder, source)
        )


def replaced(folder: Path) -> Path | None:
    """Return the folder of the text files that the dataset `folder` was made of, if they were
    replaced, else None.
    """
    source = _beside(folder)
    try:
        about = read_meta(folder)["source"]
    except DataError:  # opening the dataset reports it
        return None
    if source is None or about.get("format") != "comirec" or not _same(about["path"], source):
        return None
    if "texts" in about:
        return None if _unchanged(about["texts"], source) else source
    return None if _made_of(folder, about, source) else source


def command(folder: Path, source: Path) -> str:
    """Return the command that prepares the dataset again from `source`."""
    place = ["--name", folder.name, "--data-dir", str(folder.parent)]
    protocol = _protocol(read_meta(folder)["source"])
    other = [] if protocol in (None, PROTOCOLS[0]) else ["--protocol", str(protocol)]
    return shlex.join(["reprise", "prepare", str(source), *place, *other, "--overwrite"])


def _protocol(about: Mapping[str, Any]) -> str | None:
    """Return the protocol of a dataset by its meta.json; None if unknown."""
    words = about.get("protocol", "")
    return next((name for mark, name in _PROTOCOLS.items() if mark in words), None)


def _beside(folder: Path) -> Path | None:
    """Return the folder of a dataset's text files if training prepared it on first use."""
    if not folder.name:
        return None
    name = folder.name.removesuffix("_prepared")
    for source in (folder.with_name(f"{folder.name}_data"), folder.with_name(name)):
        if source != folder and any(f.name.endswith("_train.txt") for f in entries_of(source)):
            return source
    return None


def _same(recorded: str, source: Path) -> bool:
    """Return whether the recorded folder is `source`, which may have been moved since."""
    path = Path(recorded)
    return path.samefile(source) if path.exists() else path.name == source.name


def _looks(source: Path) -> dict[str, tuple[int, int]]:
    """Return size in bytes and modification time in ns of a folder's text files, by name."""
    found = [file for file in entries_of(source) if _TEXT.fullmatch(file.name) and file.is_file()]
    stats = {file.name: file.stat() for file in found}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def _unchanged(known: Mapping[str, Any], source: Path) -> bool:
    looks = _looks(source)
    if looks.keys() != known.keys():
        return False
    return all(
        look == (known[name]["size"], known[name]["mtime_ns"])
        or (look[0] == known[name]["size"] and file_digest(source / name) == known[name]["sha256"])
        for name, look in looks.items()
    )


def _made_of(folder: Path, about: Mapping[str, Any], source: Path) -> bool:
    """Return whether a dataset of an older version, which stores no facts of its files, has the
    content of `source`. Files older than the dataset do; newer ones are read and compared.
    """
    made = (folder / "meta.json").stat().st_mtime_ns
    protocol = _protocol(about)
    if protocol is None or all(changed <= made for _, changed in _looks(source).values()):
        return True

    from reprise.data import build
    from reprise.data.readers.comirec import read_split

    draft = build.of_split(read_split(source), "comirec", source, protocol)
    now = fingerprint_of(draft.splits, draft.item_category, draft.evaluation, draft.known)
    return bool(now == read_meta(folder)["fingerprint"])
