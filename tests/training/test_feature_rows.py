"""Embeddings of many categories: what a step of them moves, against dense Adam."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.builders_features import random_features
from helpers.effort import examples
from reprise.config.features import on_device
from reprise.data.sequences import Sequences
from reprise.models import features as models
from reprise.models.features import Categories, Category, Features, lengths_of
from reprise.models.registry import ModelShape, get_model
from reprise.training.batches import Batch, make_sampler
from reprise.training.estimate import temporary_of
from reprise.training.optimizers import make_apply_pending, make_update
from reprise.training.state import Arrays
from reprise.training.step import TrainStep, initial_arrays, make_train_step

ITEMS, STEPS, RATE = 60, 12, 0.05
SHAPE = ModelShape(history_length=4, embedding_dim=6, hidden_size=6, num_interest=2)
BY_ROW = ("feature.0", "feature.1")  # of brand and genres
# Softmax weights do not depend on it: its gradient is rounding error, which Adam inflates.
WITHOUT_GRADIENT = ("heads_bias",)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_MOST_DENSE", 2)


def features_of_items(num_items: int = ITEMS) -> Features:
    drawn = random_features(np.random.default_rng(3), num_items)
    made = on_device(list(drawn.values()), np.arange(num_items + 1) % 5 > 0)
    assert made is not None
    return made


def batches(count: int = STEPS) -> list[Batch]:
    """Return batches so small that most categories are not in one."""
    rng = np.random.default_rng(2)
    lengths = rng.integers(5, 9, 30)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    train = Sequences(offsets, rng.integers(1, ITEMS + 1, offsets[-1]).astype(np.int32))
    sampler = make_sampler(train, ITEMS, 2, SHAPE.history_length, 2, seed=4)
    return [sampler.batch(0, step) for step in range(1, count + 1)]


def start(optimizer: str, features: Features) -> tuple[Arrays, TrainStep]:
    model = get_model("ComiRec-SA")
    arrays = initial_arrays(model, SHAPE, ITEMS, seed=5, features=features)
    return arrays, make_train_step(model, optimizer)


def copied(arrays: Arrays, **changes: Any) -> Arrays:
    made: Arrays = jax.tree.map(jnp.copy, arrays._replace(**changes))
    return made


def codes_in(features: Features, batch: Batch) -> tuple[set[int], set[int]]:
    """Return the codes of the batch's items that train, of the brand and of the genres."""
    brand, genres = features.each[:2]
    assert isinstance(brand, Category)
    assert isinstance(genres, Categories)
    items = [int(item) for item in batch.unique_rows if item <= ITEMS and item % 5]
    several = [genres.codes[genres.offsets[item] : genres.offsets[item + 1]] for item in items]
    return {int(brand.codes[item]) for item in items}, set(np.concatenate(several).tolist())


def test_only_features_of_many_categories_are_updated_by_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = features_of_items()
    for most, expected in ((2, BY_ROW), (7, BY_ROW[1:]), (8, ())):
        monkeypatch.setattr(models, "_MOST_DENSE", most)
        assert features.large == expected
    assert start("row-adam", features)[0].steps == {}


def test_row_adam_moves_features_as_dense_adam_does() -> None:
    features, apply_all = features_of_items(), make_apply_pending("row-adam")
    by_row, step = start("row-adam", features)
    dense = copied(by_row, steps={})
    was_pending = False
    for number, batch in enumerate(batches(), 1):
        update = make_update(RATE, number)
        by_row, dense = (step(arrays, batch, update, features) for arrays in (by_row, dense))
        was_pending |= any(bool((by_row.steps[name] < number).any()) for name in BY_ROW)
        applied = apply_all(copied(by_row), number, RATE)
        for group in ("params", "m", "v"):
            for name, expected in getattr(dense, group).items():
                if name in WITHOUT_GRADIENT:
                    continue
                found = getattr(applied, group)[name]
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=name)
        assert all((applied.steps[name] == number).all() for name in BY_ROW)
    assert was_pending


