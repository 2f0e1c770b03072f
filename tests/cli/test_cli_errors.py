"""Exit codes and error lines of commands that fail."""

import os
import signal
import sys
from pathlib import Path

import click
import pytest

from helpers.commands import check_refusal, comirec, reprise
from reprise.cli.main import run_guarded


def test_main_does_not_report_the_end_of_a_file_as_an_interrupt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Click ends a command the same way for both, and without a word."""
    monkeypatch.setattr("sys.argv", ["reprise"])

    @click.command()
    def reads() -> None:
        """Read a file that ends too soon."""
        raise EOFError("cut short")

    with pytest.raises(EOFError, match="cut short"):
        run_guarded(reads)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, click.Abort])
def test_main_exits_with_130_on_an_interrupt(
    interrupt: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["reprise"])

    @click.command()
    def waits() -> None:
        """Wait for an answer."""
        raise interrupt

    with pytest.raises(SystemExit) as ended:
        run_guarded(waits)
    assert ended.value.code == 130


def test_main_without_arguments_shows_help() -> None:
    done = reprise()
    assert "Traceback" not in done.stderr
    assert "Commands:" in done.stdout + done.stderr


@pytest.mark.parametrize("threads", ["two", "0", "-1", "1.5", "1" * 5000, "1000"])
def test_xla_threads_that_are_not_a_number_are_refused(threads: str) -> None:
    done = reprise("data", "--help", REPRISE_XLA_THREADS=threads)
    check_refusal(
        done, 2, f"REPRISE_XLA_THREADS = '{threads[:90]}", "is invalid: expected an integer"
    )
    assert done.stderr.count("\n") == 1


def test_xla_threads_are_refused_in_chinese_and_by_comirec(tmp_path: Path) -> None:
    done = reprise("data", "--help", REPRISE_XLA_THREADS="two", REPRISE_LANG="zh")
    check_refusal(done, 2, "REPRISE_XLA_THREADS = 'two' 无效: 应为 1 至 999 的整数")
    check_refusal(
        comirec("--help", cwd=tmp_path, REPRISE_XLA_THREADS="two"), 2, "REPRISE_XLA_THREADS"
    )


@pytest.mark.parametrize("threads", ["", " 3 "])
def test_xla_threads_may_be_a_number_or_unset(threads: str) -> None:
    done = reprise("data", "--help", REPRISE_XLA_THREADS=threads, own_process=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "none"),
        ("train", "--dataset", "none", "--model", "ComiRec-DS", "--name", "t"),
        ("train", "--dataset", "none", "--model", "ComiRec-SA", "--name", "t"),
        ("trian",),
    ],
)
def test_reprise_helper_equals_a_process_of_its_own_and_leaves_no_trace(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    def own() -> tuple[object, ...]:
        return Path.cwd(), dict(os.environ), sys.argv, sys.stdout, signal.getsignal(signal.SIGINT)

    before = own()
    here = reprise(*arguments, cwd=tmp_path)
    assert own() == before
    alone = reprise(*arguments, cwd=tmp_path, own_process=True)
    assert (here.returncode, here.stdout) == (alone.returncode, alone.stdout)
    assert here.stderr == alone.stderr.replace("python -m reprise", "reprise")
