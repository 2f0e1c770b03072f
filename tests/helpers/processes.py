"""Start the processes of a run that trains in several, over loopback, and wait for them."""

import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from helpers.commands import ENVIRONMENT, QUICK, reprise_command

_PATIENCE = 120  # seconds


class Pair:
    """Two processes of `reprise train`, with QUICK's options, of a run in `runs`; or of another
    command, which is given with its options.

    address: of the first one; None: on this host. within: the words before each one's command that
    start it on its host.
    """

    def __init__(
        self,
        data: Path,
        runs: Path,
        *options: object,
        address: str | None = None,
        within: Sequence[Sequence[str]] = ((), ()),
        command: Sequence[object] = ("train", *QUICK),
    ) -> None:
        if address is None:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                address = f"127.0.0.1:{free.getsockname()[1]}"
        given = [*command, "--data-dir", data, "--runs-dir", runs, *options]
        given += ["--coordinator", address, "--num-processes", 2]
        self.each = [
            subprocess.Popen(
                [*within[index], *reprise_command(*given, "--process-id", index)],
                env=ENVIRONMENT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            for index in range(2)
        ]

    def worker(self, index: int) -> int:
        """Return the process that trains, a child of the one that was started."""
        of = self.each[index].pid
        children = Path(f"/proc/{of}/task/{of}/children").read_text().split()
        return int(children[0])

    def ended(self) -> list[tuple[int, str, str]]:
        """Wait for both, and return exit code, output and errors of each."""
        try:
            told = [one.communicate(timeout=_PATIENCE) for one in self.each]
        finally:
            for one in self.each:
                one.kill()
        return [(one.returncode, *each) for one, each in zip(self.each, told, strict=True)]


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + _PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
