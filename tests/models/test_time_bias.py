"""The encoder's time bias, against attention in plain loops that read a calendar."""

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
    check_gradient,
    random_histories,
    random_params,
    seeds,
)
from helpers.effort import examples, some_at_length
from reprise.data.moments import UNKNOWN, at_requests, relative, unknown_times
from reprise.models.registry import REGISTRY, UNTRAINED, Model, ModelShape, Params, get_model
from reprise.models.wrappers.dynamic import with_dynamic_interests
from reprise.models.wrappers.encoder import Encoder, encode, init, with_encoder
from reprise.models.wrappers.ensemble import with_ensemble
from reprise.models.wrappers.gaps import BUCKETS, bucket
from reprise.models.wrappers.repeat_bias import with_repeat_bias

relaxed = examples(20)
DIM, LAYERS, HEADS = 4, 2, 2
SHAPE = ModelShape(LENGTH, DIM, DIM, num_interest=3)
WHOLE = Encoder(LAYERS, HEADS, gaps=True, request=True, hour=True, weekday=True)
KINDS = {
    "gaps": Encoder(LAYERS, HEADS, gaps=True),
    "request": Encoder(LAYERS, HEADS, gaps=True, request=True),
    "hour": Encoder(LAYERS, HEADS, gaps=True, request=True, hour=True),
    "whole": WHOLE,
}
encoders = {kind: jax.jit(partial(encode, encoder)) for kind, encoder in KINDS.items()}
bucketed = jax.jit(bucket)
MODELS = sorted(set(REGISTRY) - UNTRAINED)
SPANS = (1, 100, 10**5, 10**8)  # seconds between items, at most


