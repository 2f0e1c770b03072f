"""Random masks in one pass over memory.

`jax.random` hashes counters in a loop on CPUs, each of whose rounds writes and reads all of them.
Written out, the rounds are one expression, which XLA computes value by value: five times as fast,
and bitwise the same. Counters of one axis are computed twice as fast as of several.

Where a batch's examples are split over the devices of a mesh, each device draws its share of what
one device would draw for the whole batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from reprise.runtime.mesh import share

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_ROUNDS = 5  # of four rotations each


def in_batch(places: Array, size: int) -> Array:
    """Return places [n] uint32 among the `size` values of this device's examples as places among
    those of the whole batch.
    """
    part = share()
    return places if part is None else places + np.uint32(size) * part[0].astype(jnp.uint32)


def by_example(draw: Callable[[tuple[int, ...]], Array], shape: tuple[int, ...]) -> Array:
    """Return draw(shape), which has an example a row."""
    part = share()
    if part is None:
        return draw(shape)
    place, count = part
    whole = draw((count * shape[0], *shape[1:]))
    return lax.dynamic_slice_in_dim(whole, place * shape[0], shape[0])


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
