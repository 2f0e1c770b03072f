"""The loss by each candidate's best interest, against the plain loss and its gradient."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.effort import examples
from reprise.training import best_interest, losses
from reprise.training.best_interest import Candidates

ROWS, LENGTH, DIM = 12, 3, 4
seeds = st.integers(0, 2**32 - 1)
KEY = jax.random.key(0)
PLAIN = losses.make_loss(losses.Objective(neg_score="max"))


class Vectors(NamedTuple):
    interests: jax.Array
    target: jax.Array
    negatives: jax.Array
    bias: jax.Array


def drawn(
    seed: int, members: int, targets: int, interests: int, negatives: int, scale: float = 1.0
) -> tuple[Vectors, Candidates]:
    """Draw the input of a loss: some negatives are a target, some were seen before one."""
    rng = np.random.default_rng(seed)

    def normal(*size: int) -> jax.Array:
        return jnp.asarray(rng.normal(0, scale, size).astype(np.float32))

    vectors = Vectors(
        normal(members, targets, interests, DIM),
        normal(members, targets, DIM),
        normal(members, negatives, DIM),
        normal(members),
    )
    candidates = Candidates(
        jnp.asarray(rng.integers(0, ROWS, targets).astype(np.int32)),
        jnp.asarray(rng.integers(0, ROWS, negatives).astype(np.int32)),
        jnp.asarray(rng.uniform(-4, 0, negatives).astype(np.float32)),
        jnp.asarray(rng.integers(0, ROWS + 4, (targets, LENGTH)).astype(np.int32)),
    )
    return vectors, candidates


def plain(vectors: Vectors, candidates: Candidates) -> jax.Array:
    """The mean of `make_loss` over members and targets, with the bias as terms to add."""
    met = jnp.any(candidates.before[:, :, None] == candidates.negatives, axis=1)
    hit = candidates.target[:, None] == candidates.negatives

    def of_member(interests: jax.Array, *rest: jax.Array) -> jax.Array:
        target, negatives, bias = rest
        more = jnp.zeros(len(target)), bias * met
        return PLAIN(interests, target, negatives, 0.0, candidates.log_q, hit, KEY, more)

    return jnp.mean(jax.vmap(of_member)(*vectors))


def fast(vectors: Vectors, candidates: Candidates) -> jax.Array:
    interests, target, negatives, bias = vectors
    positive = jnp.max(jnp.einsum("mtkd,mtd->mtk", interests, target), axis=2)
    return best_interest.mean_loss(ROWS, interests, negatives, positive, bias, candidates)


Gradient = Callable[[Vectors, Candidates], tuple[jax.Array, Vectors]]
SHAPES = ((1, 5, 1, 3), (2, 7, 4, 9), (3, 6, 2, 1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_mean_loss_and_gradient_equal_the_plain_ones(
    shape: tuple[int, int, int, int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks that divide the targets and that do not, with members and a repeat bias."""
    monkeypatch.setattr(best_interest, "targets_at_once", lambda *_: min(at_once, shape[1]))
    compiled: Gradient = jax.jit(jax.value_and_grad(fast))
    expected: Gradient = jax.jit(jax.value_and_grad(plain))

    @examples(8)
    @given(seeds, st.sampled_from([0.01, 1.0, 4.0]))
    def check(seed: int, scale: float) -> None:
        given_ = drawn(seed, *shape, scale=scale)
        for made, wanted in zip(
            jax.tree.leaves(compiled(*given_)), jax.tree.leaves(expected(*given_)), strict=True
        ):
            np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5)

    check()


def test_mean_loss_scales_its_gradient() -> None:
    """Whatever is made of the loss afterwards."""
    given_ = drawn(4, 2, 7, 4, 9)
    once = jax.jit(jax.grad(fast))(*given_)
    scaled = jax.jit(jax.grad(lambda *given: jnp.square(3 * fast(*given))))(*given_)
    factor = 2 * 9 * float(jax.jit(fast)(*given_))
    for made, wanted in zip(scaled, once, strict=True):
        np.testing.assert_allclose(made, factor * wanted, rtol=1e-4, atol=1e-6)


def test_mean_loss_without_histories_leaves_the_bias_alone() -> None:
    vectors, candidates = drawn(5, 2, 7, 4, 9)
    nothing = candidates._replace(before=jnp.zeros((7, 0), jnp.int32))
    never = candidates._replace(before=jnp.full((7, LENGTH), ROWS, jnp.int32))
    grad = jax.jit(jax.value_and_grad(fast))
    for made, wanted in zip(
        jax.tree.leaves(grad(vectors, nothing)), jax.tree.leaves(grad(vectors, never)), strict=True
    ):
        np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-7)
    assert not np.asarray(grad(vectors, nothing)[1].bias).any()


def test_mean_loss_of_equal_interests_trains_the_first() -> None:
    """Of equal ones, as all are that a ReLU has cut off, one has the whole gradient."""
    vectors, candidates = drawn(6, 1, 5, 1, 9)
    interests = jnp.repeat(vectors.interests, 3, axis=2)
    positive = jnp.zeros((1, 5))

    def loss(interests: jax.Array) -> jax.Array:
        given_ = interests, vectors.negatives, positive, vectors.bias, candidates
        return best_interest.mean_loss(ROWS, *given_)

    tripled, single = (jax.grad(loss)(each) for each in (interests, vectors.interests))
    assert not np.asarray(tripled[:, :, 1:]).any()
    np.testing.assert_allclose(tripled[:, :, :1], single, rtol=1e-5, atol=1e-7)


def test_mean_loss_of_masked_negatives_is_zero() -> None:
    vectors, candidates = drawn(7, 2, 5, 4, 9)
    masked = candidates._replace(target=jnp.full(5, 3), negatives=jnp.full(9, 3))
    loss, gradient = jax.value_and_grad(fast)(vectors, masked)
    assert float(loss) == 0.0
    assert not any(np.asarray(each).any() for each in gradient)


@given(st.integers(1, 5000), st.integers(1, 8), st.integers(1, 2**25))
def test_targets_at_once_bound_the_scores(targets: int, interests: int, negatives: int) -> None:
    size = best_interest.targets_at_once(targets, interests, negatives)
    assert 1 <= size <= targets
    assert size == 1 or size * interests * negatives <= 2**24  # 64 MB
    assert size * -(-targets // size) - targets < -(-targets // size)  # little is filled up
