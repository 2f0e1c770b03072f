"""DNN: one interest, the mean of the history through a dense layer.

Source: YouTube DNN (Covington et al., RecSys 2016), as ComiRec's published code (Model_DNN) runs
it.
"""

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models.registry import ModelShape, Params


def init(key: Array, shape: ModelShape) -> Params:
    """Initialise "dense" [d, d] and "dense_bias" [d], float32.

    The matrix is Glorot uniform, TensorFlow's default, the bias zero. Raise UsageError if the
    hidden size is not d.
    """
    shape.require_equal_sizes()
    size = (shape.embedding_dim, shape.hidden_size)
    return {
        "dense": jax.nn.initializers.glorot_uniform()(key, size, jnp.float32),
        "dense_bias": jnp.zeros(shape.hidden_size, jnp.float32),
    }


def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
    """Return interests [B, 1, d] of right-padded histories [B, L, d], mask [B, L] (1 = item)."""
    total = jnp.einsum("bl,bld->bd", mask, history)
    mean = total / (jnp.sum(mask, axis=1, keepdims=True) + 1e-9)
    return (mean @ params["dense"] + params["dense_bias"])[:, None]
