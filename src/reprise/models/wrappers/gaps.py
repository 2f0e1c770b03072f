"""Gaps between times, and the calendar, as an encoder reads them; all integers, so exact.

Times [B, L + 1] are as `data.moments` has them: of each item, then of the request. A position of a
history stands for the request that follows it: in a longer history, this is the time of its next
item. So every prefix of a history is read as if it were alone.

Source: the relative time bias of HSTU (arXiv 2402.17152), which likewise compares an item with the
time of what follows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Two an octave: 0 s, 1 s, 2 s, 3 s, 4 and 5 s, 6 and 7 s, 8 to 11 s, ... to 68 years.
BUCKETS = 62
HOURS, WEEKDAYS = 24, 7
_HOUR, _DAY = 3600, 86_400
_HALFWAY = np.array([2, *(3 << (octave - 1) for octave in range(1, 31))], np.int32)
_OCTAVE_OF_ALL = 31


class Moments(NamedTuple):
    """What is known of the times of histories; -1 where nothing is.

    Attributes:
        between: [B, L, L] int32, the bucket of the gap from item k to item q (0 if k is later).
        since: [B, L, L] int32, the bucket of the gap from item k to the request after item q.
        last: [B, L] int32, the bucket of the gap from item q to the request after it.
        hour, weekday: [B, L] int32 in UTC, of the request after item q; Monday is 0.
    """

    between: Array
    since: Array
    last: Array
    hour: Array
    weekday: Array


def moments_of(times: Array) -> Moments:
    """Return what times [B, L + 1] int32 tell of the items [B, L] of histories."""
    return _moments(*_split(times))


def packed_moments_of(times: Array, places: Array) -> Moments:
    """Return what times [B, L + 1] int32 tell of the items [B, L] of histories where these are
    packed in rows: places [R, L], as `training.packing` has them. What it tells of items of
    different histories is no use.
    """
    items, after = (
        each.reshape(-1).at[places].get(mode="fill", fill_value=-1) for each in _split(times)
    )
    return _moments(items, after)


def _split(times: Array) -> tuple[Array, Array]:
    """Return the times of items, and of the requests after them, both [B, L]."""
    items = jax.lax.slice_in_dim(times, 0, times.shape[1] - 1, axis=1)
    return items, jax.lax.slice_in_dim(times, 1, times.shape[1], axis=1)


def _moments(items: Array, after: Array) -> Moments:
    return Moments(
        between=_gap(jnp.expand_dims(items, 2), jnp.expand_dims(items, 1)),
        since=_gap(jnp.expand_dims(after, 2), jnp.expand_dims(items, 1)),
        last=_gap(after, items),
        hour=jnp.where(after < 0, -1, _of_clock(after, _HOUR, HOURS)),
        weekday=jnp.where(after < 0, -1, _of_clock(after, _DAY, WEEKDAYS)),
    )


def bucket(gap: Array) -> Array:
    """Return the bucket, from 0 to BUCKETS - 1, of gaps in whole seconds, int32 from 0 on."""
    octave = _OCTAVE_OF_ALL - jax.lax.clz(jnp.maximum(gap, 1))
    upper = (gap >= jnp.asarray(_HALFWAY)[octave]).astype(jnp.int32)
    found: Array = jnp.where(gap < 1, 0, jnp.maximum(2 * octave, 1) + upper)
    return found


def looked_up(table: Array, index: Array) -> Array:
    """Return rows [..., n] of a table [N, n] by index [...]; zeros for -1."""
    known = jnp.expand_dims(index >= 0, index.ndim).astype(table.dtype)
    rows: Array = table[jnp.maximum(index, 0)] * known
    return rows


def _gap(later: Array, earlier: Array) -> Array:
    known = (later >= 0) & (earlier >= 0)
    return jnp.where(known, bucket(jnp.maximum(later - earlier, 0)), -1)


def _of_clock(seconds: Array, unit: int, count: int) -> Array:
    # By a division alone, which converts to ONNX for any number of users.
    whole = jax.lax.div(seconds, jnp.int32(unit))
    return whole - jax.lax.div(whole, jnp.int32(count)) * count
