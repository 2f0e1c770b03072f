"""Measure the train step of all five models against the machine's own floor and against other
programs: python benchmarks/step.py

    books     V = 367,982 items, B = 128 users a batch, L = 20 items of history, S = 1280 negatives
    taobao    V = 1,708,530, B = 256, L = 50, S = 2560

Both with d = h = 64 and K = 4 interests; P parameters of the network, R distinct rows of a batch.

The floor is FLOPs at the measured sgemm peak plus the least memory traffic at the measured
bandwidth, the best of all rounds of each. FLOPs are those of the matrix products, a multiply and
an add each; padded history counts, as in any computation of static shape. "3x" is one product
forward and two backward, one for each operand's gradient.

    all           scores of the negatives    3x 2 B S d;  readout 2 B K d, forward only
    ComiRec-DR    votes [L, K, d, d]         3x 2 B L K d d
                  routing                    6 of 2 B L K d: two vote sums and two agreements
                                             without gradient, the last vote sum forward, and its
                                             gradient to the votes
    ComiRec-SA    hidden layer               3x 2 B L d 4h
                  heads                      3x 2 B L 4h K
                  pooling                    3x 2 B L K d
    MIND          shared map                 3x 2 B L d d
                  routing                    as ComiRec-DR's
                  projection                 3x 2 B K d d
    DNN           dense layer                3x 2 B d d;  mean 2 of 2 B L d
    GRU4REC       gates and candidate        3x 2 B L (d + h) 3h

Bytes: value, first and second moment are read and written once for each distinct row and each
parameter: 6 x 4 (R d + P). Gradients and intermediate results count as staying in the cache.

A round measures sgemm, bandwidth, after some steps to warm up a block of steps on ready batches
("step") and one that makes its batches beside it, as training does ("fed"), and then a block of
each peer, which waits meanwhile. "step/floor" is the median step over the floor; "peer/step" the
median over the rounds of a peer's block over our fed one of the same round. Peers (`peers.py`) are
ComiRec-DR in TF/Keras as people run it and torch-rechub's ComiRec, both with a dense Adam, and an
equal model in PyTorch eager with SparseAdam; they are given ready batches, of which TF/Keras and
torch-rechub use their own negatives in place of ours.
"""

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

from common import (
    Peaks,
    Stepper,
    machine,
    make_parser,
    print_facts,
    print_table,
    seconds_of,
    synthetic_split,
    write_json,
)
from peers import EAGER, MATMUL, RECHUB, TILE, Peer, PeerSpec, started, write_batches
from reprise.config.schema import SETTINGS
from reprise.models.registry import ModelShape, get_model
from reprise.runtime.memory import keep_freed_memory
from reprise.training.batches import Batch, Sampler, make_sampler, prefetch
from reprise.training.state import Arrays
from reprise.training.step import initial_arrays, make_train_step

Row = dict[str, str | int | float]

USERS = 100_000
MODELS = ("ComiRec-DR", "ComiRec-SA", "MIND", "DNN", "GRU4REC")
WARM_UP = 5  # steps not counted, as the caches hold what was measured before


@dataclass(frozen=True)
class Workload:
    """A published shape."""

    items: int
    batch: int
    negatives: int
    shape: ModelShape


WORKLOADS = {
    "books": Workload(367_982, 128, 1280, ModelShape(20, 64, 64, 4)),
    "taobao": Workload(1_708_530, 256, 2560, ModelShape(50, 64, 64, 4)),
}
PEERS = {
    "ComiRec-DR": (TILE, MATMUL, RECHUB, EAGER),
    "ComiRec-SA": (RECHUB, EAGER),
    "MIND": (EAGER,),
    "DNN": (EAGER,),
    "GRU4REC": (EAGER,),
}
# What is aimed at: steps over floor at most; a peer's step over ours at least.
MOST_FLOORS = {("books", "ComiRec-DR"): 3.5, ("taobao", "ComiRec-DR"): 4.0}
LEAST_RATIOS = {
    ("books", "ComiRec-DR", TILE): 35.0,
    ("books", "ComiRec-DR", MATMUL): 18.0,
    ("books", "ComiRec-DR", RECHUB): 25.0,
    **{
        (workload, model, EAGER): 1 / 1.2
        for workload in WORKLOADS
        for model in MODELS
        if model != "ComiRec-DR"
    },
}


