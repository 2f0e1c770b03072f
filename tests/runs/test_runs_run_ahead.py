"""Steps dispatched ahead of the device."""

import math
from typing import Any, cast

import pytest
from jax import Array

from reprise.training.dispatch import RunAhead


class Device:
    """A device that takes so long for a step, and begins the next when it has finished one."""

    def __init__(self, seconds_a_step: float) -> None:
        self.now = self.free_at = 0.0
        self.waits = 0
        self.seconds_a_step = seconds_a_step

    def dispatch(self) -> "Device":
        self.free_at = max(self.free_at, self.now) + self.seconds_a_step
        return self

    def block_until_ready(self) -> None:
        self.now = self.free_at
        self.waits += 1


@pytest.mark.parametrize("seconds", [0.003, 0.1, 0.36, 2.0])
def test_run_ahead_is_a_quarter_of_a_second_or_one_step(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(seconds)
    monkeypatch.setattr("reprise.training.dispatch.time.monotonic", lambda: device.now)
    ahead, most = RunAhead(), 0.0
    for _ in range(500):
        ahead.dispatched(cast(Array, device.dispatch()))
        most = max(most, device.free_at - device.now)
    assert most <= max(seconds, 0.25) + 1e-9
    # Waited for once in a quarter of a second's steps, or at each that takes longer.
    assert device.waits == pytest.approx(500 / max(1, math.ceil(0.25 / seconds)), abs=2)


def test_run_ahead_follows_a_changing_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    device: Any = Device(0.001)
    monkeypatch.setattr("reprise.training.dispatch.time.monotonic", lambda: device.now)
    ahead = RunAhead()
    for _ in range(1000):
        ahead.dispatched(device.dispatch())
    device.seconds_a_step = 0.5
    for _ in range(300):
        ahead.dispatched(device.dispatch())
    assert device.free_at - device.now <= 0.5
