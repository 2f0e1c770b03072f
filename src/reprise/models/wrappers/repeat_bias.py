"""A repeat bias, learned beside any model: one number that is added to the score of every item of
the user's own history.

Where nobody takes an item twice it falls, and lists no longer spend places on what was seen; where
people come back to what they know, it rises. Source: RepeatNet (arXiv 1812.02646), which weighs
repeats against new items by a network; this is its simplest form.
"""

from functools import cache

import jax.numpy as jnp
from jax import Array

from reprise.models.registry import Model, ModelShape, Params
from reprise.models.scoring import REPEAT_BIAS


@cache  # one value for one request, since compiled steps are found by their model
def with_repeat_bias(model: Model) -> Model:
    """Return the model with one more parameter, `REPEAT_BIAS` [], zero at first. The networks do
    not use it: what scores does.
    """

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

    return model.wrapped(interests, attentive, of_prefixes, init)


def _own(params: Params) -> Params:
    return {name: param for name, param in params.items() if name != REPEAT_BIAS}
