"""Adam over item rows: dense, lazy, and row-wise with pending updates."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers import oracles
from helpers.effort import examples
from reprise.config.schema import SETTINGS
from reprise.training import item_table
from reprise.training.optimizers import (
    B1,
    B2,
    EPSILON,
    OPTIMIZERS,
    Pulled,
    Table,
    adam,
    apply_pending,
    make_update,
)
from reprise.training.schedules import CONSTANT, Schedule

pytestmark = pytest.mark.users_bits

relaxed = examples(40)
few = examples(8)
seeds = st.integers(0, 2**32 - 1)
ITEMS, DIM, TOUCHED, RATE = 30, 3, 6, 0.005

jitted_adam = jax.jit(adam)
jitted_apply_pending = jax.jit(apply_pending, static_argnums=4)
# One that ends within what the bias correction's table holds anyway, and one beyond it.
SCHEDULES = (Schedule(70, "linear", 900), Schedule(5, "cosine", 50_000), Schedule(warmup=2000))


@cache
def update_of(optimizer: str, schedule: Schedule = CONSTANT) -> Any:
    """update(table, unique_rows, gradient, update) -> table, compiled."""
    made = OPTIMIZERS[optimizer](schedule)
    pull, push = made.pull, made.push

    def update(table: Table, unique_rows: Any, gradient: Any, number: Any) -> Table:
        return push(table, unique_rows, pull(table, unique_rows, number), gradient, number)

    return jax.jit(update, donate_argnums=0)


@cache
def apply_pending_of(optimizer: str, schedule: Schedule = CONSTANT) -> Any:
    return jax.jit(OPTIMIZERS[optimizer](schedule).apply_all)


def start(rng: np.random.Generator) -> tuple[Table, oracles.Adam]:
    """A fresh table, padding included, and the oracle's."""
    values = rng.normal(0, 0.1, (ITEMS, DIM)).astype(np.float32)
    table = Table(item_table.pack(jnp.asarray(values)), jnp.zeros(ITEMS + 1, jnp.int32))
    whole = np.concatenate([np.zeros((1, DIM)), values.astype(np.float64)])
    return table, oracles.Adam(whole, np.zeros_like(whole), np.zeros_like(whole))


def sparse_gradient(
    rng: np.random.Generator, scale: float
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float64]]:
    """The unique rows (popular ones more often; some past the end), their gradient, and the same
    as the gradient of the whole table.
    """
    real = int(rng.integers(1, TOUCHED + 1))
    drawn = np.exp(rng.random(40) * np.log(ITEMS)).astype(np.int32)  # 1..ITEMS, log-uniform
    chosen = np.unique(drawn)[:real]
    spare = np.arange(ITEMS + 1, ITEMS + 1 + TOUCHED - len(chosen), dtype=np.int32)
    gradient = rng.normal(0, scale, (TOUCHED, DIM)).astype(np.float32)
    dense = np.zeros((ITEMS + 1, DIM))
    dense[chosen] = gradient[: len(chosen)]
    return np.concatenate([chosen, spare]), gradient, dense


def values(table: Table) -> NDArray[np.float32]:
    return np.asarray(table.rows)[:, :DIM]


def test_optimizers_are_the_choices_of_the_setting() -> None:
    assert sorted(SETTINGS["optimizer"].choices) == sorted(OPTIMIZERS)


@few
@given(seeds, st.sampled_from([1e-5, 1e-2, 1.0]), st.sampled_from(["row-adam", "adam"]))
def test_row_adam_equals_dense_adam_after_thousands_of_sparse_steps(
    seed: int, scale: float, optimizer: str
) -> None:
    """Rows sit out from one step to all of them; looked at now and then, and at the end."""
    rng = np.random.default_rng(seed)
    table, expected = start(rng)
    steps = 3000
    for number in range(1, steps + 1):
        unique_rows, gradient, dense = sparse_gradient(rng, scale)
        table = update_of(optimizer)(table, unique_rows, gradient, make_update(RATE, number))
        expected = oracles.adam(expected, dense, RATE, number)
        if number % 700 == 0 or number == steps:
            applied = apply_pending_of(optimizer)(table, number, RATE)
            np.testing.assert_allclose(values(applied), expected.value, rtol=0, atol=1e-5)
            m, v = np.split(np.asarray(applied.rows)[:, DIM:], 2, axis=1)
            np.testing.assert_allclose(m, expected.m, rtol=1e-3, atol=1e-6 * scale)
            np.testing.assert_allclose(v, expected.v, rtol=1e-3, atol=1e-6 * scale**2)
            if number % 1400 == 0:  # go on from what was looked at
                table = applied


