"""A repeat bias for any model: one learned scalar, added to the scores of items in the user's
history.

It falls where users never repeat an item, so that lists leave seen items out, and rises where they
do. Source: RepeatNet (arXiv 1812.02646), which weighs repeats against new items by a network; this
is its simplest form.
"""

from functools import cache

import jax.numpy as jnp
from jax import Array

from reprise.models.registry import Model, ModelShape, Params
from reprise.models.scoring import REPEAT_BIAS


@cache  # one value for one request, since compiled steps are found by their model
def with_repeat_bias(model: Model) -> Model:
    """Return the model with one more parameter, `REPEAT_BIAS` [], initially zero. The networks do
    not use it; scoring does.
    """
    return _with_bias(model)


def _with_bias(model: Model) -> Model:

    def init(key: Array, shape: ModelShape) -> Params:
        return {**model.init(key, shape), REPEAT_BIAS: jnp.zeros((), jnp.float32)}

    def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
        return model.interests(_own(params), history, mask, key)

    def of_prefixes(
        params: Params, history: Array, lengths: Array, key: Array | None = None
    ) -> Array:
        return model.of_prefixes(_own(params), history, lengths, key)

    def attentive(
        params: Params, history: Array, mask: Array, key: Array | None = None
    ) -> tuple[Array, Array]:
        return model.attend(_own(params), history, mask, key)

    return model.wrapped(interests, attentive, of_prefixes, init, wrap=_with_bias)


def _own(params: Params) -> Params:
    return {name: param for name, param in params.items() if name != REPEAT_BIAS}
