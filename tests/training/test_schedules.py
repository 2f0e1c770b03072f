"""The learning rate's schedule, against its definition one update at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import oracles
from helpers.effort import examples
from reprise.config.schema import SETTINGS
from reprise.training.schedules import CONSTANT, FLOOR, Schedule

relaxed = examples(60)


@relaxed
@given(st.integers(0, 40), st.sampled_from(SETTINGS["decay"].choices), st.integers(1, 60))
def test_schedule_factors_equal_the_loops(warmup: int, decay: str, decay_steps: int) -> None:
    schedule = Schedule(warmup, decay, decay_steps)
    numbers = np.arange(1, 100)
    computed = schedule.factor(numbers)
    expected = [oracles.schedule(int(n), warmup, decay, decay_steps) for n in numbers]
    assert computed.dtype == np.float64
    assert computed == pytest.approx(expected, rel=1e-12)
    assert (computed > 0).all()
    after = schedule.factor(np.arange(max(schedule.end, 1), 200))
    assert (after == after[0]).all()
    assert float(schedule.factor(np.array(7))) == computed[6]


def test_schedule_without_decay_changes_no_bit() -> None:
    assert (CONSTANT.factor(np.arange(1, 50)) == 1).all()
    assert CONSTANT.end == 0
    assert Schedule(decay_steps=9).end == 0  # of no decay


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_decay_falls_to_the_floor_and_stays_there(decay: str) -> None:
    factors = Schedule(decay=decay, decay_steps=50).factor(np.arange(1, 80))
    assert (np.diff(factors[:50]) < 0).all()
    assert factors[49:] == pytest.approx(FLOOR)
