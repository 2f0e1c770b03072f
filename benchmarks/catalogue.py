"""Measure a step's time against the size of the catalogue: python benchmarks/catalogue.py

Books' shape (d = 64, B = 128, L = 20, K = 4, 1280 negatives) over 10^5, 10^6 and 10^7 items. All
sizes live in one process and take turns, block by block, the order reversed every round; "ratio"
is the median over the rounds of a size's time over the smallest size's in the same round, and
"best ratio" compares the fastest blocks. A size that does not fit in memory is left out.

--batches stretched (default): the batches are drawn once, over the smallest catalogue, and each
item is moved to a scattered place of its own in the larger one. Every size then does the same work
on the same number of distinct rows, and only the catalogue differs.
--batches drawn: each size draws its own; the larger the catalogue, the fewer items repeat in a
batch, so that there are more distinct rows to read and write.
"""

import resource
import sys
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import numpy as np

from common import (
    Stepper,
    available_bytes,
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
from reprise.runtime.memory import keep_freed_memory
from reprise.training.batches import Batch, Sampler, make_sampler
from reprise.training.step import initial_arrays, make_train_step

SIZES = (100_000, 1_000_000, 10_000_000)
USERS, BATCH, NEGATIVES = 100_000, 128, 1280
SHAPE = ModelShape(history_length=20, embedding_dim=64, hidden_size=64, num_interest=4)
PROMISED = 1.10  # the largest size's time over the smallest's
WARM_UP = 5  # steps not counted, as the caches hold the size measured before
_BYTES_AN_ITEM = 1100  # float32 rows of 3 d, and a third more while they are made
_ALLOWANCE = 1_500_000_000  # bytes left to everything else


@dataclass
class Catalogue(Stepper):
    """A size being measured; milliseconds a step, by block."""

    num_items: int
    sampler: Sampler
    batches: list[Batch]
    times: list[float] = field(default_factory=list)

    def host_ms(self, draws: int = 200) -> float:
        """Return the median ms of drawing a batch."""
        return 1e3 * median(
            seconds_of(partial(self.sampler.batch, 1, step)) for step in range(1, draws + 1)
        )


def stretch(batch: Batch, num_items: int, larger: int) -> Batch:
    """Return the batch of `num_items` items moved into a catalogue a whole factor `larger`: item
    i to a place of its own, chosen by hashing, among those that fall to it.
    """
    factor = larger // num_items
    ids = batch.unique_rows.astype(np.int64)
    moved = ids * factor - ids * 2_654_435_761 % factor
    moved = np.where(ids > num_items, ids - num_items + larger, moved)
    return batch._replace(unique_rows=moved.astype(np.int32))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="ComiRec-DR")
    parser.add_argument("--batches", choices=["stretched", "drawn"], default="stretched")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", type=int, default=40, help="Steps a block.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    catalogues: list[Catalogue] = []
    for size in SIZES:
        needed = size * _BYTES_AN_ITEM + _ALLOWANCE
        if needed > available_bytes():
            print(f"{size:,} items left out: {needed / 1e9:.1f} GB are not to be had")
            continue
        batches = None
        if catalogues and options.batches == "stretched":
            smallest = catalogues[0]
            batches = [stretch(batch, smallest.num_items, size) for batch in smallest.batches]
        catalogues.append(_catalogue(options.model, size, options.steps, options.seed, batches))

    keep_freed_memory()  # as training does once its tables stand
    for catalogue in catalogues:
        catalogue.ms_a_step(catalogue.batches)  # compiles
    for turn in range(options.rounds):
        for catalogue in catalogues if turn % 2 == 0 else reversed(catalogues):
            catalogue.ms_a_step(catalogue.batches[:WARM_UP])
            catalogue.times.append(catalogue.ms_a_step(catalogue.batches))

    table = [_row(catalogue, catalogues[0]) for catalogue in catalogues]
    facts = machine()
    print_facts(facts)
    unit = 1e9 if sys.platform == "darwin" else 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(
        f"{options.model}, batches {options.batches}; {options.rounds} rounds of {options.steps}"
        f" steps; peak memory {peak:.1f} GB\n"
    )
    print_table(table)
    print(f"\npromise: a step over {SIZES[-1]:,} items at most {PROMISED:g} times that", end=" ")
    print(f"over {SIZES[0]:,}: {_verdict(table)}")
    write_json(options.json, facts | {"batches": options.batches}, table)


def _catalogue(
    model_name: str, num_items: int, steps: int, seed: int, batches: list[Batch] | None
) -> Catalogue:
    model = get_model(model_name)
    sampler = make_sampler(
        synthetic_split(num_items, USERS, seed),
        num_items,
        BATCH,
        SHAPE.history_length,
        NEGATIVES,
        seed,
    )
    return Catalogue(
        num_items=num_items,
        sampler=sampler,
        batches=batches or [sampler.batch(0, step) for step in range(1, steps + 1)],
        step=make_train_step(model, SETTINGS["optimizer"].default),
        arrays=initial_arrays(model, SHAPE, num_items, seed),
    )


def _row(catalogue: Catalogue, smallest: Catalogue) -> dict[str, str | int | float]:
    rows_used = [
        int((batch.unique_rows <= catalogue.num_items).sum()) for batch in catalogue.batches
    ]
    pairs = zip(catalogue.times, smallest.times, strict=True)
    return {
        "items": catalogue.num_items,
        "rows GB": catalogue.arrays.rows.nbytes / 1e9,
        "distinct rows": round(sum(rows_used) / len(rows_used)),
        "step ms": median(catalogue.times),
        "best ms": min(catalogue.times),
        "ratio": median(time / base for time, base in pairs),
        "best ratio": min(catalogue.times) / min(smallest.times),
        "batch ms": catalogue.host_ms(),
    }


def _verdict(table: list[dict[str, str | int | float]]) -> str:
    if (table[0]["items"], table[-1]["items"]) != (SIZES[0], SIZES[-1]):
        return "not measured"
    return "kept" if float(table[-1]["ratio"]) <= PROMISED else "BROKEN"


if __name__ == "__main__":
    main()
