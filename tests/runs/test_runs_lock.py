"""One writer at a time, and the lock ends with its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import ENVIRONMENT
from reprise.errors import RunInUseError
from reprise.runs.folder import RunFolder, locked

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
    vectors = folder.path / ".draft-1-vectors"  # exported by process 1, which always runs
    crashed = folder.path / ".draft-99999999-run.json"
    checkpoint = folder.checkpoints / ".draft-1-ckpt-5"  # the lock is ours: a number used again
    for path in (vectors, crashed, checkpoint):
        path.mkdir()
    with locked(folder):
        assert [path.is_dir() for path in (vectors, crashed, checkpoint)] == [True, False, False]
