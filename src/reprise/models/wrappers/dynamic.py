"""A number of interests that depends on the history's length, for any model.

Source: MIND (arXiv 1904.08030, section 4.3): K_u = max(1, min(K, floor(log2 n))) for n items.
"""

from functools import cache

import jax.numpy as jnp
import numpy as np
from jax import Array

from reprise.models.registry import Model, Params


@cache  # one value for one request, since compiled steps are found by their model
def with_dynamic_interests(model: Model) -> Model:
    """Return the model with K_u interests per user: the first K_u, repeated up to K, which changes
    no list and no best score. If K_u does not divide K, soft and sampled selection favour the
    interests that are repeated once more.
    """
    return _dynamic(model)


def _dynamic(model: Model) -> Model:

    def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
        made = model.interests(params, history, mask, key)
        return _repeated(made, jnp.sum(mask, axis=1).astype(jnp.int32))

    def of_prefixes(
        params: Params, history: Array, lengths: Array, key: Array | None = None
    ) -> Array:
        return _repeated(model.of_prefixes(params, history, lengths, key), lengths)

    def attentive(
        params: Params, history: Array, mask: Array, key: Array | None = None
    ) -> tuple[Array, Array]:
        lengths = jnp.sum(mask, axis=1).astype(jnp.int32)
        made, attention = model.attend(params, history, mask, key)
        return _repeated(made, lengths), _repeated(attention, lengths)

    return model.wrapped(interests, attentive, of_prefixes, wrap=_dynamic)


def _repeated(made: Array, lengths: Array) -> Array:
    """Repeat the first K_u along K of made [..., K, x], with K_u by lengths [...]."""
    count = made.shape[-2]
    # Count the powers of two from 4 on that the length reaches, to avoid a rounded logarithm.
    own = 1 + jnp.sum(lengths[..., None] >= 2 ** np.arange(2, count + 1), axis=-1)
    index = jnp.arange(count) % own[..., None]
    return jnp.take_along_axis(made, index[..., None], axis=-2)
