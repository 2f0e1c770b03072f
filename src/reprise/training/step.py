"""The train step: a pure, jitted function from (arrays, batch) to arrays that donates its input."""

from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from reprise.models.draws import bernoulli, by_example
from reprise.models.features import Features, of_network
from reprise.models.items import as_candidate, composed, in_history, unit
from reprise.models.registry import Model, ModelShape, Params, prefix_mask
from reprise.models.scoring import COMIREC, REPEAT_BIAS, Scoring
from reprise.models.wrappers.ensemble import parted
from reprise.training import averaging, best_interest, feature_rows, item_table, losses
from reprise.training.batches import Batch
from reprise.training.optimizers import OPTIMIZERS, Optimizer, Table, Update, adam
from reprise.training.schedules import CONSTANT, Schedule
from reprise.training.state import Arrays

# Folded into the batch's key: the model draws from the key itself, its encoder from 2.
_READOUT, _ITEMS, _IDS = 1, 3, 4
_MOST_SCORES = 2**24  # 64 MB

BatchLoss = Callable[[Params, Array, Batch, Array], Array]


class Exchange(NamedTuple):
    """What the devices that make a step together exchange; by default there is one device.

    Attributes:
        places: places(unique rows [M]) returns their places in this device's table, past its end
            those of others' rows.
        gathered: gathered(values [M, width], places) returns the unique rows' values, given those
            of this device's table in their places.
        mean: mean(value) returns the mean over the devices of each array of a tree.
        features: features(this device's, unique rows, places) returns the features that the unique
            rows are looked up in, and where.
    """

    places: Callable[[ArrayLike], ArrayLike] = lambda rows: rows
    gathered: Callable[[Array, ArrayLike], Array] = lambda values, places: values
    mean: Callable[[Any], Any] = lambda value: value
    features: Callable[[Features, ArrayLike, ArrayLike], tuple[Features, ArrayLike]] = (
        lambda features, rows, places: (features, rows)
    )


ALONE = Exchange()


class TrainStep(Hashable, Protocol):
    """step(arrays, batch, update, features) -> arrays; `arrays` is donated. The features are those
    of the catalogue, of which the step looks up what its batch needs; None: there are none. Its
    programs are cached by the step, so it has a hash.
    """

    def __call__(
        self, arrays: Arrays, batch: Batch, update: Update, features: Features | None = None
    ) -> Arrays:
        """Return the arrays after the update."""

    def __hash__(self) -> int:
        """Programs are found by their step."""


class TrainSteps(Protocol):
    """steps(arrays, batches, updates, count, features) -> arrays, which runs the first `count` of
    the batches and updates stacked along a first axis; `arrays` is donated.
    """

    def __call__(
        self,
        arrays: Arrays,
        batch: Batch,
        update: Update,
        count: ArrayLike,
        features: Features | None = None,
    ) -> Arrays:
        """Return the arrays after the updates."""


def initial_arrays(
    model: Model,
    shape: ModelShape,
    num_items: int,
    seed: int,
    embedding_scale: float | None = None,
    scoring: Scoring = COMIREC,
    rank: NDArray[np.int32] | None = None,
    features: Features | None = None,
    averaged: bool = False,
    init_table: Callable[..., Array] = item_table.init,
) -> Arrays:
    """Initialise a run's arrays, a pure function of the seed; `embedding_scale`: see
    `item_table.init`; rank [V+1]: of the items, by popularity; None: their numbers. With features,
    items that are not `Features.with_row` have zero rows. averaged: with averages of the weights.
    init_table: `item_table.init`, or what makes a device's share of the table.
    """
    dim = shape.embedding_dim
    row_key, param_key = jax.random.split(jax.random.key(seed))
    params, width = model.init(param_key, shape), scoring.width(dim)
    rows = (
        init_table(row_key, num_items, dim, embedding_scale, width)
        if model.item_values is None
        else item_table.pack(model.item_values(_ranks(num_items, rank), shape))
    )
    steps = {}
    if features is not None:
        params |= features.init(width)
        steps = {name: jnp.zeros(len(params[name]), jnp.int32) for name in features.large}
        rows = jnp.where(features.with_row[:, None], rows, 0)
    return Arrays(
        rows=rows,
        row_steps=jnp.zeros(len(rows), jnp.int32),
        params=params,
        m=jax.tree.map(jnp.zeros_like, params),
        v=jax.tree.map(jnp.zeros_like, params),
        steps=steps,
        average=averaging.nothing_yet(rows, params) if averaged else {},
        loss_sum=jnp.zeros((), jnp.float32),
    )


