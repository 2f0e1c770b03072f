"""The packed item table."""

from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.effort import examples
from reprise.training import item_table

pytestmark = pytest.mark.users_bits

relaxed = examples(40)
seeds = st.integers(0, 2**32 - 1)
ITEMS, DIM, TOUCHED = 12, 3, 8

pull = jax.jit(item_table.pull)
push = jax.jit(item_table.push)


def random_table(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.normal(size=(ITEMS + 1, 3 * DIM)).astype(np.float32)


def random_touched(rng: np.random.Generator, real: int) -> NDArray[np.int32]:
    """Return `real` distinct rows of the table, then distinct rows past its end."""
    inside = np.sort(rng.choice(ITEMS + 1, real, replace=False))
    return np.concatenate([inside, ITEMS + 1 + np.arange(TOUCHED - real)]).astype(np.int32)


@relaxed
@given(seeds, st.integers(0, TOUCHED))
def test_pull_reads_value_and_moments_of_each_row(seed: int, real: int) -> None:
    rng = np.random.default_rng(seed)
    table, unique_rows = random_table(rng), random_touched(rng, real)
    parts = pull(table, unique_rows)
    for number, part in enumerate(parts):
        assert part.shape == (TOUCHED, DIM)
        expected = table[unique_rows[:real], number * DIM : (number + 1) * DIM]
        np.testing.assert_array_equal(part[:real], expected)


@relaxed
@given(seeds, st.integers(0, TOUCHED))
def test_push_writes_the_unique_rows_and_no_others(seed: int, real: int) -> None:
    rng = np.random.default_rng(seed)
    table, unique_rows = random_table(rng), random_touched(rng, real)
    value, m, v = rng.normal(size=(3, TOUCHED, DIM)).astype(np.float32)
    pushed = np.asarray(push(table, unique_rows, value, m, v))
    expected = table.copy()
    for place, row in enumerate(unique_rows):
        if row <= ITEMS:
            expected[row] = np.concatenate([value[place], m[place], v[place]])
    assert pushed.shape == table.shape
    assert pushed.tobytes() == expected.tobytes()


@relaxed
@given(seeds, st.integers(0, TOUCHED))
def test_push_of_what_was_pulled_changes_nothing(seed: int, real: int) -> None:
    rng = np.random.default_rng(seed)
    table, unique_rows = random_table(rng), random_touched(rng, real)
    assert (
        np.asarray(push(table, unique_rows, *pull(table, unique_rows))).tobytes() == table.tobytes()
    )


def test_init_of_rows_is_glorot_uniform_with_zero_padding_and_moments() -> None:
    table = np.asarray(item_table.init(jax.random.key(3), 500, 4))
    limit = (6 / (501 + 4)) ** 0.5
    assert table.shape == (501, 12)
    assert table.dtype == np.float32
    assert not table[0].any()
    assert not table[:, 4:].any()
    values = table[1:, :4]
    assert np.abs(values).max() <= limit
    assert values.std() == pytest.approx(limit / 3**0.5, rel=0.05)
    assert values.mean() == pytest.approx(0.0, abs=0.05 * limit)


@pytest.mark.parametrize("scale", [0.02, 1.0])
def test_init_of_rows_with_a_scale_is_uniform_within_it(scale: float) -> None:
    """And the very numbers drawn for Glorot's limit, stretched."""
    glorot, table = (
        np.asarray(item_table.init(jax.random.key(3), 500, 4, s)) for s in (None, scale)
    )
    assert np.abs(table).max() <= scale
    assert table[1:, :4].std() == pytest.approx(scale / 3**0.5, rel=0.05)
    limit = (6 / (501 + 4)) ** 0.5
    np.testing.assert_allclose(table, glorot * (scale / limit), rtol=1e-3, atol=1e-5 * scale)


def test_init_of_rows_is_a_function_of_the_key() -> None:
    same = [
        np.asarray(item_table.init(jax.random.key(seed), 20, 4)).tobytes() for seed in (1, 1, 2)
    ]
    assert same[0] == same[1] != same[2]


@examples(10)  # few, as each is compiled
@given(seeds, st.integers(1, 40), st.integers(1, 9), st.integers(1, 60))
def test_init_of_rows_in_parts_equals_init_at_once(
    seed: int, num_items: int, width: int, at_once: int
) -> None:
    key, limit = jax.random.key(seed), 0.3
    whole = np.asarray(jax.random.uniform(key, (num_items, width), np.float32, -limit, limit))
    with patch.object(item_table, "_DRAWN_AT_ONCE", at_once):
        table = np.asarray(item_table.init(key, num_items, width, limit))
    assert table[1:, :width].tobytes() == whole.tobytes()
    assert not table[0].any()
    assert not table[:, width:].any()


def test_init_of_rows_does_not_collide_past_32_bits() -> None:
    key, last = jax.random.key(5), jnp.uint32(2**32 - 8)
    across = item_table._uniform(key, jnp.uint32(2), last, 16, 1.0)
    after = item_table._uniform(key, jnp.uint32(3), jnp.uint32(0), 8, 1.0)
    again = item_table._uniform(key, jnp.uint32(2), jnp.uint32(0), 8, 1.0)
    np.testing.assert_array_equal(across[8:], after)
    assert not np.array_equal(after, again)
