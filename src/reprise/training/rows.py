"""Packed item rows [V+1, 3*d] (value | m | v): a step pulls the rows it touches and pushes them.

With the array donated, XLA writes the rows in place: the cost follows the batch, not the catalogue.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def init(
    key: Array, num_items: int, dim: int, scale: float | None = None, width: int | None = None
) -> Array:
    """Return fresh rows: values [V+1, width] (None: d) uniform within +-`scale` (None: Glorot's,
    TensorFlow's default, sqrt(6 / (V+1+d))), zero moments; row 0, the padding, is zero and stays
    so.
    """
    limit = (6.0 / (num_items + 1 + dim)) ** 0.5 if scale is None else scale
    size = num_items, dim if width is None else width
    return pack(jax.random.uniform(key, size, jnp.float32, -limit, limit))


def pack(values: Array) -> Array:
    """Return rows [V+1, 3*d] of the values [V, d] of items 1..V, with zero moments and padding."""
    num_items, dim = values.shape
    rows: Array = _place(jnp.zeros((num_items + 1, 3 * dim), jnp.float32), values)
    return rows


@partial(jax.jit, donate_argnums=0)  # in place: the table is the largest thing there is
def _place(rows: Array, value: Array) -> Array:
    return rows.at[1:, : value.shape[1]].set(value)


def pull(rows: Array, touched: ArrayLike) -> tuple[Array, Array, Array]:
    """Return value, m and v, each [M, d], of the touched rows [M] (past the end: padding)."""
    value, m, v = jnp.split(rows.at[touched].get(mode="clip"), 3, axis=1)
    return value, m, v


def push(rows: Array, touched: ArrayLike, value: Array, m: Array, v: Array) -> Array:
    """Write the touched rows back; `touched` must be distinct, those past the end are dropped."""
    packed = jnp.concatenate([value, m, v], axis=1)
    return rows.at[touched].set(packed, mode="drop", unique_indices=True)
