"""Every model against the same network as a TensorFlow program: interests and gradients."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.builders_models import LENGTH, USERS, random_histories, random_params, scales, seeds
from helpers.builders_tf import tf
from helpers.networks_tf import NETWORKS, check_gradients
from reprise.models import mind
from reprise.models.registry import ModelShape, get_model

DIM, INTERESTS = 4, 3
HISTORY = "history"  # its place among the parameters
SHAPE = ModelShape(
    history_length=LENGTH, embedding_dim=DIM, hidden_size=DIM, num_interest=INTERESTS
)


@pytest.mark.parametrize("name", NETWORKS)
@settings(deadline=None, max_examples=10, derandomize=True)  # MIND's ReLU has a kink to stay off
@given(seed=seeds, scale=scales, training=st.booleans())
def test_interests_and_gradients_equal_tensorflows(
    name: str, seed: int, scale: float, training: bool
) -> None:
    model = get_model(name)
    rng = np.random.default_rng(seed)
    shapes = {k: v.shape for k, v in model.init(jax.random.key(0), SHAPE).items()}
    params = random_params(rng, shapes)
    history, _, mask = random_histories(rng, scale, DIM)
    key = jax.random.key(seed) if training else None
    direction = rng.normal(size=(USERS, _interests(name), DIM)).astype(np.float32)
    (_, made), computed = _gradients(name)(params, history, mask, key, direction)

    with tf.GradientTape() as tape:
        tensors = {k: tf.constant(v) for k, v in (params | {HISTORY: history}).items()}
        tape.watch(tensors)
        start = _start(params, key)
        expected = NETWORKS[name](tensors, tensors[HISTORY], tf.constant(mask), start)
        total = tf.reduce_sum(direction * expected)
    zero = tf.UnconnectedGradients.ZERO

    largest = float(np.abs(expected).max())
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5 * largest)
    check_gradients(
        computed[0] | {HISTORY: computed[1]},
        tape.gradient(total, tensors, unconnected_gradients=zero),
    )


@cache
def _gradients(name: str) -> Callable[..., Any]:
    """Return the jitted ((sum, interests), (by parameters, by history))."""

    def along(
        params: Any, history: Any, mask: Any, key: Any, direction: Any
    ) -> tuple[jax.Array, jax.Array]:
        made = get_model(name).interests(params, history, mask, key)
        return jnp.sum(direction * made), made

    return jax.jit(jax.value_and_grad(along, argnums=(0, 1), has_aux=True))


def _interests(name: str) -> int:
    return 1 if name in ("DNN", "GRU4REC") else INTERESTS


def _start(params: Any, key: jax.Array | None) -> Any:
    """Return the logits that routing starts from: the noise of the step, or of inference."""
    size = (USERS, INTERESTS, LENGTH)
    if key is not None:
        return tf.constant(np.asarray(mind._noise(key, size)))
    return tf.broadcast_to(params.get("routing", np.zeros(size[1:], np.float32)), size)
