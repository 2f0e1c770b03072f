"""An average of the weights over the steps, which is evaluated and served in their place.

The weights of step t count decay^(T - t) at step T, and all counts add up to one: the averages of
Adam's section 7.2 (arXiv 1412.6980). Weights are looked at once in `interval` steps, since the
average moves every item's row. The averages are part of the state, so a stop changes nothing.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from reprise.models.scoring import MEMORY
from reprise.training import item_table

if TYPE_CHECKING:
    from reprise.config.schema import TrainConfig
    from reprise.models.registry import Params
    from reprise.training.state import Arrays

_MOST_STEPS = 20  # between two looks
_ROWS, _PARAMS, _GROUP = "rows", "params.", "average."
_FITTED = {MEMORY}  # parameters that no step moves


def interval(config: "TrainConfig") -> int:
    """Return the steps from one look to the next; it divides those between evaluations, so that an
    evaluation is of an average that is up to date.
    """
    return math.gcd(_MOST_STEPS, config.test_iter)


def nothing_yet(rows: Array, params: "Params") -> "Params":
    """Return the averages [like the weights, by name] before the first look."""
    return {name: jnp.zeros_like(value) for name, value in _weights(rows, params).items()}


def share_of_look(step: int, config: "TrainConfig") -> float:
    """Return the share of what weights and averages differ by, by which the look of a step moves
    the averages.
    """
    every = interval(config)
    kept = config.average_decay**every
    return (1 - kept) / (1 - kept ** (step // every))


def moved(arrays: "Arrays", share: ArrayLike) -> "Arrays":
    """Return the arrays with averages that have moved towards the weights by a share of what they
    differ by; no updates may be pending. To be traced by JAX.
    """
    weights = _weights(arrays.rows, arrays.params)
    average = {name: old + share * (weights[name] - old) for name, old in arrays.average.items()}
    return arrays._replace(average=average)


look: Callable[["Arrays", ArrayLike], "Arrays"] = jax.jit(moved, donate_argnums=0)


def has_begun(step: int, config: "TrainConfig") -> bool:
    """Whether there are averages to be served at a step."""
    return config.average_decay > 0 and step >= interval(config)


def served(arrays: "Arrays", step: int, config: "TrainConfig") -> tuple[Array, int, "Params"]:
    """Return the rows that are served at a step, their values' width, and the parameters."""
    width = item_table.width(arrays.rows)
    if not has_begun(step, config):
        return arrays.rows, width, arrays.params
    own = {name.removeprefix(_PARAMS): value for name, value in arrays.average.items()}
    return own.pop(_ROWS), width, arrays.params | own


def of_snapshot(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the averages of a snapshot by the names that the weights have in it; "rows" are
    values [V+1, width] alone.
    """
    return {
        name.removeprefix(_GROUP): array
        for name, array in arrays.items()
        if name.startswith(_GROUP)
    }


def _weights(rows: Array, params: "Params") -> "Params":
    own = {f"{_PARAMS}{name}": value for name, value in params.items() if name not in _FITTED}
    return {_ROWS: item_table.values(rows), **own}
