"""Other programs that a benchmark measures beside ours, each in a process and an environment of its
own, made on demand under `.peers/` (ignored by git; delete it to make them anew).

A peer is a script that imports nothing of ours. It is given a JSON argument and a file of batches,
says "ready", and for each line "N" that it reads takes N steps and writes the milliseconds of one.
Between blocks it waits, so that ours and the peers take turns on the same machine.
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reprise.training.batches import Batch

HERE = Path(__file__).parent
CACHE = HERE.parent / ".peers"
REQUIREMENTS = {
    "tensorflow": (
        "tensorflow-cpu==2.21.0; sys_platform == 'linux' and platform_machine == 'x86_64'",
        "tensorflow==2.21.0; sys_platform != 'linux' or platform_machine != 'x86_64'",
        "keras==3.15.1",
    ),
    "torch": ("torch==2.13.0", "torch-rechub==0.9.0"),
}


@dataclass(frozen=True)
class PeerSpec:
    """A peer by the name shown: the environment it runs in (its script is peer_ENVIRONMENT.py) and
    which of the script's programs it is.
    """

    name: str
    environment: str
    program: str


TILE = PeerSpec("TF/Keras, tile and reduce", "tensorflow", "tile")
MATMUL = PeerSpec("TF/Keras, matmul", "tensorflow", "matmul")
RECHUB = PeerSpec("torch-rechub, 20 negatives a sample", "torch", "rechub")
EAGER = PeerSpec("PyTorch eager, SparseAdam", "torch", "eager")


@dataclass
class Peer:
    """A peer that waits for its turn; milliseconds a step, by block."""

    spec: PeerSpec
    process: "subprocess.Popen[str]"
    times: list[float] = field(default_factory=list)

    def ms_a_step(self, steps: int) -> float:
        """Let it take `steps` steps and return the mean milliseconds of one."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def wait_until_ready(self) -> None:
        """Return once it has built its model."""
        if (answer := self._answer()) != "ready":
            raise RuntimeError(f"{self.spec.name} answered {answer!r}")

    def _answer(self) -> str:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line.startswith("peer: "):  # libraries may print, too
                return line.removeprefix("peer: ").strip()
        raise RuntimeError(f"{self.spec.name} ended with code {self.process.wait()}")


def python_of(environment: str) -> Path:
    """Return the interpreter of an environment, made and filled first where it is not there."""
    folder = CACHE / environment
    wanted = "\n".join(REQUIREMENTS[environment])
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    mark = folder / "installed"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != wanted:
        print(f"installing {', '.join(REQUIREMENTS[environment])}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *REQUIREMENTS[environment]], check=True)
        mark.write_text(wanted, encoding="utf-8")
    return python


@contextmanager
def started(
    specs: Sequence[PeerSpec], settings: Mapping[str, object], batches: Path
) -> Iterator[list[Peer]]:
    """Run the peers, each told `settings` and its program; they are ended on leaving."""
    with ExitStack() as stack:
        peers = [_start(stack, spec, settings, batches) for spec in specs]
        for peer in peers:
            peer.wait_until_ready()
        yield peers


def _start(stack: ExitStack, spec: PeerSpec, settings: Mapping[str, object], batches: Path) -> Peer:
    script = HERE / f"peer_{spec.environment}.py"
    told = json.dumps({**settings, "program": spec.program})
    process = subprocess.Popen(
        [python_of(spec.environment), script, told, batches],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    stack.enter_context(process)  # waits for its end on leaving
    stack.callback(process.terminate)  # before that
    return Peer(spec, process)


def write_batches(path: Path, batches: Sequence[Batch]) -> None:
    """Write batches as peers read them, in ids of the catalogue, one array for all [n, ...]:
    history [B, L], right-padded with 0; lengths [B]; target [B]; negatives [S]; log_q_target [B];
    log_q_negatives [S].
    """

    def stacked(parts: list[NDArray[np.generic]]) -> NDArray[np.generic]:
        return np.stack(parts)

    np.savez(
        path,
        history=stacked([batch.unique_rows[batch.history] for batch in batches]),
        lengths=stacked([batch.prefixes[:, 0] for batch in batches]),
        target=stacked([batch.unique_rows[batch.target[:, 0]] for batch in batches]),
        negatives=stacked([batch.unique_rows[batch.negatives] for batch in batches]),
        log_q_target=stacked([batch.log_q_target[:, 0] for batch in batches]),
        log_q_negatives=stacked([batch.log_q_negatives for batch in batches]),
    )
