"""Real faults in real processes: SIGKILL before each system call of a save, failing disks."""

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import saver
from helpers.commands import ENVIRONMENT, ROOT
from helpers.effort import some_at_length
from helpers.faults import TRACING, Call, attached, needs_strace, read_trace
from reprise.checkpoints import store
from reprise.errors import WriteError
from reprise.runs.folder import RunFolder

pytestmark = pytest.mark.users_bits

CHUNKS = 8  # a chunk is every eighth call; `make test` tries the first
LEAST_KILLS = 200
WRITING = ENVIRONMENT | {"PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}


class Saver:
    """A server of processes that save (`saver.main`), each traced from before its first save on."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self, folder: Path, *options: str, log: Path | None = None
    ) -> tuple[int, list[str], str]:
        """Save in the folder under strace with such options; return the exit code, what was
        acknowledged, the errors.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        output, errors = (folder.with_suffix(suffix) for suffix in (".out", ".err"))
        print(folder, output, errors, file=self._process.stdin, flush=True)
        process = int(self._process.stdout.readline())
        with subprocess.Popen(attached(process, saver.SIGN, *options, log=log)) as tracer:
            code = int(self._process.stdout.readline())
            assert tracer.wait(60) in (0, 128 + signal.SIGKILL, -signal.SIGKILL)
        return code, output.read_text().split(), errors.read_text()


@pytest.fixture(scope="module")
def saving() -> Iterator[Saver]:
    server = [sys.executable, str(ROOT / "tests" / "helpers" / "saver.py")]
    with subprocess.Popen(
        server, env=WRITING, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Saver(process)


@pytest.fixture(scope="module")
def calls(saving: Saver, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """The calls of an undisturbed sequence that change files, and its acknowledgements."""
    root = tmp_path_factory.mktemp("traced")
    code, _, errors = saving.run(root / "run", *TRACING, log=root / "trace")
    assert code == 0, errors
    return [call for call in read_trace(root / "trace", root / "run") if call.changes_files]


@needs_strace
def test_injection_finds_enough_calls_to_kill_at(calls: list[Call]) -> None:
    aimed = [call for call in calls if not call.is_output]
    assert len(aimed) >= LEAST_KILLS
    names = {call.name.removesuffix("at").removesuffix("at2") for call in aimed}
    assert names >= {"open", "write", "fsync", "mkdir", "rename", "unlink", "ftruncate"}


@needs_strace
@pytest.mark.parametrize(
    "chunk",
    some_at_length(range(CHUNKS), [0]),
)
def test_save_killed_before_any_call_loses_nothing(
    saving: Saver,
    calls: list[Call],
    chunk: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Scenarios 14, 17, 20, 22, 37 (lightning#1150, lightning#688, lightning#19367): SIGKILL before
    each call that changes the disk.
    """
    aimed = range(chunk, len(calls), CHUNKS)
    for number in aimed:
        folder = RunFolder(tmp_path / str(number))
        code, acknowledged, errors = saving.run(folder.path, *calls[number].inject("signal=KILL"))
        assert code == -signal.SIGKILL, (calls[number], errors)
        assert acknowledged == acknowledgements(calls[:number])  # killed just there
        saver.check(folder, acknowledged)
    record_property("SIGKILLs before a system call of a save, survived", len(aimed))


def acknowledgements(calls: list[Call]) -> list[str]:
    printed = "".join(call.text for call in calls if call.is_output)
    return re.findall(r"[0-9a-f]{64}", printed)


@needs_strace
def test_save_with_a_failed_fsync_costs_only_that_attempt(
    saving: Saver, calls: list[Call], tmp_path: Path
) -> None:
    """Scenarios 23, 30 (fsyncgate): EIO at each fsync of a save that deletes an older one."""
    saves = [number for number, call in enumerate(calls) if acknowledgements([call])]
    one_save = calls[saves[2] : saves[3]]
    refused = [call for call in one_save if call.name == "fsync"]
    assert len(refused) >= 8
    for number, call in enumerate(refused):
        before = calls[calls.index(call) - 1]
        if ".trash-" in before.text:  # no failed clean-up ends a save: see scenario 18
            continue
        folder = RunFolder(tmp_path / str(number))
        log = tmp_path / f"{number}.trace"
        code, acknowledged, errors = saving.run(folder.path, *call.inject("error=EIO"), log=log)
        assert code == 7, (call, errors)
        assert "Input/output error" in errors
        assert acknowledged == acknowledgements(calls[: saves[3]])
        # A thread that was in a call when the process ended may have a line of its own behind them.
        synced = [line for line in log.read_text().splitlines() if "fsync" in line]
        assert "(INJECTED)" in synced[-1]  # not tried again
        saver.check(folder, acknowledged)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")
def test_save_repeated_after_a_failed_fsync_makes_the_name_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 22 (power loss): the rename was done, the folder's fsync failed, so that a power cut
    may undo it.
    """
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    real, synced = os.fsync, []

    def fsync(descriptor: int) -> None:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        synced.append(path)
        if path == str(folder) and synced.count(path) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(WriteError):
        store.save(folder, saver.SEQUENCE[0], saver.IDENTITY)
    store.save(folder, saver.SEQUENCE[0], saver.IDENTITY)
    assert synced.count(str(folder)) == 2