@few
@given(seeds, st.sampled_from(SCHEDULES), st.sampled_from(["row-adam", "adam"]))
def test_row_adam_with_a_schedule_equals_dense_adam(
    seed: int, schedule: Schedule, optimizer: str
) -> None:
    rng = np.random.default_rng(seed)
    table, expected = start(rng)
    apply_all = apply_pending_of(optimizer, schedule)
    for number in range(1, 1201):
        unique_rows, gradient, dense = sparse_gradient(rng, 1e-2)
        update = make_update(RATE, number, schedule)
        table = update_of(optimizer, schedule)(table, unique_rows, gradient, update)
        expected = oracles.adam(expected, dense, RATE * factor(number, schedule), number)
        if number % 400 == 0:
            applied = values(apply_all(table, number, RATE))
            np.testing.assert_allclose(applied, expected.value, rtol=0, atol=1e-5)


@relaxed
@given(
    seeds,
    st.sampled_from(SCHEDULES),
    st.sampled_from([0, 1, 60, 850, 1990, 32_700, 49_900, 60_000]),
    st.integers(0, 300),
)
def test_apply_pending_follows_the_schedule(
    seed: int, schedule: Schedule, last_update: int, waited: int
) -> None:
    """Across the warm-up's end, the decay's end, and that of the bias correction's table."""
    m = np.random.default_rng(seed).normal(size=(2, DIM)).astype(np.float32)
    held = (np.zeros_like(m), m, 0.1 * np.square(m))
    expected = oracles.Adam(*(array.astype(np.float64) for array in held))
    for number in range(last_update + 1, last_update + waited + 1):
        rate = RATE * factor(number, schedule)
        expected = oracles.adam(expected, np.zeros_like(m), rate, number)
    row_steps = np.full(2, last_update, np.int32)
    parts = Pulled(*map(jnp.asarray, held))
    up_to_date = jitted_apply_pending(parts, row_steps, last_update + waited, RATE, schedule)
    # float32 of a sum to come, of which little may be left where the warm-up has just begun.
    np.testing.assert_allclose(up_to_date.value, expected.value, rtol=1e-4, atol=1e-7)


def factor(number: int, schedule: Schedule) -> float:
    return oracles.schedule(number, schedule.warmup, schedule.decay, schedule.decay_steps)


def test_lazy_adam_differs_from_dense_adam() -> None:
    """The sequences above do tell the optimizers apart."""
    rng = np.random.default_rng(5)
    table, expected = start(rng)
    for number in range(1, 300):
        unique_rows, gradient, dense = sparse_gradient(rng, 1.0)
        table = update_of("lazy-adam")(table, unique_rows, gradient, make_update(RATE, number))
        expected = oracles.adam(expected, dense, RATE, number)
    assert np.abs(values(table) - expected.value).max() > 10 * RATE


@relaxed
@given(seeds, st.integers(0, 40_000), st.integers(0, 500), st.sampled_from([-12, -8, -4, 0]))
def test_apply_pending_equals_steps_without_gradient(
    seed: int, last_update: int, waited: int, exponent: int
) -> None:
    """From any step, for any while, at any size of gradient: within the bound of what epsilon
    costs, and float32.
    """
    rng = np.random.default_rng(seed)
    gradient = 10.0**exponent * rng.normal(size=(2, DIM))
    m, v = 0.1 * gradient, 0.001 * np.square(gradient)
    held = [array.astype(np.float32) for array in (np.zeros_like(m), m, v)]
    expected = oracles.Adam(*(array.astype(np.float64) for array in held))
    for number in range(last_update + 1, last_update + waited + 1):
        expected = oracles.adam(expected, np.zeros_like(m), RATE, number)
    row_steps = np.full(2, last_update, np.int32)
    up_to_date = jitted_apply_pending(
        Pulled(*map(jnp.asarray, held)), row_steps, last_update + waited, RATE
    )
    share = EPSILON / (np.sqrt(v) + EPSILON)
    bound = (np.square(share) / 5000 + 1e-5) * np.abs(expected.value) + 1e-9
    assert (np.abs(np.asarray(up_to_date.value) - expected.value) <= bound).all()
    np.testing.assert_allclose(up_to_date.m, expected.m, rtol=1e-4, atol=1e-30)
    np.testing.assert_allclose(up_to_date.v, expected.v, rtol=1e-4, atol=1e-30)


