"""Measure how long a batch takes to make: python benchmarks/batches.py

    books     V = 367,982 items, B = 128 users a batch, L = 20 items of history, S = 1280 negatives
    taobao    V = 1,708,530, B = 256, L = 50, S = 2560
    modern    Books' items as `--preset modern` trains on them: eight targets a user, L = 50

batch         `Sampler.batch`: users, positions, histories, targets, negatives with their expected
              counts, and the distinct rows
negatives     the draw of the negatives alone, `negatives.sample`
Python        the original's way, users and positions by `random` and a loop over the users, lists
              padded one by one; it draws no negatives (TensorFlow's graph did) and finds no
              distinct rows

Times are medians over the batches, in turns; "Python/batch" is the ratio of these. A thread makes
batches beside the step (`batches.prefetch`): what counts is that a batch takes less than a step
(`benchmarks/step.py`), and that little of it holds the interpreter's lock.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import numpy as np

from common import (
    machine,
    make_parser,
    print_facts,
    print_table,
    seconds_of,
    synthetic_split,
    write_json,
)
from reprise.data.sequences import Sequences
from reprise.runtime.memory import keep_freed_memory
from reprise.training import negatives
from reprise.training.batches import Sampler, make_sampler
from reprise.training.targets import COMIREC, TargetRule

USERS = 100_000
MODERN = TargetRule(first=1, count=8, next_share=0.1)
# items, batch, history, negatives, rule
SHAPES: dict[str, tuple[int, int, int, int, TargetRule]] = {
    "books": (367_982, 128, 20, 1280, COMIREC),
    "taobao": (1_708_530, 256, 50, 2560, COMIREC),
    "modern": (367_982, 128, 50, 1280, MODERN),
}


@dataclass
class Timed:
    """A way of making something; its times in ms."""

    make: Callable[[int], object]
    times: list[float] = field(default_factory=list)

    def take_turn(self, step: int) -> None:
        """Make that of a step."""
        self.times.append(1e3 * seconds_of(lambda: self.make(step)))


class PythonLoop:
    """Users as dictionaries hold them, and a batch as the original's iterator makes it."""

    def __init__(self, split: Sequences, batch: int, length: int, rule: TargetRule) -> None:
        offsets = split.offsets.tolist()
        items = split.items.tolist()
        self._sequences = {
            user: items[start:end] for user, (start, end) in enumerate(pairwise(offsets))
        }
        self._users = sorted(self._sequences)
        self._size, self._length, self._first = batch, length, rule.first
        self._random = random.Random(1)

    def batch(self, step: int) -> tuple[list[int], list[list[int]], list[list[float]]]:
        """Return targets, histories and masks."""
        targets, histories, masks = [], [], []
        for user in self._random.sample(self._users, self._size):
            sequence = self._sequences[user]
            end = self._random.choice(range(self._first, len(sequence)))
            targets.append(sequence[end])
            known = sequence[max(0, end - self._length) : end]
            missing = self._length - len(known)
            histories.append(known + [0] * missing)
            masks.append([1.0] * len(known) + [0.0] * missing)
        return targets, histories, masks


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    keep_freed_memory()  # as training does
    rows = [_measure(name, options.batches, options.seed) for name in options.shapes]
    facts = machine()
    print_facts(facts)
    print()
    print_table(rows)
    write_json(options.json, facts, rows)


def _measure(name: str, batches: int, seed: int) -> dict[str, str | int | float]:
    num_items, size, length, num_negatives, rule = SHAPES[name]
    split = synthetic_split(num_items, USERS, seed)
    sampler = make_sampler(split, num_items, size, length, num_negatives, seed, rule=rule)
    ways = [
        Timed(lambda step: sampler.batch(0, step)),
        Timed(lambda step: _negatives(sampler, step)),
        Timed(PythonLoop(split, size, length, rule).batch),
    ]
    for step in range(1, batches + 1):
        for way in ways:
            way.take_turn(step)
    whole, drawn, loop = (median(way.times) for way in ways)
    return {
        "shape": name,
        "targets": size * rule.count,
        "batch ms": whole,
        "negatives ms": drawn,
        "Python ms": loop,
        "Python/batch": loop / whole,
        "examples/s": round(1e3 * size * rule.count / whole),
    }


def _negatives(sampler: Sampler, step: int) -> negatives.Sample:
    rng = np.random.Generator(np.random.Philox(key=[sampler.seed, step]))
    targets = sampler.split.items[: sampler.batch_size * sampler.rule.count]
    return negatives.sample(
        sampler.kind, rng, targets, sampler.num_negatives, sampler.num_items, sampler.target_chance
    )


if __name__ == "__main__":
    main()
