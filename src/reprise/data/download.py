"""Download a public data set: resumable, verified by checksum, unpacked all or nothing."""

import re
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from reprise import durable
from reprise.data.known import UNPACKED, KnownSet, RemoteFile
from reprise.errors import DataError
from reprise.text.messages import Phrase

Heard = Callable[
    [str, int, int], None
]  # of a file: its name, bytes here, bytes in all (0: unknown)
SUMS = "SHA256SUMS"  # of files whose owner publishes no checksum, as they were met first
_CHUNK, _PATIENCE = 1 << 16, 30  # bytes; seconds without an answer


def fetch(known: KnownSet, folder: Path, command: str, heard: Heard, mirror: str | None) -> bool:
    """Download and unpack the files of a data set into `folder`, as far as they are missing.

    Args:
        known: The data set.
        folder: Where to download to.
        command: The command to repeat, for error messages.
        heard: Called with each file's name, its bytes here and its total bytes (0: unknown).
        mirror: An address to download from instead of the publisher's.

    Returns:
        Whether all files match the publisher's checksums; otherwise those of the first download.

    Raises:
        DataError: A file cannot be downloaded or is damaged; the message states what to do.
    """
    durable.make_folder(folder)
    for file in known.files:
        path = folder / file.name
        unpacked = path.suffix == ".zip" and (folder / UNPACKED).exists()
        if not path.exists() and not unpacked:
            url = file.url if mirror is None else f"{mirror.rstrip('/')}/{file.name}"
            if url is None:
                raise DataError("get_by_hand", page=known.page, path=path, command=command)
            _download(url, file, path, command, heard)
        if path.exists():
            where = file.url or known.page
            digest = _verify(file, path, where)
            _unpack(path, folder, where)
            if file.checksum is None:
                _record(
                    path, digest
                )  # only now: what cannot be unpacked was cut, and is no measure
    return all(file.checksum for file in known.files)


def _download(url: str, file: RemoteFile, path: Path, command: str, heard: Heard) -> None:
    import pooch
    import requests

    def resume(url: str, target: str | Path, _: object) -> None:
        part = path.with_name(f"{path.name}.part")
        _go_on(url, part, lambda here, of: heard(path.name, here, of))
        shutil.move(part, target)

    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(url, file.checksum, path.name, path.parent, downloader=resume)
    except requests.RequestException as error:
        reason = type(error).__name__ if error.response is None else str(error)
        raise DataError("get_failed", url=url, reason=reason, path=path, command=command) from error
    except ValueError as error:  # pooch's, of a checksum
        raise DataError("get_differs", path=path, checksum=file.checksum, url=url) from error


def _go_on(url: str, part: Path, heard: Callable[[int, int], None]) -> None:
    """Download into `part`, continuing a partial download if the server's file is unchanged."""
    import requests

    tag = part.with_name(f"{part.name}.tag")  # what the server calls this version of the file
    here = part.stat().st_size if part.exists() and tag.exists() else 0
    asked = {"Accept-Encoding": "identity"}
    if here:
        asked |= {"Range": f"bytes={here}-", "If-Range": tag.read_text()}
    with requests.get(url, headers=asked, stream=True, timeout=_PATIENCE) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            tag.unlink()  # it has no more than is here: begin anew
            _go_on(url, part, heard)
            return
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            here = 0
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if version is not None:
            tag.write_text(version)
        left = int(answer.headers.get("Content-Length", 0))
        of = here + left if left else 0
        with open(part, "ab" if here else "wb") as out:
            for chunk in answer.iter_content(_CHUNK):
                out.write(chunk)
                here += len(chunk)
                heard(here, of)
    if of and here < of:
        raise requests.ConnectionError(f"{here} of {of} bytes")
    tag.unlink(missing_ok=True)


def _verify(file: RemoteFile, path: Path, where: str) -> str:
    """Return a file's checksum; raise DataError unless it is the publisher's or, if there is none,
    that of the first download. where: the address in the message.
    """
    import pooch

    first_met = _recorded(path.with_name(SUMS)).get(path.name, "")
    algorithm, _, expected = (file.checksum or f"sha256:{first_met}").partition(":")
    found: str = pooch.file_hash(str(path), algorithm)
    if expected and found != expected:
        values = {"path": path, "checksum": f"{algorithm}:{expected}", "url": where}
        if file.checksum is None:
            raise DataError("get_changed", sums=path.with_name(SUMS), **values)
        raise DataError("get_differs", **values)
    return found


def _recorded(sums: Path) -> dict[str, str]:
    """Return the recorded checksums by file name; incomplete lines are ignored."""
    text = sums.read_text(encoding="utf-8", errors="replace") if sums.exists() else ""
    lines = (re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line) for line in text.splitlines())
    return {line[2]: line[1] for line in lines if line}


def _record(path: Path, digest: str) -> None:
    """Record a file's checksum in the format of `sha256sum`."""
    sums = path.with_name(SUMS)
    recorded = _recorded(sums)
    if recorded.get(path.name) != digest:
        lines = [f"{met}  {name}\n" for name, met in {**recorded, path.name: digest}.items()]
        durable.replace_file(sums, "".join(lines).encode())


def _unpack(path: Path, folder: Path, where: str) -> None:
    """Unpack a zip archive into the folder `UNPACKED`, all or nothing."""
    if path.suffix != ".zip" or (folder / UNPACKED).exists():
        return

    def fill(draft: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(draft)
        durable.sync_tree(draft)

    try:
        durable.publish_folder(folder / UNPACKED, fill)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        reason = str(error) or Phrase("unexpected_content")
        raise DataError("get_broken", path=path, reason=reason, url=where) from error
