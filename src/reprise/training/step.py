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
from reprise.training.state import Arrays

TrainStep = Callable[[Arrays, Batch, float], Arrays]
Interests = Callable[[Arrays, ArrayLike, ArrayLike], Array]


def initial_arrays(model: Model, shape: ModelShape, num_items: int, seed: int) -> Arrays:
    """Return the arrays a run starts from, a pure function of the seed."""
    row_key, param_key = jax.random.split(jax.random.key(seed))
    params = model.init(param_key, shape)
    return Arrays(
        rows=rows.init(row_key, num_items, shape.embedding_dim),
        params=params,
        m=jax.tree.map(jnp.zeros_like, params),
        v=jax.tree.map(jnp.zeros_like, params),
        loss_sum=jnp.zeros((), jnp.float32),
    )


@cache
def make_train_step(model: Model) -> TrainStep:
    """Return step(arrays, batch, rate) -> arrays; `arrays` is consumed."""
    return partial(jax.jit(_train_step, static_argnums=0, donate_argnums=1), model)


def _train_step(model: Model, arrays: Arrays, batch: Batch, rate: Array) -> Arrays:
    value, m, v = rows.pull(arrays.rows, batch.touched)

    def loss_of(params: Params, value: Array) -> Array:
        length = batch.history.shape[1]
        mask = (jnp.arange(length) < batch.lengths[:, None]).astype(value.dtype)
        key = jax.random.wrap_key_data(jnp.asarray(batch.key), impl="threefry2x32")
        interests = model.interests(params, value[batch.history], mask, key)
        target = value[batch.target]
        return losses.sampled_softmax(
            losses.argmax_readout(interests, target),
            target,
            value[batch.negatives],
            batch.log_q_target,
            batch.log_q_negatives,
            batch.target[:, None] == batch.negatives,
        )

    loss, (param_grads, row_grads) = jax.value_and_grad(loss_of, argnums=(0, 1))(
        arrays.params, value
    )
    updated = {
        name: rows.adam(param, arrays.m[name], arrays.v[name], param_grads[name], rate)
        for name, param in arrays.params.items()
    }
    return Arrays(
        rows=rows.push(arrays.rows, batch.touched, *rows.adam(value, m, v, row_grads, rate)),
        params={name: new[0] for name, new in updated.items()},
        m={name: new[1] for name, new in updated.items()},
        v={name: new[2] for name, new in updated.items()},
        loss_sum=arrays.loss_sum + loss,
    )


@cache  # compiled once a process
def make_interests(model: Model) -> Interests:
    """Return interests(arrays, history ids [U, L], lengths [U]) -> [U, K, d] for evaluation."""

    def interests(arrays: Arrays, history: Array, lengths: Array) -> Array:
        dim = arrays.rows.shape[1] // 3
        mask = (jnp.arange(history.shape[1]) < lengths[:, None]).astype(arrays.rows.dtype)
        return model.interests(arrays.params, arrays.rows[history, :dim], mask)

    return jax.jit(interests)
