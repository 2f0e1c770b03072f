"""A causal self-attention encoder of the history, below any model.

Source: SASRec (arXiv 1808.09781), sections 3.1 to 3.3: residual blocks of multi-head attention and
a pointwise feed-forward layer over the items, with layer normalisation and dropout. Blocks are
pre-norm, and their output starts at zero. So an untrained encoder is bitwise the identity,
whatever the items' scale, and a model trained without an encoder works on top of one.

Positions are relative: the attention has a learned bias by distance (as in T5, arXiv 1910.10683,
section 2.1). So the last items of long and short histories are treated alike, and an item's
encoding does not depend on later items: all prefixes of a history are encoded in one pass.

Gated blocks are those of LiGR (arXiv 2502.03417, section 3.2), with which eSASRec (RecSys 2025)
runs SASRec: what each half of a block adds is multiplied by a learned gate of the residual path,
and the feed-forward layer is a SwiGLU (arXiv 2002.05202).

With a time bias, the attention has learned biases by the gaps between times, too, and what is known
of the request after an item is added to the item (`models.wrappers.gaps`). All of it starts at
zero.
"""

from dataclasses import dataclass, replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from reprise.models.draws import bernoulli_at, in_batch
from reprise.models.layers import normalise
from reprise.models.registry import Model, ModelShape, Params, prefix_mask
from reprise.models.wrappers.gaps import (
    BUCKETS,
    HOURS,
    WEEKDAYS,
    Moments,
    looked_up,
    moments_of,
    packed_moments_of,
)

_ENCODER = 2  # folded into the batch's key: the model draws from the key itself, the readout from 1
_PREFIX = "encoder."
_GATED = ("linear", "attention_gate", "feed_gate")  # what gated blocks have more


@dataclass(frozen=True)
class Encoder:
    """Settings of the encoder.

    Attributes:
        layers: Number of blocks; 0: no encoder.
        heads: Attention heads, a divisor of d.
        dropout: Dropout rate of the input and of the output of each half of a block.
        gated: Whether blocks are gated.
        gaps: Whether there is a bias by the gaps between items.
        request: Whether there is one by the gaps to the request, too; only with `gaps`.
        hour, weekday: Whether the request's is known; only with `request`.
    """

    layers: int
    heads: int = 1
    dropout: float = 0.0
    gated: bool = False
    gaps: bool = False
    request: bool = False
    hour: bool = False
    weekday: bool = False


@cache  # one value for one request, since compiled steps are found by their model
def with_encoder(model: Model, encoder: Encoder) -> Model:
    """Return the model on encoded histories, with the encoder's parameters added under names from
    "encoder."; without layers, return the model itself.
    """
    if encoder.layers == 0:
        return model
    made = _on_times(model, encoder)
    return replace(made, timed=partial(_on_times, model, encoder)) if encoder.gaps else made


def _on_times(model: Model, encoder: Encoder, times: Array | None = None) -> Model:
    """Return the model on histories encoded at `times`, whose prefixes can be packed."""
    made = _on_encoded(model, encoder, times)
    return replace(made, packing=partial(_on_encoded, model, encoder, times))


