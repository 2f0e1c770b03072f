"""Random histories and parameters for the tests of the models, and checks of gradients and of
fresh parameters.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from reprise.models.registry import ModelShape, Network, get_model

Named = Mapping[str, NDArray[Any]]
Shapes = dict[str, tuple[int, ...]]

USERS, LENGTH, INTERESTS = 3, 5, 3
STEP, PLACES = 1e-5, 8  # of the differences

seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([1e-3, 0.1, 1.0, 3.0])  # of the items: from next to nothing to saturated


@cache
def compiled(name: str) -> Callable[..., jax.Array]:
    """Return the compiled network of the model `name`."""
    return jax.jit(get_model(name).interests)


def shapes_of(name: str, dim: int = 4, interests: int = INTERESTS) -> Shapes:
    """Return the shapes of the model's parameters, for histories of `LENGTH`."""
    shape = ModelShape(LENGTH, dim, dim, interests)
    made = jax.eval_shape(lambda: get_model(name).init(jax.random.key(0), shape))
    return {key: value.shape for key, value in made.items()}


def random_histories(
    rng: np.random.Generator, scale: float, dim: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Return histories, whose padding is filled with numbers too, lengths from 1, and the mask."""
    history = rng.normal(0, scale, (USERS, LENGTH, dim)).astype(np.float32)
    lengths = rng.integers(1, LENGTH + 1, USERS)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.float32)
    return history, lengths, mask


def random_params(rng: np.random.Generator, shapes: Shapes) -> dict[str, NDArray[np.float32]]:
    """Return standard normal parameters."""
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def check_glorot(value: NDArray[Any], shape: tuple[int, int], rel: float) -> None:
    """Assert that a fresh parameter is Glorot uniform, its deviation within a share of `rel`."""
    limit = (6 / sum(shape)) ** 0.5
    assert value.shape == shape
    assert value.dtype == np.float32
    assert np.abs(value).max() <= limit
    assert value.std() == pytest.approx(limit / 3**0.5, rel=rel)


def check_gradient(
    network: Network,
    reference: Callable[[Named, NDArray[Any]], NDArray[Any]],
    params: Named,
    history: NDArray[np.float32],
    mask: NDArray[np.float32],
    rng: np.random.Generator,
) -> None:
    """Compare the gradient with differences of a slow reference in double precision, at random
    places of every parameter and of the history, along one direction.

    `reference` takes parameters and histories and returns all users' interests. Where a rectifier
    has its kink within a difference, the gradient is between the differences on both sides.
    """
    direction = rng.normal(size=reference(params, history).shape)
    by_params, by_history = _gradient(
        network, dict(params), history, mask, direction.astype(np.float32)
    )
    values: dict[str, NDArray[Any]] = {**params, "": history}
    here = np.sum(direction * reference(values, history))
    computed = {**by_params, "": by_history}
    for name, value in values.items():
        gradient = np.asarray(computed[name])
        for index in zip(*(rng.integers(0, size, PLACES) for size in value.shape), strict=True):
            moved = np.zeros(value.shape)
            moved[index] = STEP
            ends = []
            for sign in (1, -1):
                at = values | {name: value + sign * moved}
                ends.append(np.sum(direction * reference(at, at[""])))
            low, high = sorted([(ends[0] - here) / STEP, (here - ends[1]) / STEP])
            error = 1e-3 + 1e-2 * max(abs(low), abs(high))
            assert low - error <= gradient[index] <= high + error, name


@partial(jax.jit, static_argnums=0)
def _gradient(network: Network, params: Any, history: Any, mask: Any, direction: Any) -> Any:
    def along(params: Any, history: Any) -> jax.Array:
        return jnp.sum(direction * network(params, history, mask))

    return jax.grad(along, argnums=(0, 1))(params, history)