def test_lazy_adam_moves_the_features_of_the_batch_alone() -> None:
    features = features_of_items()
    arrays, step = start("lazy-adam", features)
    for number, batch in enumerate(batches(), 1):
        update = make_update(RATE, number)
        before, dense = copied(arrays), copied(arrays, steps={})
        arrays, dense = (step(each, batch, update, features) for each in (arrays, dense))
        for name, used in zip(BY_ROW, codes_in(features, batch), strict=True):
            for group in ("params", "m", "v"):
                old, new, all_moved = (
                    getattr(each, group)[name] for each in (before, arrays, dense)
                )
                here = np.isin(np.arange(len(old)), list(used))
                np.testing.assert_array_equal(new[~here], old[~here])
                np.testing.assert_allclose(new[here], all_moved[here], rtol=0, atol=1e-6)
            assert not arrays.steps[name].any()
    assert any(arrays.params[name].any() for name in BY_ROW)


def test_dense_adam_moves_all_features() -> None:
    features = features_of_items()
    arrays, step = start("adam", features)
    without = copied(arrays, steps={})
    for number, batch in enumerate(batches(5), 1):
        update = make_update(RATE, number)
        arrays, without = (step(each, batch, update, features) for each in (arrays, without))
    for name in BY_ROW:
        expected = without.params[name]
        np.testing.assert_array_equal(arrays.params[name], expected)


@settings(examples(20))
@given(
    st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=7),
    st.integers(3, 9),
)
def test_numbered_codes_are_places_among_the_distinct_ones(
    drawn: list[tuple[int, bool]], size: int
) -> None:
    """Codes of `size` and more are padding."""
    codes, training = zip(*drawn, strict=True)
    numbered, found = Category(jnp.asarray(codes)).numbered(size, jnp.asarray(training))
    for distinct in found:
        assert len(set(distinct.tolist())) == len(distinct) == len(codes)
    used = {code for code in codes if code < size}
    assert {code for code in found.codes.tolist() if code < size} == used
    trained = {code for code, trains in drawn if trains and code < size}
    assert {code for code in found.trained.tolist() if code < size} == trained
    for code, place in zip(codes, numbered.codes.tolist(), strict=True):
        if code < size:
            assert found.codes[place] == code
    for code, moved in zip(found.codes.tolist(), found.trained.tolist(), strict=True):
        assert moved == code or code not in trained


@settings(examples(10))
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 5), max_size=3), st.booleans()), min_size=1, max_size=4
    )
)
def test_numbered_codes_of_several_leave_out_what_no_item_has(
    drawn: list[tuple[list[int], bool]],
) -> None:
    counts = np.array([0, *(len(own) for own, _ in drawn)])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    flat = [code for own, _ in drawn for code in own]
    codes = jnp.asarray([*flat, 5, 5], jnp.int32)  # with room that is left
    feature = Categories(jnp.asarray(offsets), codes, lengths_of(counts))
    training = jnp.asarray([False, *(trains for _, trains in drawn)])
    numbered, found = feature.numbered(6, training)
    assert {code for code in found.codes.tolist() if code < 6} == set(flat)
    trained = {code for own, trains in drawn if trains for code in own}
    assert {code for code in found.trained.tolist() if code < 6} == trained
    table = jnp.arange(12.0).reshape(6, 2)
    items = jnp.arange(len(counts))
    taken = table.at[found.codes].get(mode="clip")
    np.testing.assert_allclose(numbered.added(taken, items), feature.added(table, items))


def test_a_step_needs_little_more_memory_with_more_categories() -> None:
    """A scratch of four bytes each, and no array as large as the embeddings."""

    def temporary(size: int) -> int:
        codes = np.random.default_rng(1).integers(0, size, ITEMS + 1).astype(np.int32)
        features = Features(jnp.ones(ITEMS + 1, bool), (Category(jnp.asarray(codes)),), (size,))
        arrays, step = start("row-adam", features)
        given = arrays, batches(1)[0], make_update(RATE, 1), features
        return temporary_of(step.lower(*given).compile())  # type: ignore[attr-defined]

    few, many = 10_000, 50_000
    assert temporary(many) - temporary(few) < 6 * (many - few)
