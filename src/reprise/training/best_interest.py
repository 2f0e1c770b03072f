"""The sampled softmax in which each candidate is scored by its best interest, with its gradient.

A chunk of targets at a time, scores, loss and the gradient by interests and negatives are computed
together, while the scores are in the cache: no array of scores of all targets is stored or read
again. That takes two thirds of the time of the plain loss (`losses.make_loss`) and its gradient.
"""

from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

_EXCLUDED = -1e30  # as in `losses`
# Scores per chunk: few enough for a cache, but of enough targets that adding up the gradient by the
# negatives costs little; and at most 64 MB of them, unless one target's are more.
_CACHED_SCORES, _LEAST_TARGETS, _MOST_SCORES = 2**20, 32, 2**24


class Candidates(NamedTuple):
    """What the scores depend on beside vectors, for T targets and N negatives.

    Attributes:
        target: [T] int32 indices into the unique rows.
        negatives: [N] int32 indices into the unique rows.
        log_q: [N] float32, of the negatives.
        before: With a repeat bias, [T, L]: each target's history as indices into the unique rows,
            padded with an index past the end; else [T, 0].
    """

    target: Array
    negatives: Array
    log_q: Array
    before: Array


class _Chunk(NamedTuple):
    """A chunk's targets: vectors [M, K, C, d], positives [M, C], weights [C], and candidates."""

    interests: Array
    positive: Array
    weight: Array
    target: Array
    before: Array


class _Gradient(NamedTuple):
    interests: Array
    negatives: Array
    positive: Array
    bias: Array


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def mean_loss(
    rows: int,
    interests: Array,
    negatives: Array,
    positive: Array,
    bias: Array,
    candidates: Candidates,
) -> Array:
    """Return the mean cross-entropy [] over M ensemble members and T targets of `positive` against
    the negatives, each of which is scored by its best interest.

    Args:
        rows: Number of unique rows of the batch.
        interests: [M, T, K, d], as scores need them: with a temperature, unit vectors over it.
        negatives: [M, N, d].
        positive: [M, T] logits of the targets.
        bias: [M], added to the scores of negatives in a target's history.
        candidates: `Candidates`; negatives that are the target are masked.
    """
    return _with_gradient(rows, interests, negatives, positive, bias, candidates)[0]


def _forward(
    rows: int,
    interests: Array,
    negatives: Array,
    positive: Array,
    bias: Array,
    candidates: Candidates,
) -> tuple[Array, tuple[_Gradient, Candidates]]:
    loss, gradient = _with_gradient(rows, interests, negatives, positive, bias, candidates)
    return loss, (gradient, candidates)


def _backward(rows: int, kept: tuple[_Gradient, Candidates], scale: Array) -> tuple[Any, ...]:
    gradient, candidates = kept
    nothing = jax.tree.map(_no_gradient, candidates)
    return (*(scale * each for each in gradient), nothing)


def _no_gradient(of: Array) -> Array | NDArray[np.void]:
    """Return the zeros that JAX expects as the gradient of constants."""
    return np.zeros(of.shape, jax.dtypes.float0) if of.dtype == jnp.int32 else jnp.zeros_like(of)


mean_loss.defvjp(_forward, _backward)


