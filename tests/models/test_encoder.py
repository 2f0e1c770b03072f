"""The encoder, against attention in plain loops, and models on top of it."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers import oracles
from helpers.builders_models import (
    LENGTH,
    USERS,
    Named,
    Shapes,
    check_gradient,
    random_histories,
    random_params,
    scales,
    seeds,
)
from helpers.effort import examples, some_at_length
from reprise.data.moments import relative
from reprise.models.registry import REGISTRY, UNTRAINED, Model, ModelShape, get_model
from reprise.models.wrappers.dynamic import with_dynamic_interests
from reprise.models.wrappers.encoder import Encoder, encode, init, kept_values, with_encoder
from reprise.models.wrappers.ensemble import with_ensemble
from reprise.training.packing import packed

relaxed = examples(25)
DIM, LAYERS, HEADS = 4, 2, 2
SHAPE = ModelShape(LENGTH, DIM, DIM, num_interest=3)
WIDER = ModelShape(LENGTH, 16, 16, num_interest=3)
PLAIN = Encoder(LAYERS, HEADS)
DROPPING = Encoder(LAYERS, HEADS, dropout=0.4)
SHAPES: Shapes = {
    **{f"encoder.{layer}.distance": (HEADS, LENGTH) for layer in range(LAYERS)},
    **{
        f"encoder.{layer}.{name}": (DIM, DIM)
        for layer in range(LAYERS)
        for name in ("query", "key", "value", "out", "inner", "outer")
    },
    **{
        f"encoder.{layer}.{name}": (DIM,)
        for layer in range(LAYERS)
        for name in (
            "attention_gain",
            "attention_bias",
            "feed_gain",
            "feed_bias",
            "inner_bias",
            "outer_bias",
        )
    },
}
GATED: Shapes = SHAPES | {
    f"encoder.{layer}.{name}{of}": size
    for layer in range(LAYERS)
    for name in ("linear", "attention_gate", "feed_gate")
    for of, size in (("", (DIM, DIM)), ("_bias", (DIM,)))
}
MODELS = sorted(set(REGISTRY) - UNTRAINED)

by_heads = {heads: jax.jit(partial(encode, Encoder(LAYERS, heads))) for heads in (1, 2, 4)}
encoded = by_heads[HEADS]
dropping = jax.jit(partial(encode, DROPPING))
gated = jax.jit(partial(encode, replace(DROPPING, gated=True)))


@relaxed
@given(seeds, scales, st.sampled_from(sorted(by_heads)))
def test_encoder_equals_attention_in_loops(seed: int, scale: float, heads: int) -> None:
    rng = np.random.default_rng(seed)
    distances = {f"encoder.{layer}.distance": (heads, LENGTH) for layer in range(LAYERS)}
    params = random_params(rng, SHAPES | distances)
    history, lengths, mask = random_histories(rng, scale, DIM)
    made = np.asarray(by_heads[heads](params, history, mask))
    assert made.shape == (USERS, LENGTH, DIM)
    for user, length in enumerate(lengths):
        expected = oracles.causal_encoder(params, history[user], int(length), heads)
        np.testing.assert_allclose(made[user, :length], expected, rtol=1e-3, atol=1e-3)
        assert not made[user, length:].any()


@relaxed
@given(seeds, scales)
def test_encoder_with_gates_equals_the_loops_and_begins_as_the_identity(
    seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    params = random_params(rng, GATED)
    history, lengths, mask = random_histories(rng, scale, DIM)
    key = jax.random.key(seed)
    made = np.asarray(gated(params, history, mask, key))
    factors = np.asarray(kept_values(key, DROPPING, jnp.arange(history.size, dtype=jnp.uint32)))
    factors = factors.reshape(-1, *history.shape) / (1 - DROPPING.dropout)
    for user, length in enumerate(lengths):
        own = [factor[user] for factor in factors]
        expected = oracles.causal_encoder(params, history[user], int(length), HEADS, own)
        np.testing.assert_allclose(made[user, :length], expected, rtol=1e-3, atol=1e-3)
    fresh = init(key, SHAPE, replace(DROPPING, gated=True))
    assert {name: value.shape for name, value in fresh.items()} == GATED
    plain = init(key, SHAPE, DROPPING)
    assert all(np.array_equal(fresh[name], value) for name, value in plain.items())
    np.testing.assert_array_equal(gated(fresh, history, mask), history * mask[..., None])


@relaxed
@given(seeds, scales)
def test_encoder_dropout_equals_the_loops_times_its_factors(seed: int, scale: float) -> None:
    """At every place where there is dropout, and nowhere else."""
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    history, lengths, mask = random_histories(rng, scale, DIM)
    key = jax.random.key(seed)
    made = dropping(params, history, mask, key)
    factors = np.asarray(kept_values(key, DROPPING, jnp.arange(history.size, dtype=jnp.uint32)))
    factors = factors.reshape(-1, *history.shape) / (1 - DROPPING.dropout)
    for user, length in enumerate(lengths):
        own = [factor[user] for factor in factors]
        expected = oracles.causal_encoder(params, history[user], int(length), HEADS, own)
        np.testing.assert_allclose(made[user, :length], expected, rtol=1e-3, atol=1e-3)


def test_dropout_keeps_its_share_and_depends_on_key_and_layer_alone() -> None:
    one, two = jax.random.split(jax.random.key(4))
    numbers = jnp.arange(20_000, dtype=jnp.uint32)
    kept = np.asarray(kept_values(one, DROPPING, numbers))
    assert len(kept) == 1 + 2 * LAYERS
    assert kept.mean() == pytest.approx(1 - DROPPING.dropout, abs=0.02)
    assert np.array_equal(kept[:, 70:90], kept_values(one, DROPPING, numbers[70:90]))
    by_chance = (1 - DROPPING.dropout) ** 2 + DROPPING.dropout**2
    for other in (kept_values(two, DROPPING, numbers)[1], kept[2]):
        same = (kept[1] == np.asarray(other)).mean()
        assert same == pytest.approx(by_chance, abs=0.02)


@relaxed
@given(seeds)
def test_encoder_drops_nothing_at_inference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    history, _, mask = random_histories(rng, 1.0, DIM)
    same = np.asarray(encoded(params, history, mask))
    assert np.asarray(dropping(params, history, mask)).tobytes() == same.tobytes()
    trained = dropping(params, history, mask, jax.random.key(seed))
    assert np.asarray(trained).tobytes() != same.tobytes()


@examples(2)
@given(seeds)
def test_encoder_gradient_equals_that_of_the_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    history, lengths, mask = random_histories(rng, 1.0, DIM)

    def reference(params: Named, history: NDArray[np.float64]) -> NDArray[np.float64]:
        made = np.zeros(history.shape)
        for user, length in enumerate(lengths):
            one = oracles.causal_encoder(params, history[user], int(length), HEADS)
            made[user, :length] = one
        return made

    params = {name: value / 2 for name, value in random_params(rng, SHAPES).items()}
    check_gradient(partial(encode, PLAIN), reference, params, history, mask, rng)


@relaxed
@given(seeds, st.integers(1, LENGTH - 1))
def test_encoder_is_causal(seed: int, kept: int) -> None:
    """Nor of how many come: every prefix is encoded as it is alone."""
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    history, _, mask = random_histories(rng, 1.0, DIM)
    mask[:] = 1
    other = history.copy()
    other[:, kept:] = rng.normal(size=other[:, kept:].shape)
    first, second = (np.asarray(encoded(params, one, mask)) for one in (history, other))
    assert first[:, :kept].tobytes() == second[:, :kept].tobytes()
    assert (first[:, kept:] != second[:, kept:]).any(axis=(1, 2)).all()
    mask[:, kept:] = 0
    alone = np.asarray(encoded(params, history, mask))
    assert alone[:, :kept].tobytes() == first[:, :kept].tobytes()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_encoder_model_ignores_padding_bitwise(name: str, training: bool) -> None:
    model, params = stirred(name, DROPPING)
    interests = jax.jit(model.interests)
    key = jax.random.key(7) if training else None
    rng = np.random.default_rng(3)
    for scale in (1e-3, 1.0, 30.0):
        history, _, mask = random_histories(rng, scale, DIM)
        other = np.where(mask[..., None] > 0, history, rng.normal(size=history.shape))
        first = np.asarray(interests(params, history, mask, key))
        second = np.asarray(interests(params, other.astype(np.float32), mask, key))
        assert np.isfinite(first).all()
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_encoder_keeps_users_independent(name: str) -> None:
    model, params = stirred(name, PLAIN)
    interests = jax.jit(model.interests)
    rng = np.random.default_rng(4)
    history, _, mask = random_histories(rng, 1.0, DIM)
    order = rng.permutation(USERS)
    whole = np.asarray(interests(params, history, mask))
    moved = np.asarray(interests(params, history[order], mask[order]))
    assert moved.tobytes() == whole[order].tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_encoder_starts_as_the_identity(name: str) -> None:
    """Parameters and interests, whatever the scale of the items: all of it is still to learn."""
    alone, model = get_model(name), with_encoder(get_model(name), PLAIN)
    params, own = (one.init(jax.random.key(1), SHAPE) for one in (model, alone))
    assert {name: value.shape for name, value in params.items() if name not in own} == SHAPES
    assert all(np.array_equal(params[name], value) for name, value in own.items())
    rng = np.random.default_rng(5)
    for scale in (1e-3, 1.0):
        drawn, _, items = random_histories(rng, scale, DIM)
        history, mask = jnp.asarray(drawn), jnp.asarray(items)
        one, two = (np.asarray(m.interests(params, history, mask)) for m in (model, alone))
        assert one.tobytes() == two.tobytes()


def test_encoder_model_exposes_attention_over_the_encoded_history() -> None:
    model, params = stirred("ComiRec-SA", PLAIN)
    drawn, _, items = random_histories(np.random.default_rng(6), 1.0, DIM)
    history, mask = jnp.asarray(drawn), jnp.asarray(items)
    assert model.interests_and_attention is not None
    made, attention = model.interests_and_attention(params, history, mask)
    np.testing.assert_array_equal(made, model.interests(params, history, mask))
    pooled = np.einsum("bkl,bld->bkd", attention, encoded(params, history, mask))
    np.testing.assert_allclose(made, pooled, rtol=1e-4, atol=1e-5)
    assert with_encoder(get_model("DNN"), PLAIN).interests_and_attention is None


def test_with_encoder_returns_the_same_model_for_the_same_request() -> None:
    """So that a step compiled for it is found again; without layers, it is the model alone."""
    model = get_model("ComiRec-SA")
    assert with_encoder(model, Encoder(2)) is with_encoder(get_model("comirec-sa"), Encoder(2))
    assert with_encoder(model, Encoder(2)) != with_encoder(model, Encoder(1))
    assert with_encoder(model, Encoder(0, 2, 0.5)) is model


def test_encoder_init_is_glorot_uniform_or_zero() -> None:
    shape = ModelShape(20, 40, 40, num_interest=2)
    params = {name: np.asarray(v) for name, v in init(jax.random.key(3), shape, PLAIN).items()}
    limit, drawn = (6 / 80) ** 0.5, []
    for name, value in params.items():
        assert value.dtype == np.float32
        if name.endswith(("query", "key", "value", "inner")):
            assert np.abs(value).max() <= limit
            assert value.std() == pytest.approx(limit / 3**0.5, rel=0.1)
            drawn.append(value.tobytes())
        else:
            assert (value == name.endswith("gain")).all()
    assert len(set(drawn)) == 8
    same, other = (init(jax.random.key(seed), shape, PLAIN) for seed in (3, 4))
    assert all(np.array_equal(same[name], value) for name, value in params.items())
    assert not np.array_equal(other["encoder.0.query"], params["encoder.0.query"])


def stirred(name: str, encoder: Encoder) -> tuple[Model, dict[str, Any]]:
    """Return a model on an encoder whose every parameter is random."""
    model = with_encoder(get_model(name), encoder)
    params = dict(model.init(jax.random.key(1), SHAPE))
    stir = random_params(np.random.default_rng(2), SHAPES)
    return model, params | {name: jnp.asarray(value) for name, value in stir.items()}


def packed_sums(model: Model) -> Any:
    """Return the compiled value and gradient of a sum over interests of prefixes, packed or not."""
    size = (USERS, 2, WIDER.num_interest, WIDER.embedding_dim)
    weights = jax.random.normal(jax.random.key(8), size)

    def total(params: Any, history: Any, lengths: Any, times: Any, places: Any) -> jax.Array:
        own = model.at(times).packed(places)
        made = own.of_prefixes(params, history, lengths, jax.random.key(9))
        return jnp.vdot(made, weights)

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1)))


@pytest.mark.parametrize(
    ("members", "timed"),
    some_at_length([(1, False), (2, False), (1, True), (2, True)], [(2, True)]),
)
def test_encoder_of_packed_histories_equals_that_of_each(members: int, timed: bool) -> None:
    """With dropout, whose draws are the same, and with every item's gradient; also at times."""
    encoder = Encoder(LAYERS, 1, dropout=0.4, gaps=timed, request=timed, hour=timed, weekday=timed)
    base = with_dynamic_interests(get_model("Queries"))
    model = with_ensemble(with_encoder(base, encoder), members)
    total = packed_sums(model)

    @examples(8)
    @given(seeds)
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        params = jax.tree.map(
            lambda param: param + 0.3 * rng.normal(size=param.shape).astype(np.float32),
            model.init(jax.random.key(seed), WIDER),
        )
        history = rng.normal(size=(USERS, LENGTH, WIDER.embedding_dim)).astype(np.float32)
        lengths = rng.integers(1, 1 + LENGTH // 2, (USERS, 2)).astype(np.int32)
        longest = lengths.max(axis=1)
        times = None
        if timed:
            seconds = np.cumsum(rng.integers(0, 10**6, (USERS, LENGTH + 1)), axis=1)
            known = rng.random(seconds.shape) < 0.8
            column = np.minimum(np.arange(LENGTH + 1), longest[:, None])
            times = relative(
                np.take_along_axis(seconds, column, 1), np.take_along_axis(known, column, 1)
            )
        places = packed(longest, LENGTH)
        assert places is not None
        made, wanted = (total(params, history, lengths, times, each) for each in (places, None))
        greatest = max(float(np.abs(one).max()) for one in jax.tree.leaves(wanted))
        for one, other in zip(jax.tree.leaves(made), jax.tree.leaves(wanted), strict=True):
            error = max(1e-3 * float(np.abs(other).max()), 1e-5 * greatest)
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=error)

    check()
