"""Queries: interests by attention from learned query tokens, one token per interest.

A token follows the last item of a history and attends to all items, like one more block of the
encoder: a learned query over the items with a learned bias by distance (as in
`models.wrappers.encoder`), then a pointwise layer on the residual path. The values are the items
themselves, and the layer's output starts at zero, so initial interests are weighted means of the
history. Source: pooling by multihead attention from learned seeds (Set Transformer, arXiv
1810.00825, section 3.2), here with one head per seed.
"""

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models.layers import normalise
from reprise.models.registry import ModelShape, Params, prefix_mask

_MASKED_LOGIT = -(2.0**32) + 1  # finite: a history may be all padding


def init(key: Array, shape: ModelShape) -> Params:
    """Initialise the parameters, float32.

    "token" [K, d], normal with deviation 1 / sqrt(d); "key" and "inner" [d, d], Glorot uniform;
    "outer" [d, d], "inner_bias" [d], "outer_bias" [d] and "distance" [K, L], zero; "key_gain" and
    "feed_gain" [d], one, "feed_bias" [d], zero. (A key bias would shift all logits of a token.)
    """
    dim, count = shape.embedding_dim, shape.num_interest
    token_key, key_key, inner_key = jax.random.split(key, 3)
    glorot = jax.nn.initializers.glorot_uniform()
    zeros = ("inner_bias", "outer_bias", "feed_bias")
    return {
        "token": jax.random.normal(token_key, (count, dim), jnp.float32) / dim**0.5,
        "distance": jnp.zeros((count, shape.history_length), jnp.float32),
        "key": glorot(key_key, (dim, dim), jnp.float32),
        "inner": glorot(inner_key, (dim, dim), jnp.float32),
        "outer": jnp.zeros((dim, dim), jnp.float32),
        **{name: jnp.zeros(dim, jnp.float32) for name in zeros},
        **{name: jnp.ones(dim, jnp.float32) for name in ("key_gain", "feed_gain")},
    }


def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
    """Return interests [B, K, d] of right-padded histories [B, L, d], mask [B, L] (1 = item)."""
    return interests_and_attention(params, history, mask, key)[0]


def interests_and_attention(
    params: Params, history: Array, mask: Array, key: Array | None = None
) -> tuple[Array, Array]:
    """Return the interests [B, K, d] and each token's attention [B, K, L] over the items: it sums
    to 1, and is zero on padding.
    """
    lengths = jnp.sum(mask, axis=1, keepdims=True).astype(jnp.int32)
    made, attention = _read(params, history, lengths)
    return made[:, 0], attention[:, 0]


def interests_of_prefixes(
    params: Params, history: Array, lengths: Array, key: Array | None = None
) -> Array:
    """Return interests [B, m, K, d] of the first `lengths` [B, m] items of each history. The logits
    are computed once, the attention per prefix.
    """
    return _read(params, history, lengths)[0]


def _read(params: Params, history: Array, lengths: Array) -> tuple[Array, Array]:
    """Return interests [B, m, K, d] and attention [B, m, K, L] of prefixes [B, m]."""
    size = history.shape[1]
    # K columns instead of d: keys that are read by the tokens alone need not be formed.
    read_by = params["key"] @ params["token"].T
    logits = normalise(history, params["key_gain"], 0.0) @ read_by
    logits = jnp.swapaxes(logits, 1, 2)[:, None]  # [B, 1, K, L]
    mask = prefix_mask(lengths, size, history.dtype)[:, :, None]  # [B, m, 1, L]
    places = jnp.arange(size)
    back = jnp.maximum(places[:, None] - places, 0)
    # Indexed by the last item first, so that the gradient adds up whole rows, not scalars.
    by_last = jnp.swapaxes(params["distance"][:, back], 0, 1)  # [L, K, L]
    near = by_last[lengths - 1]  # [B, m, K, L]
    attention = jax.nn.softmax(jnp.where(mask > 0, logits + near, _MASKED_LOGIT), axis=-1) * mask
    read = jnp.einsum("bmkl,bld->bmkd", attention, history)
    normed = normalise(read, params["feed_gain"], params["feed_bias"]) + params["token"]
    hidden = jax.nn.relu(normed @ params["inner"] + params["inner_bias"])
    return read + hidden @ params["outer"] + params["outer_bias"], attention
