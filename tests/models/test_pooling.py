"""DNN: independence of the order of the history, and initial parameters."""

import jax
import numpy as np
from hypothesis import given

from helpers.builders_models import (
    LENGTH,
    check_glorot,
    compiled,
    random_histories,
    random_params,
    seeds,
    shapes_of,
)
from helpers.effort import examples
from reprise.models import pooling
from reprise.models.registry import ModelShape

relaxed = examples(25)
DIM = 4
SHAPES = shapes_of("DNN")

interests = compiled("DNN")


@relaxed
@given(seeds)
def test_pooling_ignores_the_order_of_the_history(seed: int) -> None:
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    history, _, mask = random_histories(rng, 1.0, DIM)
    order = rng.permutation(LENGTH)
    shuffled = interests(params, history[:, order], mask[:, order])
    np.testing.assert_allclose(interests(params, history, mask), shuffled, rtol=1e-4, atol=1e-5)


def test_pooling_init_is_glorot_uniform_with_zero_bias() -> None:
    shape = ModelShape(history_length=5, embedding_dim=48, hidden_size=48, num_interest=3)
    params = {k: np.asarray(v) for k, v in pooling.init(jax.random.key(3), shape).items()}
    assert {k: v.shape for k, v in params.items()} == {"dense": (48, 48), "dense_bias": (48,)}
    assert {array.dtype for array in params.values()} == {np.dtype(np.float32)}
    check_glorot(params["dense"], (48, 48), rel=0.05)
    assert not params["dense_bias"].any()
