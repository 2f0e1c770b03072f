"""Standard streams and signals as cron, nohup, pipes and supervisors give them."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import ENVIRONMENT, Done, inspect_json, reprise_command, train
from reprise.runs.signals import end_at_once_on_interrupt, stop_requests
from reprise.runtime import streams
from reprise.runtime.streams import give_up, is_terminal
from reprise.show.progress import ProgressLine
from reprise.show.run import Voice
from reprise.text.messages import Messages

CLOSED = {
    "stdout": "os.close(1)",
    "stderr": "os.close(2)",
    "all": "os.closerange(0, 3)",
}


@pytest.mark.parametrize("closed", CLOSED)
def test_train_works_with_closed_streams(closed: str, small_data: Path, tmp_path: Path) -> None:
    done = train(small_data, tmp_path, "--steps", 5, before=CLOSED[closed])
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    log = (tmp_path / "small_t" / "train.log").read_text(encoding="utf-8")
    assert "step 5/5" in log
    assert inspect_json(tmp_path / "small_t")["step"] == 5


def test_prepare_streams_keeps_the_numbers_of_closed_streams(tmp_path: Path) -> None:
    """Else what a library prints to standard error would be written into a checkpoint."""
    code = (
        "import os; os.closerange(0, 3); import sys; sys.stdin = sys.stdout = sys.stderr = None;"
        "from reprise.runtime.streams import prepare_streams; prepare_streams();"
        f"file = open({str(tmp_path / 'file')!r}, 'w'); os.write(1, b'x'); os.write(2, b'x');"
        "print('x'); print('x', file=sys.stderr); assert sys.stdin.read() == '';"
        "sys.exit(file.fileno() + len(open(file.name).read()))"
    )
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT).returncode == 3


def output_into(target: str, *arguments: object) -> Done:
    """Run a command with standard output on a file of the system."""
    with open(target, "wb") as file:
        return subprocess.run(
            reprise_command(*arguments), stdout=file, stderr=subprocess.PIPE, env=ENVIRONMENT,
            encoding="utf-8",
        )  # fmt: skip


def test_run_guarded_reports_output_that_cannot_be_written() -> None:
    done = output_into("/dev/full", "--help")
    assert (done.returncode, done.stderr) == (
        7,
        "Error: Cannot use /dev/stdout: No space left on device.\n",
    )


def test_prepare_streams_drops_output_without_a_reader(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            reprise_command("config", "show"), stdout=pipe, stderr=pipe, env=ENVIRONMENT
        )
    assert done.returncode == 0


def test_outlet_waits_for_a_nonblocking_pipe() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    text = b"x" * 300_000  # more than a pipe holds
    with subprocess.Popen(["wc", "-c"], stdin=reading, stdout=subprocess.PIPE) as counter:
        os.close(reading)
        file = io.BufferedWriter(streams._Outlet(writing))
        file.write(text)
        file.flush()
        os.close(writing)
        assert counter.stdout is not None
        assert int(counter.stdout.read()) == len(text)


def test_voice_and_progress_line_work_without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `reprise.train` is called there: None stands for each."""
    from helpers.commands import small_config
    from reprise.training.state import Progress

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    for to_stderr in (False, True):
        Voice(Messages("en"), to_stderr=to_stderr).say("no_best")
    ProgressLine(small_config(), Progress(0.01), Messages("en"), print).close()
    assert not is_terminal(None)


def test_give_up_ignores_a_stream_without_a_file() -> None:
    stream = io.StringIO("kept")
    give_up(stream)
    assert stream.getvalue() == "kept"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_stop_requests_hear_each_signal(number: signal.Signals, code: int) -> None:
    # What starts the tests may have them ignore SIGHUP, as nohup does.
    before = signal.signal(number, signal.default_int_handler)
    try:
        with stop_requests() as stop:
            os.kill(os.getpid(), number)
            assert (bool(stop), stop.exit_code) == (True, code)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stop_requests_leave_ignored_signals_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        end_at_once_on_interrupt()
        with stop_requests() as stop:
            os.kill(os.getpid(), number)
            assert not stop
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