def sampler_of(workload: Workload, seed: int) -> Sampler:
    """Return the sampler of synthetic data of the shape."""
    return make_sampler(
        synthetic_split(workload.items, USERS, seed),
        workload.items,
        workload.batch,
        workload.shape.history_length,
        workload.negatives,
        seed,
    )


def flops(model: str, shape: ModelShape, batch: int, negatives: int) -> int:
    """Return the FLOPs of a step's matrix products, as the module's docstring counts them."""
    length, dim, hidden = shape.history_length, shape.embedding_dim, shape.hidden_size
    interests = 1 if model in ("DNN", "GRU4REC") else shape.num_interest
    total = 3 * 2 * batch * negatives * dim + 2 * batch * interests * dim
    pooled = 2 * batch * length * interests * dim
    if model == "ComiRec-DR":
        return total + 3 * pooled * dim + 6 * pooled
    if model == "ComiRec-SA":
        layer, heads = (
            2 * batch * length * dim * 4 * hidden,
            8 * batch * length * hidden * interests,
        )
        return total + 3 * (layer + heads + pooled)
    if model == "MIND":
        return total + 6 * batch * (length + interests) * dim * dim + 6 * pooled
    if model == "DNN":
        return total + 6 * batch * dim * dim + 2 * pooled
    if model == "GRU4REC":
        return total + 6 * batch * length * (dim + hidden) * 3 * hidden
    raise ValueError(f"no count for {model}")


