"""What a memory adds to scores, against a loop."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from helpers.builders_data import split_of
from helpers.builders_memory import ITEMS, memory_of, slow_values
from helpers.effort import examples
from reprise.memory.memory import AGES, MOST

HISTORIES = st.lists(st.lists(st.integers(1, ITEMS), max_size=MOST + 40), max_size=5)


@examples(40)
@given(st.integers(0, 2**32 - 1), HISTORIES)
def test_memory_adds_what_a_loop_adds(seed: int, histories: list[list[int]]) -> None:
    memory = memory_of(np.random.default_rng(seed))
    found = memory.values(split_of(histories)).toarray()
    for row, history in zip(found, histories, strict=True):
        expected = slow_values(memory, history)
        assert_allclose(row, [expected.get(n, 0) for n in range(1, ITEMS + 1)], rtol=1e-4)


@examples(20)
@given(st.integers(0, 2**32 - 1), HISTORIES)
def test_memory_adds_the_same_bits_whoever_else_asks(seed: int, histories: list[list[int]]) -> None:
    memory = memory_of(np.random.default_rng(seed))
    together = memory.values(split_of(histories)).toarray()
    for row, history in zip(together, histories, strict=True):
        assert_array_equal(memory.values(split_of([history])).toarray()[0], row)


@examples(40)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, ITEMS), max_size=MOST + 9))
def test_because_names_the_item_that_leads_most(seed: int, history: list[int]) -> None:
    memory = memory_of(np.random.default_rng(seed))
    items = np.arange(1, ITEMS + 1)
    dense = memory.edges.matrix.toarray()
    found = memory.because(np.array(history, np.int32), items)
    factors = memory.numbers[2:]
    recent = history[-MOST:]
    for item, because in zip(items, found, strict=True):
        strength = [
            factors[np.searchsorted(AGES, len(recent) - 1 - place, side="right") - 1]
            * dense[own - 1, item - 1]
            for place, own in enumerate(recent)
        ]
        best = max(strength, default=0)
        leads = [own for own, one in zip(recent, strength, strict=True) if one == best and one > 0]
        assert because == (leads[-1] if leads else 0)
