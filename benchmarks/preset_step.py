"""Measure a step of the preset modern, and its parts, against the machine's own floor:
python benchmarks/preset_step.py [DATASET]

DATASET is a prepared folder; without one, data of Books' shape is drawn. "step" is the whole step
on ready batches. The parts are compiled alone, each with its gradient, on the first batch: "loss"
given the interests, "network" given the items, and "network, no dropout".

The floor is FLOPs at the measured sgemm peak plus the least memory traffic at the measured
bandwidth, the best of all rounds of each. FLOPs are those of the matrix products, a multiply and
an add each; "3x" is one product forward and two backward. E members of e = d / E, H layers of the
encoder, B users with m targets and K interests each, S negatives. Each target is scored against all
negatives by all interests; the gradient of the best of K scores is counted through that one alone.
Padding is not counted: n items in the batch's histories, up to the last target, q the sum of their
squared lengths, halved as no item reads a later one, and r that of all prefixes.

    loss          scores of the negatives    (1 + 2 / K) 2 B m K S d
    network       encoder's layers           3x 2 n 6 e d H;  attention 3x 2 q / 2 2 d H
                  interests                  3x 2 K d (n + r);  layer 3x 2 B m K 2 e d

Bytes, of the step alone: value, first and second moment are read and written once for each distinct
row and each parameter.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checkpoint import make_data
from common import (
    RUNS,
    Peaks,
    Row,
    Stepper,
    machine,
    make_parser,
    print_facts,
    print_table,
    seconds_of,
    write_json,
)
from reprise.config.load import make_config, read_preset
from reprise.config.model import model_of, shape_of
from reprise.config.schema import TrainConfig
from reprise.data.dataset import Dataset, open_dataset
from reprise.models.registry import Model
from reprise.runtime.memory import keep_freed_memory
from reprise.training.batches import Batch
from reprise.training.best_interest import Candidates, mean_loss
from reprise.training.setup import Task, fresh_state, make_task

USERS, VALID_USERS = 100_000, 100
BATCHES = 8


@dataclass
class Part:
    """What is measured: milliseconds of each run, and its FLOPs and bytes."""

    name: str
    run: Callable[[], float]
    flops: float
    moved: float = 0.0
    times: list[float] = field(default_factory=list)


def loss_flops(config: TrainConfig, batch: Batch) -> float:
    """Return the FLOPs of the loss's products, as the module's docstring counts them."""
    each = 2 * batch.target.size * len(batch.negatives) * config.embedding_dim
    return each * (config.num_interest + 2)


def network_flops(config: TrainConfig, batch: Batch) -> float:
    """Return the FLOPs of the network's products, as the module's docstring counts them."""
    dim, layers, interests = config.embedding_dim, config.encoder_layers, config.num_interest
    own = dim // config.ensemble
    lengths = batch.prefixes.max(axis=1).astype(np.int64)
    items, squares = int(lengths.sum()), int(np.square(lengths).sum())
    encoder = 2 * layers * (6 * items * own * dim + squares * dim)
    read = 2 * interests * dim * (items + int(batch.prefixes.sum()))
    return 3 * (encoder + read + 4 * batch.target.size * interests * own * dim)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("dataset", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    if options.dataset is not None:
        measure(open_dataset(options.dataset), options)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder) / "books", RUNS["books"]["items"], USERS, VALID_USERS)
        measure(open_dataset(Path(folder) / "books"), options)


def measure(dataset: Dataset, options: argparse.Namespace) -> None:
    """Measure the step and its parts in turns, and print them beside their floors."""
    values = read_preset("modern") | {"dataset": dataset.name, "name": "step"}
    task = make_task(make_config(values), dataset)
    batches = [task.sampler.batch(0, step) for step in range(1, BATCHES + 1)]
    parts, peaks = [_step(task, batches), *_parts(task.config, batches[0])], Peaks()
    keep_freed_memory()
    for part in parts:
        part.run()  # compiles
    for _ in range(options.rounds):
        peaks.measure(1)
        for part in parts:
            part.times.append(part.run())
    rows = [_row(part, peaks) for part in parts]
    lengths = np.array([batch.prefixes.max(axis=1).mean() for batch in batches])
    facts = machine() | peaks.as_dict() | {"items a history": round(float(lengths.mean()), 1)}
    print_facts(facts)
    print()
    print_table(rows)
    write_json(options.json, facts, rows)


def _step(task: Task, batches: list[Batch]) -> Part:
    stepper = Stepper(task.step, fresh_state(task).arrays)
    rows = sum(int((batch.unique_rows <= task.num_items).sum()) for batch in batches)
    width = stepper.arrays.rows.shape[1] // 3
    parameters = sum(param.size for param in stepper.arrays.params.values())
    work = [loss_flops(task.config, one) + network_flops(task.config, one) for one in batches]
    return Part(
        "step",
        lambda: stepper.ms_a_step(batches),
        sum(work) / len(work),
        6 * 4 * (rows / len(batches) * width + parameters),
    )


def _parts(config: TrainConfig, batch: Batch) -> list[Part]:
    network = network_flops(config, batch)
    return [
        _timed("loss", loss_flops(config, batch), *_loss(config, batch)),
        _timed("network", network, *_network(config, batch)),
        _timed("network, no dropout", network, *_network(replace(config, dropout=0.0), batch)),
    ]


def _timed(name: str, flops: float, function: Callable[..., Any], *given: Any) -> Part:
    compiled: Callable[..., Any] = jax.jit(function)

    def work() -> None:
        for made in jax.tree.leaves(compiled(*given)):
            made.block_until_ready()

    return Part(name, lambda: 1e3 * seconds_of(work), flops)


def _loss(config: TrainConfig, batch: Batch) -> tuple[Any, ...]:
    members, own = config.ensemble, config.embedding_dim // config.ensemble
    count, negatives = batch.target.size, len(batch.negatives)
    rng = np.random.default_rng(0)
    given = [
        jnp.asarray(rng.normal(0, own**-0.5, (members, *size)).astype(np.float32))
        for size in ((count, config.num_interest, own), (negatives, own), (count,), ())
    ]
    candidates = Candidates(
        jnp.asarray(batch.target.reshape(-1)),
        jnp.asarray(batch.negatives),
        jnp.asarray(batch.log_q_negatives),
        jnp.asarray(np.repeat(batch.history, batch.target.shape[1], axis=0)),
    )

    def loss(*vectors: jax.Array) -> jax.Array:
        return mean_loss(len(batch.unique_rows), *vectors, candidates)

    return jax.grad(loss, argnums=(0, 1, 2, 3)), *given


def _network(config: TrainConfig, batch: Batch) -> tuple[Any, ...]:
    model: Model = model_of(config)
    shape = (*batch.history.shape, config.embedding_dim)
    history = jax.random.normal(jax.random.key(0), shape)
    wanted = (*batch.prefixes.shape, config.num_interest, config.embedding_dim)
    weights = jax.random.normal(jax.random.key(1), wanted)
    packed = None if batch.packed is None else jnp.asarray(batch.packed)
    lengths = jnp.asarray(batch.prefixes)

    def total(params: Any, history: jax.Array, key: jax.Array) -> jax.Array:
        made = model.packed(packed).of_prefixes(params, history, lengths, key)
        return jnp.vdot(made, weights)

    params = model.init(jax.random.key(2), shape_of(config))
    return jax.grad(total, argnums=(0, 1)), params, history, jax.random.key(3)


def _row(part: Part, peaks: Peaks) -> Row:
    floor = peaks.floor_ms(part.flops, part.moved)
    return {
        "part": part.name,
        "GFLOP": part.flops / 1e9,
        "floor ms": floor,
        "ms": median(part.times),
        "best": min(part.times),
        "ms/floor": median(part.times) / floor,
        "best/floor": min(part.times) / floor,
    }


if __name__ == "__main__":
    main()
