"""MostPop: the most popular items for every user; the baseline of all other models.

An item's value follows from its rank by popularity, so nothing is learned.
"""

import jax.numpy as jnp
from jax import Array

from reprise.models.registry import ModelShape, Params


def init(key: Array, shape: ModelShape) -> Params:
    """Return no parameters."""
    return {}


def item_values(rank: Array, shape: ModelShape) -> Array:
    """Return values [V, d] of items of these ranks [V], from 1: -ln(rank) first, the log popularity
    under Zipf's law, then zeros.
    """
    log_popularity = -jnp.log(rank.astype(jnp.float32))
    return jnp.zeros((len(rank), shape.embedding_dim), jnp.float32).at[:, 0].set(log_popularity)


def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
    """Return interests [B, 1, d] of histories [B, L, d]: the first unit vector."""
    users, _, dim = history.shape
    return jnp.zeros((users, 1, dim), history.dtype).at[:, :, 0].set(1)
