"""Estimate a run's parameter counts and memory before it starts."""

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax.stages import Compiled

from reprise.config.schema import NONE, TrainConfig
from reprise.models.features import Features
from reprise.runtime import device
from reprise.runtime.memory import available_memory
from reprise.training import item_table
from reprise.training.dispatch import compile_work
from reprise.training.schedules import schedule_of
from reprise.training.setup import Task, initial_shapes
from reprise.training.state import Arrays, TrainState

# Over eight runs with large tables in 1, 2 and 4 processes, 0.8 to 12 GB each, it was 3% low
# to 7% high (docs/distributed.md); an earlier one, over six smaller runs, 26% low to 28% high.
_PROCESS = 400_000_000  # bytes: Python and its libraries, before anything of a run
_OF_ITEM_ON_MESH = 12  # bytes: what a process of several has of each item on the host
_STEPS_HELD = 3  # times a step's temporary memory: the running step, the next, and what is kept


@dataclass(frozen=True)
class Sizes:
    """Sizes of a run.

    Attributes:
        item_parameters, network_parameters: Numbers of learned parameters.
        state: Bytes of a checkpoint.
        memory: Estimated peak memory of the process, in bytes.
    """

    item_parameters: int
    network_parameters: int
    state: int
    memory: int


def sizes_of(task: Task, trains: bool = True) -> Sizes:
    """Estimate a task's sizes.

    If it trains, the step is compiled to ask XLA for its memory; training reuses the compiled step.
    The estimate of memory adds up the process, the state, the copy being saved (where there is room
    for it, see `copy_fits`), the candidates of an evaluation, the edges of a memory, and the step.
    """
    arrays, config = initial_shapes(task), task.config
    temporary = 0
    if trains:
        schedule, rate = schedule_of(config), config.learning_rate
        step = compile_work(
            task.step, task.sampler, arrays, rate, schedule, task.at_once, task.features, task.mesh
        )
        temporary = temporary_of(step)
    own, devices = _devices(task)
    about = (arrays, config, task.num_items, temporary, own, devices, task.features)
    sizes, available = sizes_by(*about), available_memory()
    if available is not None and sizes.memory > available:
        sizes = sizes_by(*about, copies=False)
    edges = 0 if task.edges is None else task.edges.nbytes
    return replace(sizes, memory=sizes.memory + edges)


def sizes_by(
    arrays: Arrays,
    config: TrainConfig,
    num_items: int,
    temporary: int,
    own: int = 1,
    devices: int = 1,
    features: Features | None = None,
    copies: bool = True,
) -> Sizes:
    """Estimate sizes by the shapes of a fresh state's arrays.

    Args:
        arrays: The shapes, those of all devices.
        config: The run's configuration.
        num_items: V.
        temporary: Bytes of a step's intermediate values on each device.
        own: Devices of a process.
        devices: Devices of all processes.
        features: What of the items' features is trained on, or its shapes.
        copies: Whether checkpoints are written from a copy of the state.
    """
    tables, small = _bytes_of(num_items, arrays)
    values = (num_items + 1) * item_table.width(arrays.rows)  # beside their two moments
    network = sum(leaf.size for leaf in jax.tree.leaves(arrays.params))
    held = (1 + copies) * tables * own // devices
    evaluated = _evaluated(config, values, own, devices, features)
    of_items = 0 if devices == 1 else _OF_ITEM_ON_MESH * num_items
    memory = held + evaluated + of_items + own * (small + _STEPS_HELD * temporary) + small
    return Sizes(values, network, tables + small, _PROCESS + memory)


def copy_fits(task: Task, state: TrainState) -> bool:
    """Return whether a copy of the state fits into this machine's memory beside the candidates of
    an evaluation. Where it does not, and the state is not in memory of an accelerator, checkpoints
    are written from the state itself. All processes have to ask.
    """
    jax.tree.map(lambda array: array.block_until_ready(), state.arrays)  # or it is in no memory yet
    if task.mesh is not None:
        task.mesh.greatest(0)  # nor are those of other processes
    available, here = available_memory(), task.processes.on_this_host
    if available is None or device.present():
        return True
    arrays = initial_shapes(task)
    own, devices = _devices(task)
    tables, _ = _bytes_of(task.num_items, arrays)
    values = (task.num_items + 1) * item_table.width(arrays.rows)
    evaluated = _evaluated(task.config, values, own, devices, task.features)
    return here * (tables * own // devices + evaluated) <= available


def _devices(task: Task) -> tuple[int, int]:
    """Return how many devices this process has, and all processes."""
    return (1, 1) if task.mesh is None else (len(task.mesh.places), task.mesh.size)


def _evaluated(
    config: TrainConfig, values: int, own: int, devices: int, features: Features | None
) -> int:
    """Return the bytes of the candidates of an evaluation in a process, all items' being so many
    numbers; what features add to them is kept with these. With a memory, each process has all.
    """
    scoring = config.scoring
    is_view = scoring.tied and not scoring.cosine and own == 1  # of the rows, as they are stored
    if devices > 1 and config.memory != NONE:
        return 8 * values
    if features is None:
        return 0 if is_view else 4 * values * own // devices
    of_features = sum(size_of(leaf) for leaf in jax.tree.leaves(features))
    return ((4 if is_view else 8) * values + of_features) * own // devices


def _bytes_of(num_items: int, arrays: Arrays) -> tuple[int, int]:
    """Return the bytes of the tables of a checkpoint, and of its other arrays."""
    tables = {"rows", "row_steps", "average"}
    small = sum(
        size_of(leaf)
        for name, value in arrays._asdict().items()
        if name not in tables
        for leaf in jax.tree.leaves(value)
    )
    row = size_of(arrays.rows) / math.prod(arrays.rows.shape[:-1]) + arrays.row_steps.dtype.itemsize
    averages = sum(map(size_of, jax.tree.leaves(arrays.average)))
    return int((num_items + 1) * row) + averages, small


def temporary_of(program: Compiled) -> int:
    """Return the bytes of a program's intermediate values; 0 if the device does not report them."""
    return int(getattr(program.memory_analysis(), "temp_size_in_bytes", 0))


def size_of(array: Any) -> int:
    """Return the bytes of an array, or of its shape."""
    return int(array.size * array.dtype.itemsize)
