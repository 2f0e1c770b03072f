"""A fresh state does not depend on how its program was compiled."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from helpers.commands import small_config
from reprise.data.dataset import open_dataset
from reprise.training import setup as tasks
from reprise.training.setup import Task, fresh_state, make_task

pytestmark = pytest.mark.users_bits

MODERN = {"model": "Queries", "ensemble": 2, "encoder_layers": 2, "repeat_bias": True}


def task_of(data: Path, **config: Any) -> Task:
    return make_task(small_config(**config), open_dataset(data / "small"))


def bits(arrays: Any) -> list[bytes]:
    return [np.asarray(array).tobytes() for array in jax.tree.leaves(arrays)]


@pytest.mark.parametrize(
    "config", [{"model": "ComiRec-DR", "item_features": "all"}, {"model": "GRU4REC"}, MODERN]
)
def test_fresh_state_is_bitwise_equal_at_low_compile_effort(
    small_data: Path, config: dict[str, Any]
) -> None:
    task = task_of(small_data, **config)
    whole_effort = jax.jit(partial(tasks._initial_arrays, task))(task.features)
    assert bits(fresh_state(task).arrays) == bits(whole_effort)


def test_fresh_state_works_with_an_xla_without_the_effort_option(
    small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(small_data)
    expected = bits(fresh_state(task).arrays)
    monkeypatch.setattr(tasks, "_QUICKLY", {"xla_no_such_option": True})
    assert bits(fresh_state(task).arrays) == expected
