"""The average of the weights: against a weighted mean, and as what is evaluated and stored."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.commands import run_small, small_config
from helpers.effort import examples
from reprise.data.dataset import open_dataset
from reprise.evaluation.evaluate import evaluate
from reprise.models.scoring import MEMORY
from reprise.runs.folder import RunFolder
from reprise.runs.stored import StoredModel, load
from reprise.text.messages import unsaid
from reprise.training import averaging, item_table
from reprise.training.state import Arrays

Weights = dict[str, NDArray[np.floating[Any]]]


def drawn(rng: np.random.Generator) -> Weights:
    return {"rows": rng.normal(size=(4, 2)), "token": rng.normal(size=3), MEMORY: np.ones(2)}


def as_arrays(weights: Weights, average: dict[str, Any]) -> Arrays:
    values = jnp.asarray(weights["rows"], jnp.float32)
    rows = item_table.join(values, 0 * values, 0 * values)
    params = {name: jnp.asarray(weights[name], jnp.float32) for name in ("token", MEMORY)}
    average = average or averaging.nothing_yet(rows, params)
    return Arrays(rows, jnp.zeros(()), params, {}, {}, {}, average, jnp.zeros(()))


@examples(20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.99, 0.999]), st.integers(1, 6))
def test_averaged_is_the_mean_weighted_by_decay(seed: int, decay: float, looks: int) -> None:
    rng, config = np.random.default_rng(seed), small_config(average_decay=decay, test_iter=8)
    assert averaging.interval(config) == 4
    course = [drawn(rng) for _ in range(looks)]
    average: dict[str, Any] = {}
    for look, weights in enumerate(course, 1):
        share = averaging.share_of_look(4 * look, config)
        arrays = averaging.look(as_arrays(weights, average), share)
        average = arrays.average
    rows, width, params = averaging.served(arrays, 4 * looks, config)
    counts = [decay ** (4 * (looks - look)) for look in range(1, looks + 1)]
    for name, made in (("rows", rows), ("token", params["token"])):
        mean = sum(n * one[name] for n, one in zip(counts, course, strict=True)) / sum(counts)
        np.testing.assert_allclose(made, mean, rtol=1e-4, atol=1e-6)
    assert width == 2
    np.testing.assert_array_equal(params[MEMORY], course[-1][MEMORY])


def stored_weights(folder: RunFolder) -> tuple[StoredModel, Weights]:
    stored = load(folder.path, "latest", unsaid)
    retriever = stored.retriever
    weights = {name: np.array(value) for name, value in retriever.params.items()}
    return stored, weights | {"rows": np.array(retriever.rows)[:, : retriever.width]}


@pytest.mark.parametrize("optimizer", ["row-adam", "adam"])
def test_averaged_run_trains_as_without_and_serves_the_average(
    small_data: Path, tmp_path: Path, optimizer: str
) -> None:
    course = []
    for steps in (4, 8):
        _, plain, folder = run_small(
            small_data, tmp_path / "a", optimizer=optimizer, max_steps=steps
        )
        course.append(stored_weights(folder)[1])
    asked: dict[str, Any] = {"optimizer": optimizer, "average_decay": 0.8}
    _, averaged, folder = run_small(small_data, tmp_path / "b", max_steps=8, **asked)
    assert averaged.lines[-1]["train_loss"] == plain.lines[-1]["train_loss"]
    stored, served = stored_weights(folder)
    first = 0.8**4 / (1 + 0.8**4)
    for name, value in served.items():
        mean = first * course[0][name] + (1 - first) * course[1][name]
        np.testing.assert_allclose(value, mean, rtol=1e-4, atol=1e-6)
    users = open_dataset(small_data / "small").evaluation_users("valid", stored.config.maxlen)
    selector = f"recall@{stored.config.top_n}"
    metrics = evaluate(stored.retriever, users, stored.config.cutoffs).metrics
    assert metrics[selector] == averaged.lines[-1][f"valid_{selector}"]


def test_averaged_run_serves_its_weights_before_the_first_look(
    small_data: Path, tmp_path: Path
) -> None:
    _, _, plain = run_small(small_data, tmp_path / "a", max_steps=3)
    _, _, folder = run_small(small_data, tmp_path / "b", max_steps=3, average_decay=0.8)
    expected = stored_weights(plain)[1]["rows"]
    assert expected.any()
    np.testing.assert_array_equal(stored_weights(folder)[1]["rows"], expected)
