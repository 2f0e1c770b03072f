"""How long a start takes: python benchmarks/first_step.py DATASET-FOLDER

`reprise train` itself, with all that it loads and says, from the start of the process until its
first step is finished, not just dispatched; then the run is stopped. One number is printed last, in
seconds. `benchmarks/train.py` takes the median of some such processes.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from reprise.cli.main import main as reprise
from reprise.show.run import RunConsole
from reprise.training.state import TrainState


def main() -> None:
    """Train on the dataset until a step is finished."""
    data = Path(sys.argv[1])
    found: list[float] = []
    told = RunConsole.stepped

    def stepped(console: RunConsole, state: TrainState) -> None:
        if not found:
            state.arrays.rows.block_until_ready()
            found.append(seconds_since_process_start())
            os.kill(os.getpid(), signal.SIGTERM)
        told(console, state)

    setattr(RunConsole, "stepped", stepped)  # noqa: B010 - no assignment that is checked
    with tempfile.TemporaryDirectory() as runs:
        sys.argv[1:] = ["train", "--dataset", data.name, "--name", "first"]
        sys.argv += ["--data-dir", str(data.parent), "--runs-dir", runs]
        try:
            reprise()
        except SystemExit as end:
            if end.code != 128 + signal.SIGTERM:
                raise
    print(found[0])


def seconds_since_process_start() -> float:
    """Return the seconds since this process was started."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
