"""What the benchmarks share: synthetic data, the machine and its measured peaks, tables, JSON."""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from reprise import __version__
from reprise.data.sequences import Sequences
from reprise.retrieval.search import worker_threads
from reprise.runtime.setup import setup
from reprise.training.batches import Batch
from reprise.training.optimizers import make_update
from reprise.training.state import Arrays
from reprise.training.step import TrainStep

Row = Mapping[str, str | int | float]

assert setup(), "JAX had started before its threads were set"

LEARNING_RATE = 0.001
# Whole runs: ComiRec's data sets and how it trains on them.
RUNS = {
    "books": {"items": 367_982, "users": 482_934, "batch_size": 128, "maxlen": 20},
    "taobao": {"items": 1_708_530, "users": 769_215, "batch_size": 256, "maxlen": 50},
}
_LIBRARIES = ("jax", "jaxlib", "numpy", "polars")
_SHORTEST, _MEAN_LENGTH = 5, 15  # items of a user: at least what ComiRec keeps, and Books' mean
_HEAD = 100  # popularity falls as 1 / (rank + _HEAD): a long tail without a single item ruling it


def synthetic_split(num_items: int, users: int, seed: int) -> Sequences:
    """Return users' sequences over items 1..V, popular ids low (Zipf-Mandelbrot), lengths
    geometric from _SHORTEST with mean _MEAN_LENGTH.
    """
    rng = np.random.default_rng(seed)
    lengths = _SHORTEST - 1 + rng.geometric(1 / (_MEAN_LENGTH - _SHORTEST + 1), users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    reach = (num_items + 1 + _HEAD) / (1 + _HEAD)
    ids = (1 + _HEAD) * reach ** rng.random(int(offsets[-1])) - _HEAD
    return Sequences(offsets, np.clip(ids, 1, num_items).astype(np.int32))


@dataclass
class Stepper:
    """A model being measured; its state goes on through all blocks."""

    step: TrainStep
    arrays: Arrays
    updates: int = field(default=0, init=False)

    def ms_a_step(self, batches: Iterable[Batch]) -> float:
        """Take a step on each batch and return the mean time of one in milliseconds."""
        before = self.updates

        def work() -> None:
            for batch in batches:
                self.updates += 1
                update = make_update(LEARNING_RATE, self.updates)
                self.arrays = self.step(self.arrays, batch, update)
            self.arrays.rows.block_until_ready()

        return 1e3 * seconds_of(work) / (self.updates - before)


def machine() -> dict[str, str | int | float]:
    """Describe the machine, the libraries and the command."""
    return {
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "cpu": _cpu_model(),
        "cores": worker_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "reprise": __version__,
        **{name: version(name) for name in _LIBRARIES},
    }


def available_bytes() -> int:
    """Return the memory that can be had now without swapping."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory() -> int:
    """Return the most bytes that this process has had resident."""
    status = Path("/proc/self/status").read_text()  # getrusage's peak includes the parent's
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long `work` takes once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Peaks:
    """The best sgemm rate and memory bandwidth seen; call `measure` again in each round.

    sgemm: square float32 matrix products, 2 n^3 FLOPs, by NumPy's BLAS and by XLA; the faster one
    is the peak. Bandwidth: a + b into c (STREAM's add) over arrays beyond any cache, one slice a
    core, 12 bytes an element.
    """

    def __init__(self, size: int = 3072, elements: int = 32_000_000) -> None:
        rng = np.random.default_rng(0)
        self._a, self._b = rng.random((2, size, size), np.float32)
        self._product = np.empty_like(self._a)
        self._xla = jax.jit(jnp.matmul).lower(self._a, self._b).compile()
        self._x, self._y, self._z = np.ones((3, elements), np.float32)
        self.blas_gflops = 0.0
        self.xla_gflops = 0.0
        self.gigabytes = 0.0

    @property
    def gflops(self) -> float:
        """The sgemm peak, GFLOP/s."""
        return max(self.blas_gflops, self.xla_gflops)

    def measure(self, repeats: int = 2) -> None:
        """Measure all and keep the best of each."""
        flops, moved = 2 * len(self._a) ** 3 / 1e9, 3 * self._x.nbytes / 1e9
        cores = worker_threads()
        bounds = np.linspace(0, len(self._x), cores + 1).astype(int)
        slices = [slice(int(start), int(end)) for start, end in pairwise(bounds)]
        a, b = jnp.array(self._a), jnp.array(self._b)

        def add(part: slice) -> None:
            np.add(self._x[part], self._y[part], out=self._z[part])

        with ThreadPoolExecutor(cores) as pool:
            for _ in range(repeats):
                blas = seconds_of(lambda: np.matmul(self._a, self._b, out=self._product))
                self.blas_gflops = max(self.blas_gflops, flops / blas)
                xla = seconds_of(lambda: self._xla(a, b).block_until_ready())
                self.xla_gflops = max(self.xla_gflops, flops / xla)
                stream = seconds_of(lambda: list(pool.map(add, slices)))
                self.gigabytes = max(self.gigabytes, moved / stream)

    def floor_ms(self, flops: float, moved: float) -> float:
        """Return the milliseconds of `flops` at the sgemm peak plus `moved` bytes at the
        bandwidth.
        """
        return flops / self.gflops / 1e6 + moved / self.gigabytes / 1e6

    def as_dict(self) -> dict[str, str | int | float]:
        """Return what was measured, rounded."""
        return {
            "sgemm_blas_gflops": round(self.blas_gflops, 1),
            "sgemm_xla_gflops": round(self.xla_gflops, 1),
            "bandwidth_gb_s": round(self.gigabytes, 1),
        }


def make_parser(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser described by a script's docstring, with --json."""
    parser = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the rows here, too.")
    return parser


def print_facts(facts: Mapping[str, str | int | float]) -> None:
    """Print names and values on as few lines as fit."""
    line = ""
    for part in (f"{name} {value}" for name, value in facts.items()):
        if line and len(line) + len(part) > 98:
            print(line)
            line = ""
        line += ("; " if line else "") + part
    print(line, flush=True)


def print_table(rows: Sequence[Row]) -> None:
    """Print rows with the same keys as aligned columns, numbers to the right."""
    cells = [list(rows[0])] + [[_shown(value) for value in row.values()] for row in rows]
    numeric = [isinstance(value, (int, float)) for value in rows[0].values()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    for line in cells:
        print(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            ).rstrip()
        )


def write_json(path: Path | None, facts: Mapping[str, object], rows: Sequence[Row]) -> None:
    """Write what was measured to `path`, where one was asked for."""
    if path is not None:
        content = {**facts, "rows": [dict(row) for row in rows]}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _shown(value: str | int | float) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else value


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
