"""Several models in one: each learns by itself, and their vectors stand side by side.

The inner product of joined vectors is the sum of the members' own, and so a search by one vector
finds what their scores, averaged, rank first: a deep ensemble (arXiv 1612.01474) that is served as
a single model is. Members see the same batches and differ in where they start and in what dropout
leaves out.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models.registry import Model, ModelShape, Params


@cache  # one value for one request, since compiled steps are found by their model
def with_ensemble(model: Model, count: int) -> Model:
    """Return the model of `count` members, each of its share of d and of the hidden size: its
    parameters are theirs along a first axis. The model itself where there is one.
    """
    if count == 1:
        return model

    def init(key: Array, shape: ModelShape) -> Params:
        own = replace(
            shape,
            embedding_dim=shape.embedding_dim // count,
            hidden_size=shape.hidden_size // count,
        )
        return jax.vmap(lambda member: model.init(member, own))(jax.random.split(key, count))

    def each(network: Callable[..., Any], params: Params, history: Array, key: Array | None) -> Any:
        """Return network(params, history, key) of each member, along a first axis."""
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

    return model.wrapped(interests, attentive, of_prefixes, init)


def parted(vectors: Array, count: int) -> Array:
    """Return vectors [..., d] as those of `count` members, [count, ..., d / count]."""
    return jnp.moveaxis(vectors.reshape(*vectors.shape[:-1], count, -1), -2, 0)


def joined(vectors: Array) -> Array:
    """Return members' vectors [M, ..., d] side by side, [..., M * d]."""
    side_by_side = jnp.moveaxis(vectors, 0, -2)
    return side_by_side.reshape(*side_by_side.shape[:-2], -1)
