"""The log of a run's evaluations: metrics.jsonl, one line each.

It exists twice: checkpoints/metrics.jsonl, and the run's own metrics.jsonl for who reads the run.
An evaluation is appended to both, and fsynced, before a checkpoint is written that knows it. The
checkpoint stores how far its log goes (`LogMark`), not the log, so that a save costs the same after
10 evaluations and after 10,000. Each start cuts both copies to the latest checkpoint's mark, and
restores a damaged one from the other. Checkpoints of schemas before 11 hold their log themselves.
"""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reprise import durable
from reprise.checkpoints import store
from reprise.errors import CheckpointError
from reprise.text.messages import Say
from reprise.training.state import LogMark, Progress

FILE = store.LOG
_Place = tuple[int, int]  # branch and step, in which evaluations are ordered


@dataclass(frozen=True)
class Found:
    """What there is of a log, from the copy at `source`; None where no copy is what the checkpoint
    was stored with, and `content` is what could be read of all of them.
    """

    content: bytes
    source: Path | None

    @property
    def whole(self) -> bool:
        """Whether it is what a checkpoint was stored with."""
        return self.source is not None

    @property
    def lines(self) -> list[str]:
        """The evaluations, one JSON text each."""
        return [line.decode(errors="replace").rstrip("\n") for line in io.BytesIO(self.content)]


@dataclass(frozen=True)
class Log:
    """A run's log of evaluations. checkpoints: the folder of its checkpoints; shown: the copy for
    those who read the run.
    """

    checkpoints: Path
    shown: Path

    @property
    def stored(self) -> Path:
        """The copy beside the checkpoints."""
        return self.checkpoints / FILE

    def append(self, line: str) -> None:
        """Add an evaluation, durably; `settle` comes first."""
        content = f"{line}\n".encode()
        durable.append_file(self.stored, content)
        durable.append_file(self.shown, content)

    def read(self, progress: Progress, beyond: bool = False) -> Found:
        """Return the evaluations that a checkpoint of `progress` was stored with, or those of them
        that can be read; with `beyond` also later ones, which a running process has logged.
        """
        return self._find(progress, _readable, beyond)

    def settle(self, progress: Progress, warn: Say) -> LogMark:
        """Make both copies what a checkpoint of `progress` was stored with, and return their mark.

        A stopped start can leave one line more, which is repeated. What else a copy holds is first
        put into quarantine. Where no copy is whole, warn, and keep each line that can be read.
        """
        found = self._find(progress, _bytes_of)
        if not found.whole:
            kept, lines = len(found.lines), progress.logged.lines
            warn("log_damaged", path=self.shown, kept=kept, lines=lines)
        for path in (self.stored, self.shown):
            content = _bytes_of(path)
            if content == found.content and path.is_file():
                continue
            others = set(io.BytesIO(content)) - set(io.BytesIO(found.content))
            if len(others) > (1 if found.whole else 0):
                self._put_aside(content)
            durable.replace_file(path, found.content)
        return LogMark.of(found.content)

    def _find(
        self, progress: Progress, read: Callable[[Path], bytes], beyond: bool = False
    ) -> Found:
        mark, contents = progress.logged, list[bytes]()
        for path in self._copies():
            content = read(path)
            contents.append(content)
            if LogMark.of(content[: mark.size]) == mark:
                later = _salvaged([content[mark.size :]]) if beyond else b""
                return Found(content[: mark.size] + later, path)
        last = None if beyond else (progress.branch, progress.evaluated_step)
        return Found(_salvaged(contents, last), None)

    def _copies(self) -> Iterator[Path]:
        yield self.shown
        yield self.stored
        with suppress(CheckpointError):
            for checkpoint in store.names(self.checkpoints):
                yield checkpoint / FILE  # of an older schema

    def _put_aside(self, content: bytes) -> None:
        """Keep a copy's content in quarantine, once."""
        quarantine = self.checkpoints / store.QUARANTINE
        durable.make_folder(quarantine)
        target, copy = quarantine / FILE, 1
        while target.exists():
            if target.read_bytes() == content:
                return
            target, copy = quarantine / f"{FILE}.{copy}", copy + 1
        durable.replace_file(target, content)


def _salvaged(contents: Sequence[bytes], last: _Place | None = None) -> bytes:
    """Return the lines of any content that are evaluations up to `last`, each once, in order."""
    found: dict[_Place, bytes] = {}
    for content in contents:
        for line in io.BytesIO(content):
            place = _place(line)
            if place is not None and (last is None or place <= last):
                found.setdefault(place, line)
    return b"".join(line for _, line in sorted(found.items()))


def _place(line: bytes) -> _Place | None:
    """Return the branch and step of a line; None of one that is torn or no evaluation."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    if not line.endswith(b"\n") or not isinstance(values, dict):
        return None
    branch, step = values.get("branch", 0), values.get("step")
    return (branch, step) if type(branch) is int and type(step) is int else None


def _bytes_of(path: Path) -> bytes:
    """Return a copy's content, empty where there is none; CheckpointError where the system refuses
    to read it, since it may be intact.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return b""
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError("checkpoint_unreadable", path=path, reason=reason) from error


def _readable(path: Path) -> bytes:
    """Return a copy's content as far as it can be read, for those who only look."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
