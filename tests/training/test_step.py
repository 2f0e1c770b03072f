"""One train step, against the gradient of the whole item table and dense or lazy Adam."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from helpers import oracles
from helpers.builders_features import random_features
from helpers.effort import some_at_length
from reprise.config.features import on_device
from reprise.config.schema import SETTINGS
from reprise.data.features import codes_of
from reprise.data.sequences import Sequences
from reprise.models.features import Features
from reprise.models.items import composed
from reprise.models.registry import REGISTRY, UNTRAINED, Model, ModelShape, get_model
from reprise.models.scoring import COMIREC, Scoring
from reprise.models.wrappers.encoder import Encoder, with_encoder
from reprise.retrieval.vectors import retriever_of
from reprise.training import losses
from reprise.training import step as step_module
from reprise.training.batches import Batch, Sampler, make_sampler
from reprise.training.optimizers import make_apply_pending, make_update
from reprise.training.state import Arrays
from reprise.training.step import (
    TrainStep,
    initial_arrays,
    make_train_step,
)
from reprise.training.targets import TargetRule

ITEMS, BATCH, NEGATIVES, STEPS, RATE = 40, 6, 9, 6, 0.01
KEY = jax.random.key(2)
SHAPE = ModelShape(history_length=7, embedding_dim=4, hidden_size=4, num_interest=3)
# One bias a head moves no attention weight: its gradient is rounding error, which Adam inflates.
WITHOUT_GRADIENT = {"heads_bias"}
TRAINED = sorted(set(REGISTRY) - UNTRAINED)
UNTIED_COSINE = Scoring(cosine=True, tied=False)
APART = losses.Objective(
    temperature=0.2, neg_score="max", interest_penalty=0.5, scoring=UNTIED_COSINE
)
# One that is routed, attends, recurs, draws at random, and learns no items, in this order:
# what a step does with networks is one code, and the gradient of each is held in tests/models.
KINDS = ("ComiRec-DR", "ComiRec-SA", "GRU4REC", "MIND", "MostPop")

Parameters = dict[str, oracles.Doubles]
Gradient = Callable[..., tuple[jax.Array, tuple[dict[str, jax.Array], jax.Array]]]


def batches(count: int = NEGATIVES) -> list[Batch]:
    """Return batches of few items: users repeat items, share them, and have short histories."""
    sampler = small_sampler(ITEMS, count)
    return [sampler.batch(0, step) for step in range(1, STEPS + 1)]


def small_sampler(num_items: int, count: int = NEGATIVES) -> Sampler:
    """Return a sampler of users who know the first `ITEMS` of so many items."""
    rng = np.random.default_rng(8)
    lengths = rng.integers(5, 15, 20)
    items = rng.integers(1, ITEMS + 1, lengths.sum()).astype(np.int32)
    split = Sequences(np.concatenate([[0], np.cumsum(lengths)]), items)
    return make_sampler(split, num_items, BATCH, SHAPE.history_length, count, seed=3)


def dense_gradient(model: Model) -> Gradient:
    """Return the loss's gradient by parameters and by the whole table, ids as they are."""

    def loss(
        params: Any, table: jax.Array, ids: Any, lengths: Any, log_q: Any, key: jax.Array
    ) -> jax.Array:
        if model.item_values is not None:
            table = jax.lax.stop_gradient(table)
        history, target, negatives = (table[part] for part in ids)
        mask = (jnp.arange(SHAPE.history_length) < lengths[:, None]).astype(jnp.float32)
        interests = model.interests(params, history, mask, key)
        nearest = jnp.argmax(jnp.einsum("bkd,bd->bk", interests, target), axis=1)
        user = interests[jnp.arange(BATCH), nearest]
        positive = jnp.einsum("bd,bd->b", user, target) - log_q[0]
        negative = jnp.einsum("bd,sd->bs", user, negatives) - log_q[1]
        negative = jnp.where(ids[1][:, None] == ids[2][None, :], -1e9, negative)
        logits = jnp.concatenate([positive[:, None], negative], axis=1)
        return -jax.nn.log_softmax(logits)[:, 0].mean()

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


