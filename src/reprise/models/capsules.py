"""ComiRec-DR: interests by dynamic routing between behaviour and interest capsules.

Source: ComiRec (arXiv 2005.09347), section 3.2, "Dynamic Routing", as its published code runs it.
"""

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models.registry import ModelShape, Params

ROUTING_ITERATIONS = 3


def init(key: Array, shape: ModelShape) -> Params:
    """Initialise "bilinear" [L, K, d, d] float32 ~ N(0, 1): one map per position and interest."""
    shape.require_equal_sizes()
    size = (shape.history_length, shape.num_interest, shape.embedding_dim, shape.embedding_dim)
    return {"bilinear": jax.random.normal(key, size, jnp.float32)}


def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
    """Return interests [B, K, d] of right-padded histories [B, L, d], mask [B, L] (1 = item)."""
    maps, history = params["bilinear"], history * mask[..., None]
    votes = jax.lax.stop_gradient(_votes(maps, history))
    coupling = _couple(votes, jnp.zeros(votes.shape[:3], votes.dtype), mask)
    return _squash(_sum_of_mapped(maps, history, coupling, votes))


def route(votes: Array, logits: Array, mask: Array) -> Array:
    """Route votes [B, L, d], shared by all interests, to capsules [B, K, d], from initial `logits`
    [B, K, L].
    """
    coupling = _couple(jax.lax.stop_gradient(votes), logits, mask)
    return _squash(_vote_sum(coupling, votes))


def _couple(votes: Array, logits: Array, mask: Array) -> Array:
    """Return the last iteration's coupling weights [B, K, L] for votes [B, K, L, d] or [B, L, d].

    The softmax is over the interests, not the sequence. As in the original, votes get no gradient
    except in the last iteration.
    """
    for _ in range(ROUTING_ITERATIONS - 1):
        capsules = _squash(_vote_sum(_weights(logits, mask), votes))
        logits = logits + jnp.einsum(f"{_axes(votes)},bke->bkl", votes, capsules)
    return _weights(logits, mask)


def _weights(logits: Array, mask: Array) -> Array:
    return jax.nn.softmax(logits, axis=-2) * mask[:, None, :]


def _vote_sum(coupling: Array, votes: Array) -> Array:
    return jnp.einsum(f"bkl,{_axes(votes)}->bke", coupling, votes)


def _axes(votes: Array) -> str:
    return "bkle" if votes.ndim == 4 else "ble"


def _squash(capsules: Array) -> Array:
    """Squash: keep the direction, map the norm n to n^2 / (1 + n^2) (equation 7)."""
    squared = jnp.sum(jnp.square(capsules), axis=-1, keepdims=True)
    return capsules * (squared / (1 + squared) / jnp.sqrt(squared + 1e-9))


def _votes(maps: Array, history: Array) -> Array:
    """Apply maps [L, K, d, d] to history [B, L, d], with one product per position: [B, K, L, d]."""
    length, count, dim, _ = maps.shape
    by_position = maps.reshape(length, count * dim, dim)
    made = jnp.einsum("lbi,loi->lbo", history.transpose(1, 0, 2), by_position)
    return made.reshape(length, -1, count, dim).transpose(1, 2, 0, 3)


@jax.custom_vjp
def _sum_of_mapped(maps: Array, history: Array, coupling: Array, votes: Array) -> Array:
    """Sum votes [B, K, L, d] weighted by coupling [B, K, L]: [B, K, d]. The gradient flows to maps
    [L, K, d, d] and history [B, L, d], of which the votes were computed.
    """
    return _vote_sum(coupling, votes)


def _summed(
    maps: Array, history: Array, coupling: Array, votes: Array
) -> tuple[Array, tuple[Array, Array, Array]]:
    return _vote_sum(coupling, votes), (maps, history, coupling)


def _gradients(
    held: tuple[Array, Array, Array], gradient: Array
) -> tuple[Array, Array, None, None]:
    """Return the gradients of `_sum_of_mapped` for maps and history, given its own [B, K, d].

    The gradient of a vote is the gradient of its sum times a weight. So each of the two takes one
    product per interest over all positions, large enough for XLA to use all cores. The automatic
    gradient's products per position are not: with them, a step at Taobao's shape took a third
    longer.
    """
    maps, history, coupling = held
    length, count, dim, _ = maps.shape
    of_maps, of_history = [], jnp.zeros_like(history)
    for k in range(count):
        weight, own = coupling[:, k, :, None], gradient[:, k]
        of_map = (own.T @ (weight * history).reshape(-1, length * dim)).reshape(dim, length, dim)
        of_maps.append(of_map.transpose(1, 0, 2))
        by_position = maps[:, k].transpose(1, 0, 2).reshape(dim, length * dim)
        of_history += weight * (own @ by_position).reshape(history.shape)
    return jnp.stack(of_maps, axis=1), of_history, None, None


_sum_of_mapped.defvjp(_summed, _gradients)
