"""Several steps per dispatch, as on an accelerator."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import Recorder, check_same_end, run_small, small_config, stopping_at
from reprise.data.dataset import open_dataset
from reprise.runtime import device
from reprise.training.dispatch import portions, work_of
from reprise.training.schedules import schedule_of
from reprise.training.setup import Task, fresh_state, make_task
from reprise.training.state import Arrays

counts = st.integers(1, 40)


@given(counts, counts, counts, counts)
def test_ranges_cover_all_updates_in_order_and_end_where_something_is_due(
    first: int, count: int, every: int, at_once: int
) -> None:
    last = first + count - 1
    made = list(portions(first, last, every, at_once))
    assert [number for portion in made for number in portion] == list(range(first, last + 1))
    for portion in made:
        assert 1 <= len(portion) <= at_once
        assert not [number for number in portion[:-1] if number % every == 0]
        ends = len(portion) == at_once or portion[-1] % every == 0 or portion[-1] == last
        assert ends  # no dispatch more than needed


def trained(task: Task, at_once: int, cuts: tuple[int, ...]) -> Arrays:
    """The arrays after the updates up to the last of `cuts`, a dispatch ending at each of them."""
    schedule = schedule_of(task.config)
    about = (task.step, task.sampler, 0, 0.01, schedule, at_once)
    arrays, done = fresh_state(task).arrays, 0
    for cut in cuts:
        ranges = list(portions(done + 1, cut, cut, at_once))
        for portion, work in zip(ranges, work_of(*about, ranges), strict=True):
            assert work.last == portion[-1]
            arrays = work.run(arrays)
        done = cut
    return arrays


SWITCHED: dict[str, dict[str, Any]] = {
    "modern": {"model": "Queries", "ensemble": 2, "dropout": 0.2, "targets": 3, "warmup": 5},
    "all items": {"sampler": "full", "optimizer": "lazy-adam"},
    "features": {"model": "DNN", "item_features": "all", "id_dropout": 0.5},
}


@pytest.mark.parametrize("switched", SWITCHED)
def test_dispatch_size_changes_no_bit(small_data: Path, switched: str) -> None:
    config = small_config(**SWITCHED[switched])
    task = make_task(config, open_dataset(small_data / "small"))
    together, apart = (
        jax.tree.map(np.asarray, trained(task, 4, cuts)) for cuts in ((9,), (1, 2, 5, 8, 9))
    )
    for one, other in zip(jax.tree.leaves(together), jax.tree.leaves(apart), strict=True):
        assert one.tobytes() == other.tobytes()
    singly = trained(task, 1, (9,))
    for one, other in zip(jax.tree.leaves(together), jax.tree.leaves(singly), strict=True):
        assert one == pytest.approx(np.asarray(other), rel=1e-3, abs=1e-5)


def test_dispatched_runs_stop_and_resume_exactly(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "steps_at_once", lambda: 3)
    seen = list[int]()
    _, _, undisturbed = run_small(
        small_data, tmp_path / "whole", Recorder(seen.append), max_steps=10
    )
    assert seen == [3, 4, 7, 8, 10]  # an evaluation is due at 4 and 8
    for stop in (3, 7):
        outcome, _, folder = run_small(
            small_data, tmp_path / "stopped", stopping_at(stop), max_steps=10
        )
        assert outcome.progress.step == stop
    run_small(small_data, tmp_path / "stopped", max_steps=10)
    check_same_end(folder, undisturbed)
