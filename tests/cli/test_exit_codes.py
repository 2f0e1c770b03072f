"""Exit codes: one table in the code, and each is reached by a real command."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.commands import ENVIRONMENT, QUICK, RUN, Done, reprise, reprise_command, train
from reprise import errors
from reprise.errors import EXIT_CODES, RepriseError
from reprise.runs.folder import RunFolder, locked
from reprise.text.messages import Messages

HEARS_ALL = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"
FAULT = "import reprise.cli.main as m; m.setup = lambda: 1 / 0; m.main()"
LIMIT = "resource.setrlimit(resource.RLIMIT_AS, (120 << 20, 120 << 20))"


def of_a_fault(data: Path, runs: Path) -> Done:
    command = [sys.executable, "-c", FAULT]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)


def of_data(data: Path, runs: Path) -> Done:
    (runs / "small").mkdir()
    return train(runs, runs, "--steps", 5)


def of_settings(data: Path, runs: Path) -> Done:
    assert train(data, runs, "--steps", 5).returncode == 0
    return train(data, runs, "--steps", 5, "--seed", 7)


def of_a_run_in_use(data: Path, runs: Path) -> Done:
    with locked(RunFolder(runs / RUN)):
        return train(data, runs, "--steps", 5)


def of_no_checkpoint(data: Path, runs: Path) -> Done:
    assert train(data, runs, "--steps", 5).returncode == 0
    for path in (runs / RUN / "checkpoints").glob("ckpt-*"):
        path.rename(path.with_name(f"aside-{path.name}"))
    return reprise("evaluate", runs / RUN)


def of_a_refused_write(data: Path, runs: Path) -> Done:
    (runs / "file").touch()
    return train(data, runs / "file", "--steps", 5)


def of_a_device(data: Path, runs: Path) -> Done:
    return train(data, runs, "--steps", 5, own_process=True, JAX_PLATFORMS="nonsense")


def of_a_tracker(data: Path, runs: Path) -> Done:
    assert train(data, runs, "--steps", 5).returncode == 0
    (runs / "mlflow.py").touch()  # a client that cannot do anything
    path = f"{ENVIRONMENT['PYTHONPATH']}{os.pathsep}{runs}"
    command = ("track", "t", "--track", "mlflow", "--runs-dir", runs)
    return reprise(*command, own_process=True, PYTHONPATH=path)


def of_processes_that_do_not_come(data: Path, runs: Path) -> Done:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    place = ("--coordinator", address, "--num-processes", 2, "--process-id", 1)
    done = train(data, runs, *place, own_process=True, REPRISE_START_SECONDS="1")
    assert f"have not all come together at {address}" in done.stderr
    return done


def stopped_by(number: signal.Signals) -> Callable[[Path, Path], Done]:
    def stopped(data: Path, runs: Path) -> Done:
        where = ("--data-dir", data, "--runs-dir", runs)
        command = reprise_command("train", *QUICK, *where, "--steps", 10**6, before=HEARS_ALL)
        with subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert any(line.startswith("step ") for line in process.stdout)
            os.kill(process.pid, number)
            printed, told = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, printed, told)

    return stopped


REACHED: dict[int, Callable[[Path, Path], Done]] = {
    0: lambda data, runs: train(data, runs, "--steps", 5),
    1: of_a_fault,
    2: lambda data, runs: train(data, runs, "--steps", -1),
    3: of_data,
    4: of_settings,
    5: of_a_run_in_use,
    6: of_no_checkpoint,
    7: of_a_refused_write,
    8: lambda data, runs: train(data, runs, "--steps", 5, before=LIMIT),
    9: of_a_device,
    10: of_a_tracker,
    11: of_processes_that_do_not_come,
    129: stopped_by(signal.SIGHUP),
    130: stopped_by(signal.SIGINT),
    143: stopped_by(signal.SIGTERM),
}


@pytest.mark.parametrize("code", EXIT_CODES)
def test_exit_code_is_reached_by_a_command(code: int, small_data: Path, tmp_path: Path) -> None:
    done = REACHED[code](small_data, tmp_path)
    assert done.returncode == code, done.stderr
    assert ("Traceback" in done.stderr) == (code == 1)
    assert bool(done.stderr) == (code in range(1, 12))


def test_exit_codes_name_each_error_once() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, RepriseError)
    ]
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes) > 5
    assert set(EXIT_CODES) == set(codes) | {0, 129, 130, 143}


def test_group_help_lists_the_exit_codes() -> None:
    printed = reprise("--help").stdout
    for code, key in EXIT_CODES.items():
        assert re.search(rf"\b{code} +{re.escape(Messages('en').text(key))}", printed)
    assert "Exit codes" not in reprise("runs", "--help").stdout
