"""ComiRec-DR: interests by dynamic routing between behaviour and interest capsules.

Source: ComiRec (arXiv 2005.09347), section 3.2, "Dynamic Routing", as its published code runs it.
"""

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models import ModelShape, Params

ROUTING_ITERATIONS = 3


def init(key: Array, shape: ModelShape) -> Params:
    """Return {"bilinear": [L, K, d, d] float32 ~ N(0, 1)}: one map per position and interest."""
    shape.require_equal_sizes()
    size = (shape.history_length, shape.num_interest, shape.embedding_dim, shape.embedding_dim)
    return {"bilinear": jax.random.normal(key, size, jnp.float32)}


def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
    """Return interests [B, K, d] of right-padded histories [B, L, d], mask [B, L] (1 = item)."""
    votes = _votes(params["bilinear"], history * mask[..., None])
    return route(votes, jnp.zeros(votes.shape[:3], votes.dtype), mask)


def _votes(maps: Array, history: Array) -> Array:
    """Return what maps [L, K, d, d] make of history [B, L, d]: [B, K, L, d], by a product a
    position. In the order that einsum takes, XLA's gradient is a fifth to a third slower.
    """
    length, count, dim, _ = maps.shape
    by_position = maps.transpose(0, 3, 1, 2).reshape(length, dim, count * dim)
    made = jnp.matmul(history.transpose(1, 0, 2), by_position)
    return made.reshape(length, -1, count, dim).transpose(1, 2, 0, 3)


def route(votes: Array, logits: Array, mask: Array) -> Array:
    """Return capsules [B, K, d] of votes [B, K, L, d], or [B, L, d] that all interests share, by
    routing from `logits` [B, K, L].

    Routing weights compete over the interests, not over the sequence; the votes are held
    constant in all but the last iteration, as in the original.
    """
    constant_votes = jax.lax.stop_gradient(votes)
    for _ in range(ROUTING_ITERATIONS - 1):
        capsules = _squash(_vote_sum(logits, constant_votes, mask))
        logits = logits + jnp.einsum(f"{_axes(votes)},bke->bkl", constant_votes, capsules)
    return _squash(_vote_sum(logits, votes, mask))


def _vote_sum(logits: Array, votes: Array, mask: Array) -> Array:
    coupling = jax.nn.softmax(logits, axis=1) * mask[:, None, :]
    return jnp.einsum(f"bkl,{_axes(votes)}->bke", coupling, votes)


def _axes(votes: Array) -> str:
    return "bkle" if votes.ndim == 4 else "ble"


def _squash(capsules: Array) -> Array:
    """Keep the direction and map the length n to n^2 / (1 + n^2) (equation 7)."""
    squared = jnp.sum(jnp.square(capsules), axis=-1, keepdims=True)
    return capsules * (squared / (1 + squared) / jnp.sqrt(squared + 1e-9))
