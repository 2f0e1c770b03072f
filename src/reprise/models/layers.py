"""Layers that several networks share."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

_EPSILON = 1e-8  # SASRec's; small, as initial rows of a large catalogue have a variance of 1e-5


def normalise(x: Array, gain: Array, bias: ArrayLike) -> Array:
    """Apply layer normalisation to x [..., d], with learned gain and bias."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + _EPSILON) * gain + bias
