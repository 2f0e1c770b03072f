"""A parameter beside the network's, for any model: scores use it, the network does not."""

import jax.numpy as jnp
from jax import Array

from reprise.models.registry import Model, ModelShape, Params


def with_parameter(model: Model, name: str, shape: tuple[int, ...]) -> Model:
    """Return the model with one more parameter [shape], initially zero, which its networks do not
    see.
    """

    def own(params: Params) -> Params:
        return {one: param for one, param in params.items() if one != name}

    def init(key: Array, sizes: ModelShape) -> Params:
        return {**model.init(key, sizes), name: jnp.zeros(shape, jnp.float32)}

    def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
        return model.interests(own(params), history, mask, key)

    def of_prefixes(
        params: Params, history: Array, lengths: Array, key: Array | None = None
    ) -> Array:
        return model.of_prefixes(own(params), history, lengths, key)

    def attentive(
        params: Params, history: Array, mask: Array, key: Array | None = None
    ) -> tuple[Array, Array]:
        return model.attend(own(params), history, mask, key)

    def again(inner: Model) -> Model:
        return with_parameter(inner, name, shape)

    return model.wrapped(interests, attentive, of_prefixes, init, wrap=again)
