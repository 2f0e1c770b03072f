"""What a run will take, known before it begins: its parameters and its memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var

from reprise.training import item_table
from reprise.training.optimizers import make_update
from reprise.training.schedules import schedule_of
from reprise.training.setup import Task, initial_shapes

# Measured over ten configurations on a CPU, 0.4 to 4 GB, the estimate is 12% low to 30% high.
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


def sizes_of(task: Task) -> Sizes:
    """Return a task's sizes, from the shapes of its first step, which is traced but not run; the
    training finds the trace again.

    memory: the process, the state, the copy of it that is being saved, the candidates of an
    evaluation, and the step.
    """
    arrays = initial_shapes(task)
    config, step = task.config, jax.jit(task.step)
    update = make_update(config.learning_rate, 1, schedule_of(config))
    traced = step.trace(arrays, task.sampler.batch(0, 1), update)
    state = sum(_size(leaf) for leaf in jax.tree.leaves(arrays))
    values = len(arrays.rows) * item_table.width(arrays.rows)  # beside their two moments
    network = sum(leaf.size for leaf in jax.tree.leaves(arrays.params))
    held = _STEPS_HELD * peak(traced.jaxpr.jaxpr)
    return Sizes(values, network, state, _PROCESS + 2 * state + 4 * values + held)


def peak(jaxpr: Jaxpr) -> int:
    """Return the most bytes that a program's intermediate values take at once, each held from where
    it is made to its last use.
    """
    last = {
        value: place
        for place, equation in enumerate(jaxpr.eqns)
        for value in equation.invars
        if not isinstance(value, Literal)
    }
    kept = {value for value in jaxpr.outvars if not isinstance(value, Literal)}
    held: dict[Var, int] = {}
    most = 0
    for place, equation in enumerate(jaxpr.eqns):
        made = {value: _size(value.aval) for value in equation.outvars}
        held |= made
        inside = max((peak(part) for part in _parts(equation.params)), default=0)
        most = max(most, sum(held.values()) + max(0, inside - sum(made.values())))
        ended = [value for value in held if last.get(value, place) <= place and value not in kept]
        for value in ended:
            del held[value]
    return most


def _parts(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """Yield the programs inside an operation: what a loop repeats, what a call calls."""
    for param in params.values():
        for part in param if isinstance(param, tuple | list) else (param,):
            if isinstance(part, ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, Jaxpr):
                yield part


def _size(array: Any) -> int:
    """Return the bytes of an array's shape."""
    return int(array.size * array.dtype.itemsize)
