"""Every model's interests and their gradients, against the same network in plain loops.

What is special to one model stands in its own file; so do the gradients of capsules, whose loops
must be told which weights are constants to the gradient.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from helpers import oracles
from helpers.builders_models import (
    INTERESTS,
    USERS,
    Named,
    check_gradient,
    compiled,
    random_histories,
    random_params,
    scales,
    seeds,
    shapes_of,
)
from helpers.effort import examples
from reprise.models.registry import get_model

Loops = Callable[[Named, NDArray[np.floating], int], oracles.Doubles]
DIM = 4


class Case(NamedTuple):
    """A model's loops (parameters, a user's history, its length), how close to them it comes, and
    what it makes of no history at all.
    """

    loops: Loops
    rtol: float
    atol: float
    of_nothing: Callable[[Named], NDArray[np.floating] | float] | None = None
    interests: int = INTERESTS
    atol_follows_scale: bool = False
    has_gradient_of_loops: bool = True


CASES = {
    "ComiRec-SA": Case(
        oracles.self_attention, 1e-4, 1e-5, lambda params: 0.0, atol_follows_scale=True
    ),
    "ComiRec-DR": Case(
        lambda params, history, length: oracles.dynamic_routing(
            params["bilinear"], history, length
        ),
        1e-3,
        1e-4,
        lambda params: 0.0,
        has_gradient_of_loops=False,
    ),
    "MIND": Case(
        lambda params, history, length: oracles.mind(
            params, history, params["routing"][:, :length]
        ),
        1e-3,
        1e-4,
        lambda params: np.maximum(params["projection_bias"], 0),
        has_gradient_of_loops=False,
    ),
    "DNN": Case(oracles.mean_pooling, 1e-4, 1e-5, lambda params: params["dense_bias"], interests=1),
    "GRU4REC": Case(oracles.gated_recurrence, 1e-4, 1e-5, lambda params: 0.0, interests=1),
    "SASRec": Case(
        oracles.last_normalised,
        1e-3,  # what a small item's norm is divided by is near the epsilon
        1e-4,
        lambda params: params["last_bias"],
        interests=1,
    ),
    "Queries": Case(oracles.reading_tokens, 1e-3, 1e-4),
}


@pytest.mark.parametrize("name", CASES)
@examples(25)
@given(seed=seeds, scale=scales)
def test_interests_equal_the_loops(name: str, seed: int, scale: float) -> None:
    case, rng = CASES[name], np.random.default_rng(seed)
    params = random_params(rng, shapes_of(name))
    history, lengths, mask = random_histories(rng, scale, DIM)
    computed = compiled(name)(params, history, mask)
    assert computed.shape == (USERS, case.interests, DIM)
    atol = case.atol * (scale if case.atol_follows_scale else 1)
    for user in range(USERS):
        expected = case.loops(params, history[user], int(lengths[user]))
        np.testing.assert_allclose(computed[user], expected, rtol=case.rtol, atol=atol)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].has_gradient_of_loops])
@examples(5)
@given(seed=seeds)
def test_interests_gradient_equals_that_of_the_loops(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    history, lengths, mask = random_histories(rng, 1.0, DIM)

    def reference(params: Named, history: NDArray[np.float64]) -> NDArray[np.float64]:
        users = zip(history, lengths, strict=True)
        return np.array([CASES[name].loops(params, one, int(length)) for one, length in users])

    params = random_params(rng, shapes_of(name))
    check_gradient(get_model(name).interests, reference, params, history, mask, rng)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].of_nothing is not None])
def test_interests_of_padding_alone_are_those_of_an_empty_history(name: str) -> None:
    of_nothing, rng = CASES[name].of_nothing, np.random.default_rng(1)
    assert of_nothing is not None
    params = random_params(rng, shapes_of(name))
    history, _, mask = random_histories(rng, 1.0, DIM)
    computed = np.asarray(compiled(name)(params, history, 0 * mask))
    np.testing.assert_array_equal(computed, np.broadcast_to(of_nothing(params), computed.shape))