class DenseTrainer:
    """The oracle: dense gradients, Adam on all parameters and on all rows (`lazy`: on the
    unique rows only).
    """

    def __init__(self, model: Model, start: Arrays, lazy: bool) -> None:
        self.gradient = dense_gradient(model)
        self.lazy = lazy
        self.table = oracles.Adam(
            *(part.astype(np.float64) for part in np.split(np.array(start.rows), 3, axis=1))
        )
        self.params = {
            name: oracles.Adam(*(np.array(group[name], np.float64) for group in groups))
            for groups in [(start.params, start.m, start.v)]
            for name in start.params
        }
        self.loss_sum = 0.0

    def update(self, batch: Batch, step: int) -> None:
        ids = [
            batch.unique_rows[part] for part in (batch.history, batch.target[:, 0], batch.negatives)
        ]
        loss, (by_param, by_table) = self.gradient(
            {name: state.value.astype(np.float32) for name, state in self.params.items()},
            self.table.value.astype(np.float32),
            ids,
            batch.prefixes[:, 0],
            (batch.log_q_target[:, 0], batch.log_q_negatives),
            jax.random.wrap_key_data(jnp.asarray(batch.key), impl="threefry2x32"),
        )
        self.loss_sum += float(loss)
        for name, state in self.params.items():
            self.params[name] = oracles.adam(state, np.asarray(by_param[name]), RATE, step)
        everywhere = oracles.adam(self.table, np.asarray(by_table), RATE, step)
        used = np.unique(np.concatenate([part.ravel() for part in ids]))
        for row in used if self.lazy else range(ITEMS + 1):
            for array, updated in zip(self.table, everywhere, strict=True):
                array[row] = updated[row]


@cache  # compiled once
def trained(name: str, optimizer: str) -> tuple[Model, TrainStep]:
    model = get_model(name)
    return model, make_train_step(model, optimizer)


@cache  # made once; a step consumes its arrays
def fresh_arrays(name: str) -> Arrays:
    return initial_arrays(get_model(name), SHAPE, ITEMS, seed=5)


def start(name: str, optimizer: str = "row-adam") -> tuple[Model, Arrays, TrainStep]:
    model, step = trained(name, optimizer)
    return model, jax.tree.map(jnp.copy, fresh_arrays(name)), step


@pytest.mark.parametrize(
    ("name", "optimizer", "count"),
    [
        *((name, "row-adam", NEGATIVES) for name in KINDS),
        *(("ComiRec-SA", optimizer, NEGATIVES) for optimizer in SETTINGS["optimizer"].choices[1:]),
        ("ComiRec-SA", "row-adam", ITEMS),  # every item a negative, the targets too
    ],
)
def test_step_equals_the_dense_gradient_and_adam(name: str, optimizer: str, count: int) -> None:
    model, arrays, step = start(name, optimizer)
    apply_all = make_apply_pending(optimizer)
    oracle = DenseTrainer(model, arrays, lazy=optimizer == "lazy-adam")
    for number, batch in enumerate(batches(count), 1):
        arrays = step(arrays, batch, make_update(RATE, number))
        oracle.update(batch, number)
        expected = np.concatenate(oracle.table, axis=1)
        rows = apply_all(jax.tree.map(jnp.copy, arrays), number, RATE).rows
        np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5)
        for key, state in oracle.params.items():
            if key not in WITHOUT_GRADIENT:
                np.testing.assert_allclose(arrays.params[key], state.value, rtol=0, atol=1e-5)
            np.testing.assert_allclose(arrays.m[key], state.m, rtol=0, atol=1e-5)
            np.testing.assert_allclose(arrays.v[key], state.v, rtol=0, atol=1e-5)
        assert float(arrays.loss_sum) == pytest.approx(oracle.loss_sum, rel=1e-5)


