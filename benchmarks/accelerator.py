"""Measure training and evaluation on JAX's own device, meant for a GPU: python
benchmarks/accelerator.py

Steps at the shapes of `step.py`, one a dispatch and many a dispatch, over batches that are ready
and fed by the thread that makes them, beside the floor: the step's matrix products at the device's
own sgemm peak (whole float32) plus its least traffic at the device's own bandwidth. Then users a
second of `evaluate` at Books' shape, and whether the device's search finds the CPU's lists on
vectors of whole numbers, whose scores are exact. All take turns; a row is the median over rounds.

Whether runs resume exactly there is shown by `reprise demo`, and at length by `torture.py`: both
train on the same device.
"""

import argparse
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np

from common import (
    LEARNING_RATE,
    machine,
    make_parser,
    print_facts,
    print_table,
    seconds_of,
    write_json,
)
from evaluate import MODEL, SHAPES, make_users
from reprise.config.schema import SETTINGS
from reprise.evaluation.evaluate import evaluate
from reprise.models.registry import get_model
from reprise.models.scoring import COMIREC
from reprise.retrieval import search_device
from reprise.retrieval.search import best_by_tiles
from reprise.retrieval.terms import NO_TERMS
from reprise.retrieval.vectors import retriever_of
from reprise.runtime.device import multiply_in_float32
from reprise.training.batches import Sampler
from reprise.training.dispatch import Work, portions, work_of
from reprise.training.schedules import CONSTANT
from reprise.training.state import Arrays
from reprise.training.step import initial_arrays, make_train_step
from step import MODELS, WORKLOADS, Row, Workload, flops, moved_bytes, sampler_of

AT_ONCE = (1, 16)
TOP_N = 50


@dataclass
class Peaks:
    """The device's sgemm rate and bandwidth at their best so far, as `common.Peaks` has them."""

    size: int
    gflops: float = 0.0
    gigabytes: float = 0.0

    def __post_init__(self) -> None:
        self._square = jnp.ones((self.size, self.size), jnp.float32)
        self._long = jnp.ones(8 * self.size**2, jnp.float32)
        self._multiply = jax.jit(partial(jnp.matmul, precision="highest"))
        self._add = jax.jit(jnp.add)

    def measure(self) -> None:
        """Measure both, and keep the best of each; the first call compiles."""
        product = seconds_of(lambda: self._multiply(self._square, self._square).block_until_ready())
        total = seconds_of(lambda: self._add(self._long, self._long + 1).block_until_ready())
        self.gflops = max(self.gflops, 2 * self.size**3 / product / 1e9)
        # x + 1 into y, then x + y into z: five arrays pass.
        self.gigabytes = max(self.gigabytes, 5 * self._long.nbytes / total / 1e9)

    def floor_ms(self, work: float, moved: float) -> float:
        """Return the milliseconds of so many FLOPs and bytes."""
        return work / self.gflops / 1e6 + moved / self.gigabytes / 1e6


@dataclass
class Subject:
    """A model's steps, so many a dispatch; milliseconds a step, by round."""

    arrays: Arrays
    model: str
    sampler: Sampler
    at_once: int
    ready: list[float] = field(default_factory=list)
    fed: list[float] = field(default_factory=list)

    def take_turn(self, steps: int) -> None:
        """Take the steps over ready batches, then over batches as they are made."""
        step = make_train_step(get_model(self.model), SETTINGS["optimizer"].default)
        about = (step, self.sampler, 0, LEARNING_RATE, CONSTANT, self.at_once)
        planned = [*portions(1, steps, steps, self.at_once)]
        self.ready.append(self._ms_a_step(list(work_of(*about, planned)), steps))
        with closing(work_of(*about, planned)) as work:
            self.fed.append(self._ms_a_step(work, steps))

    def _ms_a_step(self, work: Iterable[Work], steps: int) -> float:
        def run() -> None:
            for one in work:
                self.arrays = one.run(self.arrays)
            self.arrays.rows.block_until_ready()

        return 1e3 * seconds_of(run) / steps


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--shapes", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=320, help="Steps a turn.")
    parser.add_argument("--users", type=int, default=8192, help="Users evaluated.")
    parser.add_argument("--peak-size", type=int, default=8192, help="Rows of the square product.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    multiply_in_float32()
    device, peaks = jax.devices()[0], Peaks(options.peak_size)
    peaks.measure()
    rows = [
        row
        for name in options.shapes
        for model in options.models
        for row in _measure_steps(name, WORKLOADS[name], model, options, peaks)
    ]
    facts = machine() | {"device": f"{device.platform} {device.device_kind}"}
    facts |= {"sgemm_gflops": round(peaks.gflops, 1), "bandwidth_gb_s": round(peaks.gigabytes, 1)}
    print_facts(facts)
    print()
    print_table(rows)
    evaluated = _measure_evaluation(options)
    print()
    print_table([evaluated])
    write_json(options.json, facts, [*rows, evaluated])


def _measure_steps(
    name: str, workload: Workload, model: str, options: argparse.Namespace, peaks: Peaks
) -> list[Row]:
    sampler = sampler_of(workload, options.seed)
    start = partial(initial_arrays, get_model(model), workload.shape, workload.items, options.seed)
    subjects = [Subject(start(), model, sampler, at_once) for at_once in AT_ONCE]
    for _ in range(options.rounds + 1):  # the first of them compiles
        peaks.measure()
        for subject in subjects:
            subject.take_turn(options.steps)
    batches = [sampler.batch(0, step) for step in range(1, 11)]
    used = np.mean([(batch.unique_rows <= workload.items).sum() for batch in batches])
    work = flops(model, workload.shape, workload.batch, workload.negatives)
    floor = peaks.floor_ms(work, moved_bytes(subjects[0].arrays, float(used)))
    return [
        {
            "shape": name,
            "model": model,
            "at once": subject.at_once,
            "floor ms": floor,
            "step ms": median(subject.ready[1:]),
            "step/floor": median(subject.ready[1:]) / floor,
            "fed ms": median(subject.fed[1:]),
            "steps/s, fed": 1e3 / median(subject.fed[1:]),
        }
        for subject in subjects
    ]


def _measure_evaluation(options: argparse.Namespace) -> Row:
    num_items, shape = SHAPES["books"]
    model = get_model(MODEL)
    arrays = initial_arrays(model, shape, num_items, options.seed, embedding_scale=1.0)
    retriever = retriever_of(model, COMIREC, arrays)
    users = make_users(num_items, shape.history_length, options.users, options.seed)

    def whole() -> None:
        evaluate(retriever, users, (20, TOP_N))

    times = [seconds_of(whole) for _ in range(options.rounds + 1)]
    return {
        "evaluated": "books",
        "users/s": options.users / median(times[1:]),
        "lists as the CPU's": _share_of_equal_lists(options.seed),
    }


def _share_of_equal_lists(seed: int) -> float:
    """Return how many of 256 users' lists are those of the CPU's search, scores being exact."""
    rng = np.random.default_rng(seed)
    interests = rng.integers(-4, 5, (256, 4, 64)).astype(np.float32)
    items = rng.integers(-4, 5, (200_000, 64)).astype(np.float32)
    found, _ = search_device.make_best(items)(interests, NO_TERMS, TOP_N, len(interests))
    expected, _ = best_by_tiles(items, interests, NO_TERMS, TOP_N)
    return float((found == expected).all(axis=1).mean())


if __name__ == "__main__":
    main()