def moved_bytes(arrays: Arrays, distinct_rows: float) -> float:
    """Return the least memory traffic of a step, as the module's docstring counts it."""
    parameters = sum(param.size for param in arrays.params.values())
    return 6 * 4 * (distinct_rows * arrays.rows.shape[1] // 3 + parameters)


@dataclass
class Subject(Stepper):
    """A model being measured; milliseconds a step, by block."""

    name: str
    sampler: Sampler
    ready: list[float] = field(default_factory=list)
    fed: list[float] = field(default_factory=list)
    done: int = 0

    def ms_fed(self, steps: int) -> float:
        """Return ms a step where a thread makes the batches, from an empty queue."""
        planned = range(self.done + 1, self.done + steps + 1)
        self.done += steps
        with closing(prefetch(lambda step: self.sampler.batch(0, step), planned)) as batches:
            return self.ms_a_step(batches)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--shapes", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--no-peers", action="store_true", help="Only ours and the floor.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=40, help="Steps a block.")
    parser.add_argument("--peer-steps", type=int, default=4, help="Steps a peer's block.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    peaks = Peaks()
    measured = [
        one
        for name in options.shapes
        for one in _measure_workload(name, WORKLOADS[name], options, peaks)
    ]
    table = [_row(one, peaks) for one in measured]
    ratios = [row for one in measured for row in _peer_rows(one)]
    facts = machine() | peaks.as_dict() | {"rounds": options.rounds, "steps": options.steps}
    print_facts(facts)
    print()
    print_table(table)
    if ratios:
        print()
        print_table(ratios)
    print()
    for line in _verdicts(table, ratios):
        print(line)
    write_json(options.json, facts, [*table, *ratios])


@dataclass
class Measured:
    """All that was measured of one model on one workload."""

    workload: str
    subject: Subject
    rows_used: float
    host_ms: float
    peers: Sequence[Peer]


def _measure_workload(
    name: str, workload: Workload, options: argparse.Namespace, peaks: Peaks
) -> list[Measured]:
    sampler = sampler_of(workload, options.seed)
    batches = [sampler.batch(1, step) for step in range(1, options.steps + 1)]
    return [
        _measure(name, workload, model, sampler, batches, options, peaks)
        for model in options.models
    ]


def _measure(
    name: str,
    workload: Workload,
    model: str,
    sampler: Sampler,
    batches: list[Batch],
    options: argparse.Namespace,
    peaks: Peaks,
) -> Measured:
    """Measure a model and its peers, in turns."""
    subject = _subject(model, workload, sampler, options.seed)
    keep_freed_memory()  # as training does once its tables stand
    subject.ms_a_step(batches)  # compiles
    subject.ms_fed(options.steps)
    specs: tuple[PeerSpec, ...] = () if options.no_peers else PEERS[model]
    settings = {
        "model": model,
        "items": workload.items,
        "dim": workload.shape.embedding_dim,
        "length": workload.shape.history_length,
        "interests": workload.shape.num_interest,
        "negatives": workload.negatives,
    }
    built, numbers = list[float](), count(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "batches.npz"
        write_batches(path, batches)
        with started(specs, settings, path) as peers:
            for peer in peers:
                peer.ms_a_step(options.peer_steps)  # compiles, and finds memory
            for _ in range(options.rounds):
                peaks.measure()
                built += [
                    1e3 * seconds_of(lambda: sampler.batch(2, next(numbers)))
                    for _ in range(options.steps)
                ]
                subject.ms_a_step(batches[:WARM_UP])
                subject.ready.append(subject.ms_a_step(batches))
                subject.fed.append(subject.ms_fed(options.steps))
                for peer in peers:
                    peer.times.append(peer.ms_a_step(options.peer_steps))
    used = sum(int((batch.unique_rows <= workload.items).sum()) for batch in batches) / len(batches)
    subject.arrays = subject.arrays._replace(rows=subject.arrays.rows[:1])  # frees the table
    return Measured(name, subject, used, median(built), peers)


def _subject(name: str, workload: Workload, sampler: Sampler, seed: int) -> Subject:
    model = get_model(name)
    arrays = initial_arrays(model, workload.shape, workload.items, seed)
    step = make_train_step(model, SETTINGS["optimizer"].default)
    return Subject(step, arrays, name, sampler)


def _row(one: Measured, peaks: Peaks) -> Row:
    subject, workload = one.subject, WORKLOADS[one.workload]
    work = flops(subject.name, workload.shape, workload.batch, workload.negatives)
    moved = moved_bytes(subject.arrays, one.rows_used)
    floor = peaks.floor_ms(work, moved)
    return {
        "shape": one.workload,
        "model": subject.name,
        "rows": round(one.rows_used),
        "MFLOP": work / 1e6,
        "MB": moved / 1e6,
        "floor ms": floor,
        "step ms": median(subject.ready),
        "step best": min(subject.ready),
        "fed ms": median(subject.fed),
        "fed best": min(subject.fed),
        "step/floor": median(subject.ready) / floor,
        "best/floor": min(subject.ready) / floor,
        "fed/floor": median(subject.fed) / floor,
        "batch ms": one.host_ms,
    }


def _peer_rows(one: Measured) -> list[Row]:
    return [
        {
            "shape": one.workload,
            "model": one.subject.name,
            "peer": peer.spec.name,
            "peer ms": median(peer.times),
            "peer best": min(peer.times),
            "peer/step": median(
                time / ours for time, ours in zip(peer.times, one.subject.fed, strict=True)
            ),
            "best/best": min(peer.times) / min(one.subject.fed),
        }
        for peer in one.peers
    ]


def _verdicts(table: Sequence[Row], ratios: Sequence[Row]) -> list[str]:
    """Return what is aimed at, and whether it is reached."""
    lines = []
    for row in table:
        most = MOST_FLOORS.get((str(row["shape"]), str(row["model"])))
        if most is not None:
            reached = "reached" if float(row["step/floor"]) <= most else "MISSED"
            lines.append(f"{row['shape']} {row['model']} at most {most:g} floors: {reached}")
    for (shape, model, peer), least in LEAST_RATIOS.items():
        for row in ratios:
            if (row["shape"], row["model"], row["peer"]) == (shape, model, peer.name):
                reached = "reached" if float(row["peer/step"]) >= least else "MISSED"
                what = f"{peer.name} takes at least {least:.2f} times ours"
                lines.append(f"{shape} {model}, {what}: {reached}")
    return lines


if __name__ == "__main__":
    main()
