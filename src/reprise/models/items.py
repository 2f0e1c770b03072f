"""Turn an item's row and its features into its vectors, for training and retrieval alike.

An item's values [..., width] are its row plus what its features add (`composed`): the embedding of
each category, the mean of the embeddings of several, and a linear map of numbers and vectors. An
item appears in histories and as a candidate. Both vectors come from its values: one vector of size
d or, if untied, two side by side.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from reprise.models.features import Features, looked_up
from reprise.models.registry import Params
from reprise.models.scoring import Scoring

_SMALLEST_SQUARE = 1e-12  # squared norm, below which a vector is noise and is not normalised
_STANDING = 0.1
_BLOCK = 4096  # items at a time in `all_composed`


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


def composed(
    values: Array,
    params: Params,
    features: Features,
    items: ArrayLike,
    dropped: Array | None = None,
    numbers: ArrayLike | None = None,
) -> Array:
    """Add to the row values [M, width] of items [M] what their features add; padding (item 0, and
    numbers past the catalogue) is not for use.

    Args:
        numbers: [M], their numbers where `items` are their places among the features of some.
        dropped: [M], the items whose rows are left out, in training. A row stays where its features
            are shorter than a _STANDING of it: the gradient of a cosine grows as the vector
            shrinks, and one step from almost zero would outweigh thousands in Adam's moments.
    """
    items = jnp.asarray(items)
    added = features.added(params, items, items if numbers is None else jnp.asarray(numbers))
    if dropped is not None:
        strength, needed = (jnp.sum(jnp.square(one), axis=-1) for one in (added, values))
        dropped = dropped & (strength >= _STANDING**2 * needed)
        values = jnp.where(dropped[:, None], 0, values)
    made = values + added
    return jnp.where(looked_up(features.with_row, items)[:, None], made, lax.stop_gradient(made))


@partial(jax.jit, static_argnums=3)
def all_composed(
    rows: Array,
    params: Params,
    features: Features,
    width: int,
    share: tuple[ArrayLike, int] | None = None,
) -> Array:
    """Return `composed` of all items, [V+1, width], from rows [V+1, at least width] that begin with
    their values; a block of items at a time.

    share: (n, N) of rows and features of the items n, n + N, n + 2 N, ... alone.
    """
    count = len(rows)
    size = min(_BLOCK, count)

    def fill(block: Array, made: Array) -> Array:
        start = jnp.minimum(block * size, count - size)
        values = lax.dynamic_slice(rows, (start, 0), (size, width))
        items = start + jnp.arange(size)
        numbers = None if share is None else share[0] + share[1] * items
        part = composed(values, params, features, items, numbers=numbers)
        return lax.dynamic_update_slice(made, part, (start, 0))

    empty = jnp.zeros((count, width), rows.dtype)
    filled: Array = lax.fori_loop(0, -(-count // size), fill, empty)
    return filled