@pytest.mark.users_bits
@pytest.mark.parametrize(
    ("name", "optimizer"),
    some_at_length(
        [*((name, "row-adam") for name in TRAINED), ("ComiRec-SA", "lazy-adam")],
        [("ComiRec-DR", "row-adam"), ("ComiRec-SA", "lazy-adam")],
    ),
)
def test_step_keeps_padding_zero_and_other_rows_bitwise(name: str, optimizer: str) -> None:
    _, arrays, step = start(name, optimizer)
    padded = 0
    for number, batch in enumerate(batches(), 1):
        before = np.array(arrays.rows)
        arrays = step(arrays, batch, make_update(RATE, number))
        after = np.array(arrays.rows)
        untouched = np.setdiff1d(np.arange(ITEMS + 1), batch.unique_rows)
        assert len(untouched) > 0
        assert after[untouched].tobytes() == before[untouched].tobytes()
        moved = np.setdiff1d(batch.unique_rows[batch.unique_rows <= ITEMS], [0])
        # SASRec, without the encoder that a run gives it, reads a history's last item alone.
        if name != "SASRec":
            assert (after[moved] != before[moved]).any(axis=1).all()
        assert after[0].tobytes() == bytes(after[0].nbytes)
        padded += 0 in batch.unique_rows
    assert padded > 0


@pytest.mark.users_bits
@pytest.mark.parametrize("name", some_at_length(TRAINED, ["ComiRec-SA", "GRU4REC"]))
def test_step_lowers_the_loss_of_its_own_batch(name: str) -> None:
    _, arrays, step = start(name)
    batch = batches()[0]
    seen: list[float] = []
    for number in range(1, 21):
        arrays = step(arrays, batch, make_update(RATE, number))
        seen.append(float(arrays.loss_sum) - sum(seen))
    assert seen[-1] < seen[0]


@pytest.mark.users_bits
@pytest.mark.parametrize("name", REGISTRY)
def test_step_is_deterministic_and_donates_its_input(name: str) -> None:
    ends = []
    for _ in range(2):
        _, arrays, step = start(name)
        first = arrays.rows
        for number, batch in enumerate(batches(), 1):
            arrays = step(arrays, batch, make_update(RATE, number))
        assert first.is_deleted()
        ends.append([np.array(leaf).tobytes() for leaf in jax.tree.leaves(arrays)])
    assert ends[0] == ends[1]


@pytest.mark.users_bits
def test_step_depends_on_the_batchs_key_only_for_models_that_draw() -> None:
    batch = batches()[0]
    other = batch._replace(key=batch.key + np.uint32(1))
    for name in REGISTRY:
        ends = []
        for one in (batch, other):
            _, arrays, step = start(name)
            after = step(arrays, one, make_update(RATE, 1))
            ends.append([np.array(leaf).tobytes() for leaf in jax.tree.leaves(after)])
        assert (ends[0] != ends[1]) == (name == "MIND"), name


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_step_trains_the_encoder_with_its_model(dropout: float) -> None:
    model = with_encoder(get_model("ComiRec-SA"), Encoder(1, 2, dropout))
    step = make_train_step(model, "row-adam")
    batch = batches()[0]
    ends = []
    for one in (batch, batch._replace(key=batch.key + np.uint32(1))):
        arrays = initial_arrays(model, SHAPE, ITEMS, seed=5)
        fresh = {name: np.array(value) for name, value in arrays.params.items()}
        seen: list[float] = []
        for number in range(1, 21):
            arrays = step(arrays, one, make_update(RATE, number))
            seen.append(float(arrays.loss_sum) - sum(seen))
        assert seen[-1] < seen[0]
        moved = {name for name in fresh if not np.array_equal(arrays.params[name], fresh[name])}
        assert moved >= {name for name in fresh if name.startswith("encoder.")}
        ends.append([np.array(leaf).tobytes() for leaf in jax.tree.leaves(arrays)])
    assert (ends[0] != ends[1]) == (dropout > 0)


