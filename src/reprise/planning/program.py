"""What a train step computes and exchanges, read off the program that training traces."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from reprise.config.model import model_of
from reprise.planning.description import Description
from reprise.training.batches import Batch
from reprise.training.estimate import size_of
from reprise.training.optimizers import make_update
from reprise.training.schedules import schedule_of
from reprise.training.setup import objective_of, step_of
from reprise.training.state import Arrays

# Sums over the devices: the only exchanges that steps have. Others would be an error here.
_SUMS = ("psum", "psum2", "psum_invariant")
_OTHERS = ("all_gather", "all_to_all", "ppermute", "reduce_scatter", "pgather")


class Work(NamedTuple):
    """What each device does in a step.

    Attributes:
        flops: Of matrix products, a multiply and an add each.
        moved: Least bytes between processor and memory: rows, parameters and moments are read and
            written once, and what is exchanged is.
        exchanged: Bytes that are summed up over the devices.
        rounds: How often sums wait for earlier ones; XLA makes those together that do not.
    """

    flops: int
    moved: int
    exchanged: int = 0
    rounds: int = 0


def work_of(planned: Description, arrays: Arrays, batch: Batch) -> Work:
    """Return the work of a step on a batch of these shapes; nothing is computed."""
    config, mesh = planned.config, planned.mesh
    step: Any = step_of(model_of(config), objective_of(config, planned.items), config, mesh)
    update = make_update(config.learning_rate, 1, schedule_of(config))
    traced = jax.make_jaxpr(step)(arrays, batch, update, planned.dealt_features)
    flops = exchanged = 0
    for equation, times in _equations(traced.jaxpr):
        name = equation.primitive.name
        assert name not in _OTHERS, name
        if name == "dot_general":
            flops += times * _flops(equation)
        elif name in _SUMS:
            exchanged += times * sum(size_of(one.aval) for one in equation.outvars)
    moved, rounds = _moved(planned, arrays, batch) + 2 * exchanged, _rounds(traced.jaxpr)
    if planned.processes > 1:  # what each has read for the batch, see `training.by_process`
        read = (batch.history, batch.target, batch.times)
        exchanged += sum(size_of(part) for part in read if part is not None)
        rounds += 1
    return Work(flops, moved, exchanged, rounds)


def _equations(program: Any, times: int = 1) -> Iterator[tuple[Any, int]]:
    """Yield a program's equations, and how often each is computed: loops of unknown length once."""
    for equation in program.eqns:
        yield equation, times
        within = times * equation.params["length"] if equation.primitive.name == "scan" else times
        for inner in _inner(equation):
            yield from _equations(inner, within)


def _inner(equation: Any) -> Iterator[Any]:
    """Yield the programs that an equation computes."""
    for value in equation.params.values():
        for one in value if isinstance(value, list | tuple) else [value]:
            inner = getattr(one, "jaxpr", one)
            if hasattr(inner, "eqns"):
                yield inner


def _rounds(program: Any) -> int:
    """Return the length of the longest chain of sums over the devices, in each of which one waits
    for the one before.
    """
    after: dict[int, int] = {}  # how many sums a value waits for
    for equation in program.eqns:
        before = max((after.get(id(one), 0) for one in equation.invars), default=0)
        own = int(equation.primitive.name in _SUMS) + max(map(_rounds, _inner(equation)), default=0)
        after |= {id(one): before + own for one in equation.outvars}
    return max(after.values(), default=0)


def _flops(product: Any) -> int:
    (contracted, _), _ = product.params["dimension_numbers"]
    left, out = product.invars[0].aval, product.outvars[0].aval
    length: int = math.prod(left.shape[axis] for axis in contracted)
    return 2 * int(out.size) * length


def _moved(planned: Description, arrays: Arrays, batch: Batch) -> int:
    every = planned.all_devices
    rows = math.prod(arrays.rows.shape[:-1]) // every
    row = (size_of(arrays.rows) + size_of(arrays.row_steps)) // (rows * every)
    dense = planned.config.optimizer == "adam"
    used = rows if dense else min(rows, -(-batch.unique_rows.shape[0] // every))
    moved = used * row
    for group in (arrays.params, arrays.m, arrays.v):
        for name, array in group.items():
            moved += size_of(array)
            if name in arrays.steps and not dense:  # no more rows than the batch has items
                left = max(0, len(array) - batch.unique_rows.shape[0])
                moved -= size_of(array) // len(array) * left
    return 2 * moved
