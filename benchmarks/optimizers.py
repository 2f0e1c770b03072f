"""Measure a step with each optimizer against lazy Adam's: python benchmarks/optimizers.py

Books' shape (V = 367,982 items, d = 64, B = 128, L = 20, K = 4, 1280 negatives). All optimizers of
a model live in one process and take turns, block by block, the order reversed every round; "ratio"
is the median over the rounds of an optimizer's time over lazy Adam's in the same round. "pending"
is the time of applying every row's pending updates, as an evaluation asks for, and "with pending"
the ratio with it spread over the 1000 steps between two evaluations. Dense Adam, many times as
slow, takes a tenth of the steps.
"""

from dataclasses import dataclass, field
from statistics import median

from common import (
    LEARNING_RATE,
    Stepper,
    machine,
    make_parser,
    print_facts,
    print_table,
    seconds_of,
    synthetic_split,
    write_json,
)
from reprise.config.schema import SETTINGS
from reprise.models.registry import ModelShape, get_model
from reprise.training.batches import Batch, make_sampler
from reprise.training.optimizers import ApplyPending, make_apply_pending
from reprise.training.step import initial_arrays, make_train_step

ITEMS, USERS, BATCH, NEGATIVES = 367_982, 100_000, 128, 1280
SHAPE = ModelShape(history_length=20, embedding_dim=64, hidden_size=64, num_interest=4)
LAZY, PROMISED = "lazy-adam", {"row-adam": 1.15}  # the step's time over lazy Adam's
TEST_ITER = 1000  # steps between evaluations
WARM_UP = 3  # steps not counted, as the caches hold what was measured before


@dataclass
class Subject(Stepper):
    """A model and optimizer being measured; milliseconds a step and a applying, by round."""

    name: str
    apply_all: ApplyPending
    times: list[float] = field(default_factory=list)
    applying: list[float] = field(default_factory=list)

    def measure(self, batches: list[Batch]) -> None:
        """Take a block of steps, then apply what is pending."""
        if self.name == "adam":
            batches = batches[: max(1, len(batches) // 10)]
        self.ms_a_step(batches[:WARM_UP])
        self.times.append(self.ms_a_step(batches))
        self.applying.append(1e3 * seconds_of(self._apply_pending_to_all))

    def _apply_pending_to_all(self) -> None:
        self.arrays = self.apply_all(self.arrays, self.updates, LEARNING_RATE)
        self.arrays.rows.block_until_ready()


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=["ComiRec-DR", "ComiRec-SA"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=40, help="Steps a block.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    split = synthetic_split(ITEMS, USERS, options.seed)
    sampler = make_sampler(split, ITEMS, BATCH, SHAPE.history_length, NEGATIVES, seed=options.seed)
    batches = [sampler.batch(0, step) for step in range(1, options.steps + 1)]
    facts = machine()
    print_facts(facts)
    print(f"{options.rounds} rounds of {options.steps} steps\n")
    table = []
    for model in options.models:
        subjects = [_subject(model, name, options.seed) for name in SETTINGS["optimizer"].choices]
        for subject in subjects:
            subject.ms_a_step(batches[:1])  # compiles
        for turn in range(options.rounds):
            for subject in subjects if turn % 2 == 0 else reversed(subjects):
                subject.measure(batches)
        lazy = next(subject for subject in subjects if subject.name == LAZY)
        table += [_row(model, subject, lazy) for subject in subjects]
    print_table(table)
    for row in table:
        limit = PROMISED.get(str(row["optimizer"]))
        if limit is not None:
            kept = "kept" if float(row["with pending"]) <= limit else "BROKEN"
            print(f"promise: {row['model']} at most {limit:g} times lazy Adam's step: {kept}")
    write_json(options.json, facts, table)


def _subject(model_name: str, optimizer: str, seed: int) -> Subject:
    model = get_model(model_name)
    step = make_train_step(model, optimizer)
    arrays = initial_arrays(model, SHAPE, ITEMS, seed)
    return Subject(step, arrays, optimizer, make_apply_pending(optimizer))


def _row(model: str, subject: Subject, lazy: Subject) -> dict[str, str | int | float]:
    apply_all = median(subject.applying)
    ratios = [time / base for time, base in zip(subject.times, lazy.times, strict=True)]
    share = apply_all / TEST_ITER / median(lazy.times)
    return {
        "model": model,
        "optimizer": subject.name,
        "step ms": median(subject.times),
        "best ms": min(subject.times),
        "ratio": median(ratios),
        "pending ms": apply_all,
        "with pending": median(ratios) + share,
    }


if __name__ == "__main__":
    main()
