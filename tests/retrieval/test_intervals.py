"""Bootstrap intervals, against the same resamples in loops, and against plain resampling."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import oracles
from helpers.effort import examples
from reprise.evaluation import intervals

seeds = st.integers(0, 2**32 - 1)


@examples(40)
@given(seeds, st.integers(1, 12), st.integers(1, 30), st.sampled_from([0.5, 0.95]))
def test_bootstrap_bounds_equal_the_loop(
    seed: int, users: int, resamples: int, level: float
) -> None:
    rng = np.random.default_rng(seed)
    values = {"a": rng.random(users), "b": rng.integers(0, 2, users).astype(np.float64)}
    values["a"][rng.random(users) < 0.5] = 0
    values["difference"] = values["b"] - values["a"]
    drawn = [
        np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))
        .integers(users, size=users, dtype=np.uint32)
        .tolist()
        for number in range(resamples)
    ]
    computed = intervals.bootstrap(values, level, resamples, seed)
    for name, own in values.items():
        expected = oracles.bootstrap(own.tolist(), drawn, level)
        assert computed[name] == pytest.approx(expected, abs=1e-7)


def test_bootstrap_bounds_agree_with_plain_resampling() -> None:
    values = np.zeros(500)
    values[:60] = np.linspace(0.2, 1, 60)
    low, high = intervals.bootstrap({"a": values}, resamples=4000)["a"]
    draw = random.Random(1)
    every = [draw.choices(range(500), k=500) for _ in range(2000)]
    expected = oracles.bootstrap(values.tolist(), every, 0.95)
    # The percentiles' own error is about 3% of the interval's width here.
    assert (low, high) == pytest.approx(expected, abs=0.1 * (high - low))


def test_bootstrap_bounds_of_a_metric_depend_on_no_other() -> None:
    rng = np.random.default_rng(5)
    values = {name: rng.random(200) * (rng.random(200) < 0.2) for name in "abc"}
    together = intervals.bootstrap(values)
    assert together == {
        name: intervals.bootstrap({name: own})[name] for name, own in values.items()
    }
    assert together != intervals.bootstrap(values, seed=20)


def test_bootstrap_interval_spans_about_two_standard_errors() -> None:
    values = np.random.default_rng(3).random(2000)
    low, high = intervals.bootstrap({"a": values})["a"]
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + error, abs=0.15 * error)


def test_bootstrap_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"a": np.random.default_rng(4).random(300)}
    bounds = []
    for block in (1, 1000, 2**22):
        monkeypatch.setattr(intervals, "_BLOCK", block)
        bounds.append(intervals.bootstrap(values))
    assert bounds[0] == bounds[1] == bounds[2]


def test_bootstrap_interval_of_a_constant_has_no_width() -> None:
    constant = {"none": np.zeros(9), "all": np.ones(9)}
    assert intervals.bootstrap(constant) == {"none": (0.0, 0.0), "all": (1.0, 1.0)}
    assert intervals.bootstrap({"none": np.zeros(9)}) == {"none": (0.0, 0.0)}
    assert intervals.bootstrap({}) == {}


def test_bootstrap_has_no_bounds_for_nan() -> None:
    low, high = intervals.bootstrap({"a": np.full(9, np.nan)})["a"]
    assert np.isnan([low, high]).all()