def _ranks(num_items: int, rank: NDArray[np.int32] | None) -> Array:
    return jnp.arange(1, num_items + 1) if rank is None else jnp.asarray(rank[1:])


@cache
def make_train_step(
    model: Model,
    optimizer: str,
    objective: losses.Objective = losses.COMIREC,
    schedule: Schedule = CONSTANT,
) -> TrainStep:
    """Return the jitted train step.

    Args:
        optimizer: A name of `optimizers.OPTIMIZERS`, for the item rows; the network's parameters,
            which all have a gradient at every step, use dense Adam.
        schedule: The schedule that the updates follow.
    """
    return jax.jit(update_of(model, optimizer, objective, schedule), donate_argnums=0)


def update_of(
    model: Model, optimizer: str, objective: losses.Objective, schedule: Schedule
) -> Callable[..., Arrays]:
    """Return update(arrays, batch, update, features, exchange) -> arrays, to be traced by JAX; see
    `make_train_step`.
    """
    loss, rows_by = _make_loss(model, objective), OPTIMIZERS[optimizer](schedule)
    return partial(_train_step, model, rows_by, loss, objective.id_dropout)


@cache
def make_train_steps(step: TrainStep) -> TrainSteps:
    """Return the program that runs several steps in one dispatch.

    Its `count` is a value, not a shape: one compiled program runs any number of steps.
    """

    def steps(
        arrays: Arrays,
        batch: Batch,
        update: Update,
        count: ArrayLike,
        features: Features | None = None,
    ) -> Arrays:
        def one(place: Array, arrays: Arrays) -> Arrays:
            of_batch, of_update = jax.tree.map(lambda each: each[place], (batch, update))
            return step(arrays, of_batch, of_update, features)

        made: Arrays = jax.lax.fori_loop(0, count, one, arrays)
        return made

    return jax.jit(steps, donate_argnums=0)


def _make_loss(model: Model, objective: losses.Objective) -> BatchLoss:
    """Return loss(params, values of the unique rows [M, width], batch, key) -> [], the mean over
    the targets.
    """
    loss_of, scoring = losses.make_loss(objective), objective.scoring

    def loss(params: Params, value: Array, batch: Batch, key: Array) -> Array:
        history, target, negatives = _look_up(value, batch, scoring)
        if objective.item_dropout > 0:
            history *= _kept_items(key, objective.item_dropout, history.shape[:2])[..., None]
        times, packed = (
            None if each is None else jnp.asarray(each) for each in (batch.times, batch.packed)
        )
        network = model.at(times).packed(packed)
        interests = network.of_prefixes(params, history, jnp.asarray(batch.prefixes), key)
        interests = interests.reshape(-1, *interests.shape[2:])
        repeat_bias = params[REPEAT_BIAS] if scoring.repeat_bias else None
        vectors = (interests, target, negatives)
        if objective.by_best_interest:
            by_target = _mean_by_best(objective, batch, vectors, repeat_bias)
        else:
            by_target = _by_member(loss_of, batch, scoring.ensemble, vectors, key, repeat_bias)
        if objective.interest_penalty > 0 and interests.shape[1] > 1:
            alike = losses.alikeness(parted(interests, scoring.ensemble))
            by_target += objective.interest_penalty * jnp.mean(alike, axis=0)
        if objective.routing_penalty > 0:
            penalty = objective.routing_penalty / scoring.ensemble
            by_target += penalty * _variance(model, params, history, batch, key)
        return jnp.mean(by_target)

    return loss


def _look_up(values: Array, batch: Batch, scoring: Scoring) -> tuple[Array, Array, Array]:
    """Look up the batch's histories [B, L, d] and, as candidates, its targets [T, d], T = B*m, and
    negatives [S, d] in the values of the unique rows [M, width].

    One gather for all three: each gather's gradient is scattered into its own zeros, as large as
    `values`.
    """
    history, target, negatives = map(jnp.asarray, (batch.history, batch.target, batch.negatives))
    taken = values[jnp.concatenate([history.reshape(-1), target.reshape(-1), negatives])]
    of_history, of_target, of_negatives = jnp.split(
        taken, [history.size, history.size + target.size]
    )
    items = in_history(of_history.reshape(*history.shape, -1), scoring)
    return items, as_candidate(of_target, scoring), as_candidate(of_negatives, scoring)


