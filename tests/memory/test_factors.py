"""The factors that items may begin with, against a slow and obvious program."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from helpers.builders_data import split_of
from helpers.effort import examples
from reprise.memory import counting
from reprise.memory.factors import WINDOW, item_factors

ITEMS, DIM = 7, 3
LISTS = st.lists(st.lists(st.integers(1, ITEMS), max_size=14), min_size=1, max_size=6)
GROUPS = (range(1, 11), range(11, 21), range(21, 31))  # items whose users have no others


def information(lists: list[list[int]]) -> NDArray[np.float64]:
    """Return the positive pointwise mutual information of items 1..ITEMS, slowly."""
    count = np.zeros((ITEMS, ITEMS))
    for own in lists:
        for place, item in enumerate(own):
            for distance, other in enumerate(own[place + 1 : place + 1 + WINDOW], 1):
                if item != other:
                    count[item - 1, other - 1] += distance**-0.5
                    count[other - 1, item - 1] += distance**-0.5
    of_item = count.sum(axis=0)
    made = np.zeros((ITEMS, ITEMS))
    for one, other in zip(*np.nonzero(count), strict=True):
        expected = of_item[one] * of_item[other] / of_item.sum()
        made[one, other] = max(0, np.log(count[one, other] / expected))
    return made


def cosines(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    norm = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    unit = np.asarray(vectors / norm, np.float64)
    product: NDArray[np.float64] = unit @ unit.T
    return product


@examples(40)
@given(LISTS)
def test_item_factors_are_the_singular_vectors_of_a_slow_program(lists: list[list[int]]) -> None:
    """But for a rotation: the factors' products are compared. Equal singular values at the end of
    those that are taken leave a choice.
    """
    made = item_factors(split_of(lists), ITEMS, DIM)
    u, s, _ = np.linalg.svd(information(lists))
    if s[DIM - 1] - s[DIM] < 1e-6:
        return
    expected = u[:, :DIM] * np.sqrt(s[:DIM])
    known = np.linalg.norm(expected, axis=1) > 1e-5
    np.testing.assert_allclose(
        cosines(made[1:])[known][:, known], cosines(expected)[known][:, known], atol=1e-4
    )
    norms = np.linalg.norm(made[1:], axis=1)
    np.testing.assert_allclose(norms[known], 1, atol=1e-5)
    assert not made[0].any()


def of_groups(rng: np.random.Generator, groups: Iterable[range] = GROUPS) -> list[list[int]]:
    return [rng.choice(own, 6, replace=False).tolist() for own in groups for _ in range(30)]


def test_item_factors_tell_groups_of_items_apart() -> None:
    made = item_factors(split_of(of_groups(np.random.default_rng(1))), 31, 8)
    alike = cosines(made[1:])
    for place, own in enumerate(GROUPS):
        inside = alike[own.start - 1 : own.stop - 1, own.start - 1 : own.stop - 1]
        others = [n - 1 for group in GROUPS[:place] + GROUPS[place + 1 :] for n in group]
        outside = alike[own.start - 1 : own.stop - 1][:, others]
        assert inside.mean() > 0.5 > 0.2 > np.abs(outside).mean()
    assert not made[31].any()  # an item without interactions


@pytest.mark.parametrize("lists", [[[]], [[1, 1, 1]], [[1], [2]]])
def test_item_factors_are_zero_where_no_item_is_beside_another(lists: list[list[int]]) -> None:
    assert not item_factors(split_of(lists), ITEMS, DIM).any()


@pytest.mark.parametrize("num_items", [1, 2, 3])
def test_item_factors_of_few_items_fill_fewer_dimensions(num_items: int) -> None:
    lists = [list(range(1, num_items + 1))] * 3
    made = item_factors(split_of(lists), num_items, 8)
    assert made.shape == (num_items + 1, 8)
    assert np.isfinite(made).all()
    norms = np.linalg.norm(made[1:], axis=1)
    assert all(norm == pytest.approx(0, abs=1e-6) or norm == pytest.approx(1) for norm in norms)


def test_item_factors_are_the_same_whatever_the_blocks_and_the_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = split_of(of_groups(np.random.default_rng(2)))
    whole = item_factors(train, 31, 8)
    with threadpool_limits(2, user_api="blas"):
        assert np.array_equal(item_factors(train, 31, 8), whole)
    monkeypatch.setattr(counting, "_PAIRS", 100)
    np.testing.assert_allclose(item_factors(train, 31, 8), whole, atol=1e-5)
