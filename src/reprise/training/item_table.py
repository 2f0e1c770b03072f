"""Packed item table [V+1, 3*width] (value | m | v); the packing is known to this module alone.

A step pulls the unique rows of its batch and pushes them back. The array is donated, so XLA updates
it in place, at a cost that depends on the batch size, not on the number of items.
"""

from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.random import threefry_2x32
from jax.typing import ArrayLike
from numpy.typing import NDArray

AnyArray = TypeVar("AnyArray", Array, NDArray[np.float32])

_PARTS = 3  # value | m | v
_DRAWN_AT_ONCE = 1 << 20  # values per block, few enough to stay in a cache


def limit(num_items: int, dim: int, scale: float | None = None) -> float:
    """Return the limit of random values: `scale`; None: Glorot's, TensorFlow's default,
    sqrt(6 / (V+1+d)).
    """
    glorot: float = (6.0 / (num_items + 1 + dim)) ** 0.5
    return glorot if scale is None else scale


def init(
    key: Array, num_items: int, dim: int, scale: float | None = None, width: int | None = None
) -> Array:
    """Initialise the table: values uniform within +-`limit`, zero moments; row 0, the padding, is
    zero and stays zero.

    Args:
        width: Numbers per item value; None for `dim`.
    """
    most = limit(num_items, dim, scale)
    width = dim if width is None else width
    at_once = min(num_items, max(1, _DRAWN_AT_ONCE // width))
    firsts = np.minimum(np.arange(0, num_items, at_once), num_items - at_once)
    places = (firsts * width).astype(np.uint64)
    high, low = (jnp.asarray(half, jnp.uint32) for half in (places >> 32, places & 0xFFFFFFFF))
    starts = jnp.asarray(firsts, jnp.int32)

    def fill(block: Array, rows: Array) -> Array:
        drawn = _uniform(key, high[block], low[block], at_once * width, most)
        return lax.dynamic_update_slice(rows, drawn.reshape(-1, width), (1 + starts[block], 0))

    rows: Array = lax.fori_loop(
        0, len(firsts), fill, jnp.zeros((num_items + 1, _PARTS * width), jnp.float32)
    )
    return rows


def init_share(
    device: ArrayLike,
    devices: int,
    key: Array,
    num_items: int,
    dim: int,
    scale: float | None = None,
    width: int | None = None,
) -> Array:
    """Initialise the rows device, device + devices, ... of `init`'s table, bitwise identical,
    [ceil((V+1) / devices), 3*width]; rows past the table's end are zero.
    """
    most = limit(num_items, dim, scale)
    width = dim if width is None else width
    count = -(-(num_items + 1) // devices)
    at_once = min(count, max(1, _DRAWN_AT_ONCE // width))

    def fill(block: Array, rows: Array) -> Array:
        first = jnp.minimum(block * at_once, count - at_once)
        items = ((first + jnp.arange(at_once)) * devices + device).astype(jnp.uint32)
        high, low = (each[:, None] for each in _product(items - 1, width))
        high, low = _plus(high, low, jnp.arange(width, dtype=jnp.uint32))
        drawn = _uniform_at(key, high.reshape(-1), low.reshape(-1), most)
        is_item = (items > 0) & (items <= num_items)
        own = jnp.where(is_item[:, None], drawn.reshape(-1, width), 0)
        return lax.dynamic_update_slice(rows, own, (first, 0))

    empty = jnp.zeros((count, _PARTS * width), jnp.float32)
    rows: Array = lax.fori_loop(0, -(-count // at_once), fill, empty)
    return rows


def _product(number: Array, factor: int) -> tuple[Array, Array]:
    """Return the high and low 32 bits of number (uint32) times factor, below 2^16."""
    upper = (number >> 16) * np.uint32(factor) + ((number & 0xFFFF) * np.uint32(factor) >> 16)
    return upper >> 16, number * np.uint32(factor)


def _plus(high: Array, low: Array, more: Array) -> tuple[Array, Array]:
    """Return 2^32 * high + low + more, all uint32, as high and low 32 bits."""
    total = low + more
    return high + (total < low), total


def _uniform(key: Array, high: Array, low: Array, count: int, limit: float) -> Array:
    """Return `count` values of `jax.random.uniform(key, ..., -limit, limit)` from position
    2^32 * high + low on, bitwise identical. Drawing a whole table needs several times its memory.
    """
    return _uniform_at(key, *_plus(high, low, lax.iota(jnp.uint32, count)), limit)


def _uniform_at(key: Array, high: Array, low: Array, limit: float) -> Array:
    """Return these values in the positions 2^32 * high + low [n] uint32."""
    count = len(low)
    words = threefry_2x32(jax.random.key_data(key), jnp.concatenate([high, low]))
    fraction = (words[:count] ^ words[count:]) >> 9
    ones = lax.bitcast_convert_type(fraction | np.uint32(0x3F800000), jnp.float32)  # in [1, 2)
    least, most = np.float32(-limit), np.float32(limit)
    return jnp.maximum(least, (ones - 1) * (most - least) + least)


def width(rows: AnyArray) -> int:
    """Return the width of the value in rows [..., 3*width]."""
    return int(rows.shape[-1] // _PARTS)


def values(rows: AnyArray) -> AnyArray:
    """Return the values [..., width] of rows [..., 3*width]; a view of a NumPy array."""
    return rows[..., : width(rows)]


def split(rows: Array) -> tuple[Array, Array, Array]:
    """Split rows [..., 3*width] into value, m and v, [..., width] each."""
    value, m, v = jnp.split(rows, _PARTS, axis=-1)
    return value, m, v


def join(value: Array, m: Array, v: Array) -> Array:
    """Join value, m and v, [..., width] each, into rows [..., 3*width]."""
    return jnp.concatenate([value, m, v], axis=-1)


def pack(values: Array) -> Array:
    """Pack values [V, d] of items 1..V into rows [V+1, 3*d], with zero moments and padding."""
    num_items, dim = values.shape
    rows: Array = _place(jnp.zeros((num_items + 1, _PARTS * dim), jnp.float32), values)
    return rows


@partial(jax.jit, donate_argnums=0)  # in place: the table is the largest array of all
def _place(rows: Array, value: Array) -> Array:
    return rows.at[1:, : value.shape[1]].set(value)


def pull(rows: Array, unique_rows: ArrayLike) -> tuple[Array, Array, Array]:
    """Gather value, m and v, each [M, d], of the unique rows [M] (ids past the end: padding)."""
    return split(rows.at[unique_rows].get(mode="clip"))


def push(rows: Array, unique_rows: ArrayLike, value: Array, m: Array, v: Array) -> Array:
    """Scatter rows back; `unique_rows` must be distinct, and ids past the end are dropped."""
    return rows.at[unique_rows].set(join(value, m, v), mode="drop", unique_indices=True)