def _mean_by_best(
    objective: losses.Objective,
    batch: Batch,
    vectors: tuple[Array, Array, Array],
    repeat_bias: Array | None,
) -> Array:
    """Return the mean [] of the loss that `_by_member` has by target, where each candidate is
    scored by its best interest.
    """
    members, temperature = objective.scoring.ensemble, objective.temperature
    interests, target, negatives = (parted(each, members) for each in vectors)
    scale = 1.0
    if temperature is not None:
        interests, target, negatives = unit(interests) / temperature, unit(target), unit(negatives)
        scale = 1 / temperature
    ids = jnp.asarray(batch.target).reshape(-1)
    before = jnp.zeros((len(ids), 0), jnp.int32) if repeat_bias is None else _before(batch)
    bias = scale * jnp.broadcast_to(0.0 if repeat_bias is None else repeat_bias, members)
    positive = jnp.max(jnp.einsum("mtkd,mtd->mtk", interests, target), axis=2)
    positive += bias[:, None] * jnp.any(before == ids[:, None], axis=1)
    positive -= jnp.asarray(batch.log_q_target).reshape(-1)
    candidates = best_interest.Candidates(
        ids, jnp.asarray(batch.negatives), jnp.asarray(batch.log_q_negatives), before
    )
    rows = len(batch.unique_rows)
    return best_interest.mean_loss(rows, interests, negatives, positive, bias, candidates)


def _by_member(
    loss_of: losses.Loss,
    batch: Batch,
    members: int,
    vectors: tuple[Array, Array, Array],
    key: Array,
    repeat_bias: Array | None,
) -> Array:
    """Return the mean over the ensemble's members of the loss [T] of targets, given interests
    [T, K, d], targets [T, d] and negatives [S, d] of all members together.
    """
    of_member = partial(_by_target, loss_of, batch, members)
    readout_key = jax.random.fold_in(key, _READOUT)
    interests, target, negatives = vectors
    if members == 1:
        return of_member(interests, target, negatives, readout_key, repeat_bias)
    keys = jax.random.split(readout_key, members)
    if repeat_bias is not None:
        # One per member: otherwise its gradient sums whole score arrays over the members, a tenth
        # of the preset's step on a CPU, instead of scalars.
        repeat_bias = jnp.broadcast_to(repeat_bias, members)
    interests, target, negatives = (parted(each, members) for each in vectors)
    by_member = jax.vmap(of_member)(interests, target, negatives, keys, repeat_bias)
    return jnp.mean(by_member, axis=0)


def _by_target(
    loss_of: losses.Loss,
    batch: Batch,
    members: int,
    interests: Array,
    target: Array,
    negatives: Array,
    key: Array,
    repeat_bias: Array | None,
) -> Array:
    """Return one ensemble member's loss [T] for targets [T, d], given interests [T, K, d],
    negatives [S, d] and, optionally, the repeat bias.
    """
    num_rows = len(batch.unique_rows)

    def of_targets(part: Targets, key: Array) -> Array:
        return loss_of(
            part.interests,
            part.vector,
            negatives,
            part.log_q,
            batch.log_q_negatives,
            part.target[:, None] == batch.negatives,
            key,
            None
            if repeat_bias is None
            else _of_repeats(repeat_bias, part, batch.negatives, num_rows),
        )

    targets = Targets(
        interests,
        jnp.asarray(batch.target).reshape(-1),
        target,
        jnp.asarray(batch.log_q_target).reshape(-1),
        None if repeat_bias is None else _before(batch),
    )
    return in_chunks(of_targets, targets, members * len(negatives), key)


class Targets(NamedTuple):
    """The targets that are scored against a batch's negatives.

    Attributes:
        interests: [T, K, d].
        target: [T] int32 indices into the unique rows.
        vector: [T, d] vectors of the targets.
        log_q: [T].
        before: With a repeat bias, [T, L]: each target's history as indices into the unique rows,
            padded with an index past the end.
    """

    interests: Array
    target: Array
    vector: Array
    log_q: Array
    before: Array | None = None


def _before(batch: Batch) -> Array:
    """Return `Targets.before` of a batch's targets."""
    history, prefixes = jnp.asarray(batch.history), jnp.asarray(batch.prefixes)
    inside = jnp.arange(history.shape[1]) < prefixes[..., None]  # [B, m, L]
    indices: Array = jnp.where(inside, history[:, None], len(batch.unique_rows))
    return indices.reshape(-1, history.shape[1])


def _of_repeats(
    repeat_bias: Array, targets: Targets, negatives: ArrayLike, num_rows: int
) -> tuple[Array, Array]:
    """Return the terms to add to the scores of targets [T] and negatives [T, S]: the repeat bias
    for items in the target's history, else zero. num_rows: number of unique rows of the batch.
    """
    assert targets.before is not None
    each = jnp.arange(len(targets.target))
    seen = best_interest.seen_by_row(targets.before, num_rows)
    return repeat_bias * seen[targets.target, each], repeat_bias * seen[negatives].T


