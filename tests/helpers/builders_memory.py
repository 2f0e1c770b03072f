"""Memories to test with, and a loop that says what one adds."""

import numpy as np

from reprise.memory.edges import Edges
from reprise.memory.memory import AGES, MOST, SIZE, Memory

ITEMS = 9


def edges_of(rng: np.random.Generator, num_items: int = ITEMS) -> Edges:
    dense = rng.random((num_items, num_items)) * (rng.random((num_items, num_items)) < 0.4)
    np.fill_diagonal(dense, 0)
    row, column = np.nonzero(dense)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=num_items))])
    return Edges(offsets, (column + 1).astype(np.int32), dense[row, column].astype(np.float32))


def memory_of(rng: np.random.Generator, num_items: int = ITEMS) -> Memory:
    return Memory(edges_of(rng, num_items), (rng.random(SIZE) + 0.1).astype(np.float32))


def slow_values(memory: Memory, history: list[int]) -> dict[int, float]:
    """What is added, by item; of the history's items, too."""
    weight, bend, *factors = memory.numbers.astype(np.float64)
    edges, total = memory.edges, 0.0
    x = dict.fromkeys(range(1, edges.num_items + 1), 0.0)
    for age, item in enumerate(history[::-1][:MOST]):
        factor = factors[max(n for n, first in enumerate(AGES) if age >= first)]
        total += factor
        for at in range(edges.offsets[item - 1], edges.offsets[item]):
            x[int(edges.to[at])] += factor * float(edges.value[at])
    return {
        item: weight * np.log(1 + bend * value / total) / np.log(1 + bend)
        for item, value in x.items()
        if value > 0
    }
