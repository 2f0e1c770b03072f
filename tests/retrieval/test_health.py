"""Interest health, against loops over lists and pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import oracles
from helpers.effort import examples
from reprise.evaluation import health

relaxed = examples(100)
seeds = st.integers(0, 2**32 - 1)


@relaxed
@given(seeds, st.integers(1, 6), st.integers(1, 12), st.integers(2, 12))
def test_health_equals_the_loops(seed: int, users: int, width: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    interests = (rng.integers(0, count, (users, width)) * rng.integers(0, 2)).astype(np.int32)
    interests[np.arange(width) >= rng.integers(0, 2 * width, users)[:, None]] = -1
    lists = [
        [oracles.Listed(1, interest) for interest in row if interest >= 0]
        for row in interests.tolist()
    ]
    expected = oracles.interest_health(lists, count, 3) | oracles.interest_health(lists, count, 8)
    assert health.of_lists(interests, count, (3, 8)) == pytest.approx(expected)


def test_health_counts_interests_below_a_tenth_of_an_equal_share_as_dead() -> None:
    interests = np.zeros((1, 40), np.int32)
    interests[0, 0] = 1  # 1 of 40 is a tenth of a quarter: alive
    interests[0, 1:4] = 2
    assert health.of_lists(interests, 4, (40,)) == {
        "interest_share_1@40": 0.9,
        "interest_share_2@40": 0.025,
        "interest_share_3@40": 0.075,
        "interest_share_4@40": 0.0,
        "interest_dead@40": 1.0,
        "interests_used@40": 3.0,
    }


@relaxed
@given(seeds, st.integers(1, 6), st.integers(2, 5), st.integers(1, 4))
def test_health_cosine_equals_the_loop_over_pairs(
    seed: int, users: int, count: int, dim: int
) -> None:
    rng = np.random.default_rng(seed)
    interests = rng.normal(size=(users, count, dim)).astype(np.float32)
    interests[rng.random((users, count)) < 0.2] = 0
    expected = [oracles.mean_cosine(own) for own in interests]
    assert health.cosines(interests) == pytest.approx(np.array(expected), abs=1e-12)
