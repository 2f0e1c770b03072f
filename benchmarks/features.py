"""Measure a step with item features against one without: python benchmarks/features.py

Books' shape (V = 367,982 items, d = 64, B = 128, L = 20, K = 4, 1280 negatives) with categorical
features of --codes values each, drawn at random. Both steps take turns in one process, a few steps
at a time, the order reversed every turn. "CPU ms" is the work of all cores together, which a busy
machine stretches less than the seconds that pass; "ratio" is the median over the turns of the step
with features over the one without, of the same turn.
"""

import time
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from common import (
    LEARNING_RATE,
    machine,
    make_parser,
    print_facts,
    print_table,
    synthetic_split,
    write_json,
)
from reprise.config.features import on_device
from reprise.data.features import codes_of
from reprise.models.features import Features
from reprise.models.registry import ModelShape, get_model
from reprise.training.batches import Batch, make_sampler
from reprise.training.optimizers import make_update
from reprise.training.state import Arrays
from reprise.training.step import TrainStep, initial_arrays, make_train_step

ITEMS, USERS, BATCH, NEGATIVES = 367_982, 100_000, 128, 1280
SHAPE = ModelShape(history_length=20, embedding_dim=64, hidden_size=64, num_interest=4)
PROMISED = 1.05  # times the step without features
BATCHES, A_TURN = 12, 4


@dataclass
class Subject:
    """A step being measured; milliseconds of work and of time for one, by turn."""

    step: TrainStep
    arrays: Arrays
    features: Features | None
    work: list[float] = field(default_factory=list)
    passed: list[float] = field(default_factory=list)

    def take(self, batches: list[Batch]) -> None:
        """Take a step on each batch."""
        began, spent = time.perf_counter(), time.process_time()
        for batch in batches:
            update = make_update(LEARNING_RATE, 1)
            self.arrays = self.step(self.arrays, batch, update, self.features)
        self.arrays.rows.block_until_ready()
        self.work.append(1e3 * (time.process_time() - spent) / len(batches))
        self.passed.append(1e3 * (time.perf_counter() - began) / len(batches))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=["ComiRec-DR", "ComiRec-SA"])
    parser.add_argument("--codes", nargs="+", type=int, default=[1600, 50])
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    split = synthetic_split(ITEMS, USERS, options.seed)
    sampler = make_sampler(split, ITEMS, BATCH, SHAPE.history_length, NEGATIVES, seed=options.seed)
    batches = [sampler.batch(0, step) for step in range(1, BATCHES + 1)]
    facts = machine()
    print_facts(facts)
    table = []
    for model in options.models:
        without, having = (
            _subject(model, features, options.seed)
            for features in (None, _features(options.codes, options.seed))
        )
        for subject in (without, having):
            subject.take(batches)  # compiles
        for turn in range(options.turns):
            own = [batches[(A_TURN * turn + place) % BATCHES] for place in range(A_TURN)]
            for subject in (without, having)[:: 1 if turn % 2 else -1]:
                subject.take(own)
        table.append(_row(model, without, having))
    print_table(table)
    for row in table:
        kept = "kept" if float(row["CPU ratio"]) <= PROMISED else "BROKEN"
        print(f"promise: {row['model']} at most {PROMISED:g} times the step without: {kept}")
    write_json(options.json, facts, table)


def _features(codes: list[int], seed: int) -> Features:
    rng = np.random.default_rng(seed)
    drawn = [
        codes_of(f"feature {place}", rng.integers(0, size, ITEMS), size)
        for place, size in enumerate(codes)
    ]
    made = on_device(drawn, np.arange(ITEMS + 1) > 0)
    assert made is not None
    return made


def _subject(model_name: str, features: Features | None, seed: int) -> Subject:
    model = get_model(model_name)
    arrays = initial_arrays(model, SHAPE, ITEMS, seed, features=features)
    return Subject(make_train_step(model, "row-adam"), arrays, features)


def _row(model: str, without: Subject, having: Subject) -> dict[str, str | int | float]:
    def ratio(of: list[float], base: list[float]) -> float:
        return median(one / other for one, other in zip(of[1:], base[1:], strict=True))

    return {
        "model": model,
        "CPU ms without": median(without.work[1:]),
        "CPU ms with": median(having.work[1:]),
        "CPU ratio": ratio(having.work, without.work),
        "ratio": ratio(having.passed, without.passed),
    }


if __name__ == "__main__":
    main()
