"""DNN, against the mean in plain loops."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings

from helpers import oracles
from helpers.builders_models import (
    LENGTH,
    USERS,
    Shapes,
    random_histories,
    random_params,
    scales,
    seeds,
)
from reprise.models import pooling
from reprise.models.registry import ModelShape

relaxed = settings(deadline=None, max_examples=25)
DIM = 4
SHAPES: Shapes = {"dense": (DIM, DIM), "dense_bias": (DIM,)}

interests = jax.jit(pooling.interests)


@pytest.mark.compiled_quickly
@relaxed
@given(seeds, scales)
def test_interest_is_the_mean_through_the_dense_layer(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    history, lengths, mask = random_histories(rng, scale, DIM)
    computed = interests(params, history, mask)
    assert computed.shape == (USERS, 1, DIM)
    for user in range(USERS):
        expected = oracles.mean_pooling(params, history[user], int(lengths[user]))
        np.testing.assert_allclose(computed[user], expected, rtol=1e-4, atol=1e-5)


def test_nothing_but_padding_gives_the_bias() -> None:
    rng = np.random.default_rng(1)
    params = random_params(rng, SHAPES)
    history, _, mask = random_histories(rng, 1.0, DIM)
    computed = np.asarray(interests(params, history, 0 * mask))
    np.testing.assert_array_equal(computed, np.tile(params["dense_bias"], (USERS, 1, 1)))


@pytest.mark.compiled_quickly
@relaxed
@given(seeds)
def test_order_does_not_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    history, _, mask = random_histories(rng, 1.0, DIM)
    order = rng.permutation(LENGTH)
    shuffled = interests(params, history[:, order], mask[:, order])
    np.testing.assert_allclose(interests(params, history, mask), shuffled, rtol=1e-4, atol=1e-5)


@pytest.mark.compiled_quickly
def test_fresh_parameters_are_glorot_uniform_with_zero_bias() -> None:
    shape = ModelShape(history_length=5, embedding_dim=48, hidden_size=48, num_interest=3)
    params = {k: np.asarray(v) for k, v in pooling.init(jax.random.key(3), shape).items()}
    assert {k: v.shape for k, v in params.items()} == {"dense": (48, 48), "dense_bias": (48,)}
    assert {array.dtype for array in params.values()} == {np.dtype(np.float32)}
    limit = (6 / 96) ** 0.5
    assert np.abs(params["dense"]).max() <= limit
    assert params["dense"].std() == pytest.approx(limit / 3**0.5, rel=0.05)
    assert not params["dense_bias"].any()
