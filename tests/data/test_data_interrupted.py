"""`prepare` in its own process: failed writes, permissions, interrupts, progress in a terminal."""

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from helpers.builders_data import write_inter
from helpers.commands import ENVIRONMENT, check_refusal, reprise, reprise_command
from helpers.faults import aimed_at, needs_strace, under_strace
from reprise.data.dataset import open_dataset
from reprise.data.statistics import totals

EVENTS = [(f"u{n % 40}", f"i{n % 9}", float(n)) for n in range(2000)]


def given(folder: Path, *more: object) -> tuple[object, ...]:
    return ("prepare", folder / "x.inter", "--name", "x", "--data-dir", folder / "data", *more)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder that holds x.inter."""
    write_inter(tmp_path / "x.inter", EVENTS)
    return tmp_path


@needs_strace
@pytest.mark.parametrize("call", ["fsync", "?rename,?renameat,?renameat2"])
def test_prepare_on_a_full_disk_leaves_no_partial_dataset(source: Path, call: str) -> None:
    command = under_strace(reprise_command(*given(source)), *aimed_at(call, "error=ENOSPC"))
    done = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    check_refusal(done, 7, "Cannot write", str(source / "data"), "No space left on device")
    assert not list((source / "data").glob("*"))


def test_prepare_past_a_file_size_limit_leaves_no_partial_dataset(source: Path) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    done = reprise(*given(source), before=limit)
    check_refusal(done, 7, "Cannot write", "File too large")
    assert not list((source / "data").glob("*"))


@needs_strace
@pytest.mark.parametrize(
    ("closed", "call", "code"), [("x.inter", "openat", 3), ("data/", "?mkdir,?mkdirat", 7)]
)
def test_prepare_names_a_path_without_permission(
    source: Path, closed: str, call: str, code: int
) -> None:
    (source / "data").mkdir()
    only = ("-P", str(source / closed)) if call == "openat" else ()
    command = under_strace(reprise_command(*given(source)), *aimed_at(call, "error=EACCES"), *only)
    done = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    check_refusal(done, code, str(source / closed), "ermission denied")
    assert not list((source / "data").glob("*"))


def test_prepare_interrupted_leaves_no_partial_dataset(source: Path) -> None:
    """Whenever it comes: also when the folder is being written."""
    for delay in (0.3, 0.8, 1.2):
        process = subprocess.Popen(
            reprise_command(*given(source)),
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        if (source / "data" / "x").exists():  # it was quicker: then all is there
            assert totals(open_dataset(source / "data" / "x")) == (40, 2000)
            break
        assert process.returncode != 0


def test_prepare_shows_stages_and_rows_in_a_terminal(source: Path) -> None:
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        reprise_command(*given(source)),
        env=ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=end,
    )
    os.close(end)
    shown = b""
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not read:
            break
        shown += read
    out, _ = process.communicate(timeout=120)
    os.close(terminal)
    assert process.returncode == 0
    assert b"2,000" in shown
    assert out.decode().startswith("Prepared x: 40 users")