@pytest.mark.users_bits
def test_step_never_trains_minds_logits_of_inference() -> None:
    _, arrays, step = start("MIND")
    fresh = np.array(arrays.params["routing"])
    for number, batch in enumerate(batches(), 1):
        arrays = step(arrays, batch, make_update(RATE, number))
    assert np.array(arrays.params["routing"]).tobytes() == fresh.tobytes()


def test_step_follows_its_objective() -> None:
    """Loss and gradient are those of `make_loss` over the whole table, ids as they are."""
    objective = losses.Objective(temperature=0.2, neg_score="max", scoring=Scoring(cosine=True))
    model, arrays, _ = start("ComiRec-SA")
    batch = batches()[0]
    history, target, negatives = (
        batch.unique_rows[part] for part in (batch.history, batch.target[:, 0], batch.negatives)
    )
    mask = (np.arange(SHAPE.history_length) < batch.prefixes).astype(np.float32)

    def loss(table: jax.Array) -> jax.Array:
        by_row = losses.make_loss(objective)(
            model.interests(arrays.params, table[history], jnp.asarray(mask)),
            table[target],
            table[negatives],
            batch.log_q_target[:, 0],
            batch.log_q_negatives,
            jnp.asarray(target[:, None] == negatives),
            jax.random.key(0),
        )
        return by_row.mean()

    expected, gradient = jax.jit(jax.value_and_grad(loss))(arrays.rows[:, : SHAPE.embedding_dim])
    after = make_train_step(model, "lazy-adam", objective)(arrays, batch, make_update(RATE, 1))
    assert float(after.loss_sum) == pytest.approx(float(expected), rel=1e-5)
    m = after.rows[:, SHAPE.embedding_dim : 2 * SHAPE.embedding_dim]
    np.testing.assert_allclose(m, 0.1 * gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("targets", "first", "objective", "kind"),
    [
        (3, 1, losses.Objective(), "log-uniform"),
        (3, 4, APART, "mixed"),
        (2, 2, losses.Objective(selection="soft", hard_negatives=0.5, routing_penalty=2), "full"),
        (1, 4, losses.Objective(scoring=Scoring(tied=False, normalize_history=True)), "in-batch"),
        (3, 1, losses.Objective(positive_power=0.4, interest_penalty=0.7), "uniform"),
    ],
    ids=["plain", "untied", "full", "one", "gbce"],
)
def test_step_of_several_targets_is_the_mean_over_rows_of_one(
    targets: int, first: int, objective: losses.Objective, kind: str
) -> None:
    """Each target as a user of his own, whose history is its prefix; item rows of one vector or of
    two, all of them at once.
    """
    model = get_model("ComiRec-SA")
    arrays = initial_arrays(model, SHAPE, ITEMS, seed=5, scoring=objective.scoring)
    batch = some_sampler(kind, targets, first).batch(0, 1)
    ids = [batch.unique_rows[part] for part in (batch.history, batch.target, batch.negatives)]
    history, target = ids[0].repeat(targets, axis=0), ids[1].ravel()
    mask = (np.arange(SHAPE.history_length) < batch.prefixes.reshape(-1, 1)).astype(np.float32)
    width, dim = objective.scoring.width(SHAPE.embedding_dim), SHAPE.embedding_dim

    def loss(table: jax.Array) -> jax.Array:
        shown, scored = table[:, :dim], table[:, width - dim :]
        if objective.scoring.normalize_history:
            shown *= jnp.sqrt(dim / (jnp.sum(shown**2, axis=1, keepdims=True) + 1e-12))
        assert model.interests_and_attention is not None
        made = model.interests_and_attention(arrays.params, shown[history], jnp.asarray(mask))
        by_row = losses.make_loss(objective)(
            made[0],
            scored[target],
            scored[ids[2]],
            batch.log_q_target.ravel(),
            batch.log_q_negatives,
            jnp.asarray(target[:, None] == ids[2]),
            jax.random.key(0),
        )
        by_row += objective.routing_penalty * losses.attention_variance(made[1], jnp.asarray(mask))
        by_row += objective.interest_penalty * losses.alikeness(made[0])
        return by_row.mean()

    expected, gradient = jax.jit(jax.value_and_grad(loss))(arrays.rows[:, :width])
    after = make_train_step(model, "lazy-adam", objective)(arrays, batch, make_update(RATE, 1))
    assert float(after.loss_sum) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(after.rows[:, width : 2 * width], 0.1 * gradient, atol=1e-6)


