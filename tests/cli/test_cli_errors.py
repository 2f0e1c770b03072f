"""How a command ends that cannot go on."""

import click
import pytest

from commands import reprise
from reprise.cli import run_guarded


def test_a_file_s_end_is_not_taken_for_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Click ends a command the same way for both, and without a word."""
    monkeypatch.setattr("sys.argv", ["reprise"])

    @click.command()
    def reads() -> None:
        """Read a file that ends too soon."""
        raise EOFError("cut short")

    with pytest.raises(EOFError, match="cut short"):
        run_guarded(reads)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, click.Abort])
def test_an_interrupt_has_its_exit_code(
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


def test_the_bare_command_shows_its_help() -> None:
    done = reprise()
    assert "Traceback" not in done.stderr
    assert "Commands:" in done.stdout + done.stderr
