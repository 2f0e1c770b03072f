"""What features add to an item's values, against a slow oracle in double precision."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.builders_features import added_slowly, random_features, sizes_of
from helpers.builders_models import seeds
from helpers.effort import examples
from reprise.config.features import on_device
from reprise.data.features import Bags, Feature, bags_of
from reprise.models import items as items_module
from reprise.models.features import Categories, of_network
from reprise.models.items import all_composed, composed

ITEMS, WIDTH, UNIQUE = 9, 4, 7
PAST = ITEMS + 3  # a number past the catalogue, as padding of the unique rows

Doubles = NDArray[np.float64]


def drawn(seed: int, num_items: int = ITEMS) -> tuple[list[Feature], list[Doubles], Doubles]:
    """Return features, their parameters, and the row values of all items, padding's zero."""
    rng = np.random.default_rng(seed)
    features = list(random_features(rng, num_items).values())
    params = [rng.normal(size=(size, WIDTH)) for size in sizes_of(features)]
    values = rng.normal(size=(num_items + 1, WIDTH))
    values[0] = 0
    return features, params, values


def named(params: list[Doubles]) -> dict[str, jax.Array]:
    return {f"feature.{n}": jnp.asarray(one, jnp.float32) for n, one in enumerate(params)}


@jax.jit
def composed_of(values: Any, params: Any, features: Any, items: Any, dropped: Any) -> jax.Array:
    return composed(values, params, features, items, dropped)


@settings(examples(6))  # each of another shape is compiled
@given(seeds, st.sets(st.integers(0, ITEMS), min_size=1, max_size=UNIQUE))
def test_composed_equals_a_slow_sum_of_row_and_features(seed: int, chosen: set[int]) -> None:
    features, params, values = drawn(seed)
    items = np.array(sorted(chosen) + [PAST] * (UNIQUE - len(chosen)))
    given_values = jnp.asarray(values[np.minimum(items, ITEMS)], jnp.float32)
    made = composed_of(given_values, named(params), on_device(features), items, None)
    for row, item in zip(made, sorted(chosen), strict=False):
        expected = values[item] + added_slowly(features, params, item)
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)
    if 0 in chosen:
        assert not np.asarray(made[0]).any()


@jax.jit
def gradient_of(direction: Any, values: Any, params: Any, features: Any, items: Any) -> Any:
    def along(values: jax.Array, params: dict[str, jax.Array]) -> jax.Array:
        return jnp.sum(direction * composed(values, params, features, items))

    return jax.grad(along, argnums=(0, 1))(values, params)


@settings(examples(3))
@given(seeds)
def test_composed_gradient_equals_that_of_the_slow_sum(seed: int) -> None:
    """The sum is linear in the parameters: their gradient is what each adds along a direction. That
    of items without rows is zero.
    """
    features, params, values = drawn(seed)
    rng = np.random.default_rng(seed)
    with_row = rng.random(ITEMS + 1) < 0.7
    items = np.sort(rng.choice(ITEMS + 1, UNIQUE, replace=False))
    direction = rng.normal(size=(UNIQUE, WIDTH)) * (items > 0)[:, None]
    by_values, by_params = gradient_of(
        jnp.asarray(direction, jnp.float32),
        jnp.asarray(values[items], jnp.float32),
        named(params),
        on_device(features, with_row),
        items,
    )
    counted = with_row[items] & (items > 0)
    np.testing.assert_allclose(by_values[counted], direction[counted], rtol=1e-5)
    assert not np.asarray(by_values)[~with_row[items]].any()
    for place, param in enumerate(params):
        expected = np.zeros_like(param)
        for index in np.ndindex(param.shape):
            one = [np.zeros_like(other) for other in params]
            one[place][index] = 1
            expected[index] = sum(
                direction[n] @ added_slowly(features, one, int(item))
                for n, item in enumerate(items)
                if counted[n]
            )
        found = by_params[f"feature.{place}"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", [1, 4, 9, 10, 4096])
def test_all_composed_equals_composed_whatever_the_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rest, without one, or of all; rows may have moments behind the values."""
    monkeypatch.setattr(items_module, "_BLOCK", block)
    features, params, values = drawn(3)
    rows = jnp.asarray(np.concatenate([values, values + 1], axis=1), jnp.float32)
    all_composed.clear_cache()  # type: ignore[attr-defined]
    made = all_composed(rows, named(params), on_device(features), WIDTH)
    for item in range(ITEMS + 1):
        expected = values[item] + added_slowly(features, params, item)
        np.testing.assert_allclose(made[item], expected, rtol=1e-5, atol=1e-5)
    all_composed.clear_cache()  # type: ignore[attr-defined]


def test_composed_leaves_out_rows_whose_features_can_stand_for_them() -> None:
    """A row stays where its features are next to nothing, or where it is not drawn."""
    features, params, values = drawn(5)
    items = np.arange(1, ITEMS + 1)
    dropped = np.arange(ITEMS) % 2 == 0
    for scale, left_out in ((1.0, dropped), (1e-4, dropped & False)):
        scaled = [scale * one for one in params]
        given_values = jnp.asarray(values[items], jnp.float32)
        made = composed_of(given_values, named(scaled), on_device(features), items, dropped)
        for place, item in enumerate(items.tolist()):
            expected = added_slowly(features, scaled, item)
            expected = expected + (0 if left_out[place] else 1) * values[item]
            np.testing.assert_allclose(made[place], expected, rtol=1e-4, atol=1e-5)


def test_features_begin_at_zero_and_are_no_business_of_the_network() -> None:
    features, _, values = drawn(1)
    own = on_device(features)
    assert own is not None
    params = own.init(WIDTH)
    assert [value.shape for value in params.values()] == [(n, WIDTH) for n in sizes_of(features)]
    assert not any(np.asarray(value).any() for value in params.values())
    rows = jnp.asarray(values, jnp.float32)
    assert np.asarray(all_composed(rows, params, own, WIDTH)).tobytes() == rows.tobytes()
    assert of_network({**params, "dense": rows}).keys() == {"dense"}


@settings(examples(20))
@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(1, 15))
def test_categories_have_room_for_the_longest_items_and_no_more(
    sizes: list[int], count: int
) -> None:
    owners = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    codes = np.concatenate([np.arange(1, size + 1) for size in sizes])
    bags = bags_of("tags", owners, codes, len(sizes), 7)
    own = on_device([bags])
    assert own is not None
    (made,) = own.each
    assert isinstance(made, Categories)
    assert isinstance(bags, Bags)
    longest = np.sort(np.diff(bags.offsets))[::-1]
    assert made.room(count) == longest[:count].sum()
