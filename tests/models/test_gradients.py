"""Gradients, against those of the same networks in plain loops.

Where some weights are constants to the gradient (capsules), the loops are told which: these tests
stand beside their models'.
"""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from helpers import oracles
from helpers.builders_models import (
    LENGTH,
    Named,
    check_gradient,
    random_histories,
    random_params,
    seeds,
)
from reprise.models.registry import ModelShape, get_model

SHAPE = ModelShape(LENGTH, embedding_dim=4, hidden_size=4, num_interest=3)
# oracle(params, one user's history, its length) -> his interests.
ORACLES: dict[str, Callable[[Named, NDArray[np.float64], int], oracles.Doubles]] = {
    "ComiRec-SA": oracles.self_attention,
    "DNN": oracles.mean_pooling,
    "GRU4REC": oracles.gated_recurrence,
    "Queries": oracles.reading_tokens,
}


@pytest.mark.compiled_quickly
@pytest.mark.parametrize("name", ORACLES)
@settings(deadline=None, max_examples=5)
@given(seed=seeds)
def test_gradient_is_that_of_the_loops(name: str, seed: int) -> None:
    model, rng = get_model(name), np.random.default_rng(seed)
    history, lengths, mask = random_histories(rng, 1.0, SHAPE.embedding_dim)

    def reference(params: Named, history: NDArray[np.float64]) -> NDArray[np.float64]:
        users = zip(history, lengths, strict=True)
        return np.array([ORACLES[name](params, one, int(length)) for one, length in users])

    sizes = {key: value.shape for key, value in model.init(jax.random.key(0), SHAPE).items()}
    params = random_params(rng, sizes)
    check_gradient(model.interests, reference, params, history, mask, rng)
