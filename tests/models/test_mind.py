"""MIND: its noise in training, its gradient and its initial parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from numpy.typing import NDArray

from helpers import oracles
from helpers.builders_models import (
    INTERESTS,
    LENGTH,
    USERS,
    Named,
    check_glorot,
    check_gradient,
    compiled,
    random_histories,
    random_params,
    scales,
    seeds,
    shapes_of,
)
from helpers.effort import examples
from reprise.models import mind
from reprise.models.registry import ModelShape

relaxed = examples(25)
DIM = 4
SHAPES = shapes_of("MIND")

interests = compiled("MIND")


@relaxed
@given(seeds, scales)
def test_mind_routing_starts_from_the_keys_noise(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    history, lengths, mask = random_histories(rng, scale, DIM)
    key = jax.random.key(seed)
    computed = interests(params, history, mask, key)
    noise = np.asarray(mind._noise(key, (USERS, INTERESTS, LENGTH)))
    for user in range(USERS):
        expected = oracles.mind(params, history[user], noise[user, :, : lengths[user]])
        np.testing.assert_allclose(computed[user], expected, rtol=1e-3, atol=1e-4)


def test_mind_noise_is_standard_normal_within_two_deviations() -> None:
    noise = np.asarray(mind._noise(jax.random.key(1), (40, 50, 60)))
    assert noise.dtype == np.float32
    assert 1.99 < np.abs(noise).max() <= 2
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(0.8796, rel=0.01)  # of the truncated distribution
    assert len(np.unique(noise)) > 0.9 * noise.size


def test_mind_noise_depends_on_the_key_and_differs_between_users() -> None:
    rng = np.random.default_rng(2)
    params = random_params(rng, SHAPES)
    history, _, mask = random_histories(rng, 1.0, DIM)
    history[:], mask[:] = history[0], 1
    made = [np.asarray(interests(params, history, mask, jax.random.key(k))) for k in (5, 5, 6)]
    assert made[0].tobytes() == made[1].tobytes()
    assert np.abs(made[0] - made[2]).max() > 1e-3
    assert np.abs(made[0][0] - made[0][1]).max() > 1e-3


@pytest.mark.parametrize("size", [1, 2, 7, 256])
def test_mind_inference_depends_neither_on_batch_nor_place(size: int) -> None:
    rng = np.random.default_rng(3)
    params = random_params(rng, SHAPES)
    history, _, mask = random_histories(rng, 1.0, DIM)
    alone = np.asarray(interests(params, history[:1], mask[:1]))[0]
    others = rng.normal(size=(size, LENGTH, DIM)).astype(np.float32)
    for place in {0, size // 2, size - 1}:
        others[place] = history[0]
        among = interests(params, others, np.tile(mask[:1], (size, 1)))[place]
        np.testing.assert_allclose(among, alone, rtol=1e-4, atol=1e-5)


def test_mind_interests_are_never_negative() -> None:
    rng = np.random.default_rng(4)
    history, _, mask = random_histories(rng, 1.0, DIM)
    computed = np.asarray(interests(random_params(rng, SHAPES), history, mask))
    assert computed.min() == 0
    assert computed.max() > 0


@examples(5)
@given(seeds)
def test_mind_gradient_holds_the_routing_weights_constant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    history, lengths, mask = random_histories(rng, 1.0, DIM)
    coupling = [
        oracles.routing_weights(
            oracles.shared_votes(params, history[user], INTERESTS), params["routing"][:, :length]
        )
        for user, length in enumerate(lengths)
    ]

    def before_relu(params: Named, history: NDArray[Any]) -> NDArray[np.float64]:
        users = zip(history, coupling, strict=True)
        votes = [(oracles.shared_votes(params, one, INTERESTS), weights) for one, weights in users]
        capsules = np.array([oracles.capsules(*pair) for pair in votes])
        projected: NDArray[np.float64] = capsules @ params["projection"] + params["projection_bias"]
        return projected

    def reference(params: Named, history: NDArray[Any]) -> NDArray[np.float64]:
        return np.maximum(before_relu(params, history), 0)

    assume(np.abs(before_relu(params, history)).min() > 1e-3)  # away from the kink
    check_gradient(mind.interests, reference, params, history, mask, rng)


def test_mind_inference_logits_get_no_gradient() -> None:
    rng = np.random.default_rng(6)
    history, _, mask = random_histories(rng, 1.0, DIM)
    gradient_of = jax.grad(lambda *of: jnp.sum(interests(*of)))
    for key in (None, jax.random.key(1)):
        gradient = gradient_of(random_params(rng, SHAPES), history, mask, key)
        assert not np.asarray(gradient["routing"]).any()
        assert np.asarray(gradient["shared"]).any()


def test_mind_init_has_tensorflows_defaults() -> None:
    shape = ModelShape(history_length=50, embedding_dim=64, hidden_size=64, num_interest=40)
    params = {k: np.asarray(v) for k, v in mind.init(jax.random.key(3), shape).items()}
    assert {array.dtype for array in params.values()} == {np.dtype(np.float32)}
    uniform = {"shared": (64, 64), "projection": (64, 64)}
    assert params.keys() == uniform.keys() | {"shared_bias", "projection_bias", "routing"}
    for name, size in uniform.items():
        check_glorot(params[name], size, rel=0.2)
    bias, limit = params["shared_bias"], (6 / 128) ** 0.5
    assert bias.shape == (64,)
    assert np.abs(bias).max() <= limit
    assert bias.std() == pytest.approx(limit / 3**0.5, rel=0.2)
    np.testing.assert_array_equal(params["projection_bias"], np.zeros(64))
    assert params["routing"].shape == (40, 50)
    assert 1.9 < np.abs(params["routing"]).max() <= 2
    assert not np.array_equal(params["shared"], params["projection"])
