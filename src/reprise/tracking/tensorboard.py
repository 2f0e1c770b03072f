"""TensorBoard event files, one per branch: tensorboard/branch-<n>/events.out.tfevents.<number>; and
tensorboard/results/, the final metrics of the best model.

Each start rewrites the branch's file from the evaluations, with the wall times of the old file, and
appends to it. So every reader finds each point once, without needing TensorBoard's rules on
dropping points.
"""

import shutil
import struct
import time
from pathlib import Path

import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter, masked_crc32c

from reprise.tracking import Points, TrackedRun

_PREFIX, _DRAFT = "events.out.tfevents.", ".draft"
_BRANCH, _RESULTS = "branch-", "results"


class TensorBoardLog:
    """The event files of a run: those of all branches in order, with the current one's open."""

    def __init__(self, folder: Path, branch: int, record: dict[int, dict[int, Points]]) -> None:
        self._folder = folder
        for path in folder.glob(f"{_BRANCH}*"):
            number = path.name.removeprefix(_BRANCH)
            if number.isdecimal() and int(number) not in record:
                _remove(path)  # left by a rewind that was killed before its first save
        for other, evaluations in record.items():
            if other != branch and not _is_in_order(folder / f"{_BRANCH}{other}", evaluations):
                _write_anew(folder / f"{_BRANCH}{other}", evaluations).close()
        self._writer = _write_anew(folder / f"{_BRANCH}{branch}", record[branch])

    def log(self, step: int, points: Points) -> None:
        """Log an evaluation; it survives a kill."""
        self._writer.write(_event(step, points, time.time()).SerializeToString())
        self._writer.flush()

    def results(self, step: int, points: Points) -> None:
        """Write the final metrics to separate files, replacing those of an earlier end."""
        _write_anew(self._folder / _RESULTS, {step: points}).close()

    def close(self, finished: bool = True) -> None:
        """Close the file."""
        self._writer.close()


def open_log(run: TrackedRun) -> TensorBoardLog:
    """Open the run's log; raise OSError if writing fails."""
    return TensorBoardLog(run.folder / "tensorboard", run.branch, run.record)


def read_events(folder: Path) -> tuple[list[Event], bool]:
    """Return the events of a folder's files, oldest file first, each up to any damage, and whether
    all files are intact.
    """
    events, whole = list[Event](), True
    for path in _files(folder):
        content, at = path.read_bytes() if path.is_file() else b"?", 0
        while at < len(content):
            data = _record(content, at)
            if data is None:
                whole = False
                break
            events.append(Event.FromString(data))
            at += len(data) + 16
    return events, whole


def _record(content: bytes, at: int) -> bytes | None:
    """Return the record at an offset, which follows its size and the size's checksum and precedes
    its own checksum; None if it is truncated or damaged.
    """
    if at + 16 > len(content):
        return None
    size, checksum = struct.unpack_from("<QI", content, at)
    data, tail = content[at + 12 : at + 12 + size], content[at + 12 + size :][:4]
    sound = checksum == masked_crc32c(content[at : at + 8]) and len(tail) == 4
    return data if sound and tail == struct.pack("<I", masked_crc32c(data)) else None


def _write_anew(folder: Path, evaluations: dict[int, Points]) -> RecordWriter:
    """Replace a branch's files with one file of its evaluations, and return its open writer."""
    folder.mkdir(parents=True, exist_ok=True)
    old, times = _files(folder), dict[int, tuple[float, Points]]()
    for event in read_events(folder)[0]:
        spent = {tag: value for tag, value in _values(event) if tag.startswith("time/")}
        if spent:
            times[event.step] = event.wall_time, spent
    draft = folder / _DRAFT
    _remove(draft)
    writer = RecordWriter(str(draft))
    writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
    # A running TensorBoard drops what it has read of the old file.
    start = Event(wall_time=time.time(), session_log=SessionLog(status=SessionLog.START))
    writer.write(start.SerializeToString())
    for step, points in sorted(evaluations.items()):
        wall_time, spent = times.get(step, (time.time(), {}))
        writer.write(_event(step, points | spent, wall_time).SerializeToString())
    writer.flush()
    # Later files have later names, regardless of the clock.
    numbers = [int(path.name.removeprefix(_PREFIX).split(".")[0]) for path in old]
    draft.rename(folder / f"{_PREFIX}{max([int(time.time()), *numbers]) + 1:010d}")
    for path in old:
        _remove(path)
    return writer


def _is_in_order(folder: Path, evaluations: dict[int, Points]) -> bool:
    """Return whether a branch's files have each point of its evaluations once, and no others."""
    expected = {(step, tag): value for step, points in evaluations.items()
                for tag, value in points.items()}  # fmt: skip
    seen = set()
    events, whole = read_events(folder)
    for event in events:
        for tag, value in _values(event):
            point = (event.step, tag)
            known = event.step in evaluations and tag.startswith("time/")
            if point in seen or not (known or value == np.float32(expected.get(point, np.nan))):
                return False
            seen.add(point)
    return whole and expected.keys() <= seen


def _event(step: int, points: Points, wall_time: float) -> Event:
    # Not tensorboardX's `scalar`, which removes the @ of recall@50.
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in points.items()]
    return Event(wall_time=wall_time, step=step, summary=Summary(value=values))


def _values(event: Event) -> list[tuple[str, float]]:
    return [(value.tag, value.simple_value) for value in event.summary.value]


def _files(folder: Path) -> list[Path]:
    """Return the event files of a folder, oldest first."""
    numbered = (path for path in folder.glob(f"{_PREFIX}*"))
    return sorted(p for p in numbered if p.name.removeprefix(_PREFIX).split(".")[0].isdecimal())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
