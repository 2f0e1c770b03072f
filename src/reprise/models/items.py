"""Turn an item's row into its vectors: the only place, for training and retrieval alike.

An item stands in two places, in histories and as a candidate. Both are made of its row's values
[..., width]: one vector of d numbers, or where they are untied two side by side.
"""

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models.scoring import Scoring

_SMALLEST_SQUARE = 1e-12  # of a length: what is shorter is not stretched to a direction of noise


def in_history(values: Array, scoring: Scoring) -> Array:
    """Return the vectors [..., d] that items have in a history, of row values [..., width]; scaled
    to length sqrt(d) where histories are normalised: numbers of about 1, as layers expect them.
    """
    vectors: Array = values if scoring.tied else values[..., : values.shape[-1] // 2]
    if not scoring.normalize_history:
        return vectors
    scaled: Array = unit(vectors, scoring.ensemble) * vectors.shape[-1] ** 0.5
    return scaled


def as_candidate(values: Array, scoring: Scoring) -> Array:
    """Return the vectors [..., d] that items have as candidates, of row values [..., width]; a loss
    with a temperature, and `as_compared`, scale them.
    """
    vectors: Array = values if scoring.tied else values[..., values.shape[-1] // 2 :]
    return vectors


def as_compared(vectors: Array, scoring: Scoring) -> Array:
    """Return interests or candidates [..., d] as retrieval compares them by inner products: at
    length 1 where scores are cosines, as they are where they are not.
    """
    return unit(vectors, scoring.ensemble) if scoring.cosine else vectors


def unit(vectors: Array, parts: int = 1) -> Array:
    """Return vectors [..., d] at length 1, each of `parts` equal slices as long as the others; what
    is shorter than 1e-6, zero too, is multiplied by 1e6 instead, so that values and gradients stay
    finite.
    """
    if parts > 1:
        slices = unit(vectors.reshape(*vectors.shape[:-1], parts, -1)) / parts**0.5
        return jnp.reshape(slices, vectors.shape)
    squared = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squared, _SMALLEST_SQUARE))
