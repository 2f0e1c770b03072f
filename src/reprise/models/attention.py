"""ComiRec-SA: interests by self-attentive pooling, one attention head per interest.

Source: ComiRec (arXiv 2005.09347), section 3.2, "Self-Attentive Method", equations 8-10.
"""

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models.registry import ModelShape, Params, prefix_mask

_MASKED_LOGIT = -(2.0**32) + 1  # the original's value; a history is never all padding in training


def init(key: Array, shape: ModelShape) -> Params:
    """Initialise the parameters, Glorot uniform as TensorFlow's default, biases zero.

    "position" [L, d]; "hidden" [d, 4h] and "hidden_bias" [4h]; "heads" [4h, K] and
    "heads_bias" [K]; h is the hidden size. All float32.
    """
    length, dim, heads = shape.history_length, shape.embedding_dim, shape.num_interest
    width = 4 * shape.hidden_size
    keys = jax.random.split(key, 3)
    glorot = jax.nn.initializers.glorot_uniform()
    return {
        "position": glorot(keys[0], (length, dim), jnp.float32),
        "hidden": glorot(keys[1], (dim, width), jnp.float32),
        "hidden_bias": jnp.zeros(width, jnp.float32),
        "heads": glorot(keys[2], (width, heads), jnp.float32),
        "heads_bias": jnp.zeros(heads, jnp.float32),
    }


def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
    """Return interests [B, K, d] of right-padded histories [B, L, d] with mask [B, L] (1 = item).

    Positions affect the attention only, not the pooled values.
    """
    return interests_and_attention(params, history, mask, key)[0]


def interests_and_attention(
    params: Params, history: Array, mask: Array, key: Array | None = None
) -> tuple[Array, Array]:
    """Return the interests [B, K, d] and their attention [B, K, L] over the history: it sums to 1,
    and is zero on padding.
    """
    logits = jnp.where(mask[:, None, :] > 0, _logits(params, history), _MASKED_LOGIT)
    attention = jax.nn.softmax(logits, axis=-1)
    return attention @ (history * mask[..., None]), attention


def interests_of_prefixes(
    params: Params, history: Array, lengths: Array, key: Array | None = None
) -> Array:
    """Return interests [B, m, K, d] of the first `lengths` [B, m] items of each history. The logits
    are computed once: an item has the same ones in every prefix.
    """
    mask = prefix_mask(lengths, history.shape[1], history.dtype)[:, :, None]  # [B, m, 1, L]
    logits = jnp.where(mask > 0, _logits(params, history)[:, None], _MASKED_LOGIT)
    return jnp.einsum("bmkl,bld->bmkd", jax.nn.softmax(logits, axis=-1), history)


def _logits(params: Params, history: Array) -> Array:
    """Return each head's logits of the items, [B, K, L]."""
    hidden = jnp.tanh((history + params["position"]) @ params["hidden"] + params["hidden_bias"])
    return jnp.swapaxes(hidden @ params["heads"] + params["heads_bias"], 1, 2)
