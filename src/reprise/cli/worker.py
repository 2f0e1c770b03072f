"""A process of several that train or evaluate together, or export: a parent, and the worker that
does it.

JAX ends a process itself once another one is gone. So a worker trains, and its parent says what has
happened, in one line, and ends with an exit code of ours. What JAX and its libraries print goes to
a file that the parent shows if it cannot tell why the worker ended.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from reprise.errors import PeersLostError, UsageError
from reprise.runtime.processes import TOGETHER, Place, is_of_peers, place_of
from reprise.runtime.streams import WORKER, is_worker
from reprise.text.messages import Say

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def in_worker(values: dict[str, Any], say: Say) -> Place | None:
    """Take the options of a process out of `values`, and return its place; None: there is one
    process. Of several, run the command line in a worker, unless this is it, and end with its exit
    code.
    """
    options = ("coordinator", "num_processes", "process_id")
    place = place_of(*(values.pop(option) for option in options))
    if place is not None and not is_worker():
        sys.exit(_seen_through(place, sys.argv[1:], say))
    return place


def refuse_together(place: Place | None, given: Mapping[str, bool]) -> None:
    """Refuse what was given, by name, that is not for several processes."""
    for option, is_given in given.items():
        if place is not None and is_given:
            raise UsageError("not_together", option=option)


def refuse_on_mesh(given: Mapping[str, bool]) -> None:
    """Refuse what was given, by name, that is not for several devices."""
    for option, is_given in given.items():
        if is_given:
            raise UsageError("not_on_devices", option=option)


def _seen_through(place: Place, arguments: list[str], say: Say) -> int:
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
            key = "peers_lost" if TOGETHER in told else "peers_missing"
            mistake = PeersLostError(key, coordinator=place.coordinator)
            say("error_line", mistake=mistake)
            return PeersLostError.exit_code
        if code != -signal.SIGKILL:
            sys.stderr.write(told)
        return 128 - code


def _to(worker: "subprocess.Popen[bytes]") -> Callable[[int, FrameType | None], None]:
    def forward(number: int, frame: FrameType | None) -> None:
        worker.send_signal(number)

    return forward
