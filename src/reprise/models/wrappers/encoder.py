"""A causal self-attention encoder of the history, under any model's interests.

Source: SASRec (arXiv 1808.09781), sections 3.1 to 3.3: residual blocks of multi-head attention and
a pointwise feed-forward layer over the items, with layer normalisation and dropout. Its residual
path is kept bare: a block normalises what it reads, and what it adds starts at zero. So a fresh
encoder hands the items on as they are, to the bit, whatever their scale, and what a model has
learned without an encoder holds under one.

Order is told by distance: how far back an item stands has a weight of its own in the attention (as
in T5, arXiv 1910.10683, section 2.1). So the last items of a long history stand where a short
one's do, and what an item is encoded to does not depend on how many are still to come: every
prefix of a history is encoded in one pass.
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
    """layers: blocks, 0: none. heads: of the attention, a divisor of d. dropout: the share of
    numbers set to zero in training, of what enters and of what each half of a block adds.
    """

    layers: int
    heads: int = 1
    dropout: float = 0.0


@cache  # one value for one request, since compiled steps are found by their model
def with_encoder(model: Model, encoder: Encoder) -> Model:
    """Return the model over encoded histories, the encoder's parameters beside its own under names
    from "encoder."; the model itself where there are no layers.
    """
    if encoder.layers == 0:
        return model

    def init_both(key: Array, shape: ModelShape) -> Params:
        own = jax.random.fold_in(key, _ENCODER)  # the model's parameters are those it has alone
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
    """Return the parameters, float32, names after "encoder.".

    For block i from 0, after "i.": "query", "key" and "value" [d, d], "inner" [d, d], Glorot
    uniform; what leads back to the residual path, "out" [d, d], "outer" [d, d] and "outer_bias"
    [d], and "inner_bias" [d], zero; "distance" [H, L], zero: what an item so far back has added to
    its logit, of each head; "attention_gain" and "feed_gain" [d], one, and "attention_bias" and
    "feed_bias" [d], zero: the two normalisations.
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
    # Each an array of its own: the train step gives all of them away.
    return {f"{_PREFIX}{name}": jnp.array(value, jnp.float32) for name, value in params.items()}


def encode(
    encoder: Encoder, params: Params, history: Array, mask: Array, key: Array | None = None
) -> Array:
    """Return right-padded histories [B, L, d] with mask [B, L] (1 = item) encoded, [B, L, d]: each
    item by itself and those before it, padding zero. Dropout draws from `key`; None: no dropout.
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
    """Return what dropout multiplies by at the `place`-th of its places, float32 of that size: 0
    with probability `rate`, else 1 / (1 - rate).
    """
    kept = jax.random.bernoulli(jax.random.fold_in(key, place), 1 - rate, size)
    return kept.astype(jnp.float32) / (1 - rate)


def _attend(block: Params, x: Array, heads: int) -> Array:
    """Return what each place [B, L, d] takes from itself and those before it."""
    batch, length, dim = x.shape
    query, key, value = (
        (x @ block[name]).reshape(batch, length, heads, dim // heads)
        for name in ("query", "key", "value")
    )
    logits = jnp.einsum("bqhe,bkhe->bhqk", query, key) / (dim // heads) ** 0.5
    places = jnp.arange(length)
    back = places[:, None] - places
    logits += block["distance"][:, jnp.maximum(back, 0)]
    # Padding stands behind every item: what hides the future hides it, too.
    attention = jax.nn.softmax(jnp.where(back >= 0, logits, -jnp.inf), axis=-1)
    taken = jnp.einsum("bhqk,bkhe->bqhe", attention, value)
    return taken.reshape(batch, length, dim) @ block["out"]


def _feed(block: Params, x: Array) -> Array:
    hidden = jax.nn.relu(x @ block["inner"] + block["inner_bias"])
    return hidden @ block["outer"] + block["outer_bias"]
