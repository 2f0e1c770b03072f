"""The values that item rows begin with, where that is not at random: what the items' counts say."""

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reprise.data.sequences import Sequences
from reprise.training import item_table

if TYPE_CHECKING:
    from reprise.config.schema import TrainConfig

# Norm of a row, relative to random rows' mean: on validation users of three data sets, 2 to 4 were
# better than 1 and 8 (benchmarks/studies/second-edition.md).
_LENGTH = 3
_ROTATIONS = 0x726F74  # of the streams that rotations are drawn from, by seed and member


def values_by_counts(
    config: "TrainConfig", train: Sequences, num_items: int
) -> NDArray[np.float32]:
    """Return `memory.factors` of the items as row values [V+1, width], _LENGTH times as long as
    random ones are on average; zeros where items have none.

    Each ensemble member's slice has the same factors in a rotation of its own: the members begin
    with the same distances, not with the same numbers. Untied, both vectors of an item do.
    """
    from reprise.memory.factors import item_factors  # scipy takes time to import

    dim = config.embedding_dim // config.ensemble
    factors = item_factors(train, num_items, dim)
    with threadpool_limits(1, user_api="blas"):  # the same bits by any number of threads
        slices = [
            factors @ _rotation(config.seed, member, dim) for member in range(config.ensemble)
        ]
    limit = item_table.limit(num_items, config.embedding_dim, config.embedding_scale)
    norm = np.float32(_LENGTH * limit * (dim / 3) ** 0.5)  # of a random slice: uniform numbers
    vector = norm * np.concatenate(slices, axis=1)
    return vector if config.scoring.tied else np.concatenate([vector, vector], axis=1)


@partial(jax.jit, donate_argnums=0)
def begun(rows: Array, values: Array) -> Array:
    """Return a table [..., 3*width] with these values [..., width] in place of its own, where a
    row's are not zero.
    """
    known = jnp.any(values != 0, axis=-1, keepdims=True)
    own, m, v = item_table.split(rows)
    return item_table.join(jnp.where(known, values, own), m, v)


def _rotation(seed: int, member: int, dim: int) -> NDArray[np.float32]:
    """Return an orthogonal matrix [dim, dim] drawn at random, of the uniform distribution."""
    drawn = np.random.default_rng((_ROTATIONS, seed, member)).standard_normal((dim, dim))
    q, r = np.linalg.qr(drawn)
    rotation: NDArray[np.float32] = (q * np.sign(np.diag(r))).astype(np.float32)
    return rotation
