"""The log of evaluations: what a start makes of any two copies, and what a save costs."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.checkpoints import IDENTITY, as_before_logs, no_warning, snapshot, warnings_into
from helpers.commands import Recorder, check_same_end, run_small
from helpers.effort import examples
from reprise.checkpoints import store
from reprise.checkpoints.log import Log
from reprise.errors import CheckpointError
from reprise.runs.folder import RunFolder
from reprise.runs.manage.survey import details, survey
from reprise.training.state import LogMark, Progress, Snapshot

STEPS = [(0, 4), (0, 8), (1, 8), (1, 12), (1, 16)]
LINES = [
    f"{json.dumps({'step': step, 'branch': branch, 'evaluations_without_improvement': 0})}\n"
    for branch, step in STEPS
]
WHOLE = "".join(LINES).encode()


def progress_after(count: int) -> Progress:
    """The progress of a checkpoint that was stored at an evaluation."""
    branch, step = STEPS[count - 1] if count else (0, 0)
    mark = LogMark.of("".join(LINES[:count]).encode())
    return Progress(0.1, step=step, branch=branch, evaluated_step=step, logged=mark)


@pytest.fixture
def log(folder: RunFolder) -> Log:
    for copy in (folder.log.shown, folder.log.stored):
        copy.write_bytes(WHOLE)
    return folder.log


def place(line: bytes) -> tuple[Any, Any]:
    values = json.loads(line)
    return values.get("branch", 0), values["step"]


def lines_of(content: bytes) -> list[bytes]:
    """Return the lines, each with its end but for the last; a carriage return alone ends none."""
    return re.findall(rb"[^\n]*\n|[^\n]+", content)


def harmed() -> st.SearchStrategy[bytes | None]:
    """A copy that was lost, cut, followed by something, or changed in a byte or two."""

    def changed(places: list[tuple[int, int]]) -> bytes:
        content = bytearray(WHOLE)
        for at, byte in places:
            content[at] = byte
        return bytes(content)

    places = st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
    return st.one_of(
        st.none(),
        st.integers(0, len(WHOLE)).map(lambda end: WHOLE[:end]),
        st.binary(max_size=40).map(lambda more: WHOLE + more),
        st.lists(places, max_size=2).map(changed),
        st.binary(max_size=60),
    )


@examples(150)
@given(shown=harmed(), stored=harmed(), count=st.integers(0, len(LINES)))
def test_log_holds_the_checkpoints_evaluations_whatever_befell_its_copies(
    tmp_path_factory: pytest.TempPathFactory, shown: bytes | None, stored: bytes | None, count: int
) -> None:
    """Either they are whole, or it is said and each line that a copy has is kept; what is said is
    said again by the next start alone, and nothing a copy held is gone.
    """
    root = tmp_path_factory.mktemp("run")
    (root / "checkpoints").mkdir()
    log, progress = RunFolder(root).log, progress_after(count)
    expected = "".join(LINES[:count]).encode()
    given_copies = {log.shown: shown, log.stored: stored}
    for path, content in given_copies.items():
        if content is not None:
            path.write_bytes(content)
    said: list[str] = []
    looked_at = log.read(progress)
    mark = log.settle(progress, warnings_into(said))
    after = log.shown.read_bytes()
    assert log.stored.read_bytes() == after == looked_at.content
    assert LogMark.of(after) == mark
    sound = any(content and content.startswith(expected) for content in given_copies.values())
    assert said == ([] if sound or count == 0 else ["log_damaged"])
    if not said:
        assert after == expected
    kept = set(lines_of(after))
    there = {line for content in given_copies.values() for line in lines_of(content or b"")}
    assert kept & set(LINES[count:]) == set()
    assert {place(line) for line in kept} >= {
        place(line.encode()) for line in LINES[:count] if line.encode() in there or not said
    }
    aside = root / "checkpoints" / store.QUARANTINE
    saved = {line for path in aside.glob("*") for line in lines_of(path.read_bytes())}
    lost = there - kept - saved
    assert len(lost) <= (2 if not said else 0)  # of each copy, the line a stopped start leaves
    again = log.settle(progress, warnings_into(said))
    assert (again, log.shown.read_bytes()) == (mark, after)
    assert {path.name for path in aside.glob("*")} <= {"metrics.jsonl", "metrics.jsonl.1"}


def test_log_is_cut_to_a_checkpoint_and_keeps_what_was_cut(log: Log) -> None:
    log.settle(progress_after(4), no_warning)
    assert not (log.checkpoints / store.QUARANTINE).exists()  # one line: a stopped start's
    log.append(LINES[4].rstrip("\n"))
    log.settle(progress_after(2), no_warning)
    assert log.shown.read_bytes() == log.stored.read_bytes() == "".join(LINES[:2]).encode()
    (kept,) = (log.checkpoints / store.QUARANTINE).iterdir()
    assert kept.read_bytes() == WHOLE


def test_log_that_may_not_be_read_is_refused(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path == log.shown:
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(CheckpointError, match="Input/output error"):
        log.settle(progress_after(5), no_warning)
    assert log.read(progress_after(5)).lines == [line.rstrip("\n") for line in LINES]


def test_log_of_a_running_process_ends_with_its_last_whole_line(log: Log) -> None:
    log.shown.write_bytes(WHOLE[:-3])
    assert log.read(progress_after(2), beyond=True).lines == [line[:-1] for line in LINES[:4]]


def test_log_of_an_older_version_is_taken_from_its_checkpoints(
    small_data: Path, tmp_path: Path, twelve_steps: RunFolder, undisturbed: RunFolder
) -> None:
    as_before_logs(twelve_steps)
    assert store.read(twelve_steps.checkpoints / "ckpt-12").progress.logged.lines == 3
    twelve_steps.metrics.write_text("lost\n")
    facts = details(survey(twelve_steps))
    assert [line["step"] for line in facts["evaluations"]] == [4, 8, 12]
    assert facts["evaluations_lost"] == 0
    _, recorder, folder = run_small(small_data, tmp_path)
    assert "log_damaged" not in recorder.keys
    check_same_end(folder, undisturbed)


def test_log_that_is_lost_costs_no_training_and_is_said_until_it_is_stored_anew(
    small_data: Path, tmp_path: Path, twelve_steps: RunFolder, undisturbed: RunFolder
) -> None:
    lines = twelve_steps.metrics.read_bytes().splitlines(keepends=True)
    twelve_steps.log.stored.unlink()
    twelve_steps.metrics.write_bytes(lines[0] + b"x" + lines[1] + lines[2])
    assert details(survey(twelve_steps))["evaluations_lost"] == 1
    _, recorder, folder = run_small(small_data, tmp_path)
    assert recorder.keys.count("log_damaged") == 1
    whole = undisturbed.metrics.read_bytes().splitlines(keepends=True)
    assert folder.metrics.read_bytes() == b"".join([whole[0], *whole[2:]])
    assert (folder.checkpoints / store.QUARANTINE / "metrics.jsonl").read_bytes()
    ends = [store.load(store.scan(one.checkpoints)[-1]) for one in (folder, undisturbed)]
    assert ends[0].digest() == ends[1].digest()
    recorder = Recorder()
    run_small(small_data, tmp_path, recorder)
    assert "log_damaged" not in recorder.keys


@contextmanager
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count the bytes that are written."""
    from reprise import durable

    sizes: list[int] = []
    real = durable.Disk.write

    def write(self: Any, path: Path, mode: Any, *chunks: Any) -> None:
        sizes.append(sum(len(chunk) for chunk in chunks))
        real(self, path, mode, *chunks)

    with monkeypatch.context() as patch:
        patch.setattr(durable.Disk, "write", write)
        yield sizes


def test_log_makes_no_save_larger(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 10 evaluations and after 10,000: the log's are bytes appended, once."""
    sizes = []
    folder.log.settle(Progress(0.1), no_warning)
    line = '{"step": 100}'
    for number, lines in ((1, 10), (2, 10_000)):
        one = snapshot(number, 0.5)
        mark = LogMark.of(f"{line}\n".encode() * lines)
        at = Progress(**vars(one.progress) | {"logged": mark})
        with written(monkeypatch) as total:
            folder.log.append(line)
            store.save(folder.checkpoints, Snapshot(one.arrays, at), IDENTITY)
        sizes.append(sum(total))
        assert store.scan(folder.checkpoints)[-1].progress.logged == mark
    assert sizes[1] - sizes[0] < 50  # the numbers of a mark have more digits
