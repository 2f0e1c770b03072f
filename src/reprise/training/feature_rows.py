"""The embeddings of features that have many categories: a step moves those of its batch's items.

Their rows are updated as the item rows are, by the same optimizer, so that a step costs the same
however many categories there are. Dense Adam moves all rows, and needs none of this.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from reprise.models.features import Distinct, Features, Rows, looked_up
from reprise.models.registry import Params
from reprise.training.optimizers import Optimizer, Pulled, Update, adam, parameter, with_parameter
from reprise.training.state import Arrays


class Taken(NamedTuple):
    """Rows of a parameter of `Arrays.steps`.

    Attributes:
        codes: [N], which rows move: distinct numbers, some of them past the end.
        pulled: The rows before the update.
        steps: [N], their last updates.
    """

    codes: Array
    pulled: Pulled
    steps: Array


NOTHING: dict[str, Taken] = {}


def take(
    optimizer: Optimizer, arrays: Arrays, known: tuple[Features, ArrayLike], update: Update
) -> tuple[tuple[Features, ArrayLike], dict[str, Taken]]:
    """Return features of a batch's items and the places of these in them, [M], given such; and the
    rows that they need by parameter, in which they look up their codes.
    """
    if not arrays.steps or not optimizer.by_row:
        return known, NOTHING
    features, items = known[0], jnp.asarray(known[1])
    alone = Rows(items, len(features.with_row), lambda array: array)
    own, used = features.of(alone).numbered(arrays.steps)
    rows = {name: _rows(optimizer, arrays, name, each, update) for name, each in used.items()}
    return (own, jnp.arange(len(items))), rows


def values(taken: dict[str, Taken]) -> Params:
    """Return the rows' values, [N, width] each."""
    return {name: rows.pulled.value for name, rows in taken.items()}


def put_back(
    optimizer: Optimizer,
    arrays: Arrays,
    taken: dict[str, Taken],
    gradients: Params,
    update: Update,
) -> Arrays:
    """Return the arrays with the taken rows moved by their gradients [N, width], by name."""
    for name, (codes, pulled, steps) in taken.items():
        moved = adam(*pulled, gradients[name], update.rate)
        placed = (
            old.at[codes].set(new, mode="drop", unique_indices=True)
            for old, new in zip(parameter(arrays, name), moved, strict=True)
        )
        noted = arrays.steps[name]
        if optimizer.up_to_date is not None:
            # Of the old ones, so that the write depends on the read: see `optimizers`.
            new = jnp.maximum(steps, update.number)
            noted = noted.at[codes].set(new, mode="drop", unique_indices=True)
        arrays = with_parameter(arrays, name, Pulled(*placed), noted)
    return arrays


def _rows(
    optimizer: Optimizer, arrays: Arrays, name: str, distinct: Distinct, update: Update
) -> Taken:
    held = Pulled(*(looked_up(one, distinct.codes) for one in parameter(arrays, name)))
    steps = looked_up(arrays.steps[name], distinct.codes)
    if optimizer.up_to_date is not None:
        held = optimizer.up_to_date(held, steps, update)
    return Taken(distinct.trained, held, steps)
