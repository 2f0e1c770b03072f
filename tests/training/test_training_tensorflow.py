"""The loss, its negatives and a whole step, against TensorFlow's own functions."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.builders_tf import tf
from helpers.effort import examples, some_at_length
from helpers.networks_tf import NETWORKS, check_gradients, readout, sampled_softmax
from reprise.data.sequences import Sequences
from reprise.models import mind
from reprise.models.registry import ModelShape, get_model
from reprise.training import losses, negatives
from reprise.training.batches import make_sampler
from reprise.training.optimizers import make_update
from reprise.training.step import initial_arrays, make_train_step

relaxed = examples(30)
seeds = st.integers(0, 2**31 - 1)
# Items of the catalogue, negatives, users: few and many, with and without accidental hits; three
# negatives of many items are mostly drawn without a rejection, which TensorFlow counts otherwise.
sizes = st.sampled_from([(3, 1, 2), (8, 5, 4), (50, 40, 6), (2000, 3, 16), (2000, 64, 16)])
DIM = 4


def drawn_by_tensorflow(
    targets: NDArray[np.int64], count: int, num_items: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return ids (1..V) that TensorFlow draws, and its expected counts of `targets` and ids."""
    tf.random.set_seed(seed)
    ids, of_targets, of_ids = tf.random.log_uniform_candidate_sampler(
        true_classes=targets[:, None] - 1,
        num_true=1,
        num_sampled=count,
        unique=True,
        range_max=num_items,
    )
    return ids.numpy() + 1, of_targets.numpy()[:, 0], of_ids.numpy()


@jax.jit
def loss_and_gradients(
    user: Any, table: Any, target: Any, ids: Any, log_q_target: Any, log_q_ids: Any, accidental: Any
) -> Any:
    """Return ComiRec's loss of users who have one interest [B, d], and its gradients by these and
    the whole table [V+1, d].
    """
    loss_of, key = losses.make_loss(losses.COMIREC), jax.random.key(0)

    def loss(user: Any, table: Any) -> jax.Array:
        rows = table[target], table[ids]
        given = (*rows, log_q_target, log_q_ids, accidental, key)
        return loss_of(user[:, None], *given).mean()

    return jax.value_and_grad(loss, argnums=(0, 1))(user, table)


def random_targets(rng: np.random.Generator, users: int, num_items: int) -> NDArray[np.int64]:
    """Return ids, popular ones more often, as users have them."""
    return (num_items ** rng.random(users)).astype(np.int64)


@relaxed
@given(sizes, seeds)
def test_expected_counts_equal_tensorflows(size: tuple[int, int, int], seed: int) -> None:
    """TensorFlow keeps its number of tries to itself: there must be one that explains all."""
    num_items, count, users = size
    targets = random_targets(np.random.default_rng(seed), users, num_items)
    ids, *counts = drawn_by_tensorflow(targets, count, num_items, seed)
    both, expected = np.concatenate([targets, ids]), np.concatenate(counts)

    rarest = both.argmax()
    chance = negatives.probability(both[rarest : rarest + 1], num_items)
    tries = round(float((np.log1p(-expected[rarest].astype(np.float64)) / np.log1p(-chance))[0]))
    explained = [
        np.allclose(negatives.expected_count(both, num_items, count, t), expected, rtol=1e-4)
        for t in {count, max(count, tries)}
    ]
    assert any(explained)


@relaxed
@given(sizes, seeds, st.sampled_from([0.01, 1.0, 10.0]))
def test_loss_and_gradients_equal_tensorflows(
    size: tuple[int, int, int], seed: int, scale: float
) -> None:
    num_items, count, users = size
    rng = np.random.default_rng(seed)
    table = rng.normal(0, scale, (num_items + 1, DIM)).astype(np.float32)
    user = rng.normal(0, scale, (users, DIM)).astype(np.float32)
    target = random_targets(rng, users, num_items)
    ids, q_target, q_ids = drawn_by_tensorflow(target, count, num_items, seed)

    logs, accidental = (np.log(q_target), np.log(q_ids)), target[:, None] == ids
    computed, ours = loss_and_gradients(user, table, target, ids, *logs, accidental)
    with tf.GradientTape() as tape:
        users_tensor, table_tensor = tf.constant(user), tf.constant(table)
        tape.watch([users_tensor, table_tensor])
        expected = sampled_softmax(table_tensor, users_tensor, target, ids, q_target, q_ids)
    theirs = tape.gradient(expected, [users_tensor, table_tensor])

    assert float(computed) == pytest.approx(float(expected), rel=1e-5, abs=1e-5)
    for name, one, other in zip(("user", "table"), ours, theirs, strict=True):
        check_gradients({name: one}, {name: other}, natural=scale / users)


def test_accidental_hits_occur_in_these_comparisons() -> None:
    rng = np.random.default_rng(1)
    for num_items, count, users in [(8, 5, 4), (50, 40, 6), (2000, 64, 16)]:
        target = random_targets(rng, users, num_items)
        ids, _, _ = drawn_by_tensorflow(target, count, num_items, seed=1)
        assert np.isin(target, ids).any()


@pytest.mark.parametrize("seed", some_at_length(range(3), [0]))
@pytest.mark.parametrize("name", NETWORKS)
def test_step_equals_tensorflows_loss_and_gradients(name: str, seed: int) -> None:
    """From items to loss, and back to every parameter and item row: after the first step Adam's
    first moment is a tenth of the gradient.
    """
    model, shape = get_model(name), ModelShape(5, DIM, DIM, 3)
    sampler = make_sampler(_random_split(seed), 60, 16, 5, 30, seed)
    batch = sampler.batch(0, 1)
    start = initial_arrays(model, shape, 60, seed)
    rows = np.array(start.rows)
    rows[1:, :DIM] *= 20  # far enough from zero for every nonlinearity to matter
    table, params = rows[:, :DIM].copy(), {k: np.array(v) for k, v in start.params.items()}
    after = make_train_step(model, "row-adam")(
        start._replace(rows=jnp.asarray(rows)), batch, make_update(0.001, 1)
    )

    history, target, ids = (
        batch.unique_rows[local] for local in (batch.history, batch.target[:, 0], batch.negatives)
    )
    mask = tf.constant((np.arange(5) < batch.prefixes).astype(np.float32))
    key = jax.random.wrap_key_data(jnp.asarray(batch.key), impl="threefry2x32")
    noise = tf.constant(np.asarray(mind._noise(key, (16, 3, 5))))
    with tf.GradientTape() as tape:
        items, tensors = tf.constant(table), {k: tf.constant(v) for k, v in params.items()}
        tape.watch([items, tensors])
        interests = NETWORKS[name](tensors, tf.gather(items, history), mask, noise)
        user = readout(interests, tf.gather(items, target))
        counts = np.exp(batch.log_q_target[:, 0]), np.exp(batch.log_q_negatives)
        loss = sampled_softmax(items, user, target, ids, *counts)
    of_items, of_params = tape.gradient(
        loss, [items, tensors], unconnected_gradients=tf.UnconnectedGradients.ZERO
    )

    assert float(after.loss_sum) == pytest.approx(float(loss), rel=1e-5)
    moments = {"items": after.rows[:, DIM : 2 * DIM], **after.m}
    check_gradients(
        {name: 10 * np.asarray(moment) for name, moment in moments.items()},
        {"items": of_items, **of_params},
    )


def _random_split(seed: int) -> Sequences:
    rng = np.random.default_rng(seed)
    lengths: Sequence[int] = rng.integers(3, 12, 60).tolist()
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    return Sequences(offsets, rng.integers(1, 61, offsets[-1]).astype(np.int32))
