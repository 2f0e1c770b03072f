"""Scenarios 43-45: the logs, the time counters, and signals at bad moments."""

import json
import re
import signal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

from helpers.checkpoints import no_warning
from helpers.commands import (
    ENVIRONMENT,
    QUICK,
    RUN,
    Recorder,
    check_same_end,
    evaluating,
    reprise_command,
    run_small,
    state_digest,
    stopping_at,
)
from reprise.checkpoints import store
from reprise.runs import loop
from reprise.runs.folder import Resumption, RunFolder
from reprise.runs.loop import evaluate_state
from reprise.runs.manage.inspect import describe
from reprise.tracking import points_of, record_of
from reprise.tracking.tensorboard import TensorBoardLog
from reprise.training.setup import Task
from reprise.training.state import Progress

pytestmark = pytest.mark.users_bits


class KilledError(Exception):
    """Stands for SIGKILL: nothing of the session runs after it but its clean-up."""


def shown_points(folder: Path) -> Counter[tuple[str, int]]:
    """How often TensorBoard shows each (tag, step): a start's SessionLog purges what earlier
    files hold from its step on.
    """
    shown: list[tuple[str, int]] = []
    for path in sorted(folder.glob("events.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + size])
            at += 12 + size + 4
            if event.HasField("session_log"):
                shown = [(tag, step) for tag, step in shown if step < event.step]
            shown += [(value.tag, event.step) for value in event.summary.value]
    return Counter(shown)


@pytest.fixture
def flushed() -> list[tuple[int, Counter[tuple[str, int]]]]:
    """The step of each evaluation, and what is shown if the run is killed right after it."""
    return []


@pytest.fixture
def logged(
    small_data: Path,
    tmp_path: Path,
    flushed: list[tuple[int, Counter[tuple[str, int]]]],
) -> Callable[..., Counter[tuple[str, int]]]:
    """Runs small sessions that write TensorBoard files, and returns the shown points."""
    branch = tmp_path / "tensorboard" / "branch-0"

    class Logging(Recorder):
        folder: RunFolder | None = None

        def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
            self.folder = folder

        def training_begins(self, progress: Progress) -> None:
            assert self.folder is not None
            lines = self.folder.log.read(progress).lines
            record = record_of(lines, progress.branch)
            self.log = TensorBoardLog(tmp_path / "tensorboard", progress.branch, record)

        def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
            spent = {"time/seconds": progress.seconds}
            self.log.log(progress.step, points_of(line) | spent)
            flushed.append((progress.step, shown_points(branch)))

    def start(at_step: Callable[[int], None] = lambda step: None) -> Counter[tuple[str, int]]:
        recorder = Logging(at_step)
        with suppress(KilledError):
            run_small(small_data, tmp_path, recorder)
        recorder.log.close()
        return shown_points(branch)

    return start


@pytest.mark.parametrize("harm", ["deleted", "cut", "extended", "doubled"])
@pytest.mark.parametrize("copy", ["shown", "stored"])
def test_metrics_log_that_is_damaged_is_restored_from_its_copy(
    small_data: Path, tmp_path: Path, copy: str, harm: str
) -> None:
    """Scenario 43 (tensorboard#3732): on every start metrics.jsonl holds what the checkpoint
    knows, each evaluation once.
    """
    _, _, folder = run_small(small_data, tmp_path)
    path: Path = getattr(folder.log, copy)
    whole = path.read_bytes()
    harmed = {"cut": whole[:-9], "extended": whole + b'{"step": 99', "doubled": whole * 2}
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(harmed[harm])
    _, recorder, _ = run_small(small_data, tmp_path)
    assert "log_damaged" not in recorder.keys
    assert folder.metrics.read_bytes() == folder.log.stored.read_bytes() == whole
    assert [json.loads(line)["step"] for line in whole.splitlines()] == [4, 8, 12, 16, 20]


def kill_before_saving(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Kill the run after the evaluation at a step was logged, before it is stored."""
    real = store.save

    def save(folder: Path, snapshot: Any, *about: Any) -> Path:
        if snapshot.progress.step == at:
            raise KilledError
        return real(folder, snapshot, *about)

    monkeypatch.setattr(store, "save", save)


def test_tensorboard_points_are_neither_duplicated_nor_missing(
    logged: Callable[..., Counter[tuple[str, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 43 (tensorboard#3732): stopped, and killed when the logs were ahead of the store."""
    for killed in (4, 8, 16):
        with monkeypatch.context() as patch:
            kill_before_saving(patch, killed)
            logged()
        logged(lambda step, at=killed: _terminate() if step == at + 2 else None)
    points = logged()
    assert set(points.values()) == {1}
    for tag in ("train/loss", "valid/recall@10", "time/seconds"):
        assert sorted(step for name, step in points if name == tag) == [4, 8, 12, 16, 20]


def test_tensorboard_point_after_an_interrupted_evaluation_is_not_duplicated(
    logged: Callable[..., Counter[tuple[str, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 43 (tensorboard#3732): stopped inside the evaluation at 8, killed between doing it
    anew and storing that, started again: step 8 is evaluated a third time, and shown once.
    """

    def stop_inside(task: Any, state: Any, stop: Any) -> Any:
        if state.progress.step == 8:
            _terminate()
        return evaluate_state(task, state, stop)

    with evaluating(stop_inside):
        logged()
    with monkeypatch.context() as patch:
        kill_before_saving(patch, 8)
        logged()
    assert set(logged().values()) == {1}


def test_tensorboard_points_are_in_the_file_when_an_evaluation_is_reported(
    logged: Callable[..., Counter[tuple[str, int]]],
    flushed: list[tuple[int, Counter[tuple[str, int]]]],
) -> None:
    """Scenario 43 (tensorboard#3732): a kill right after the save of a step loses none of its
    points, which no later start would write again.
    """
    final = logged()
    assert [step for step, _ in flushed] == [4, 8, 12, 16, 20]
    for step, shown in flushed:
        assert shown == Counter({point: 1 for point in final if point[1] <= step}), step


def _terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def test_seconds_are_counted_over_all_starts(
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scripted: Callable[[dict[int, float]], None],
) -> None:
    """Scenario 44 (counters that reset, seen in trainers' progress lines): time spent training is
    part of the state, pauses are not counted, and a rewind does not take it back.
    """
    scripted({4: 0.5, 8: 0.4, 12: 0.3, 16: 0.2, 20: 0.1})
    now = [1000.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def second_a_step(step: int) -> None:
        now[0] += 1.0

    for budget, source, spent in ((6, "latest", 6), (10, "latest", 10), (11, "best", 17)):
        outcome, _, folder = run_small(
            small_data, tmp_path, Recorder(second_a_step), max_steps=budget, resume_from=source
        )
        assert outcome.progress.seconds == spent
        assert describe(folder.path, "latest", no_warning)["seconds"] == spent
        now[0] += 10_000.0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_saves_prints_the_command_and_sets_the_exit_code(
    small_data: Path, tmp_path: Path, number: int, code: int
) -> None:
    """Scenario 45 (lightning#21623): SIGTERM does not end in 0, nor does Ctrl-C."""
    command = reprise_command(
        *("train", *QUICK, "--steps", 9999999, "--patience", 9999999),
        *("--data-dir", small_data, "--runs-dir", tmp_path),
    )
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step 10/"):
                process.send_signal(number)
                break
        rest = process.stdout.read()
        assert process.wait(60) == code
    stopping = re.search(r"Stopping at step (\d+); saving", rest)
    stopped = re.search(r"Stopped at step (\d+); everything is saved. Continue with:\n  (.*)", rest)
    assert stopping is not None
    assert stopped is not None
    assert stopping[1] == stopped[1]
    facts = describe(tmp_path / RUN, "latest", no_warning)
    assert facts["step"] == int(stopped[1])
    assert stopped[2] == f"reprise resume t --runs-dir {tmp_path}"


SLOW_DISK = """
import sys, time
from reprise import durable
real = durable.write_file
def write_file(path, *chunks):
    if "ckpt-10" in path.parent.name and path.name == "rows.npy":
        real(path, b"".join(chunks)[:100])
        print("saving", flush=True)
        time.sleep(60)
    real(path, *chunks)
durable.write_file = write_file
from reprise.cli.main import main
main()
"""


def test_signal_repeated_during_a_save_exits_immediately(small_data: Path, tmp_path: Path) -> None:
    """Scenario 45 (lightning#21623): the half save is no checkpoint, the one before is whole, and
    the same command ends in the bytes of a run that was never interrupted.
    """
    where = ["--data-dir", str(small_data), "--runs-dir", str(tmp_path / "torn")]
    arguments = ["train", *QUICK, *where, "--steps", "15"]
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_DISK, *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(line == "saving\n" for line in process.stdout)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)  # the first waits for the save
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    torn, whole = RunFolder(tmp_path / "torn" / RUN), RunFolder(tmp_path / "whole" / RUN)
    assert list(torn.checkpoints.glob(".draft-*"))
    assert describe(torn.path, "latest", no_warning)["step"] == 5
    as_the_command: dict[str, Any] = {"learning_rate": 0.001, "test_iter": 5, "top_n": 50}
    for runs in ("torn", "whole"):
        run_small(small_data, tmp_path / runs, max_steps=15, **as_the_command)
    assert not list(torn.checkpoints.glob(".draft-*"))
    check_same_end(torn, whole)


def test_signal_at_any_step_stores_the_state_between_two_steps(
    small_data: Path, tmp_path: Path
) -> None:
    """Scenario 45 (lightning#21623): what a stop at N stores is what a budget of N stores, byte
    for byte: never rows of one step and parameters of another.
    """
    for step in (1, 7):
        _, _, stopped = run_small(small_data, tmp_path / f"stopped{step}", stopping_at(step))
        _, _, ended = run_small(small_data, tmp_path / f"ended{step}", max_steps=step)
        assert state_digest(stopped) == state_digest(ended)


class StoppedBefore(Recorder):
    """Asks for a stop before the first step."""

    def training_begins(self, progress: Progress) -> None:
        _terminate()


def test_signal_before_the_first_step_loses_nothing(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    """Scenario 45 (lightning#21623): a run stopped at step 0, and once more where it resumed."""
    for stop, recorder in (
        (0, StoppedBefore()),
        (0, StoppedBefore()),
        (10, stopping_at(10)),
        (10, StoppedBefore()),
    ):
        outcome, _, folder = run_small(small_data, tmp_path, recorder)
        assert (outcome.exit_code, outcome.progress.step) == (143, stop)
    run_small(small_data, tmp_path)
    check_same_end(folder, undisturbed)