def in_chunks(
    loss: Callable[[Targets, Array], Array], targets: Targets, negatives: int, key: Array
) -> Array:
    """Compute loss(targets, key) [T] in chunks of targets, so that no array of scores
    [T, K, negatives] exceeds _MOST_SCORES (unless one target's does); the backward pass recomputes
    the scores.
    """
    count = len(targets.target)
    size = max(1, _MOST_SCORES // (targets.interests.shape[1] * negatives))
    if size >= count:
        return loss(targets, key)
    chunks = -(-count // size)

    def chunked(array: Array) -> Array:
        padded = jnp.pad(array, [(0, chunks * size - count)] + [(0, 0)] * (array.ndim - 1))
        return padded.reshape(chunks, size, *array.shape[1:])

    @jax.checkpoint
    def of_chunk(chunk: tuple[Targets, Array]) -> Array:
        part, number = chunk
        return loss(part, jax.random.fold_in(key, number))

    parts = jax.tree.map(chunked, targets), jnp.arange(chunks)
    by_chunk: Array = jax.lax.map(of_chunk, parts)
    return by_chunk.reshape(-1)[:count]


def _variance(model: Model, params: Params, history: Array, batch: Batch, key: Array) -> Array:
    """Return `losses.attention_variance` [B*m] of each prefix; the model has attention, since other
    tasks are refused.

    With dropout and several targets per user, the mask differs from that of the interests: it is
    drawn per prefix [B*m, L, d] here, per history [B, L, d] there. So the penalised attention is
    another draw; with one target, or without dropout, it is the same.
    """
    prefixes = jnp.asarray(batch.prefixes)
    mask = prefix_mask(prefixes.reshape(-1), history.shape[1], history.dtype)
    count = prefixes.shape[1]
    times = None if batch.times is None else jnp.asarray(batch.times).repeat(count, axis=0)
    _, attention = model.at(times).attend(params, history.repeat(count, axis=0), mask, key)
    return losses.attention_variance(attention, mask)


def _kept_items(key: Array, rate: float, size: tuple[int, ...]) -> Array:
    """Draw the item dropout mask of `size`: 0 for dropped items, 1 for others, float32."""
    draw = partial(bernoulli, jax.random.fold_in(key, _ITEMS), 1 - rate)
    kept = by_example(draw, size)
    return kept.astype(jnp.float32)


def _dropped_ids(key: Array, rate: float, count: int) -> Array | None:
    """Draw which of the unique rows [M] are left out; None: none. A row's draw does not depend on
    the bucket size.
    """
    if rate == 0:
        return None
    return bernoulli(jax.random.fold_in(key, _IDS), rate, (count,))


def _train_step(
    model: Model,
    optimizer: Optimizer,
    loss_of_batch: BatchLoss,
    id_dropout: float,
    arrays: Arrays,
    batch: Batch,
    update: Update,
    features: Features | None = None,
    exchange: Exchange = ALONE,
) -> Arrays:
    table, places = Table(arrays.rows, arrays.row_steps), exchange.places(batch.unique_rows)
    pulled = optimizer.pull(table, places, update)

    known, taken = None, feature_rows.NOTHING
    if features is not None:
        whole = exchange.features(features, batch.unique_rows, places)
        known, taken = feature_rows.take(optimizer, arrays, whole, update)

    def loss_of(params: Params, value: Array) -> Array:
        if model.item_values is not None:
            value = jax.lax.stop_gradient(value)
        key = jax.random.wrap_key_data(jnp.asarray(batch.key), impl="threefry2x32")
        if known is not None:
            dropped = _dropped_ids(key, id_dropout, len(batch.unique_rows))
            value = composed(value, params, *known, dropped, batch.unique_rows)
        return loss_of_batch(of_network(params), value, batch, key)

    value = exchange.gathered(pulled.value, places)
    params = arrays.params | feature_rows.values(taken)
    loss, (param_grads, row_grads) = exchange.mean(
        jax.value_and_grad(loss_of, argnums=(0, 1))(params, value)
    )
    arrays = feature_rows.put_back(optimizer, arrays, taken, param_grads, update)
    updated = {
        name: adam(param, arrays.m[name], arrays.v[name], param_grads[name], update.rate)
        for name, param in arrays.params.items()
        if name not in taken
    }
    return arrays._replace(
        **optimizer.push(table, places, pulled, row_grads, update)._asdict(),
        params=arrays.params | {name: new[0] for name, new in updated.items()},
        m=arrays.m | {name: new[1] for name, new in updated.items()},
        v=arrays.v | {name: new[2] for name, new in updated.items()},
        loss_sum=arrays.loss_sum + loss,
    )
