"""SASRec: one interest, the encoder's output at the last item, normalised.

The blocks are those of `models.wrappers.encoder`, of which a run of this model always has some
(`registry.LEAST_LAYERS`); this module is what follows them. Source: SASRec (arXiv 1808.09781),
section 3.4, with the layer normalisation after the last block that its published code has.
"""

import jax.numpy as jnp
from jax import Array

from reprise.models.layers import normalise
from reprise.models.registry import ModelShape, Params, prefix_mask


def init(key: Array, shape: ModelShape) -> Params:
    """Initialise "last_gain" [d], one, and "last_bias" [d], zero, float32. Raise UsageError if the
    hidden size is not d.
    """
    shape.require_equal_sizes()
    dim = shape.embedding_dim
    return {"last_gain": jnp.ones(dim, jnp.float32), "last_bias": jnp.zeros(dim, jnp.float32)}


def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
    """Return interests [B, 1, d] of right-padded histories [B, L, d], mask [B, L] (1 = item)."""
    lengths = jnp.sum(mask, axis=1, keepdims=True).astype(jnp.int32)
    return interests_of_prefixes(params, history, lengths)[:, 0]


def interests_of_prefixes(
    params: Params, history: Array, lengths: Array, key: Array | None = None
) -> Array:
    """Return interests [B, m, 1, d] of the first `lengths` [B, m] items of each history."""
    size, dtype = history.shape[1], history.dtype
    # A product with ones and zeros, exact: the gradient of a gather is a slower scatter.
    is_last = prefix_mask(lengths, size, dtype) - prefix_mask(lengths - 1, size, dtype)
    last = jnp.einsum("bml,bld->bmd", is_last, history)
    return normalise(last, params["last_gain"], params["last_bias"])[:, :, None]
