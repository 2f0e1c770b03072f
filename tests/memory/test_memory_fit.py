"""The fit of a memory's numbers to a model, against slow and obvious programs."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from helpers.builders_data import split_of
from helpers.builders_memory import ITEMS, edges_of, slow_values
from helpers.effort import examples
from reprise.data.sequences import EvaluationUsers, Past
from reprise.evaluation import memory_fit
from reprise.memory.memory import SIZE, Memory
from reprise.memory.rules import counted_edges
from reprise.models.registry import get_model
from reprise.models.scoring import COMIREC
from reprise.retrieval.vectors import Retriever

Lists = list[list[int]]


def users_of(histories: Lists, targets: Lists) -> EvaluationUsers:
    past, wanted = split_of(histories), split_of(targets)
    lengths = past.lengths.astype(np.int32)
    history = np.zeros((len(histories), max(map(len, histories), default=1)), np.int32)
    for row, own in zip(history, histories, strict=True):
        row[: len(own)] = own
    known = Past(past.items, past.offsets[:-1], past.lengths)
    return EvaluationUsers(history, lengths, wanted.offsets, wanted.items, known)


def likelihood(scores: np.ndarray[Any, Any], targets: list[int]) -> float:
    top = scores.max()
    return float(np.mean(scores[np.array(targets) - 1]) - top - np.log(np.exp(scores - top).sum()))


LISTS = st.lists(st.lists(st.integers(1, ITEMS), min_size=1, max_size=9), min_size=3, max_size=3)


@examples(30)
@given(st.integers(0, 2**32 - 1), LISTS, LISTS, st.sampled_from([0.1, 1.0]))
def test_objective_is_the_likelihood_that_a_memory_adds(
    seed: int, histories: Lists, targets: Lists, heat: float
) -> None:
    """And its gradient is that of small differences."""
    rng = np.random.default_rng(seed)
    edges, scores = edges_of(rng), rng.normal(size=(3, ITEMS)) * heat
    pairs = memory_fit._pairs(users_of(histories, targets), edges)
    sums = np.log(np.exp(scores / heat).sum(axis=1))
    share = np.exp(scores[pairs.user, pairs.item] / heat - sums[pairs.user])
    logs = rng.normal(size=SIZE) * 0.5
    start = logs.copy()  # so that nothing is added for being far from it

    def objective(at: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        return memory_fit._objective(at, start, pairs, share, heat)

    memory = Memory(edges, np.exp(logs).astype(np.float32))
    expected = 0.0
    for own, history, wanted in zip(scores, histories, targets, strict=True):
        more = own.copy()
        for item, value in slow_values(memory, history).items():
            more[item - 1] += 0 if item in history else value
        expected += (likelihood(own / heat, wanted) - likelihood(more / heat, wanted)) / 3
    value, gradient = objective(logs)
    assert value == pytest.approx(expected, abs=1e-5)
    for place in range(SIZE):
        step = np.zeros(SIZE)
        step[place] = 1e-5
        slope = (objective(logs + step)[0] - objective(logs - step)[0]) / 2e-5
        assert_allclose(gradient[place], slope, rtol=1e-3, atol=1e-6)


def ignorant(num_items: int, dim: int = 4) -> Retriever:
    """A model that knows nothing: its items are all alike."""
    rows = jnp.ones((num_items + 1, dim), jnp.float32)
    return Retriever(get_model("DNN"), COMIREC, rows, dim, params_of(dim))


def params_of(dim: int) -> dict[str, Any]:
    import jax

    from reprise.models.registry import ModelShape

    return get_model("DNN").init(jax.random.key(0), ModelShape(8, dim, dim, 1))


def drawn(rng: np.random.Generator, users: int, follow: float, num_items: int = 60) -> Lists:
    """Sequences of eight items in which the next is the one after with a chance of `follow`."""
    found = []
    for _ in range(users):
        own = [int(rng.integers(num_items))]
        while len(own) < 8:
            after = rng.random() < follow
            own.append((own[-1] + 1) % num_items if after else int(rng.integers(num_items)))
        found.append([item + 1 for item in own])
    return found


@pytest.mark.parametrize("follow", [0.0, 0.6])
def test_fitted_weight_grows_only_where_items_follow_items(follow: float) -> None:
    rng = np.random.default_rng(3)
    edges = counted_edges(split_of(drawn(rng, 400, follow)), 60, 16)
    valid = drawn(rng, 300, follow)
    users = users_of([own[:6] for own in valid], [own[6:] for own in valid])
    numbers = memory_fit.fitted(ignorant(60), edges, users, 1.0)
    assert numbers.dtype == np.float32
    assert numbers.shape == (SIZE,)
    if follow:
        assert numbers[0] > 0.5
        assert numbers[2] == max(numbers[2:])  # the last item leads most
    else:
        assert not numbers.any()


def test_fitted_numbers_of_a_model_that_is_not_finite_add_nothing() -> None:
    rng = np.random.default_rng(3)
    lists = drawn(rng, 50, 1.0)
    users = users_of([own[:6] for own in lists], [own[6:] for own in lists])
    edges = counted_edges(split_of(lists), 60, 16)
    model = ignorant(60)
    broken = Retriever(model.model, COMIREC, model.rows * jnp.nan, 4, model.params)
    assert not memory_fit.fitted(broken, edges, users, 1.0).any()


def test_fitted_numbers_of_edges_that_lead_nowhere_add_nothing() -> None:
    lists = drawn(np.random.default_rng(3), 20, 1.0)
    users = users_of([own[:6] for own in lists], [own[6:] for own in lists])
    assert not memory_fit.fitted(
        ignorant(60), counted_edges(split_of([[]]), 60, 16), users, 1.0
    ).any()
