"""Evaluation over the full catalogue, against brute force, one user at a time."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers import oracles
from helpers.builders_data import split_of
from helpers.effort import examples
from reprise.data.dataset import Dataset, Truth
from reprise.data.sequences import EvaluationUsers, Past
from reprise.errors import DataError
from reprise.evaluation.evaluate import evaluate, evaluate_each
from reprise.evaluation.metrics import METRICS
from reprise.models.registry import ModelShape, get_model
from reprise.models.scoring import COMIREC, Scoring
from reprise.retrieval.vectors import CHUNK, InterruptedSearchError, Retriever, retriever_of
from reprise.training.state import Arrays
from reprise.training.step import initial_arrays

ITEMS, MOST_USERS, CUTOFFS = 40, 257, (3, 10)
SHAPE = ModelShape(history_length=6, embedding_dim=4, hidden_size=4, num_interest=2)
MODEL = get_model("ComiRec-SA")
COSINE = Scoring(cosine=True)
CATEGORY = np.concatenate([[-1], np.arange(ITEMS) % 4]).astype(np.int32)
TRUTH = Truth(
    item_interest=np.concatenate([[-1], np.arange(ITEMS) % 5]).astype(np.int32),
    user_interests=np.array([[n % 5, (n + 2) % 5, -1] for n in range(MOST_USERS)], np.int32),
)


@cache
def arrays() -> Arrays:
    return initial_arrays(MODEL, SHAPE, ITEMS, seed=7)


def retriever(changed: Arrays | None = None, scoring: Scoring = COMIREC) -> Retriever:
    return retriever_of(MODEL, scoring, changed or arrays())


Interests = Callable[..., NDArray[np.float32]]


class Spoiled(Retriever):
    """A retriever whose interests another function makes, of what this one makes."""

    spoil: ClassVar[Interests]

    def interests(self, *history: Any) -> NDArray[np.float32]:
        return type(self).spoil(super().interests(*history))


def spoiled_by(function: Interests) -> Retriever:
    class By(Spoiled):
        spoil = staticmethod(function)

    return By(**vars(retriever()))


@cache
def everyone() -> EvaluationUsers:
    rng = np.random.default_rng(4)
    lengths = rng.integers(1, SHAPE.history_length + 1, MOST_USERS).astype(np.int32)
    history = rng.integers(1, ITEMS + 1, (MOST_USERS, SHAPE.history_length)).astype(np.int32)
    history[np.arange(SHAPE.history_length) >= lengths[:, None]] = 0
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 6, MOST_USERS))])
    targets = rng.integers(1, ITEMS + 1, offsets[-1]).astype(np.int32)
    past = Past(history.ravel(), np.arange(MOST_USERS) * history.shape[1], lengths.astype(np.int64))
    return EvaluationUsers(history, lengths, offsets, targets, past)


def first(count: int) -> EvaluationUsers:
    users = everyone()
    offsets = users.target_offsets[: count + 1]
    return EvaluationUsers(
        users.history[:count],
        users.lengths[:count],
        offsets,
        users.target_items[: offsets[-1]],
        replace(users.past, starts=users.past.starts[:count], lengths=users.past.lengths[:count]),
    )


@cache
def ranked() -> list[list[tuple[int, float]]]:
    """Return every user's whole catalogue, best first, one user after the other."""
    table = np.asarray(arrays().rows)[:, : SHAPE.embedding_dim]
    params: dict[str, NDArray[Any]] = {k: np.asarray(v) for k, v in arrays().params.items()}
    return [
        oracles.rank(oracles.self_attention(params, table[history], int(length)), table[1:])
        for history, length in zip(everyone().history, everyone().lengths, strict=True)
    ]


def expected_metrics(lists: list[list[int]]) -> dict[str, float]:
    """Return the means over the first len(lists) users."""
    users, sums = first(len(lists)), dict[str, float]()
    for user, recommended in enumerate(lists):
        start, end = users.target_offsets[user : user + 2]
        targets = users.target_items[start:end].tolist()
        for n in CUTOFFS:
            values = oracles.metrics_at(recommended, targets, n)
            values["diversity"] = oracles.diversity(recommended[:n], CATEGORY.tolist())
            values["interest_coverage"] = oracles.interest_coverage(
                recommended[:n], TRUTH.item_interest.tolist(), TRUTH.user_interests[user].tolist()
            )
            for name, value in values.items():
                sums[f"{name}@{n}"] = sums.get(f"{name}@{n}", 0.0) + value
    return {name: total / len(lists) for name, total in sums.items()}


