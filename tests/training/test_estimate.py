"""The estimate of a run's size and memory before it starts, at no extra cost."""

import logging
import re
from pathlib import Path

import jax
import pytest

from helpers.commands import Recorder, run_small, small_config
from reprise.data.dataset import open_dataset
from reprise.runs.folder import Resumption, RunFolder
from reprise.runtime import device
from reprise.training import estimate
from reprise.training.estimate import sizes_of
from reprise.training.setup import Task, fresh_state, make_task
from reprise.training.state import TrainState


def test_estimate_counts_what_the_state_holds(small_data: Path) -> None:
    task = make_task(small_config(), open_dataset(small_data / "small"))
    sizes = sizes_of(task)
    arrays = fresh_state(task).arrays
    network = sum(value.size for value in arrays.params.values())
    assert (sizes.item_parameters, sizes.network_parameters) == (41 * 8, network)
    assert sizes.state == 41 * 24 * 4 + 41 * 4 + 3 * network * 4 + 4
    larger = sizes_of(make_task(small_config(batch_size=32), open_dataset(small_data / "small")))
    assert larger.memory > sizes.memory


def test_estimate_of_a_finished_run_leaves_the_step_out(small_data: Path) -> None:
    task = make_task(small_config(), open_dataset(small_data / "small"))
    assert sizes_of(task, trains=False).memory < sizes_of(task).memory


class Estimating(Recorder):
    """An announcer that asks for the sizes, as the console does."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        super().__init__()
        self.compiled: list[str] = []
        self._caplog = caplog

    def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
        self._caplog.clear()
        sizes_of(task)
        self.compiled = compiled(self._caplog)
        self._caplog.clear()


def compiled(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The programs that JAX says it has compiled."""
    return re.findall(r"Finished XLA compilation of (\S+)", caplog.text)


@pytest.mark.parametrize(("at_once", "batch_size"), [(1, 17), (3, 18)])  # of no other test
def test_estimate_compiles_the_step_that_training_uses(
    small_data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
    batch_size: int,
) -> None:
    monkeypatch.setattr(device, "steps_at_once", lambda: at_once)
    recorder = Estimating(caplog)
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        run_small(small_data, tmp_path, recorder, batch_size=batch_size, max_steps=at_once)
    (step,) = recorder.compiled
    assert compiled(caplog)
    assert step not in compiled(caplog)


def test_copy_fits_is_asked_of_what_memory_the_state_has_left(
    small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JAX makes arrays when it gets to it: a machine's memory is free until then."""
    task = make_task(small_config(), open_dataset(small_data / "small"))
    state, left = fresh_state(task), [10**3, None, 10**9]
    waited: list[bool] = []
    begun = state.arrays._replace(rows=Waiting(waited))  # type: ignore[arg-type]

    def available() -> int | None:
        assert waited
        return left.pop()

    monkeypatch.setattr(estimate, "available_memory", available)
    found = [estimate.copy_fits(task, TrainState(begun, state.progress)) for _ in range(3)]
    assert found == [True, True, False]


class Waiting:
    """An array that tells when it is waited for."""

    def __init__(self, waited: list[bool]) -> None:
        self._waited = waited

    def block_until_ready(self) -> None:
        self._waited.append(True)
