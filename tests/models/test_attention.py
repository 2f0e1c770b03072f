"""ComiRec-SA: its attention and its initial parameters."""

import jax
import numpy as np
from hypothesis import given

from helpers.builders_models import (
    INTERESTS,
    USERS,
    check_glorot,
    compiled,
    random_histories,
    random_params,
    scales,
    seeds,
    shapes_of,
)
from helpers.effort import examples
from reprise.models import attention
from reprise.models.registry import ModelShape

relaxed = examples(25)
DIM = 4
SHAPES = shapes_of("ComiRec-SA")

interests = compiled("ComiRec-SA")
exposed = jax.jit(attention.interests_and_attention)


@relaxed
@given(seeds, scales)
def test_self_attention_exposed_is_the_one_of_the_interests(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    history, lengths, mask = random_histories(rng, scale, DIM)
    made, weights = exposed(params, history, mask)
    for user, length in enumerate(lengths):
        assert not np.asarray(weights[user, :, length:]).any()
        np.testing.assert_allclose(weights[user].sum(axis=1), 1, rtol=1e-5)
        pooled = np.asarray(weights[user, :, :length]) @ history[user, :length]
        np.testing.assert_allclose(made[user], pooled, rtol=1e-4, atol=1e-5 * scale)


@relaxed
@given(seeds)
def test_self_attention_values_have_no_positions(seed: int) -> None:
    """A single item is pooled as it is, whatever its position's vector."""
    rng = np.random.default_rng(seed)
    history, _, _ = random_histories(rng, 1.0, DIM)
    mask = np.zeros(history.shape[:2], np.float32)
    mask[:, 0] = 1
    computed = np.asarray(interests(random_params(rng, SHAPES), history, mask))
    for head in range(INTERESTS):
        np.testing.assert_allclose(computed[:, head], history[:, 0], rtol=1e-6)


def test_self_attention_logits_depend_on_positions() -> None:
    rng = np.random.default_rng(1)
    params = random_params(rng, SHAPES)
    history, _, mask = random_histories(rng, 1.0, DIM)
    mask[:] = 1
    moved = params | {"position": params["position"][::-1].copy()}
    difference = interests(params, history, mask) - interests(moved, history, mask)
    assert np.abs(np.asarray(difference)).max() > 1e-3


@relaxed
@given(seeds, scales)
def test_self_attention_interests_are_convex_combinations_of_the_history(
    seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    history, lengths, mask = random_histories(rng, scale, DIM)
    computed = np.asarray(interests(random_params(rng, SHAPES), history, mask))
    for user in range(USERS):
        items = history[user, : lengths[user]]
        assert (computed[user] >= items.min(axis=0) - 1e-5).all()
        assert (computed[user] <= items.max(axis=0) + 1e-5).all()


def test_self_attention_init_is_glorot_uniform_with_zero_biases() -> None:
    shape = ModelShape(history_length=30, embedding_dim=20, hidden_size=16, num_interest=12)
    params = {k: np.asarray(v) for k, v in attention.init(jax.random.key(3), shape).items()}
    sizes = {"position": (30, 20), "hidden": (20, 64), "heads": (64, 12)}
    assert params.keys() == sizes.keys() | {"hidden_bias", "heads_bias"}
    for name, size in sizes.items():
        check_glorot(params[name], size, rel=0.1)
    assert params["hidden_bias"].shape == (64,)
    assert params["heads_bias"].shape == (12,)
    assert not params["hidden_bias"].any()
    assert not params["heads_bias"].any()
