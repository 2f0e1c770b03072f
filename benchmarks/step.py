"""Measure the Books-shaped train step against the machine's own floor: python benchmarks/step.py

Shape: V = 367,982 items, d = 64, B = 128 users a batch, L = 20 items of history, K = 4 interests,
h = 64, S = 1280 shared negatives; P parameters of the network, R distinct rows of a batch.

The floor is FLOPs at the measured sgemm peak plus the least memory traffic at the measured
bandwidth, the best of all rounds of each. FLOPs are those of the matrix products, a multiply and
an add each; padded history counts, as in any computation of static shape. "3x" is one product
forward and two backward, one for each operand's gradient.

    both          scores of the negatives    3x 2 B S d;  readout 2 B K d, forward only
    ComiRec-DR    votes [L, K, d, d]         3x 2 B L K d d
                  routing                    6 of 2 B L K d: two vote sums and two agreements
                                             without gradient, the last vote sum forward, and its
                                             gradient to the votes
    ComiRec-SA    hidden layer               3x 2 B L d 4h
                  heads                      3x 2 B L 4h K
                  pooling                    3x 2 B L K d

Bytes: value, first and second moment are read and written once for each distinct row and each
parameter: 6 x 4 (R d + P). Gradients and intermediate results count as staying in the cache.

A round measures sgemm, bandwidth, and for each model, after some steps to warm up, a block of
steps on ready batches ("step") and a block that makes its batches beside it, as training does
("fed"). The ratio is the median
step over the floor; "best" is the fastest block's.
"""

from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
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
from reprise.config import OPTIMIZERS
from reprise.models import ModelShape, get_model
from reprise.training.batches import Sampler, make_sampler, prefetch
from reprise.training.state import Arrays
from reprise.training.step import initial_arrays, make_train_step

ITEMS, USERS = 367_982, 100_000
BATCH, NEGATIVES = 128, 1280
SHAPE = ModelShape(history_length=20, embedding_dim=64, hidden_size=64, num_interest=4)
MODELS = ("ComiRec-DR", "ComiRec-SA")
PROMISED = {"ComiRec-DR": 5.0}  # steps over floor
WARM_UP = 5  # steps not counted, as the caches hold what was measured before


def flops(model: str, shape: ModelShape, batch: int, negatives: int) -> int:
    """Return the FLOPs of a step's matrix products, as the module's docstring counts them."""
    length, dim, width = shape.history_length, shape.embedding_dim, 4 * shape.hidden_size
    interests = shape.num_interest
    total = 3 * 2 * batch * negatives * dim + 2 * batch * interests * dim
    pooled = 2 * batch * length * interests * dim
    if model == "ComiRec-DR":
        return total + 3 * pooled * dim + 6 * pooled
    if model == "ComiRec-SA":
        hidden, heads = 2 * batch * length * dim * width, 2 * batch * length * width * interests
        return total + 3 * (hidden + heads + pooled)
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
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", type=int, default=40, help="Steps a block.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    split = synthetic_split(ITEMS, USERS, options.seed)
    sampler = make_sampler(split, ITEMS, BATCH, SHAPE.history_length, NEGATIVES, seed=options.seed)
    batches = [sampler.batch(1, step) for step in range(1, options.steps + 1)]
    subjects = [_subject(name, sampler, options.seed) for name in MODELS]
    for subject in subjects:
        subject.ms_a_step(batches)  # compiles
        subject.ms_fed(options.steps)

    peaks, built, numbers = Peaks(), [], count(1)
    for _ in range(options.rounds):
        peaks.measure()
        built += [
            1e3 * seconds_of(lambda: sampler.batch(2, next(numbers))) for _ in range(options.steps)
        ]
        for subject in subjects:
            subject.ms_a_step(batches[:WARM_UP])
            subject.ready.append(subject.ms_a_step(batches))
            subject.fed.append(subject.ms_fed(options.steps))

    rows_used = sum(int((batch.touched <= ITEMS).sum()) for batch in batches) / len(batches)
    filled = sum(float(batch.prefixes.mean()) for batch in batches) / len(batches)
    host = median(built)
    table = [_row(subject, peaks, rows_used, host) for subject in subjects]
    facts = machine() | peaks.as_dict()
    print_facts(facts)
    print(
        f"{ITEMS:,} items, {rows_used:,.0f} distinct rows a batch,"
        f" {filled:.1f} of {SHAPE.history_length} history positions filled;"
        f" {options.rounds} rounds of {options.steps} steps\n"
    )
    print_table(table)
    print(f"\nbatch construction on the host: {host:.3f} ms (median), {min(built):.3f} ms (least)")
    for row in table:
        limit = PROMISED.get(str(row["model"]))
        if limit is not None:
            kept = "kept" if float(row["step/floor"]) <= limit else "BROKEN"
            print(f"promise: {row['model']} at most {limit:g} times the floor: {kept}")
    write_json(options.json, facts, table)


def _subject(name: str, sampler: Sampler, seed: int) -> Subject:
    model = get_model(name)
    arrays = initial_arrays(model, SHAPE, ITEMS, seed)
    step = make_train_step(model, OPTIMIZERS[0])
    return Subject(step, arrays, name, sampler)


def _row(
    subject: Subject, peaks: Peaks, rows_used: float, host_ms: float
) -> dict[str, str | int | float]:
    work = flops(subject.name, SHAPE, BATCH, NEGATIVES)
    moved = moved_bytes(subject.arrays, rows_used)
    floor = peaks.floor_ms(work, moved)
    return {
        "model": subject.name,
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
        "batch ms": host_ms,
    }


if __name__ == "__main__":
    main()
