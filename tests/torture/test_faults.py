"""`reprise train` with failing and full disks, interrupts, rivals and jumping clocks."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.checkpoints import no_warning
from helpers.commands import ENVIRONMENT, QUICK, RUN, reprise_command, train
from helpers.effort import some_at_length
from helpers.faults import aimed_at, needs_strace, under_strace
from reprise.runs.manage.inspect import describe

pytestmark = pytest.mark.users_bits

PROMPTLY = 60.0


def command(data: Path, runs: Path, *options: object, before: str = "") -> list[str]:
    where = ("--data-dir", data, "--runs-dir", runs)
    return reprise_command("train", *QUICK, "--steps", 20, *where, *options, before=before)


def ended(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    variables = ENVIRONMENT | environment
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, check=False, timeout=PROMPTLY
    )


def refused(command: list[str], code: int, said: str) -> None:
    """Assert that the command ends with the exit code and one clear line."""
    done = ended(command)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def facts(runs: Path) -> dict[str, Any]:
    """Return all that must not depend on what the run went through."""
    found = describe(runs / RUN, "latest", no_warning)
    record = (runs / RUN / "metrics.jsonl").read_bytes()
    return {"digest": found["state_digest"], "best": found["best"], "record": record}


@pytest.fixture(scope="module")
def undisturbed(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    runs = tmp_path_factory.mktemp("undisturbed")
    done = ended(command(small_data, runs))
    assert done.returncode == 0, done.stderr
    return facts(runs)


def check_goes_on(data: Path, runs: Path, undisturbed: dict[str, Any]) -> None:
    done = train(data, runs, "--steps", 20)
    assert done.returncode == 0, done.stderr
    assert "damaged" not in done.stdout + done.stderr
    assert facts(runs) == undisturbed


@needs_strace
@pytest.mark.parametrize("number", some_at_length([3, 30], [30]))
def test_train_on_a_failing_disk_ends_in_one_line_and_resumes(
    small_data: Path, tmp_path: Path, undisturbed: dict[str, Any], number: int
) -> None:
    """Scenarios 23, 24, 30 (failing disks): EIO from an fsync, in the start's own writes or in a
    background save.
    """
    failing = under_strace(
        command(small_data, tmp_path), *aimed_at("fsync", f"error=EIO:when={number}")
    )
    refused(failing, 7, "Input/output error")
    check_goes_on(small_data, tmp_path, undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


needs_mount = pytest.mark.skipif(shutil.which("mount") is None, reason="mount is not installed")


@needs_mount
@pytest.mark.parametrize("kilobytes", some_at_length([0, 60, 200], [60]))
def test_train_on_a_full_disk_ends_in_one_line_and_resumes_with_space(
    small_data: Path, small_disk: Path, undisturbed: dict[str, Any], kilobytes: int
) -> None:
    """Scenario 30 (full disks): the line names it; with room again the run ends the same."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2**21 - 1024 * kilobytes - 8192))
    runs = small_disk / "runs"
    refused(command(small_data, runs), 7, "No space left on device")
    ballast.unlink()
    check_goes_on(small_data, runs, undisturbed)


@needs_mount
def test_train_on_a_read_only_disk_ends_in_one_line(
    small_data: Path, small_disk: Path, undisturbed: dict[str, Any]
) -> None:
    assert train(small_data, small_disk, "--steps", 10).returncode == 0
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    refused(command(small_data, small_disk), 7, "Read-only file system")
    subprocess.run([*remount[:-2], "remount,rw", remount[-1]], check=True)
    check_goes_on(small_data, small_disk, undisturbed)


def test_train_in_a_folder_without_permission_ends_in_one_line(
    small_data: Path, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    assert train(small_data, tmp_path, "--steps", 10).returncode == 0
    folders = [tmp_path / RUN, tmp_path / RUN / "checkpoints"]
    for folder in folders:
        folder.chmod(0o555)
    # Capabilities, not the identity, let root write everywhere: the identity stays.
    before = (
        "import ctypes; libc = ctypes.CDLL(None);"
        " [libc.prctl(24, capability, 0, 0, 0) for capability in range(41)]"
        if os.getuid() == 0
        else ""
    )
    refused(command(small_data, tmp_path, before=before), 7, "Permission denied")
    for folder in folders:
        folder.chmod(0o755)
    check_goes_on(small_data, tmp_path, undisturbed)


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PROMPTLY
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_train_started_twice_is_refused_once_with_the_others_pid(
    small_data: Path, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """Scenario 31 (two jobs on one folder): one is refused with the other's pid."""
    lock = tmp_path / RUN / "LOCK"
    starts = [
        subprocess.Popen(
            command(small_data, tmp_path),
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        await_that(lambda: lock.is_file() and lock.read_text().endswith("\n"))
        holder = int(lock.read_text())
        os.kill(holder, signal.SIGSTOP)  # until the other has met the lock
        [first] = [start for start in starts if start.pid == holder]
        [second] = [start for start in starts if start.pid != holder]
        _, errors = second.communicate(timeout=PROMPTLY)
        assert second.returncode == 5
        assert f"in use by process {holder}" in errors
        os.kill(holder, signal.SIGCONT)
        first.communicate(timeout=PROMPTLY)
        assert first.returncode == 0
    finally:
        for start in starts:
            start.kill()
            start.wait()
    assert facts(tmp_path) == undisturbed


@pytest.mark.long
@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
def test_train_is_not_affected_by_a_jumping_clock(
    small_data: Path, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """No decision is taken by wall-clock times, nor by those of files."""
    rng = random.Random(5)
    jumps = ("+400d", "-400d", "+10y", "-30y")
    for steps, jump in zip((4, 7, 12, 20), jumps, strict=True):
        start = command(small_data, tmp_path, "--steps", steps)
        done = ended(["faketime", "--exclude-monotonic", "-f", jump, *start])
        assert done.returncode == 0, done.stderr
        for path in tmp_path.rglob("*"):
            instant = rng.uniform(0, 4e9)
            os.utime(path, (instant, instant))
    assert facts(tmp_path) == undisturbed
