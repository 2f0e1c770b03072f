"""Category-controlled selection, against the literal greedy loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers import oracles
from helpers.effort import examples
from reprise.errors import UsageError
from reprise.retrieval import rerank
from reprise.retrieval.ranking import NO_INTEREST, NO_ITEM, Ranking

relaxed = examples(150)
seeds = st.integers(0, 2**32 - 1)
# The last makes penalties beyond the greatest number, all of them equal.
coefs = st.sampled_from([0.0, 0.05, 0.25, 0.5, 1.0, 100.0, 1.7e308])
ITEMS = 20
Lists = list[list[tuple[int, float]]]


def random_ranking(rng: np.random.Generator, users: int, width: int) -> tuple[Ranking, Lists]:
    """Return a ranking of up to `width` items a user, and the same as lists of pairs.

    Scores are quarters, so that ties are exact and frequent, with and without the coefficient. Some
    are not finite: their items are in no pair.
    """
    ids = np.full((users, width), NO_ITEM, np.int64)
    scores = np.full((users, width), -np.inf, np.float32)
    lists: Lists = []
    for user in range(users):
        chosen = rng.permutation(ITEMS)[: rng.integers(0, width + 1)] + 1
        values = rng.integers(-8, 9, len(chosen)) / 4
        ranked = oracles.merged(zip(chosen.tolist(), values.tolist(), strict=True))
        for place, (item, score) in enumerate(ranked):
            ids[user, place], scores[user, place] = item, score
        spoiled = rng.random(len(ranked)) < rng.choice([0, 0.2])
        some = rng.choice(np.array([np.nan, np.inf, -np.inf], np.float32), len(ranked))
        scores[user, : len(ranked)] = np.where(spoiled, some, scores[user, : len(ranked)])
        lists.append([pair for pair, bad in zip(ranked, spoiled, strict=True) if not bad])
    return Ranking(ids, scores, origin(ids)), lists


def origin(ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """Say of each item that it is from interest id % 3."""
    return np.where(ids == NO_ITEM, NO_INTEREST, ids % 3).astype(np.int32)


@relaxed
@given(seeds, st.integers(1, 5), st.integers(1, 16), st.integers(1, 20), coefs)
def test_select_equals_the_greedy_loop(
    seed: int, users: int, width: int, top_n: int, coef: float
) -> None:
    rng = np.random.default_rng(seed)
    category = rng.integers(-1, 4, ITEMS + 1).astype(np.int32)
    category[0] = rng.integers(-1, 4)  # the padding's entry means nothing
    ranking, lists = random_ranking(rng, users, width)
    chosen = rerank.select(ranking, category, top_n, coef)
    assert chosen.ids.shape == chosen.scores.shape == chosen.interests.shape == (users, top_n)
    assert [array.dtype for array in chosen] == [np.int64, np.float32, np.int32]
    assert (chosen.interests == origin(chosen.ids)).all()
    for user, candidates in enumerate(lists):
        expected = oracles.greedy(candidates, category.tolist(), top_n, coef)
        missing = top_n - len(expected)
        assert chosen.ids[user].tolist() == expected + [NO_ITEM] * missing
        scores = [dict(candidates)[item] for item in expected]
        assert chosen.scores[user].tolist() == scores + [-np.inf] * missing


@relaxed
@given(seeds, st.integers(1, 16), st.integers(1, 20))
def test_select_with_coefficient_zero_keeps_the_order(seed: int, width: int, top_n: int) -> None:
    rng = np.random.default_rng(seed)
    category = rng.integers(-1, 4, ITEMS + 1).astype(np.int32)
    ranking, lists = random_ranking(rng, 3, width)
    chosen = rerank.select(ranking, category, top_n, 0.0)
    for user, candidates in enumerate(lists):
        plain = [item for item, _ in candidates if category[item] >= 0][:top_n]
        assert [item for item in chosen.ids[user].tolist() if item != NO_ITEM] == plain


def test_select_with_a_large_coefficient_alternates_categories() -> None:
    category = np.array([-1, 0, 0, 0, 1, 1, 1], np.int32)
    ids = np.arange(1, 7)[None]
    ranking = Ranking(ids, -ids.astype(np.float32), origin(ids))
    assert rerank.select(ranking, category, 6, 100.0).ids.tolist() == [[1, 4, 2, 5, 3, 6]]


@pytest.mark.parametrize("coef", [-0.1, np.nan, np.inf])
def test_select_refuses_a_coefficient_that_is_negative_or_not_finite(coef: float) -> None:
    ranking, _ = random_ranking(np.random.default_rng(1), 3, 8)
    with pytest.raises(UsageError, match="lambda"):
        rerank.select(ranking, np.zeros(ITEMS + 1, np.int32), 5, coef)


def test_select_does_not_change_its_input() -> None:
    ranking, _ = random_ranking(np.random.default_rng(1), 3, 8)
    before = [array.tobytes() for array in ranking]
    rerank.select(ranking, np.zeros(ITEMS + 1, np.int32), 5, 0.5)
    assert [array.tobytes() for array in ranking] == before
