"""MostPop: the most popular items for every user; the baseline of all other models.

Item ids are popularity ranks, so nothing is learned.
"""

import jax.numpy as jnp
from jax import Array

from reprise.models.registry import ModelShape, Params


def init(key: Array, shape: ModelShape) -> Params:
    """Return no parameters."""
    return {}


def item_values(num_items: int, shape: ModelShape) -> Array:
    """Return values [V, d]: -ln(id) first, the log popularity under Zipf's law, then zeros."""
    log_popularity = -jnp.log(jnp.arange(1, num_items + 1, dtype=jnp.float32))
    return jnp.zeros((num_items, shape.embedding_dim), jnp.float32).at[:, 0].set(log_popularity)


def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
    """Return interests [B, 1, d] of histories [B, L, d]: the first unit vector."""
    users, _, dim = history.shape
    return jnp.zeros((users, 1, dim), history.dtype).at[:, :, 0].set(1)