@relaxed
@given(seeds, st.integers(0, 10**6))
def test_apply_pending_keeps_up_to_date_rows_bitwise(seed: int, last_update: int) -> None:
    rng = np.random.default_rng(seed)
    held = rng.normal(size=(3, 4, DIM)).astype(np.float32)
    held[2] **= 2
    up_to_date = jitted_apply_pending(
        Pulled(*map(jnp.asarray, held)), np.full(4, last_update, np.int32), last_update, RATE
    )
    assert [np.asarray(part).tobytes() for part in up_to_date] == [one.tobytes() for one in held]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("num_items", [1, 4095, 4096, 9001])
def test_apply_all_twice_changes_no_bit_for_any_block_size(optimizer: str, num_items: int) -> None:
    rng = np.random.default_rng(num_items)
    held = rng.normal(size=(num_items + 1, 6)).astype(np.float32)
    held[:, 4:] **= 2
    held[0] = 0
    last_update = rng.integers(0, 90, num_items + 1).astype(np.int32)
    table = Table(jnp.asarray(held), jnp.asarray(last_update))
    once = apply_pending_of(optimizer)(table, 90, RATE)
    again = apply_pending_of(optimizer)(once, 90, RATE)
    assert [np.asarray(a).tobytes() for a in once] == [np.asarray(b).tobytes() for b in again]
    assert not np.asarray(once.rows)[0].any()
    if optimizer == "row-adam":
        assert (np.asarray(once.row_steps) == 90).all()
        parts = Pulled(*map(jnp.asarray, np.split(held, 3, axis=1)))
        expected = np.concatenate(jitted_apply_pending(parts, last_update, 90, RATE), axis=1)
        np.testing.assert_allclose(once.rows, expected, rtol=1e-6, atol=1e-9)
    else:
        assert np.asarray(once.rows).tobytes() == held.tobytes()


def test_momentum_ahead_is_the_sum_of_the_steps_to_come() -> None:
    """A(t), by its definition, from the first step to where the bias correction has faded."""
    for last_update in (0, 1, 10, 1000, 30_000, 40_000):
        terms = [
            (B1 / B2**0.5) ** j
            * (1 - B2 ** (last_update + j)) ** 0.5
            / (1 - B1 ** (last_update + j))
            for j in range(1, 400)
        ]
        one = np.ones((1, 1), np.float32)
        held = Pulled(*map(jnp.asarray, (0 * one, one, one)))
        reach = jitted_apply_pending(
            held, np.array([last_update], np.int32), last_update + 399, 1.0
        ).value
        assert -float(reach[0, 0]) == pytest.approx(sum(terms), rel=1e-5)


@relaxed
@given(seeds, st.sampled_from([1e-4, 1e-2, 1.0]), st.integers(1, 100_000))
def test_adam_equals_tensorflows_form(seed: int, scale: float, first_step: int) -> None:
    rng = np.random.default_rng(seed)
    begun = rng.normal(size=(2, DIM)).astype(np.float32)
    state = (begun, np.zeros_like(begun), np.zeros_like(begun))
    expected = oracles.Adam(*(part.astype(np.float64) for part in state))
    for step in range(first_step, first_step + 4):
        gradient = rng.normal(0, scale, (2, DIM)).astype(np.float32)
        state = jitted_adam(*state, gradient, make_update(0.005, step).rate)
        expected = oracles.adam(expected, gradient.astype(np.float64), 0.005, step)
    for computed, wanted in zip(state, expected, strict=True):
        assert np.asarray(computed) == pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_adam_first_step_is_the_learning_rate_against_the_gradient() -> None:
    gradient = np.array([[0.5, -2.0, 0.0]], np.float32)
    zero = np.zeros((1, 3), np.float32)
    value, _, _ = jitted_adam(zero, zero, zero, gradient, make_update(0.01, 1).rate)
    assert np.asarray(value) == pytest.approx(np.array([[-0.01, 0.01, 0.0]]), rel=1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_adam_keeps_a_row_without_gradient_or_history(optimizer: str) -> None:
    table, _ = start(np.random.default_rng(2))
    before = values(table).tobytes()
    unique_rows = np.arange(1, TOUCHED + 1, dtype=np.int32)
    nothing = np.zeros((TOUCHED, DIM), np.float32)
    for number in (1, 5, 9):
        table = update_of(optimizer)(table, unique_rows, nothing, make_update(0.1, number))
    table = apply_pending_of(optimizer)(table, 20, 0.1)
    assert values(table).tobytes() == before
    assert not np.asarray(table.rows)[:, DIM:].any()