def check_holds(computed: dict[str, float], expected: dict[str, float]) -> None:
    """`computed` holds what is expected, and more."""
    assert {name: computed[name] for name in expected} == pytest.approx(expected)


def truth_of(count: int) -> Truth:
    return replace(TRUTH, user_interests=TRUTH.user_interests[:count])


@pytest.mark.parametrize("count", [1, 255, 256, 257])
def test_evaluate_does_not_depend_on_the_chunk_size(count: int) -> None:
    computed = evaluate(
        retriever(),
        first(count),
        CUTOFFS,
        item_category=CATEGORY,
        truth=truth_of(count),
        metrics=METRICS,
    )
    lists = [[item for item, _ in everything[:10]] for everything in ranked()[:count]]
    check_holds(computed.metrics, expected_metrics(lists))


@pytest.mark.parametrize("coef", [0.0, 0.02, 0.2])
def test_evaluate_selects_from_the_merged_lists(coef: float) -> None:
    computed = evaluate(
        retriever(), first(30), CUTOFFS, CATEGORY, truth_of(30), coef, metrics=METRICS
    )
    table = np.asarray(arrays().rows)[1:, : SHAPE.embedding_dim]
    history, lengths = everyone().history[:30], everyone().lengths[:30]
    lists = []
    for interests in retriever().interests(history, lengths):
        own = [oracles.rank(one[None], table)[:10] for one in interests]
        candidates = oracles.merged(pair for one in own for pair in one)
        lists.append(oracles.greedy(candidates, CATEGORY.tolist(), 10, coef))
    assert all(len(one) == 10 for one in lists)
    check_holds(computed.metrics, expected_metrics(lists))


def test_evaluate_each_equals_one_evaluation_after_the_other() -> None:
    coefs = (0.0, 0.02, 0.2)
    users = first(CHUNK + 1)
    options = (CATEGORY, truth_of(CHUNK + 1))
    found = evaluate_each(retriever(), users, CUTOFFS, coefs, *options, metrics=METRICS)
    assert len(found) == len(coefs)
    for own, coef in zip(found, coefs, strict=True):
        alone = evaluate(retriever(), users, CUTOFFS, *options, coef, metrics=METRICS)
        assert own.metrics == alone.metrics
        assert (own.ids == alone.ids).all()
        for key, values in alone.by_user.items():
            assert (own.by_user[key] == values).all()


def test_evaluate_each_searches_once() -> None:
    calls = 0

    def should_stop() -> bool:
        nonlocal calls
        calls += 1
        return False

    users, coefs = first(5), (0.0, 1.0, 2.0)
    evaluate_each(retriever(), users, CUTOFFS, coefs, CATEGORY, should_stop=should_stop)
    assert calls == 1


def test_evaluate_gives_diversity_and_coverage_only_with_their_inputs() -> None:
    plain = evaluate(retriever(), first(5), CUTOFFS).metrics
    names = ("recall", "ndcg", "ndcg_comirec", "hitrate", "mrr")
    healthy = ("interest_share_1", "interest_share_2", "interest_dead", "interests_used")
    at_cutoffs = {
        f"{name}@{n}" for name in (*names, "catalogue_coverage", *healthy) for n in CUTOFFS
    }
    assert set(plain) == at_cutoffs | {"interest_cosine"}
    diverse = evaluate(retriever(), first(5), CUTOFFS, CATEGORY).metrics
    assert set(diverse) - set(plain) == {"diversity@3", "diversity@10"}
    covered = evaluate(retriever(), first(5), CUTOFFS, truth=truth_of(5)).metrics
    assert set(covered) - set(plain) == {"interest_coverage@3", "interest_coverage@10"}
    counts = np.arange(ITEMS + 1)
    counted = evaluate(
        retriever(), first(5), CUTOFFS, metrics=METRICS, training_counts=counts
    ).metrics
    names = ("map", "precision", "gini", "novelty", "popularity")
    assert set(counted) - set(plain) == {f"{name}@{n}" for name in names for n in CUTOFFS}
    for more in (diverse, covered, counted):
        assert plain.items() <= more.items()


