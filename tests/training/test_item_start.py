"""Item rows that begin with the factors of counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from helpers.commands import small_config
from reprise.config import by_data
from reprise.data.dataset import open_dataset
from reprise.memory.factors import item_factors
from reprise.training import item_table
from reprise.training.item_start import values_by_counts
from reprise.training.setup import Task, fresh_state, make_task

COUNTS: dict[str, Any] = {"item_init": "counts"}


def task_of(data: Path, **asked: Any) -> Task:
    return make_task(small_config(**asked), open_dataset(data / "small"))


def values_of(task: Task) -> NDArray[np.float32]:
    return item_table.values(np.asarray(fresh_state(task).arrays.rows))


def factors_of(task: Task, dim: int) -> NDArray[np.float32]:
    return item_factors(task.sampler.split, task.num_items, dim)


def cosines(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    unit = (vectors / norms).astype(np.float64)
    product: NDArray[np.float64] = unit @ unit.T
    return product


def test_rows_begin_as_far_apart_as_the_factors_and_three_times_as_long_as_random_ones(
    small_data: Path,
) -> None:
    task, random = task_of(small_data, **COUNTS), task_of(small_data)
    dim = task.config.embedding_dim
    values, factors = values_of(task), factors_of(task, dim)
    known = factors.any(axis=1)
    assert known.sum() > task.num_items / 2
    np.testing.assert_allclose(cosines(values[known]), cosines(factors[known]), atol=1e-5)
    length = np.sqrt(np.mean(np.sum(values_of(random)[1:] ** 2, axis=1)))
    np.testing.assert_allclose(np.linalg.norm(values[known], axis=1), 3 * length, rtol=0.05)
    assert not values[0].any()


def test_only_the_values_of_items_that_have_factors_differ(small_data: Path) -> None:
    task, random = task_of(small_data, **COUNTS), task_of(small_data)
    begun, plain = fresh_state(task).arrays, fresh_state(random).arrays
    dim = task.config.embedding_dim
    known = factors_of(task, dim).any(axis=1)
    own, drawn = np.asarray(begun.rows), np.asarray(plain.rows)
    np.testing.assert_array_equal(own[~known], drawn[~known])
    np.testing.assert_array_equal(own[:, dim:], drawn[:, dim:])
    assert (own[known, :dim] != drawn[known, :dim]).any(axis=1).all()
    for name, value in plain.params.items():
        np.testing.assert_array_equal(begun.params[name], value)


def test_members_begin_with_one_set_of_factors_in_rotations_of_their_own(
    small_data: Path,
) -> None:
    task = task_of(small_data, ensemble=2, embedding_dim=8, hidden_size=8, **COUNTS)
    first, second = np.split(values_of(task), 2, axis=1)
    known = factors_of(task, 4).any(axis=1)
    np.testing.assert_allclose(cosines(first[known]), cosines(second[known]), atol=1e-5)
    assert np.abs(first - second)[known].max(axis=1).min() > 0


def test_both_vectors_of_an_item_begin_alike_where_they_are_untied(small_data: Path) -> None:
    task = task_of(small_data, embeddings="untied", **COUNTS)
    first, second = np.split(values_of(task), 2, axis=1)
    known = factors_of(task, task.config.embedding_dim).any(axis=1)
    np.testing.assert_array_equal(first[known], second[known])


@pytest.mark.parametrize("scale", [0.01, 0.5])
def test_the_scale_of_random_rows_is_theirs(small_data: Path, scale: float) -> None:
    task = task_of(small_data, embedding_scale=scale, **COUNTS)
    values = values_of(task)
    known = factors_of(task, task.config.embedding_dim).any(axis=1)
    expected = 3 * scale * (task.config.embedding_dim / 3) ** 0.5
    np.testing.assert_allclose(np.linalg.norm(values[known], axis=1), expected, rtol=1e-4)


def test_they_follow_the_seed_and_the_training_users(small_data: Path) -> None:
    values = [
        values_of(task_of(small_data, **COUNTS, **changes))
        for changes in ({}, {}, {"seed": 20}, {"train_users": "all"})
    ]
    np.testing.assert_array_equal(values[0], values[1])
    assert (values[0] != values[2]).any()
    assert (values[0] != values[3]).any()


def test_auto_is_counts_of_few_items_and_interactions(
    small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kind() -> tuple[str, Any]:
        task = task_of(small_data, item_init="auto")
        return task.config.item_init, task.identity["item_init"]

    task = task_of(small_data)
    items, interactions = task.num_items, len(task.sampler.split.items)
    monkeypatch.setattr(by_data, "_MOST_ITEMS", items)
    monkeypatch.setattr(by_data, "_MOST_COUNTED", interactions)
    assert kind() == ("counts", "counts")
    monkeypatch.setattr(by_data, "_MOST_ITEMS", items - 1)
    assert kind() == ("random", "random")
    monkeypatch.setattr(by_data, "_MOST_ITEMS", items)
    monkeypatch.setattr(by_data, "_MOST_COUNTED", interactions - 1)
    assert kind() == ("random", "random")


def test_values_are_the_same_by_any_number_of_threads(small_data: Path) -> None:
    task = task_of(small_data, ensemble=2, embedding_dim=8, hidden_size=8, **COUNTS)
    about = task.config, task.sampler.split, task.num_items
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(values_by_counts(*about))
    np.testing.assert_array_equal(found[0], found[1])
