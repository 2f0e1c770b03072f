"""What a run will take, known before it begins: its parameters and its memory."""

from dataclasses import dataclass
from typing import Any

import jax

from reprise.training import item_table
from reprise.training.dispatch import compile_work
from reprise.training.schedules import schedule_of
from reprise.training.setup import Task, initial_shapes

# Measured over six configurations on a CPU, 0.4 to 2 GB, the estimate is 26% low to 28% high.
_PROCESS = 400_000_000  # bytes: Python and its libraries, before anything of a run
_STEPS_HELD = 3  # times a step's own memory: of the one that runs, the next, and what is kept ready


@dataclass(frozen=True)
class Sizes:
    """item_parameters, network_parameters: numbers that are learned; state: bytes of a checkpoint;
    memory: bytes that the process needs at its peak, about.
    """

    item_parameters: int
    network_parameters: int
    state: int
    memory: int


def sizes_of(task: Task, trains: bool = True) -> Sizes:
    """Return a task's sizes. Where it trains, the step is compiled for this, and XLA says what it
    needs; the training finds it compiled. Where it does not (the run is finished), none is.

    memory: the process, the state, the copy of it that is being saved, the candidates of an
    evaluation, and the step.
    """
    arrays, config = initial_shapes(task), task.config
    state = sum(_size(leaf) for leaf in jax.tree.leaves(arrays))
    values = len(arrays.rows) * item_table.width(arrays.rows)  # beside their two moments
    network = sum(leaf.size for leaf in jax.tree.leaves(arrays.params))
    held = 0
    if trains:
        schedule, rate = schedule_of(config), config.learning_rate
        step = compile_work(task.step, task.sampler, arrays, rate, schedule, task.at_once)
        held = _STEPS_HELD * _temporary(step.memory_analysis())
    return Sizes(values, network, state, _PROCESS + 2 * state + 4 * values + held)


def _temporary(analysis: Any) -> int:
    """Return the bytes of a program's intermediate values; 0 where the device does not say."""
    return int(getattr(analysis, "temp_size_in_bytes", 0))


def _size(array: Any) -> int:
    """Return the bytes of an array's shape."""
    return int(array.size * array.dtype.itemsize)