def random_times(rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the times [USERS, LENGTH] of items, in order, and of requests [USERS], in seconds."""
    steps = rng.integers(0, rng.choice(SPANS, (USERS, 1)), (USERS, LENGTH + 1), endpoint=True)
    times = rng.integers(-(10**9), 2 * 10**9, (USERS, 1)) + np.cumsum(steps, axis=1)
    return times[:, :-1], times[:, -1]


def whole_params(kind: str, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    made = jax.eval_shape(lambda: init(jax.random.key(0), SHAPE, KINDS[kind]))
    return random_params(rng, {name: value.shape for name, value in made.items()})


def when_of(
    items: NDArray[np.int64], requests: NDArray[np.int64], user: int, length: int
) -> list[int | None]:
    return [*map(int, items[user, :length]), int(requests[user])]


@relaxed
@given(seeds, st.sampled_from(sorted(KINDS)))
def test_time_bias_equals_attention_in_loops(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    params = whole_params(kind, rng)
    history, lengths, mask = random_histories(rng, 1.0, DIM)
    items, requests = random_times(rng)
    times = at_requests(items, lengths, requests)
    made = np.asarray(encoders[kind](params, history, mask, None, times))
    for user, length in enumerate(map(int, lengths)):
        when = when_of(items, requests, user, length)
        expected = oracles.causal_encoder(params, history[user], length, HEADS, when=when)
        np.testing.assert_allclose(made[user, :length], expected, rtol=1e-3, atol=1e-3)
        assert not made[user, length:].any()


@relaxed
@given(seeds)
def test_time_bias_is_none_where_a_time_is_unknown(seed: int) -> None:
    """Of an item, of a request, of all: what is known is used."""
    rng = np.random.default_rng(seed)
    params = whole_params("whole", rng)
    history, lengths, mask = random_histories(rng, 1.0, DIM)
    items, requests = random_times(rng)
    seconds = np.concatenate([items, requests[:, None]], axis=1)
    inside = np.arange(LENGTH + 1) < lengths[:, None]
    known = np.where(inside, rng.random(inside.shape) < 0.6, rng.random((USERS, 1)) < 0.5)
    times = relative(np.where(inside, seconds, seconds[:, -1:]), known)
    made = np.asarray(encoders["whole"](params, history, mask, None, times))
    for user, length in enumerate(map(int, lengths)):
        when: list[int | None] = [
            int(time) if there else None
            for time, there in zip(seconds[user, :length], known[user], strict=False)
        ]
        when.append(int(requests[user]) if known[user, length] else None)
        expected = oracles.causal_encoder(params, history[user], length, HEADS, when=when)
        np.testing.assert_allclose(made[user, :length], expected, rtol=1e-3, atol=1e-3)


@examples(2)
@given(seeds)
def test_time_bias_gradient_equals_that_of_the_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    history, lengths, mask = random_histories(rng, 1.0, DIM)
    items, requests = random_times(rng)
    times = jnp.asarray(at_requests(items, lengths, requests))

    def reference(params: Named, history: NDArray[np.float64]) -> NDArray[np.float64]:
        made = np.zeros(history.shape)
        for user, length in enumerate(map(int, lengths)):
            when = when_of(items, requests, user, length)
            one = oracles.causal_encoder(params, history[user], length, HEADS, when=when)
            made[user, :length] = one
        return made

    def network(params: Params, history: jax.Array, mask: jax.Array, key: Any = None) -> jax.Array:
        return encode(WHOLE, params, history, mask, key, times)

    params = {name: value / 2 for name, value in whole_params("whole", rng).items()}
    check_gradient(network, reference, params, history, mask, rng)


@relaxed
@given(seeds, st.integers(1, LENGTH - 1))
def test_time_bias_reads_each_prefix_as_if_it_were_alone(seed: int, kept: int) -> None:
    """Its request is at the time of the item that follows: one pass encodes all of them."""
    rng = np.random.default_rng(seed)
    params = whole_params("whole", rng)
    history, _, mask = random_histories(rng, 1.0, DIM)
    mask[:] = 1
    items, requests = random_times(rng)
    lengths = np.full(USERS, LENGTH)
    times = at_requests(items, lengths, requests)
    whole = np.asarray(encoders["whole"](params, history, mask, None, times))
    short = at_requests(items, np.full(USERS, kept), items[:, kept])
    mask[:, kept:] = 0
    alone = np.asarray(encoders["whole"](params, history, mask, None, short))
    assert alone[:, :kept].tobytes() == whole[:, :kept].tobytes()


@pytest.mark.parametrize("name", some_at_length(MODELS, ["Queries"]))
def test_time_bias_starts_without_any_effect(name: str) -> None:
    """Parameters and interests are those of a model without it."""
    plain, timed = (wrapped(name, one) for one in (Encoder(LAYERS, HEADS), WHOLE))
    own, params = (
        jax.jit(model.init, static_argnums=1)(jax.random.key(1), SHAPE) for model in (plain, timed)
    )
    assert params.keys() > own.keys()
    assert all(np.array_equal(params[name], value) for name, value in own.items())
    assert not any(np.asarray(params[name]).any() for name in params.keys() - own.keys())
    rng = np.random.default_rng(5)
    history, lengths, _ = random_histories(rng, 1.0, DIM)
    items, requests = random_times(rng)
    times = jnp.asarray(at_requests(items, lengths, requests))
    prefixes = jnp.asarray(np.stack([np.ones_like(lengths), lengths], axis=1))
    one = jax.jit(lambda *given: timed.at(times).of_prefixes(*given))
    two = jax.jit(plain.of_prefixes)
    made, expected = one(params, history, prefixes), two(own, history, prefixes)
    assert np.asarray(made).tobytes() == np.asarray(expected).tobytes()
    # And so of an encoder that has learned, but for rounding: a fresh one takes from nothing.
    stir = random_params(rng, {key: value.shape for key, value in own.items()})
    made, expected = one(params | stir, history, prefixes), two(stir, history, prefixes)
    np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", some_at_length(MODELS, ["Queries", "GRU4REC"]))
def test_time_bias_of_prefixes_equals_histories_by_themselves(name: str) -> None:
    """For every model, through every wrapper."""
    model = wrapped(name, WHOLE)
    rng = np.random.default_rng(7)
    made = jax.eval_shape(lambda: model.init(jax.random.key(1), SHAPE))
    params: Any = random_params(rng, {key: value.shape for key, value in made.items()})
    of_prefixes = jax.jit(lambda times, *given: model.at(times).of_prefixes(*given))
    interests = jax.jit(lambda times, *given: model.at(times).interests(*given))
    history, _, mask = random_histories(rng, 1.0, DIM)
    mask[:] = 1
    items, requests = random_times(rng)
    full = np.full(USERS, LENGTH)
    prefixes = np.broadcast_to(np.array([1, 3, LENGTH]), (USERS, 3))
    times = at_requests(items, full, requests)
    found = np.asarray(of_prefixes(times, params, history, prefixes))
    after = np.concatenate([items, requests[:, None]], axis=1)
    for place, kept in enumerate((1, 3, LENGTH)):
        mask[:] = np.arange(LENGTH) < kept
        alone, moved = (
            interests(at_requests(items, full * 0 + kept, asked), params, history, mask)
            for asked in (after[:, kept], after[:, kept] + 10**7)
        )
        np.testing.assert_allclose(found[:, place], alone, rtol=1e-3, atol=1e-4)
        assert not np.allclose(found[:, place], moved, rtol=1e-3, atol=1e-4)


def test_time_bias_of_unknown_times_is_none() -> None:
    rng = np.random.default_rng(9)
    params = whole_params("whole", rng)
    history, _, mask = random_histories(rng, 1.0, DIM)
    unknown = encoders["whole"](params, history, mask, None, unknown_times(USERS, LENGTH))
    none = encoders["whole"](params, history, mask)
    np.testing.assert_allclose(unknown, none, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 2**31 - 1))
@examples(200)
def test_bucket_equals_counting(gap: int) -> None:
    assert int(bucketed(np.int32(gap))) == oracles.time_bucket(gap) < BUCKETS


def test_bucket_begins_at_powers_of_two_and_halfway() -> None:
    starts = sorted({0, 1, *(2**k for k in range(1, 31)), *(3 * 2**k for k in range(30))})
    assert len(starts) == BUCKETS
    assert np.asarray(bucket(jnp.asarray(starts, jnp.int32))).tolist() == list(range(BUCKETS))
    ends = np.array([*starts[1:], 2**31], np.int64) - 1
    assert np.asarray(bucket(jnp.asarray(ends, jnp.int32))).tolist() == list(range(BUCKETS))


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=6).map(sorted))
@examples(100)
def test_relative_keeps_gaps_and_the_calendar(seconds: list[int]) -> None:
    (made,) = relative(np.array([seconds]))
    assert made.dtype == np.int32
    for time, since in zip(seconds, made.tolist(), strict=True):
        if since < 2**31 - 1:
            assert since - made[0] == time - seconds[0]
            assert (since // 3600) % 24 == (time // 3600) % 24
            assert (since // 86_400) % 7 == (time // 86_400 + 3) % 7  # a Thursday was day 0
        else:
            assert time - seconds[0] > 2**31 - 2 - 7 * 86_400


def test_relative_of_what_is_unknown_is_unknown() -> None:
    times = relative(np.array([[5, 7, 9], [1, 2, 3]]), np.array([[1, 0, 1], [0, 0, 0]], bool))
    assert times[0, 2] - times[0, 0] == 4
    assert times[0, 1] == UNKNOWN
    assert (times[1] == UNKNOWN).all()


def test_at_requests_repeats_the_request_behind_the_history() -> None:
    times = at_requests(np.array([[5, 7, 0]]), np.array([2]), np.array([9]))
    assert (times[0] - times[0, 0]).tolist() == [0, 2, 4, 4]
    unasked = at_requests(np.array([[5, 7, 0]]), np.array([2]), None)
    assert unasked[0, 2:].tolist() == [UNKNOWN] * 2
    assert unasked[0, 1] - unasked[0, 0] == 2


def wrapped(name: str, encoder: Encoder) -> Model:
    model = with_encoder(with_dynamic_interests(get_model(name)), encoder)
    return with_repeat_bias(with_ensemble(model, 2))
