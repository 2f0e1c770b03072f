"""Queries: the attention of its tokens, and initial parameters."""

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_models import (
    INTERESTS,
    LENGTH,
    USERS,
    Shapes,
    compiled,
    random_histories,
    random_params,
    scales,
    seeds,
)
from helpers.effort import examples
from reprise.models import queries
from reprise.models.registry import ModelShape

relaxed = examples(25)
DIM, COUNT = 4, INTERESTS
SHAPES: Shapes = {
    "token": (COUNT, DIM),
    "distance": (COUNT, LENGTH),
    **dict.fromkeys(("key", "inner", "outer"), (DIM, DIM)),
    **dict.fromkeys(("inner_bias", "outer_bias", "feed_bias"), (DIM,)),
    **dict.fromkeys(("key_gain", "feed_gain"), (DIM,)),
}

interests = compiled("Queries")
exposed = jax.jit(queries.interests_and_attention)


@relaxed
@given(seeds, scales)
def test_queries_attend_to_the_items(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    history, lengths, mask = random_histories(rng, scale, DIM)
    made, weights = exposed(params, history, mask)
    np.testing.assert_array_equal(made, interests(params, history, mask))
    for user, length in enumerate(lengths):
        assert not np.asarray(weights[user, :, length:]).any()
        np.testing.assert_allclose(weights[user].sum(axis=1), 1, rtol=1e-5)


@relaxed
@given(seeds, st.integers(1, LENGTH - 1))
def test_queries_distance_counts_from_the_last_item(seed: int, length: int) -> None:
    """By distance alone, the last items of a long history weigh as a short one's do."""
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES) | {"token": np.zeros((COUNT, DIM), np.float32)}
    history, _, _ = random_histories(rng, 1.0, DIM)
    places = np.arange(LENGTH)
    masks = [np.tile(places < n, (USERS, 1)).astype(np.float32) for n in (LENGTH, length)]
    whole, short = (np.asarray(exposed(params, history, mask)[1]) for mask in masks)
    last = whole[:, :, LENGTH - length :]
    expected = last / last.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(short[:, :, :length], expected, rtol=1e-4, atol=1e-6)


def test_queries_initial_interests_are_means_of_the_history() -> None:
    shape = ModelShape(LENGTH, 40, 40, num_interest=COUNT)
    params = queries.init(jax.random.key(3), shape)
    assert {name: value.shape for name, value in params.items()} == {
        name: tuple({DIM: 40}.get(size, size) for size in sizes) for name, sizes in SHAPES.items()
    }
    rng = np.random.default_rng(1)
    history = rng.normal(size=(USERS, LENGTH, 40)).astype(np.float32)
    made, weights = exposed(params, history, np.ones((USERS, LENGTH), np.float32))
    np.testing.assert_allclose(made, np.asarray(weights) @ history, rtol=1e-4, atol=1e-5)
    assert 0 < np.asarray(weights).std() < 0.3
