"""The search on an accelerator: the same lists as `retrieval.search`, by the device's `top_k`.

All users of a chunk are scored against one block of items after another, and each block's best are
merged with the best so far. `top_k` keeps equal scores in order, which is by ascending id.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from reprise.retrieval.ranking import NO_ITEM
from reprise.retrieval.terms import EVERYTHING, NOTHING_ADDED, Added, Allowed, Terms

_BLOCK = 65_536  # items per block: 270 MB of scores for 256 users with four interests

_Scores = NDArray[np.float32]
_Ids = NDArray[np.int64]


class _Pairs(NamedTuple):
    """Added values, [P] each: user row, item id (0: padding) and value."""

    user: Any
    item: Any
    value: Any


def make_best(items: _Scores) -> Callable[[_Scores, Terms, int, int], tuple[_Ids, _Scores]]:
    """Return best(interests [u, K, d], terms, top_n, rows), which finds the best `top_n` ids and
    scores of each user, [u, top_n], over items [V, d]. It searches for a multiple of `rows` users,
    so that a list is rounded the same whoever else is searched for, and few programs are compiled.
    """
    count, dim = items.shape
    size = min(_BLOCK, count)
    padded = np.pad(items, ((0, -count % size), (0, 0)))
    blocks = jax.device_put(padded.reshape(-1, size, dim))

    def best(interests: _Scores, terms: Terms, top_n: int, rows: int) -> tuple[_Ids, _Scores]:
        users = len(interests)
        missing = -users % rows
        ids, scores = _best(
            np.pad(interests, ((0, missing), (0, 0), (0, 0))),
            blocks,
            _pairs(terms.added),
            _masks(terms.allowed, missing, len(padded)),
            num_items=count,
            top_n=min(count, _room(top_n)),
        )
        return np.asarray(ids)[:users, :top_n].astype(np.int64), np.asarray(scores)[:users, :top_n]

    return best


def _room(count: int) -> int:
    """Return the power of 2 from `count` on: arrays of few sizes need few compilations."""
    return 1 << max(0, count - 1).bit_length()


def _pairs(added: Added | None) -> _Pairs:
    user, item, value = added or NOTHING_ADDED
    room = (0, _room(len(item) + 1) - len(item))
    return _Pairs(
        np.pad(user, room).astype(np.int32),
        np.pad(item, room).astype(np.int32),
        np.pad(value, room),
    )


def _masks(allowed: Allowed | None, missing: int, size: int) -> Allowed | None:
    """Return the masks with rows for the padding of users and items."""
    if allowed is None:
        return None
    count, items = allowed.masks.shape
    return Allowed(
        np.pad(allowed.masks, ((0, _room(count) - count), (0, size - items))),
        np.pad(allowed.mask_of, (0, missing), constant_values=EVERYTHING).astype(np.int32),
    )


@partial(jax.jit, static_argnames=("num_items", "top_n"))
def _best(
    interests: Array,
    blocks: Array,
    pairs: _Pairs,
    allowed: Any,
    *,
    num_items: int,
    top_n: int,
) -> tuple[Array, Array]:
    users, size = len(interests), blocks.shape[1]

    def join(best: tuple[Array, Array], block: tuple[Array, Array]) -> Any:
        start, items = block
        ids = start + jnp.arange(1, size + 1)
        scores = _scores(interests, items)
        place = jnp.where(pairs.item > start, pairs.item - start - 1, size)  # else it would wrap
        scores = scores.at[pairs.user, place].add(pairs.value, mode="drop")
        # Comparable numbers: NaN last, and -0.0 equal to 0.0.
        scores = jnp.where(jnp.isnan(scores) | (ids > num_items), -jnp.inf, scores)
        scores = jnp.where(scores == 0, 0.0, scores)
        if allowed is not None:
            listed = jax.lax.dynamic_slice_in_dim(allowed.masks, start, size, axis=1)
            free = (allowed.mask_of == EVERYTHING)[:, None]
            scores = jnp.where(free | listed[allowed.mask_of], scores, -jnp.inf)
        of_block, places = jax.lax.top_k(scores, min(top_n, size))
        every = jnp.concatenate([best[0], of_block], axis=1)
        every_id = jnp.concatenate([best[1], ids[places]], axis=1)
        found, places = jax.lax.top_k(every, top_n)
        return (found, jnp.take_along_axis(every_id, places, axis=1)), None

    nothing = (
        jnp.full((users, top_n), -jnp.inf, jnp.float32),
        jnp.full((users, top_n), NO_ITEM, jnp.int32),
    )
    starts = size * jnp.arange(len(blocks), dtype=jnp.int32)
    (scores, ids), _ = jax.lax.scan(join, nothing, (starts, blocks))
    return jnp.where(scores == -jnp.inf, NO_ITEM, ids), scores


def _scores(interests: Array, items: Array) -> Array:
    """Return the maximum score over interests [u, K, d], ignoring NaN, for items [n, d]: [u, n]."""
    users, count, dim = interests.shape
    flat = interests.transpose(1, 0, 2).reshape(count * users, dim)
    every = jnp.matmul(flat, items.T, precision="highest").reshape(count, users, len(items))
    best: Array = reduce(jnp.fmax, every)
    return best