def test_evaluate_gives_nan_for_non_finite_parameters() -> None:
    spoiled = jax.tree.map(lambda array: jnp.full_like(array, jnp.nan), arrays().params)
    computed = evaluate(
        retriever(arrays()._replace(params=spoiled)), first(9), CUTOFFS, CATEGORY, truth_of(9)
    )
    assert len(computed.metrics) == 25
    assert all(math.isnan(value) for value in computed.metrics.values())


@pytest.mark.parametrize("spoiled_chunk", [0, 1])
def test_evaluate_gives_nan_for_one_non_finite_user(spoiled_chunk: int) -> None:
    chunks = 0

    def spoiled(made: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal chunks
        chunks += 1
        made = made.copy()
        if chunks == spoiled_chunk + 1:
            made[0] = math.nan
        return made

    computed = evaluate(spoiled_by(spoiled), first(257), CUTOFFS)
    assert chunks == 2
    assert all(math.isnan(value) for value in computed.metrics.values())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_evaluate_gives_nan_for_one_non_finite_interest(value: float) -> None:
    def spoiled(made: NDArray[np.float32]) -> NDArray[np.float32]:
        made = made.copy()
        made[3, 1] = value
        return made

    computed = evaluate(spoiled_by(spoiled), first(9), CUTOFFS)
    assert all(math.isnan(value) for value in computed.metrics.values())


def test_evaluate_refuses_a_coefficient_without_categories() -> None:
    with pytest.raises(DataError, match="needs item categories"):
        evaluate(retriever(), first(5), CUTOFFS, coef=0.1)


@pytest.mark.parametrize("answers", [0, 1])
def test_evaluate_can_be_interrupted_between_chunks(answers: int) -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > answers

    with pytest.raises(InterruptedSearchError):
        evaluate(retriever(), first(257), CUTOFFS, should_stop=should_stop)
    assert asked == answers + 1


class World(NamedTuple):
    """A catalogue and users whose values are small whole numbers: scores are exact, ties frequent,
    and interests of zero among them.
    """

    arrays: Arrays
    users: EvaluationUsers
    pasts: list[list[int]]
    targets: list[list[int]]
    category: NDArray[np.int32]

    def retriever(self, kind: type[Retriever]) -> Retriever:
        return kind(MODEL, COMIREC, self.arrays.rows, 3, {})


def random_world(rng: np.random.Generator, num_users: int, num_items: int) -> World:
    rows = np.zeros((num_items + 1, 9), np.float32)
    rows[1:, :3] = rng.integers(-2, 3, (num_items, 3))
    sequences = [
        rng.integers(1, num_items + 1, rng.integers(2, 30)).tolist() for _ in range(num_users)
    ]
    category = rng.integers(-1, 4, num_items + 1).astype(np.int32)
    split = split_of(sequences)
    dataset = Dataset("x", Path(), num_items, "", {"test": split}, category, {})
    position = [int(0.8 * len(sequence)) for sequence in sequences]
    return World(
        Arrays(jnp.asarray(rows), jnp.zeros(len(rows)), {}, {}, {}, {}, {}, jnp.zeros(())),
        dataset.evaluation_users("test", history_length=4),
        [sequence[:end] for sequence, end in zip(sequences, position, strict=True)],
        [sequence[end:] for sequence, end in zip(sequences, position, strict=True)],
        category,
    )


class FirstItems(Retriever):
    """Interests that are the first items of the history; padding's is zero."""

    def interests(self, history: Any, lengths: Any, times: Any = None) -> NDArray[np.float32]:
        made: NDArray[np.float32] = np.asarray(self.rows)[:, : self.width][history[:, :3]]
        return made


class FirstItem(FirstItems):
    def interests(self, history: Any, lengths: Any, times: Any = None) -> NDArray[np.float32]:
        return super().interests(history, lengths)[:, :1]


@examples(60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(1, 40),
    st.sampled_from([None, 0.0, 0.5, 100.0]),
    st.booleans(),
)
def test_evaluate_equals_brute_force_user_by_user(
    seed: int, num_users: int, num_items: int, coef: float | None, filter_seen: bool
) -> None:
    world = random_world(np.random.default_rng(seed), num_users, num_items)
    counts = np.random.default_rng(seed).integers(0, 9, num_items + 1)
    counts[0] = 0
    found = evaluate(
        world.retriever(FirstItems),
        world.users,
        CUTOFFS,
        world.category,
        coef=coef,
        filter_seen=filter_seen,
        metrics=METRICS,
        training_counts=counts,
    )
    lists, sums, cosines = [], Counter[str](), []
    for user, (past, targets) in enumerate(zip(world.pasts, world.targets, strict=True)):
        history = world.users.history[user : user + 1]
        interests = world.retriever(FirstItems).interests(history, history)[0]
        listed, metrics = oracles.evaluate_full(
            np.asarray(world.arrays.rows[1:, :3]),
            interests,
            past,
            targets,
            world.category.tolist(),
            CUTOFFS,
            coef,
            filter_seen,
        )
        assert [item for item in found.ids[user].tolist() if item] == [one.item for one in listed]
        for n in CUTOFFS:
            shown_to_user = [one.item for one in listed[:n]]
            known = counts.tolist()
            metrics[f"novelty@{n}"] = oracles.novelty(shown_to_user, known) if counts.any() else 0
            metrics[f"popularity@{n}"] = oracles.average_popularity(shown_to_user, known)
        by_user = {name: values[user] for name, values in found.by_user.items()}
        assert by_user == pytest.approx(metrics)
        lists.append(listed)
        sums.update(metrics)
        cosines.append(oracles.mean_cosine(interests))
    expected = {name: total / num_users for name, total in sums.items()}
    for n in CUTOFFS:
        expected |= oracles.interest_health(lists, 3, n)
        shown = {one.item for listed in lists for one in listed[:n]}
        expected[f"catalogue_coverage@{n}"] = len(shown) / num_items
        times = Counter(one.item for listed in lists for one in listed[:n])
        expected[f"gini@{n}"] = oracles.gini([times[item + 1] for item in range(num_items)])
    expected["interest_cosine"] = sum(cosines) / num_users
    assert found.metrics == pytest.approx(expected)


def test_evaluate_ranks_by_cosine_and_keeps_padding_zero() -> None:
    rng = np.random.default_rng(2)
    lengths = 10 ** rng.uniform(-3, 1, (ITEMS + 1, 1)).astype(np.float32)
    stretched = arrays()._replace(rows=jnp.asarray(arrays().rows * lengths))
    by_cosine = retriever(stretched, COSINE)
    computed = evaluate(by_cosine, first(30), CUTOFFS)
    values = np.asarray(stretched.rows)[:, : SHAPE.embedding_dim]
    items = oracles.unit(values)
    params: dict[str, NDArray[Any]] = {k: np.asarray(v) for k, v in arrays().params.items()}
    for user, (history, length) in enumerate(
        zip(everyone().history[:30], everyone().lengths[:30], strict=True)
    ):
        made = oracles.unit(oracles.self_attention(params, values[history], int(length)))
        expected = [item for item, _ in oracles.rank(made, items[1:])[:10]]
        assert computed.ids[user].tolist() == expected
    np.testing.assert_allclose(by_cosine.item_vectors(), items, atol=1e-6)
    assert not by_cosine.item_vectors()[0].any()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_evaluate_gives_nan_for_one_non_finite_item(value: float) -> None:
    spoiled = arrays()._replace(rows=arrays().rows.at[ITEMS, 1].set(value))
    for scoring in (Scoring(), COSINE):
        found = evaluate(retriever(spoiled, scoring), first(3), CUTOFFS)
        assert all(math.isnan(one) for one in found.metrics.values())


def test_evaluate_has_no_health_of_a_single_interest() -> None:
    world = random_world(np.random.default_rng(0), 3, 20)
    computed = evaluate(world.retriever(FirstItem), world.users, CUTOFFS)
    assert not [name for name in computed.metrics if name.startswith("interest")]