def some_sampler(kind: str, targets: int, first: int) -> Sampler:
    rng = np.random.default_rng(8)
    lengths = rng.integers(5, 15, 20)
    items = rng.integers(1, ITEMS + 1, lengths.sum()).astype(np.int32)
    split = Sequences(np.concatenate([[0], np.cumsum(lengths)]), items)
    length = SHAPE.history_length
    rule = TargetRule(first, targets, next_n=2)
    return make_sampler(split, ITEMS, BATCH, length, NEGATIVES, 3, kind, rule)


@pytest.mark.parametrize("most", [1, 30, 100, 10**9])
def test_loss_in_chunks_equals_the_loss_at_once(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few scores at a time that a chunk is one target, some with a rest, or all of them."""
    monkeypatch.setattr(step_module, "_MOST_SCORES", most)
    rng = np.random.default_rng(2)
    interests, items = rng.normal(size=(7, 2, 4)), rng.normal(size=(5, 4))
    target = rng.integers(0, 5, 7)
    targets = step_module.Targets(
        *map(jnp.asarray, (interests, target, items[target], rng.random(7)))
    )
    seen = []

    def total(interests: jax.Array, items: jax.Array) -> jax.Array:
        def loss(part: step_module.Targets, key: jax.Array) -> jax.Array:
            seen.append(len(part.target))
            positive = jnp.einsum("td,td->t", part.interests[:, 0], items[part.target])
            scores = losses.best_scores(part.interests, items)
            return jax.nn.logsumexp(scores, axis=1) - positive + part.log_q

        own = targets._replace(interests=interests)
        return step_module.in_chunks(loss, own, len(items), KEY).sum()

    computed, gradient = jax.value_and_grad(total, (0, 1))(targets.interests, jnp.asarray(items))
    assert max(seen) == {1: 1, 30: 3, 100: 7, 10**9: 7}[most]
    best = (interests @ items.T).max(axis=1)
    positive = np.einsum("td,td->t", interests[:, 0], items[np.asarray(targets.target)])
    expected = np.log(np.exp(best).sum(axis=1)) - positive + np.asarray(targets.log_q)
    assert float(computed) == pytest.approx(expected.sum(), rel=1e-5)
    monkeypatch.setattr(step_module, "_MOST_SCORES", 10**9)
    whole = jax.grad(total, (0, 1))(targets.interests, jnp.asarray(items))
    for one, other in zip(gradient, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_item_dropout_removes_items_from_histories_only() -> None:
    """As often as asked; seen in the gradient of items untied, whose vector in a history is their
    own.
    """
    model = get_model("DNN")
    objective = losses.Objective(item_dropout=0.5, scoring=Scoring(tied=False))
    step = make_train_step(model, "lazy-adam", objective)
    fresh = initial_arrays(model, SHAPE, ITEMS, seed=5, scoring=objective.scoring)
    sampler, left = some_sampler("log-uniform", 1, 4), []
    for number in range(1, 41):
        batch = sampler.batch(0, number)
        after = step(jax.tree.map(jnp.copy, fresh), batch, make_update(RATE, 1))
        moments = np.asarray(after.rows[:, 8:12])
        shown = np.unique(batch.unique_rows[batch.history])[1:]
        used = batch.unique_rows[batch.history].ravel()
        once = [item for item in shown if (used == item).sum() == 1]
        left += [not moments[item].any() for item in once]
        assert np.asarray(after.rows[:, 12:16])[batch.unique_rows[batch.target]].any()
    assert np.mean(left) == pytest.approx(0.5, abs=0.07)


def test_routing_penalty_is_added_to_the_loss_and_evens_the_attention() -> None:
    model, arrays, _ = start("ComiRec-SA")
    assert model.interests_and_attention is not None
    batch = batches()[0]
    mask = jnp.asarray(np.arange(SHAPE.history_length) < batch.prefixes, jnp.float32)
    history = arrays.rows[batch.unique_rows[batch.history], : SHAPE.embedding_dim]
    made, attention = model.interests_and_attention(arrays.params, history, mask)
    np.testing.assert_array_equal(made, model.interests(arrays.params, history, mask))
    penalty = float(losses.attention_variance(attention, mask).mean())
    sums, spread = [], []
    for weight in (0.0, 3.0):
        step = make_train_step(model, "row-adam", losses.Objective(routing_penalty=weight))
        state = jax.tree.map(jnp.copy, arrays)
        for number in range(1, 21):
            state = step(state, batch, make_update(RATE, number))
            sums += [float(state.loss_sum)] if number == 1 else []
        history = state.rows[batch.unique_rows[batch.history], : SHAPE.embedding_dim]
        _, attention = model.interests_and_attention(state.params, history, mask)
        spread.append(float(losses.attention_variance(attention, mask).mean()))
    assert sums[1] - sums[0] == pytest.approx(3 * penalty, abs=1e-5)
    assert spread[1] < spread[0]


@pytest.mark.users_bits
@pytest.mark.parametrize("with_features", some_at_length([False, True], [True]))
def test_step_does_not_depend_on_the_bucket_size(with_features: bool) -> None:
    _, arrays, step = start("ComiRec-DR")
    features = None
    if with_features:
        step = make_train_step(
            get_model("ComiRec-DR"), "row-adam", losses.Objective(id_dropout=0.5)
        )
        features, arrays = small_features(), strong_features(arrays)
    batch = batches()[0]
    used = batch.unique_rows[batch.unique_rows <= ITEMS]

    def trained_with(rows: int) -> list[bytes]:
        unique_rows = np.append(used, np.arange(rows - len(used)) + ITEMS + 1).astype(np.int32)
        start = jax.tree.map(jnp.copy, arrays)
        padded = batch._replace(unique_rows=unique_rows)
        made = step(start, padded, make_update(RATE, 1), features)
        return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(made)]

    assert trained_with(512) == trained_with(1029)


@pytest.mark.users_bits
@pytest.mark.parametrize("with_features", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    some_at_length(sorted(set(SETTINGS["optimizer"].choices) - {"adam"}), ["row-adam"]),
)
def test_step_memory_does_not_grow_with_the_catalogue(optimizer: str, with_features: bool) -> None:
    """Nor with what is known of its items, of which the batch needs few: all of it is among the
    arguments, and none a constant of the program.
    """
    objective = losses.Objective(id_dropout=0.3) if with_features else losses.COMIREC
    step = make_train_step(get_model("DNN"), optimizer, objective)

    def memory(num_items: int) -> int:
        features = small_features(num_items) if with_features else None
        arrays = jax.eval_shape(
            lambda: initial_arrays(get_model("DNN"), SHAPE, num_items, 1, features=features)
        )
        batch, update = small_sampler(num_items).batch(0, 1), make_update(RATE, 1)
        lowered = step.lower(arrays, batch, update, features)  # type: ignore[attr-defined]
        needed = lowered.compile().memory_analysis()
        given = jax.tree.leaves((arrays, features))
        assert needed.argument_size_in_bytes >= sum(one.size * one.dtype.itemsize for one in given)
        size: int = needed.temp_size_in_bytes
        return size

    assert memory(100_000) == memory(1000)


def small_features(num_items: int = ITEMS) -> Features:
    """Return features of each kind, in which no item has more than four categories."""
    own = random_features(np.random.default_rng(4), num_items).values()
    made = on_device(list(own), np.arange(num_items + 1) > 0)
    assert made is not None
    return made


def strong_features(arrays: Arrays) -> Arrays:
    """Return a state with features of any size, which can stand for the rows."""
    width = arrays.rows.shape[1] // 3
    params = dict(arrays.params)
    for place, (name, value) in enumerate(small_features().init(width).items()):
        params[name] = value + jax.random.normal(jax.random.key(place), value.shape)
    moments = {name: jnp.zeros_like(value) for name, value in params.items()}
    return arrays._replace(
        params=params, m=moments, v={name: jnp.copy(value) for name, value in moments.items()}
    )


@pytest.mark.parametrize(
    "scoring",
    [COMIREC, Scoring(tied=False, normalize_history=True)],
    ids=["tied", "untied"],
)
def test_step_with_features_equals_the_gradient_over_the_whole_table(scoring: Scoring) -> None:
    """The table of all items' values is composed first, histories and candidates are looked up in
    it, and the gradient goes back to rows and parameters.
    """
    model, features, dim = get_model("ComiRec-SA"), small_features(), SHAPE.embedding_dim
    arrays = initial_arrays(model, SHAPE, ITEMS, 5, None, scoring, None, features)
    arrays, width = strong_features(arrays), scoring.width(dim)
    batch = batches()[0]
    ids = [batch.unique_rows[part] for part in (batch.history, batch.target[:, 0], batch.negatives)]
    mask = (np.arange(SHAPE.history_length) < batch.prefixes).astype(np.float32)

    def loss(params: Any, table: jax.Array) -> jax.Array:
        table = composed(table, params, features, np.arange(ITEMS + 1))
        shown, scored = table[:, :dim], table[:, width - dim :]
        if scoring.normalize_history:
            shown *= jnp.sqrt(dim / (jnp.sum(shown**2, axis=1, keepdims=True) + 1e-12))
        by_row = losses.make_loss(losses.COMIREC)(
            model.interests(params, shown[ids[0]], jnp.asarray(mask)),
            scored[ids[1]],
            scored[ids[2]],
            batch.log_q_target[:, 0],
            batch.log_q_negatives,
            jnp.asarray(ids[1][:, None] == ids[2]),
            KEY,
        )
        return by_row.mean()

    expected, (by_param, by_row) = jax.jit(jax.value_and_grad(loss, (0, 1)))(
        arrays.params, arrays.rows[:, :width]
    )
    step = make_train_step(model, "lazy-adam", losses.Objective(scoring=scoring))
    after = step(arrays, batch, make_update(RATE, 1), features)
    assert float(after.loss_sum) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(after.rows[:, width : 2 * width], 0.1 * by_row, atol=1e-6)
    for name, gradient in by_param.items():
        np.testing.assert_allclose(after.m[name], 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_step_with_fresh_features_begins_as_without() -> None:
    model, features = get_model("ComiRec-SA"), small_features()
    ends = []
    for own in (None, features):
        arrays = initial_arrays(model, SHAPE, ITEMS, 5, features=own)
        after = make_train_step(model, "row-adam")(arrays, batches()[0], make_update(RATE, 1), own)
        ends.append((float(after.loss_sum), np.asarray(after.rows)))
    assert ends[0][0] == ends[1][0]
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-5, atol=1e-7)
    assert all(np.asarray(after.params[name]).any() for name in features.init(SHAPE.embedding_dim))


def any_by_row(numbers: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows of [N, d] have a number other than 0."""
    found: NDArray[np.bool_] = np.logical_or.reduce(np.asarray(numbers), axis=1)
    return found


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_id_dropout_leaves_out_rows_of_a_batch_as_often_as_asked(rate: float) -> None:
    """Seen in the rows' gradient: by the batch's key, whichever the item, in histories and as a
    candidate alike.
    """
    model, features = get_model("DNN"), small_features()
    step = make_train_step(model, "lazy-adam", losses.Objective(id_dropout=rate))
    fresh = strong_features(initial_arrays(model, SHAPE, ITEMS, seed=5))
    sampler, left = some_sampler("log-uniform", 1, 4), []
    for number in range(1, 41):
        batch = sampler.batch(0, number)
        ends = []
        for _ in range(2):
            start = jax.tree.map(jnp.copy, fresh)
            after = step(start, batch, make_update(RATE, 1), features)
            ends.append(any_by_row(after.rows[:, 4:8]))
        np.testing.assert_array_equal(ends[0], ends[1])
        used = np.setdiff1d(batch.unique_rows[batch.unique_rows <= ITEMS], [0])
        left += [not ends[0][item] for item in used]
    assert np.mean(left) == pytest.approx(rate, abs=0.06)


def test_items_without_interactions_have_no_row_and_train_no_feature() -> None:
    model, rows = get_model("DNN"), np.arange(ITEMS + 1) % 2 > 0
    features = on_device([codes_of("own", np.arange(1, ITEMS + 1), ITEMS + 1)], rows)
    assert features is not None
    arrays = initial_arrays(model, SHAPE, ITEMS, 5, features=features)
    np.testing.assert_array_equal(np.asarray(arrays.rows).any(axis=1), rows)
    step = make_train_step(model, "row-adam")
    for number, batch in enumerate(batches(), 1):
        arrays = step(arrays, batch, make_update(RATE, number), features)
    used = np.unique(np.concatenate([batch.unique_rows for batch in batches()]))
    used = used[(used > 0) & (used <= ITEMS)]
    assert not np.asarray(arrays.rows)[~rows].any()
    moved = any_by_row(arrays.params["feature.0"])  # an item's code is its number
    np.testing.assert_array_equal(moved[used], rows[used])


@pytest.mark.users_bits
def test_initial_arrays_are_a_function_of_the_seed() -> None:
    model = get_model("ComiRec-SA")
    described: list[list[bytes]] = []
    for seed in (1, 1, 2):
        arrays = initial_arrays(model, SHAPE, ITEMS, seed)
        assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves((arrays.m, arrays.v)))
        assert arrays.row_steps.dtype == np.int32
        others = [leaf for leaf in jax.tree.leaves(arrays) if leaf is not arrays.row_steps]
        assert {leaf.dtype for leaf in others} == {np.dtype(np.float32)}
        described.append([np.array(leaf).tobytes() for leaf in jax.tree.leaves(arrays)])
    assert described[0] == described[1] != described[2]


@pytest.mark.users_bits
def test_embedding_scale_affects_initial_rows_only() -> None:
    model = get_model("ComiRec-SA")
    plain, scaled = (initial_arrays(model, SHAPE, ITEMS, 5, scale) for scale in (None, 0.01))
    assert np.abs(scaled.rows).max() <= 0.01 < np.abs(plain.rows).max()
    for name, value in plain.params.items():
        np.testing.assert_array_equal(scaled.params[name], value)


def test_evaluation_interests_look_up_and_mask_the_history() -> None:
    model, arrays, _ = start("ComiRec-SA")
    history = np.array([[3, 9, 9, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7]], np.int32)
    lengths = np.array([3, 7], np.int32)
    computed = retriever_of(model, COMIREC, arrays).interests(history, lengths)
    table = np.asarray(arrays.rows)[:, : SHAPE.embedding_dim]
    params: dict[str, NDArray[Any]] = {k: np.asarray(v) for k, v in arrays.params.items()}
    for user in range(2):
        expected = oracles.self_attention(params, table[history[user]], int(lengths[user]))
        np.testing.assert_allclose(computed[user], expected, rtol=1e-4, atol=1e-6)
