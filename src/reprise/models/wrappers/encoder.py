"""A causal self-attention encoder of the history, below any model.

Source: SASRec (arXiv 1808.09781), sections 3.1 to 3.3: residual blocks of multi-head attention and
a pointwise feed-forward layer over the items, with layer normalisation and dropout. Blocks are
pre-norm, and their output starts at zero. So an untrained encoder is bitwise the identity,
whatever the items' scale, and a model trained without an encoder works on top of one.

Positions are relative: the attention has a learned bias by distance (as in T5, arXiv 1910.10683,
section 2.1). So the last items of long and short histories are treated alike, and an item's
encoding does not depend on later items: all prefixes of a history are encoded in one pass.
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models.layers import normalise
from reprise.models.registry import Model, ModelShape, Params, prefix_mask

_ENCODER = 2  # folded into the batch's key: the model draws from the key itself, the readout from 1
_PREFIX = "encoder."


@dataclass(frozen=True)
class Encoder:
    """Settings of the encoder.

    Attributes:
        layers: Number of blocks; 0: no encoder.
        heads: Attention heads, a divisor of d.
        dropout: Dropout rate of the input and of the output of each half of a block.
    """

    layers: int
    heads: int = 1
    dropout: float = 0.0


@cache  # one value for one request, since compiled steps are found by their model
def with_encoder(model: Model, encoder: Encoder) -> Model:
    """Return the model on encoded histories, with the encoder's parameters added under names from
    "encoder."; without layers, return the model itself.
    """
    if encoder.layers == 0:
        return model

    def init_both(key: Array, shape: ModelShape) -> Params:
        own = jax.random.fold_in(key, _ENCODER)  # the model is initialised as without an encoder
        return model.init(key, shape) | init(own, shape, encoder)

    def encoded(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
        own = None if key is None else jax.random.fold_in(key, _ENCODER)
        return encode(encoder, params, history, mask, own)

    def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
        return model.interests(params, encoded(params, history, mask, key), mask, key)

    def of_prefixes(
        params: Params, history: Array, lengths: Array, key: Array | None = None
    ) -> Array:
        mask = prefix_mask(jnp.max(lengths, axis=1), history.shape[1], history.dtype)
        return model.of_prefixes(params, encoded(params, history, mask, key), lengths, key)

    def attentive(
        params: Params, history: Array, mask: Array, key: Array | None = None
    ) -> tuple[Array, Array]:
        return model.attend(params, encoded(params, history, mask, key), mask, key)

    return model.wrapped(interests, attentive, of_prefixes, init_both)


def init(key: Array, shape: ModelShape, encoder: Encoder) -> Params:
    """Initialise the parameters, float32, under names from "encoder.".

    For block i from 0, under "i.": "query", "key", "value" and "inner" [d, d], Glorot uniform; the
    outputs to the residual path, "out" [d, d], "outer" [d, d] and "outer_bias" [d], and
    "inner_bias" [d], zero; "distance" [H, L], zero: each head's bias on the logits by distance;
    "attention_gain" and "feed_gain" [d], one, and "attention_bias" and "feed_bias" [d], zero: the
    two layer normalisations.
    """
    dim, layers, heads = shape.embedding_dim, encoder.layers, encoder.heads
    glorot = jax.nn.initializers.glorot_uniform()
    zero, one, square = jnp.zeros(dim), jnp.ones(dim), jnp.zeros((dim, dim))
    distance, params = jnp.zeros((heads, shape.history_length)), dict[str, Array]()
    for layer in range(layers):
        keys = jax.random.split(jax.random.fold_in(key, layer), 4)
        drawn = zip(("query", "key", "value", "inner"), keys, strict=True)
        block = {name: glorot(own, (dim, dim), jnp.float32) for name, own in drawn}
        block |= {"out": square, "outer": square, "inner_bias": zero, "outer_bias": zero}
        block["distance"] = distance
        for half in ("attention", "feed"):
            block |= {f"{half}_gain": one, f"{half}_bias": zero}
        params |= {f"{layer}.{name}": value for name, value in block.items()}
    # Each a separate array: the train step donates them all.
    return {f"{_PREFIX}{name}": jnp.array(value, jnp.float32) for name, value in params.items()}


def encode(
    encoder: Encoder, params: Params, history: Array, mask: Array, key: Array | None = None
) -> Array:
    """Encode right-padded histories [B, L, d] with mask [B, L] (1 = item) to [B, L, d]: each item
    attends to itself and earlier ones; padding is zero. Dropout draws from `key`; None: no dropout.
    """

    def thinned(x: Array, place: int) -> Array:
        if key is None or encoder.dropout == 0:
            return x
        return x * keep_factors(key, place, encoder.dropout, x.shape)

    x = thinned(history * mask[..., None], 0)
    for layer in range(encoder.layers):
        prefix = f"{_PREFIX}{layer}."
        block = {
            name.removeprefix(prefix): value
            for name, value in params.items()
            if name.startswith(prefix)
        }
        read = normalise(x, block["attention_gain"], block["attention_bias"])
        taken = _attend(block, read, encoder.heads)
        x = x + thinned(taken, 1 + 2 * layer)
        read = normalise(x, block["feed_gain"], block["feed_bias"])
        x = x + thinned(_feed(block, read), 2 + 2 * layer)
    return x * mask[..., None]


def keep_factors(key: Array, place: int, rate: float, size: tuple[int, ...]) -> Array:
    """Return the dropout mask of the `place`-th dropout layer, float32 of `size`: 0 with
    probability `rate`, else 1 / (1 - rate).
    """
    kept = jax.random.bernoulli(jax.random.fold_in(key, place), 1 - rate, size)
    return kept.astype(jnp.float32) / (1 - rate)


def _attend(block: Params, x: Array, heads: int) -> Array:
    """Apply causal multi-head attention to x [B, L, d]."""
    batch, length, dim = x.shape
    query, key, value = (
        (x @ block[name]).reshape(batch, length, heads, dim // heads)
        for name in ("query", "key", "value")
    )
    logits = jnp.einsum("bqhe,bkhe->bhqk", query, key) / (dim // heads) ** 0.5
    places = jnp.arange(length)
    back = places[:, None] - places
    logits += block["distance"][:, jnp.maximum(back, 0)]
    # Padding follows all items, so the causal mask hides it, too.
    attention = jax.nn.softmax(jnp.where(back >= 0, logits, -jnp.inf), axis=-1)
    taken = jnp.einsum("bhqk,bkhe->bqhe", attention, value)
    return taken.reshape(batch, length, dim) @ block["out"]


def _feed(block: Params, x: Array) -> Array:
    hidden = jax.nn.relu(x @ block["inner"] + block["inner_bias"])
    return hidden @ block["outer"] + block["outer_bias"]
