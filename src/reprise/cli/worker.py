"""A process of a run that trains in several: a parent, and the worker that trains.

JAX ends a process itself once another one is gone. So a worker trains, and its parent says what has
happened, in one line, and ends with an exit code of ours. What JAX and its libraries print goes to
a file that the parent shows if it cannot tell why the worker ended.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from reprise.errors import PeersLostError
from reprise.runtime.processes import Place, is_of_peers
from reprise.runtime.streams import WORKER
from reprise.text.messages import Say

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_worker() -> bool:
    """Whether this process is a worker."""
    return WORKER in os.environ


def train_in_worker(place: Place | None, say: Say) -> None:
    """Run the command line in a worker, and end with its exit code, where it is one of several
    processes, and not the worker.
    """
    if place is not None and not is_worker():
        sys.exit(_seen_through(sys.argv[1:], say))


def _seen_through(arguments: list[str], say: Say) -> int:
    """Run the command line in a worker, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "printed"
        printed.touch()
        command = [sys.executable, "-m", "reprise", *arguments]
        environment = {**os.environ, WORKER: str(printed)}
        with subprocess.Popen(command, env=environment, start_new_session=True) as worker:
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, _to(worker))
            code = worker.wait()
        if code >= 0:
            return code
        told = printed.read_text(errors="replace")
        if code == -signal.SIGABRT and is_of_peers(told):
            say("error_line", mistake=PeersLostError("peers_lost"))
            return PeersLostError.exit_code
        if code != -signal.SIGKILL:
            sys.stderr.write(told)
        return 128 - code


def _to(worker: "subprocess.Popen[bytes]") -> Callable[[int, FrameType | None], None]:
    def forward(number: int, frame: FrameType | None) -> None:
        worker.send_signal(number)

    return forward