def targets_at_once(targets: int, interests: int, negatives: int) -> int:
    """Return how many targets make a chunk."""
    each = interests * negatives
    size = min(max(_LEAST_TARGETS, _CACHED_SCORES // each), max(1, _MOST_SCORES // each))
    chunks = -(-targets // size)
    return -(-targets // chunks)


def seen_by_row(before: Array, rows: int) -> Array:
    """Return whether each unique row is in the histories [T, L] before targets, [rows, T]; indices
    past the end are padding. Item-major, so that whole rows are gathered, one per item.
    """
    each = jnp.arange(len(before))
    return jnp.zeros((rows, len(each)), bool).at[before, each[:, None]].set(True, mode="drop")


def _with_gradient(
    rows: int,
    interests: Array,
    negatives: Array,
    positive: Array,
    bias: Array,
    candidates: Candidates,
) -> tuple[Array, _Gradient]:
    members, count, each, dim = interests.shape
    size = targets_at_once(count, each, negatives.shape[1])
    by_interest = jnp.moveaxis(interests, 2, 1)  # [M, K, T, d]
    parts = _Chunk(
        _chunked(by_interest, 2, size),
        _chunked(positive, 1, size),
        _chunked(jnp.full(count, 1 / (members * count), jnp.float32), 0, size),
        _chunked(candidates.target, 0, size),
        _chunked(candidates.before, 0, size),
    )

    def of_chunk(
        sums: tuple[Array, Array, Array], part: _Chunk
    ) -> tuple[tuple[Array, Array, Array], tuple[Array, Array]]:
        loss, by_negatives, by_bias = sums
        hit = part.target[:, None] == candidates.negatives
        seen = None
        if part.before.shape[1]:
            seen = seen_by_row(part.before, rows)[candidates.negatives].T

        def of_member(given: tuple[Array, ...]) -> tuple[Array, ...]:
            vectors, logits, its_negatives, its_bias, summed, of_bias = given
            added = -candidates.log_q
            if seen is not None:
                added = added + its_bias * seen
            found, by_scores = _of_scores(
                vectors, logits, part.weight, its_negatives, added, hit, seen
            )
            flat = by_scores.reshape(each * size, -1)
            return (
                found.loss,
                found.by_positive,
                (flat @ its_negatives).reshape(each, size, dim),
                # Transposed: the other order is half as fast.
                summed + vectors.reshape(each * size, dim).T @ flat,
                of_bias + found.by_bias,
            )

        of_each = (part.interests, part.positive, negatives, bias, by_negatives, by_bias)
        more, by_positive, by_vectors, by_negatives, by_bias = lax.map(of_member, of_each)
        return (loss + jnp.sum(more), by_negatives, by_bias), (by_vectors, by_positive)

    start = (
        jnp.zeros((), jnp.float32),
        jnp.zeros((members, dim, negatives.shape[1]), jnp.float32),
        jnp.zeros(members, jnp.float32),
    )
    (loss, by_negatives, by_bias), (by_vectors, by_positive) = lax.scan(of_chunk, start, parts)
    return loss, _Gradient(
        jnp.moveaxis(_whole(by_vectors, 2, count), 1, 2),
        jnp.swapaxes(by_negatives, 1, 2),
        _whole(by_positive, 1, count),
        by_bias,
    )


def _chunked(array: Array, axis: int, size: int) -> Array:
    """Split `axis`, of the targets, into chunks of `size` along a new first axis, the last one
    filled up with zeros.
    """
    count = array.shape[axis]
    chunks = -(-count // size)
    fill = [(0, 0)] * array.ndim
    fill[axis] = (0, chunks * size - count)
    padded = jnp.pad(array, fill)
    split = padded.reshape(*array.shape[:axis], chunks, size, *array.shape[axis + 1 :])
    return jnp.moveaxis(split, axis, 0)


def _whole(chunked: Array, axis: int, count: int) -> Array:
    """Undo `_chunked` of `count` targets."""
    moved = jnp.moveaxis(chunked, 0, axis)
    joined = moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])
    return lax.slice_in_dim(joined, 0, count, axis=axis)


class _Found(NamedTuple):
    loss: Array
    by_positive: Array
    by_bias: Array


def _of_scores(
    vectors: Array,
    positive: Array,
    weight: Array,
    negatives: Array,
    added: Array,
    hit: Array,
    seen: Array | None,
) -> tuple[_Found, Array]:
    """Return a member's weighted loss of a chunk with its gradient by positives [C] and bias [],
    and the gradient by the scores [K, C, N].

    vectors [K, C, d], positive [C], weight [C], negatives [N, d], added [N] or [C, N], hit and seen
    [C, N].
    """
    count, size, dim = vectors.shape
    scores = (vectors.reshape(count * size, dim) @ negatives.T).reshape(count, size, -1)
    best = reduce(jnp.maximum, list(scores))
    logits = jnp.where(hit, _EXCLUDED, best + added)
    most = jnp.max(logits, axis=1, keepdims=True)
    powers = jnp.exp(logits - most)
    total = jnp.sum(powers, axis=1)
    normaliser = most[:, 0] + jnp.log(total)
    both = jnp.logaddexp(positive, normaliser)
    missed = weight * jnp.exp(normaliser - both)  # the weighted chance that it is a negative
    by_best = powers * (missed / total)[:, None]
    parts, free = [], jnp.ones_like(hit)
    for own in scores:  # the first of equal ones is taken
        taken = free & (own == best)
        parts.append(jnp.where(taken, by_best, 0))
        free = free & ~taken
    by_bias = jnp.zeros(()) if seen is None else jnp.sum(jnp.where(seen, by_best, 0))
    return _Found(jnp.sum(weight * (both - positive)), -missed, by_bias), jnp.stack(parts)
