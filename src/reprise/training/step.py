"""The train step: one pure, jitted function from (arrays, batch) to arrays, its input donated."""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from reprise.models import Model, ModelShape, Params
from reprise.training import losses, rows
from reprise.training.batches import Batch
from reprise.training.optimizers import OPTIMIZERS, Optimizer, Table, Update, adam
from reprise.training.schedules import CONSTANT, Schedule
from reprise.training.state import Arrays

_READOUT = 1  # folded into the batch's key: the model draws from the key itself

TrainStep = Callable[[Arrays, Batch, Update], Arrays]
Settle = Callable[[Arrays, int, float], Arrays]
BatchLoss = Callable[[Params, Array, Batch, Array, Array], Array]
Interests = Callable[[Arrays, ArrayLike, ArrayLike], Array]


def initial_arrays(
    model: Model,
    shape: ModelShape,
    num_items: int,
    seed: int,
    embedding_scale: float | None = None,
) -> Arrays:
    """Return the arrays a run starts from, a pure function of the seed; `embedding_scale`: as in
    `rows.init`.
    """
    row_key, param_key = jax.random.split(jax.random.key(seed))
    params = model.init(param_key, shape)
    return Arrays(
        rows=(
            rows.init(row_key, num_items, shape.embedding_dim, embedding_scale)
            if model.item_values is None
            else rows.pack(model.item_values(num_items, shape))
        ),
        row_steps=jnp.zeros(num_items + 1, jnp.int32),
        params=params,
        m=jax.tree.map(jnp.zeros_like, params),
        v=jax.tree.map(jnp.zeros_like, params),
        loss_sum=jnp.zeros((), jnp.float32),
    )


@cache
def make_train_step(
    model: Model,
    optimizer: str,
    objective: losses.Objective = losses.COMIREC,
    schedule: Schedule = CONSTANT,
) -> TrainStep:
    """Return step(arrays, batch, update) -> arrays; `arrays` is consumed.

    optimizer: of `optimizers.OPTIMIZERS`, for the item rows (the network's parameters all have a
    gradient at every step); schedule: that the updates follow.
    """
    loss, rows_by = _make_loss(model, objective), OPTIMIZERS[optimizer](schedule)
    step = partial(_train_step, model, rows_by, loss)
    return jax.jit(step, donate_argnums=0)


@cache
def make_settle(optimizer: str, schedule: Schedule = CONSTANT) -> Settle:
    """Return settle(arrays, number, learning rate) -> arrays with every item row as it is after
    update `number`; `arrays` is consumed.
    """
    settle_table = OPTIMIZERS[optimizer](schedule).settle

    def settle(arrays: Arrays, number: ArrayLike, learning_rate: ArrayLike) -> Arrays:
        table = Table(arrays.rows, arrays.row_steps)
        return arrays._replace(**settle_table(table, number, learning_rate)._asdict())

    return jax.jit(settle, donate_argnums=0)


def _make_loss(model: Model, objective: losses.Objective) -> BatchLoss:
    """Return loss(params, touched rows' values [M, d], batch, mask [B, L], key) -> []."""
    loss_of = losses.make_loss(objective)

    def loss(params: Params, value: Array, batch: Batch, mask: Array, key: Array) -> Array:
        history, penalty = value[batch.history], None
        if objective.routing_penalty > 0:
            assert model.interests_and_attention is not None  # or the task is refused
            interests, attention = model.interests_and_attention(params, history, mask, key)
            penalty = objective.routing_penalty * losses.attention_variance(attention, mask)
        else:
            interests = model.interests(params, history, mask, key)
        plain = loss_of(
            interests,
            value[batch.target],
            value[batch.negatives],
            batch.log_q_target,
            batch.log_q_negatives,
            jnp.asarray(batch.target[:, None] == batch.negatives),
            jax.random.fold_in(key, _READOUT),
        )
        return plain if penalty is None else plain + penalty

    return loss


def _train_step(
    model: Model,
    optimizer: Optimizer,
    loss_of_batch: BatchLoss,
    arrays: Arrays,
    batch: Batch,
    update: Update,
) -> Arrays:
    table = Table(arrays.rows, arrays.row_steps)
    pulled = optimizer.pull(table, batch.touched, update)

    def loss_of(params: Params, value: Array) -> Array:
        if model.item_values is not None:
            value = jax.lax.stop_gradient(value)
        length = batch.history.shape[1]
        mask = (jnp.arange(length) < batch.lengths[:, None]).astype(value.dtype)
        key = jax.random.wrap_key_data(jnp.asarray(batch.key), impl="threefry2x32")
        return loss_of_batch(params, value, batch, mask, key)

    loss, (param_grads, row_grads) = jax.value_and_grad(loss_of, argnums=(0, 1))(
        arrays.params, pulled.value
    )
    updated = {
        name: adam(param, arrays.m[name], arrays.v[name], param_grads[name], update.rate)
        for name, param in arrays.params.items()
    }
    return Arrays(
        **optimizer.push(table, batch.touched, pulled, row_grads, update)._asdict(),
        params={name: new[0] for name, new in updated.items()},
        m={name: new[1] for name, new in updated.items()},
        v={name: new[2] for name, new in updated.items()},
        loss_sum=arrays.loss_sum + loss,
    )


@cache  # compiled once a process
def make_interests(model: Model, normalised: bool = False) -> Interests:
    """Return interests(arrays, history ids [U, L], lengths [U]) -> [U, K, d] for evaluation;
    `normalised`: at length 1.
    """

    def interests(arrays: Arrays, history: Array, lengths: Array) -> Array:
        dim = arrays.rows.shape[1] // 3
        mask = (jnp.arange(history.shape[1]) < lengths[:, None]).astype(arrays.rows.dtype)
        made = model.interests(arrays.params, arrays.rows[history, :dim], mask)
        return losses.unit(made) if normalised else made

    return jax.jit(interests)
