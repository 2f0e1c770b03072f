"""One writer at a time, and the lock ends with its process."""

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import ENVIRONMENT, check_refusal, reprise, train
from helpers.drafts import left_draft, living_draft
from reprise.errors import RunInUseError
from reprise.runs.folder import RunFolder, locked
from reprise.runs.lock import briefly_held, held, writer_of

HOLDER = """
import sys, time
from pathlib import Path
from reprise.runs.folder import RunFolder, locked
with locked(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_refuses_a_second_writer_with_the_holders_pid(tmp_path: Path) -> None:
    """Scenario 31."""
    folder = RunFolder(tmp_path / "run")
    command = [sys.executable, "-c", HOLDER, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunInUseError) as refusal, locked(folder):
            pass
        assert refusal.value.values["pid"] == str(holder.pid)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with locked(folder):
        assert (folder.path / "LOCK").read_text() == f"{os.getpid()}\n"


def test_lock_sweeps_crash_leftovers_and_spares_files_of_other_writers(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    crashed = left_draft(folder.path, "run.json")
    with (
        living_draft(folder.path, "vectors") as vectors,
        living_draft(folder.checkpoints, "ckpt-5") as checkpoint,  # the run's lock is ours
        locked(folder),
    ):
        assert [path.is_dir() for path in (vectors, crashed, checkpoint)] == [True, False, False]


# A file system without locks


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_held_needs_no_locks_of_the_file_system(tmp_path: Path) -> None:
    assert writer_of(tmp_path) is None
    with held(tmp_path):
        assert writer_of(tmp_path) == str(os.getpid())
        with pytest.raises(RunInUseError) as refusal, held(tmp_path):
            pass
        assert str(tmp_path / "LOCK.owner") in str(refusal.value)
    assert writer_of(tmp_path) is None
    with held(tmp_path):
        pass


@pytest.mark.usefixtures("no_locks")
def test_held_takes_over_from_a_process_that_has_ended_and_from_no_other(tmp_path: Path) -> None:
    with held(tmp_path):
        here = json.loads((tmp_path / "LOCK.owner").read_text())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for change in ({"pid": ended.pid}, {"started": "1"}):  # gone; its number is another's now
        (tmp_path / "LOCK.owner").write_text(json.dumps(here | change))
        assert writer_of(tmp_path) is None
        with held(tmp_path):
            assert json.loads((tmp_path / "LOCK.owner").read_text()) == here
        assert sorted(path.name for path in tmp_path.iterdir()) == ["LOCK"]
    for change in ({"host": "other"}, {"boot": "before"}, {"container": "pid:[1]"}):
        (tmp_path / "LOCK.owner").write_text(json.dumps(here | {"pid": ended.pid} | change))
        with pytest.raises(RunInUseError, match=r"LOCK\.owner"), held(tmp_path):
            pass
    (tmp_path / "LOCK.owner").write_text("")  # of a process that was killed as it wrote
    with pytest.raises(RunInUseError, match=r"LOCK\.owner"), held(tmp_path):
        pass


def test_held_respects_a_writer_whose_machine_has_no_locks(tmp_path: Path) -> None:
    owner = {"host": "other", "boot": "1", "container": "2", "pid": 3, "started": "4"}
    (tmp_path / "LOCK.owner").write_text(json.dumps(owner))
    with pytest.raises(RunInUseError, match="process 3 on other"), held(tmp_path):
        pass
    assert writer_of(tmp_path) == "3"


@pytest.mark.usefixtures("no_locks")
def test_briefly_held_waits_for_its_turn(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with briefly_held(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with briefly_held(tmp_path):
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


# A folder that cannot be listed


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_train_refuses_a_checkpoints_folder_that_cannot_be_listed(
    twelve_steps: RunFolder, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(twelve_steps.path)
    listdir = os.listdir

    def refuse(path: Any = ".") -> list[str]:
        if Path(path).name == "checkpoints":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr("os.listdir", refuse)
    done = train(small_data, twelve_steps.path.parent, "--steps", 20, "--test-iter", 4)
    check_refusal(done, 6, "Cannot list", "checkpoints: Permission denied")
    monkeypatch.undo()
    assert contents(twelve_steps.path) == before


def test_runs_shows_a_run_that_cannot_be_listed_and_the_others(
    twelve_steps: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(twelve_steps.path, twelve_steps.path.with_name("small_other"))
    listdir = os.listdir

    def refuse(path: Any = ".") -> list[str]:
        if Path(path) == twelve_steps.path.with_name("small_other") / "checkpoints":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return listdir(path)

    monkeypatch.setattr("os.listdir", refuse)
    done = reprise("runs", "--runs-dir", twelve_steps.path.parent, "--json")
    assert done.returncode == 0, done.stderr
    states = {Path(run["folder"]).name: run["state"] for run in json.loads(done.stdout)}
    assert states["small_other"] == "damaged"
    assert states[twelve_steps.path.name] in ("interrupted", "finished")


def test_runs_does_not_wait_for_a_pipe_in_the_place_of_a_record(twelve_steps: RunFolder) -> None:
    twelve_steps.record.unlink()
    os.mkfifo(twelve_steps.record)
    done = reprise("runs", "--runs-dir", twelve_steps.path.parent, "--json")
    assert done.returncode == 0, done.stderr
    assert [Path(run["folder"]).name for run in json.loads(done.stdout)] == [twelve_steps.path.name]


def test_train_says_once_that_folders_cannot_be_made_durable(
    twelve_steps: RunFolder, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def of_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", of_files)
    done = train(small_data, twelve_steps.path.parent, "--steps", 20, "--test-iter", 4)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("cannot make folders durable") == 1
