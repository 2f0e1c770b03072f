"""A memory's values beside those of seen items, as a search takes them."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from helpers.builders_data import split_of
from helpers.builders_memory import ITEMS, memory_of, slow_values
from helpers.effort import examples
from reprise.retrieval.vectors import added_scores


def retriever(memory: Any, repeat_bias: float) -> Any:
    return SimpleNamespace(memory=memory, repeat_bias=repeat_bias)


@examples(60)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.lists(st.integers(1, ITEMS), max_size=12), min_size=1, max_size=5),
    st.sampled_from([0.0, -2.0, 0.5]),
    st.data(),
)
def test_added_scores_hold_the_memory_of_items_that_are_not_seen(
    seed: int, histories: list[list[int]], bias: float, data: st.DataObject
) -> None:
    memory = memory_of(np.random.default_rng(seed))
    filtered = np.array([data.draw(st.booleans()) for _ in histories])
    added = added_scores(retriever(memory, bias), split_of(histories), filtered)
    assert added is not None
    expected: dict[tuple[int, int], float] = {}
    for user, history in enumerate(histories):
        own = slow_values(memory, history)
        seen = -math.inf if filtered[user] else bias
        own |= dict.fromkeys(history, seen)
        expected |= {(item, user): value for item, value in own.items() if value != 0}
    pairs = list(zip(added.item.tolist(), added.user.tolist(), strict=True))
    assert pairs == sorted(expected)
    assert added.value.dtype == np.float32
    assert added.value.tolist() == pytest.approx([expected[pair] for pair in pairs], rel=1e-4)
    plain = added_scores(retriever(None, bias), split_of(histories), filtered)
    for user, history in enumerate(histories):  # seen items are as without a memory, to the bit
        for one in (added, plain):
            own = (
                {}
                if one is None
                else dict(
                    zip(
                        one.of(user, user + 1).item.tolist(),
                        one.of(user, user + 1).value,
                        strict=True,
                    )
                )
            )
            seen = -math.inf if filtered[user] else bias
            assert all(own.get(item, 0) == seen for item in history)


def test_added_scores_of_a_memory_without_weight_are_those_without_one() -> None:
    memory = memory_of(np.random.default_rng(0))
    memory.numbers[:] = 0
    histories = split_of([[1, 2], [3]])
    assert added_scores(retriever(memory, 0.0), histories, False) is None
    for one, other in zip(
        added_scores(retriever(memory, 1.0), histories, False) or (),
        added_scores(retriever(None, 1.0), histories, False) or (),
        strict=True,
    ):
        assert_array_equal(one, other)
