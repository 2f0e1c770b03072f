"""Turn an item's row into its vectors, for training and retrieval alike.

An item appears in histories and as a candidate. Both vectors come from its row's values
[..., width]: one vector of size d or, if untied, two side by side.
"""

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models.scoring import Scoring

_SMALLEST_SQUARE = 1e-12  # squared norm, below which a vector is noise and is not normalised


def in_history(values: Array, scoring: Scoring) -> Array:
    """Return the history vectors [..., d] of row values [..., width]. If histories are normalised,
    their norm is sqrt(d), so that components are about 1, as layers expect.
    """
    vectors: Array = values if scoring.tied else values[..., : values.shape[-1] // 2]
    if not scoring.normalize_history:
        return vectors
    scaled: Array = unit(vectors, scoring.ensemble) * vectors.shape[-1] ** 0.5
    return scaled


def as_candidate(values: Array, scoring: Scoring) -> Array:
    """Return the candidate vectors [..., d] of row values [..., width], not yet normalised: a loss
    with a temperature and `as_compared` do that.
    """
    vectors: Array = values if scoring.tied else values[..., values.shape[-1] // 2 :]
    return vectors


def as_compared(vectors: Array, scoring: Scoring) -> Array:
    """Return interests or candidates [..., d] as retrieval compares them by inner product:
    normalised if scores are cosines, else unchanged.
    """
    return unit(vectors, scoring.ensemble) if scoring.cosine else vectors


def unit(vectors: Array, parts: int = 1) -> Array:
    """Normalise vectors [..., d] to norm 1, their `parts` equal slices to equal norms.

    Vectors with a norm below 1e-6, including zero, are multiplied by 1e6 instead, so that values
    and gradients stay finite.
    """
    if parts > 1:
        slices = unit(vectors.reshape(*vectors.shape[:-1], parts, -1)) / parts**0.5
        return jnp.reshape(slices, vectors.shape)
    squared = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squared, _SMALLEST_SQUARE))
