"""MIND: interests by dynamic routing with one shared bilinear map and random initial logits.

Source: MIND (arXiv 1904.08030), as ComiRec's published code (Model_MIND) runs it for Amazon
Books: with a ReLU projection.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models import capsules
from reprise.models.draws import by_example
from reprise.models.registry import ModelShape, Params


def init(key: Array, shape: ModelShape) -> Params:
    """Initialise the parameters, float32; raise UsageError if the hidden size is not d.

    "shared" [d, d] and "shared_bias" [d]: the map from item to vote; the bias is Glorot uniform
    like the matrix, since the original gives it no initialiser. "projection" [d, d], Glorot
    uniform, and "projection_bias" [d], zero. "routing" [K, L], truncated normal: the initial
    logits of inference, not trained.
    """
    shape.require_equal_sizes()
    dim = shape.embedding_dim
    keys = jax.random.split(key, 4)
    glorot = jax.nn.initializers.glorot_uniform()
    limit = (3 / dim) ** 0.5  # TensorFlow takes a vector's size as both fan-in and fan-out
    return {
        "shared": glorot(keys[0], (dim, dim), jnp.float32),
        "shared_bias": jax.random.uniform(keys[1], (dim,), jnp.float32, -limit, limit),
        "projection": glorot(keys[2], (dim, dim), jnp.float32),
        "projection_bias": jnp.zeros(dim, jnp.float32),
        "routing": _noise(keys[3], (shape.num_interest, shape.history_length)),
    }


def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
    """Return interests [B, K, d] of right-padded histories [B, L, d] with mask [B, L] (1 = item).

    Routing starts from logits drawn with `key` for each user or, without a key, from the same
    logits for all users. Only the logits distinguish the interests: they share the map.
    """
    size = (history.shape[0], *params["routing"].shape)
    fixed = jnp.broadcast_to(jax.lax.stop_gradient(params["routing"]), size)
    logits = fixed if key is None else by_example(partial(_noise, key), size)
    votes = (history * mask[..., None]) @ params["shared"] + params["shared_bias"]
    routed = capsules.route(votes, logits, mask)
    return jax.nn.relu(routed @ params["projection"] + params["projection_bias"])


def _noise(key: Array, size: tuple[int, ...]) -> Array:
    """Draw standard normals truncated at two deviations (tf.truncated_normal), float32."""
    return jax.random.truncated_normal(key, -2.0, 2.0, size, jnp.float32)