def _on_encoded(
    model: Model, encoder: Encoder, times: Array | None = None, places: Array | None = None
) -> Model:
    """Return the model on histories encoded at `times` (None: without a time bias), and prefixes
    packed as `training.packing` says (None: not packed).
    """

    def init_both(key: Array, shape: ModelShape) -> Params:
        own = jax.random.fold_in(key, _ENCODER)  # the model is initialised as without an encoder
        return model.init(key, shape) | init(own, shape, encoder)

    def encoded(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
        own = None if key is None else jax.random.fold_in(key, _ENCODER)
        return encode(encoder, params, history, mask, own, times)

    def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
        return model.interests(params, encoded(params, history, mask, key), mask, key)

    def of_prefixes(
        params: Params, history: Array, lengths: Array, key: Array | None = None
    ) -> Array:
        if places is None:
            mask = prefix_mask(jnp.max(lengths, axis=1), history.shape[1], history.dtype)
            return model.of_prefixes(params, encoded(params, history, mask, key), lengths, key)
        own = None if key is None else jax.random.fold_in(key, _ENCODER)
        made = encode_packed(encoder, params, history, places, own, times)
        return model.of_prefixes(params, made, lengths, key)

    def attentive(
        params: Params, history: Array, mask: Array, key: Array | None = None
    ) -> tuple[Array, Array]:
        return model.attend(params, encoded(params, history, mask, key), mask, key)

    wrap = partial(_on_encoded, encoder=encoder, times=times, places=places)
    return model.wrapped(interests, attentive, of_prefixes, init_both, wrap=wrap)


def init(key: Array, shape: ModelShape, encoder: Encoder) -> Params:
    """Initialise the parameters, float32, under names from "encoder.".

    For block i from 0, under "i.": "query", "key", "value" and "inner" [d, d], Glorot uniform; the
    outputs to the residual path, "out" [d, d], "outer" [d, d] and "outer_bias" [d], and
    "inner_bias" [d], zero; "distance" [H, L], zero: each head's bias on the logits by distance;
    "attention_gain" and "feed_gain" [d], one, and "attention_bias" and "feed_bias" [d], zero: the
    two layer normalisations. In gated blocks, "linear" of the SwiGLU and the gate of each
    half, "attention_gate" and "feed_gate": [d, d], Glorot uniform, and "_bias" of each [d], zero.

    With a time bias, zero: in each block "gap" and, with the request, "request" [H, BUCKETS]; for
    all blocks "request_gap" [BUCKETS, d], "hour" [24, d] and "weekday" [7, d], where they are used.
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
        block |= {name: jnp.zeros((heads, BUCKETS)) for name in _biases(encoder)}
        for half in ("attention", "feed"):
            block |= {f"{half}_gain": one, f"{half}_bias": zero}
        if encoder.gated:
            keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, layer), 1), 3)
            for name, own in zip(_GATED, keys, strict=True):
                block |= {name: glorot(own, (dim, dim), jnp.float32), f"{name}_bias": zero}
        params |= {f"{layer}.{name}": value for name, value in block.items()}
    params |= {name: jnp.zeros((size, dim)) for name, size in _added(encoder).items()}
    # Each a separate array: the train step donates them all.
    return {f"{_PREFIX}{name}": jnp.array(value, jnp.float32) for name, value in params.items()}


def _biases(encoder: Encoder) -> tuple[str, ...]:
    """Return the names of a block's biases by time."""
    return ("gap", "request")[: encoder.gaps + encoder.request]


def _added(encoder: Encoder) -> dict[str, int]:
    """Return the size of each table whose rows are added to the items."""
    tables = {"request_gap": BUCKETS} if encoder.request else {}
    tables |= {"hour": HOURS} if encoder.hour else {}
    return tables | ({"weekday": WEEKDAYS} if encoder.weekday else {})


def encode(
    encoder: Encoder,
    params: Params,
    history: Array,
    mask: Array,
    key: Array | None = None,
    times: Array | None = None,
) -> Array:
    """Encode right-padded histories [B, L, d] with mask [B, L] (1 = item) to [B, L, d]: each item
    attends to itself and earlier ones; padding is zero. Dropout draws from `key`; None: no dropout.
    times [B, L + 1]: as `data.moments` has them; None: without a bias by time.
    """
    moments = None if times is None else moments_of(times)
    if moments is not None and encoder.request:
        history = _with_request(encoder, params, moments, history)
    kept = None
    if key is not None and encoder.dropout > 0:
        numbers = jnp.arange(history.size, dtype=jnp.uint32)
        kept = kept_values(key, encoder, in_batch(numbers, history.size))
    masked = history * mask[..., None]
    return _blocks(encoder, params, masked, kept, None, moments) * mask[..., None]


def encode_packed(
    encoder: Encoder,
    params: Params,
    history: Array,
    places: Array,
    key: Array | None = None,
    times: Array | None = None,
) -> Array:
    """Return `encode` [B, L, d] of histories [B, L, d] at times [B, L + 1] that are packed as
    `training.packing` says, by places [R, L]; all else is padding. Dropout draws the same values.
    """
    users, size, dim = history.shape
    flat = places.reshape(-1)
    back = jnp.full(users * size, flat.size).at[flat].set(jnp.arange(flat.size), mode="drop")
    kept = None
    if key is not None and encoder.dropout > 0:
        numbers = flat[:, None] * dim + jnp.arange(dim)
        own = numbers.astype(jnp.uint32).reshape(-1)
        kept = kept_values(key, encoder, in_batch(own, history.size))
    taken = _moved(history.reshape(-1, dim), flat, back).reshape(*places.shape, dim)
    moments = None if times is None else packed_moments_of(times, places)
    if moments is not None and encoder.request:
        taken = _with_request(encoder, params, moments, taken)
    made = _blocks(encoder, params, taken, kept, places // size, moments)
    return _moved(made.reshape(-1, dim), back, flat).reshape(history.shape)


@jax.custom_vjp
def _moved(rows: Array, taken: Array, back: Array) -> Array:
    """Return rows[taken], [n, d], of rows [m, d], zero where an index is past the end. Each row is
    taken once at most, and `back` [m] says where to: so the gradient is a gather, too.
    """
    return rows.at[taken].get(mode="fill", fill_value=0)


def _moved_forward(rows: Array, taken: Array, back: Array) -> tuple[Array, Array]:
    return _moved(rows, taken, back), back


def _moved_backward(back: Array, gradient: Array) -> tuple[Array, None, None]:
    return gradient.at[back].get(mode="fill", fill_value=0), None, None


_moved.defvjp(_moved_forward, _moved_backward)


def _blocks(
    encoder: Encoder,
    params: Params,
    x: Array,
    kept: Array | None,
    users: Array | None,
    moments: Moments | None,
) -> Array:
    """Apply dropout and the blocks to rows x [R, L, d]; kept: of `kept_values`; users [R, L]: whose
    item it is, where a row holds several histories.
    """

    def thinned(x: Array, place: int) -> Array:
        if kept is None:
            return x
        factor = np.float32(1) / np.float32(1 - encoder.dropout)
        return x * jnp.where(kept[place].reshape(x.shape), factor, 0)

    length = x.shape[1]
    seen = jnp.tri(length, dtype=bool)  # padding follows all items, so this hides it, too
    if users is not None:
        seen = seen & (users[:, None, :, None] == users[:, None, None, :])
    x = thinned(x, 0)
    for layer in range(encoder.layers):
        prefix = f"{_PREFIX}{layer}."
        block = {
            name.removeprefix(prefix): value
            for name, value in params.items()
            if name.startswith(prefix)
        }
        read = normalise(x, block["attention_gain"], block["attention_bias"])
        added = thinned(_attend(block, read, seen, encoder, moments), 1 + 2 * layer)
        x = x + _through_gate(block, "attention_gate", x, added)
        read = normalise(x, block["feed_gain"], block["feed_bias"])
        x = x + _through_gate(block, "feed_gate", x, thinned(_feed(block, read), 2 + 2 * layer))
    return x


def kept_values(key: Array, encoder: Encoder, numbers: Array) -> Array:
    """Draw what each dropout layer keeps of the values with these numbers [n] uint32, in histories
    as one axis: [layers, n] bool, false with the probability of a drop.

    In a loop: its result is stored, while XLA would draw anew wherever a mask is used.
    """

    def of_layer(place: Array) -> Array:
        return bernoulli_at(jax.random.fold_in(key, place), 1 - encoder.dropout, numbers)

    kept: Array = lax.map(of_layer, jnp.arange(1 + 2 * encoder.layers))
    return kept


def _with_request(encoder: Encoder, params: Params, moments: Moments, history: Array) -> Array:
    """Return the items [B, L, d] with what is known of the request after each added to it."""
    known = {"request_gap": moments.last, "hour": moments.hour, "weekday": moments.weekday}
    for name in _added(encoder):
        history = history + looked_up(params[f"{_PREFIX}{name}"], known[name])
    return history


def _attend(
    block: Params, x: Array, seen: Array, encoder: Encoder, moments: Moments | None
) -> Array:
    """Apply multi-head attention to x [B, L, d]; seen [L, L] or [B, 1, L, L]: which items each item
    attends to.
    """
    (batch, length, dim), heads = x.shape, encoder.heads
    # One product, and in the gradient two, instead of three and six.
    weights = jnp.concatenate([block[name] for name in ("query", "key", "value")], axis=1)
    query, key, value = (
        part.reshape(batch, length, heads, dim // heads) for part in jnp.split(x @ weights, 3, 2)
    )
    logits = jnp.einsum("bqhe,bkhe->bhqk", query, key) / (dim // heads) ** 0.5
    places = jnp.arange(length)
    back = places[:, None] - places
    logits += block["distance"][:, jnp.maximum(back, 0)]
    if moments is not None:
        known = {"gap": moments.between, "request": moments.since}
        for name in _biases(encoder):
            logits += jnp.moveaxis(looked_up(block[name].T, known[name]), -1, 1)
    attention = jax.nn.softmax(jnp.where(seen, logits, -jnp.inf), axis=-1)
    taken = jnp.einsum("bhqk,bkhe->bqhe", attention, value)
    return taken.reshape(batch, length, dim) @ block["out"]


def _feed(block: Params, x: Array) -> Array:
    hidden = x @ block["inner"] + block["inner_bias"]
    if "linear" in block:
        hidden = jax.nn.silu(hidden) * (x @ block["linear"] + block["linear_bias"])
    else:
        hidden = jax.nn.relu(hidden)
    return hidden @ block["outer"] + block["outer_bias"]


def _through_gate(block: Params, gate: str, x: Array, added: Array) -> Array:
    """Return what is added to the residual path x, times the gate of gated blocks."""
    if gate not in block:
        return added
    return jax.nn.sigmoid(x @ block[gate] + block[f"{gate}_bias"]) * added
