"""ComiRec-DR: its routing, its gradient and its initial parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from helpers import oracles
from helpers.builders_models import (
    INTERESTS,
    LENGTH,
    Named,
    check_gradient,
    compiled,
    random_histories,
    scales,
    seeds,
)
from helpers.effort import examples
from reprise.models import capsules
from reprise.models.registry import ModelShape

relaxed = examples(25)
DIM = 4

interests = compiled("ComiRec-DR")


def random_maps(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.normal(size=(LENGTH, INTERESTS, DIM, DIM)).astype(np.float32)


@relaxed
@given(seeds, scales)
def test_capsules_have_norms_below_one(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    history, _, mask = random_histories(rng, scale, DIM)
    lengths = np.linalg.norm(interests({"bilinear": random_maps(rng)}, history, mask), axis=-1)
    assert (lengths <= 1 + 1e-6).all()


def test_routing_softmax_is_over_interests_not_over_the_sequence() -> None:
    """A single interest has no rival: it takes every vote whole, however many there are."""
    rng = np.random.default_rng(2)
    maps = random_maps(rng)[:, :1]
    history = rng.normal(0, 0.1, (1, LENGTH, DIM)).astype(np.float32)
    computed = capsules.interests(
        {"bilinear": jnp.asarray(maps)}, jnp.asarray(history), jnp.ones((1, LENGTH))
    )
    votes = oracles.bilinear_votes(maps, history[0])
    expected = oracles.capsules(votes, np.ones((1, LENGTH)))
    np.testing.assert_allclose(computed[0], expected, rtol=1e-5)


@examples(5)
@given(seeds)
def test_routing_gradient_holds_the_weights_constant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = random_maps(rng)
    history, lengths, mask = random_histories(rng, 1.0, DIM)
    votes = [oracles.bilinear_votes(maps, one) for one in history]
    coupling = [
        oracles.routing_weights(of_user, np.zeros((INTERESTS, length)))
        for of_user, length in zip(votes, lengths, strict=True)
    ]

    def reference(params: Named, history: NDArray[np.float64]) -> NDArray[np.float64]:
        users = zip(history, coupling, strict=True)
        votes = [
            (oracles.bilinear_votes(params["bilinear"], one), weights) for one, weights in users
        ]
        return np.array([oracles.capsules(*pair) for pair in votes])

    check_gradient(capsules.interests, reference, {"bilinear": maps}, history, mask, rng)


def test_capsules_init_is_standard_normal_per_position_and_interest() -> None:
    shape = ModelShape(history_length=5, embedding_dim=16, hidden_size=16, num_interest=3)
    params = capsules.init(jax.random.key(4), shape)
    assert list(params) == ["bilinear"]
    maps = np.asarray(params["bilinear"])
    assert maps.shape == (5, 3, 16, 16)
    assert maps.dtype == np.float32
    assert maps.mean() == pytest.approx(0.0, abs=0.06)
    assert maps.std() == pytest.approx(1.0, rel=0.05)
    assert len(np.unique(maps)) > 0.99 * maps.size
