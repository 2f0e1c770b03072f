"""An ensemble in one model: members are trained independently and their vectors concatenated.

The inner product of concatenated vectors is the sum of the members' inner products, so one search
ranks by the mean of their scores: a deep ensemble (arXiv 1612.01474) that is served like a single
model. Members see the same batches and differ in initialisation and dropout.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models.registry import Model, ModelShape, Params


@cache  # one value for one request, since compiled steps are found by their model
def with_ensemble(model: Model, count: int) -> Model:
    """Return an ensemble of `count` members, each with 1 / count of d and of the hidden size; their
    parameters are stacked along a first axis. For one member, return the model itself.
    """
    return model if count == 1 else _ensemble(count, model)


def _ensemble(count: int, model: Model) -> Model:
    def init(key: Array, shape: ModelShape) -> Params:
        own = replace(
            shape,
            embedding_dim=shape.embedding_dim // count,
            hidden_size=shape.hidden_size // count,
        )
        return jax.vmap(lambda member: model.init(member, own))(jax.random.split(key, count))

    def each(network: Callable[..., Any], params: Params, history: Array, key: Array | None) -> Any:
        """Return network(params, history, key) of each member, stacked along a first axis."""
        keys = None if key is None else jax.random.split(key, count)
        return jax.vmap(network)(params, parted(history, count), keys)

    def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
        def network(params: Params, history: Array, key: Array | None) -> Array:
            return model.interests(params, history, mask, key)

        return joined(each(network, params, history, key))

    def of_prefixes(
        params: Params, history: Array, lengths: Array, key: Array | None = None
    ) -> Array:
        def network(params: Params, history: Array, key: Array | None) -> Array:
            return model.of_prefixes(params, history, lengths, key)

        return joined(each(network, params, history, key))

    def attentive(
        params: Params, history: Array, mask: Array, key: Array | None = None
    ) -> tuple[Array, Array]:
        def network(params: Params, history: Array, key: Array | None) -> tuple[Array, Array]:
            return model.attend(params, history, mask, key)

        made, attention = each(network, params, history, key)
        return joined(made), jnp.concatenate(list(attention), axis=1)  # [B, count*K, L]

    wrap = partial(_ensemble, count)
    return model.wrapped(interests, attentive, of_prefixes, init, wrap=wrap)


def parted(vectors: Array, count: int) -> Array:
    """Split vectors [..., d] into those of `count` members, [count, ..., d / count]."""
    return jnp.moveaxis(vectors.reshape(*vectors.shape[:-1], count, -1), -2, 0)


def joined(vectors: Array) -> Array:
    """Concatenate members' vectors [M, ..., d] to [..., M * d]."""
    side_by_side = jnp.moveaxis(vectors, 0, -2)
    return side_by_side.reshape(*side_by_side.shape[:-2], -1)
