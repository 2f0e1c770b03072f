"""Steps as the device is given them: one at a time on a CPU, many at once on an accelerator; and no
further ahead of it than a stop should wait for.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import jax
from jax import Array
from jax.stages import Compiled, Wrapped

from reprise.training.batches import Sampler
from reprise.training.optimizers import make_update, make_updates
from reprise.training.schedules import Schedule
from reprise.training.state import Arrays
from reprise.training.step import TrainStep, make_train_steps

# What a stop may find unfinished. JAX lets 32 steps wait on a CPU, which are ten seconds of the
# preset's; waiting for all of them costs the gap until the next is dispatched, some 0.1 % of this.
_SECONDS = 0.25


class Work(NamedTuple):
    """run(arrays) -> arrays, which consumes them: some updates, of which `last` is the last."""

    last: int
    run: Callable[[Arrays], Arrays]


def portions(first: int, last: int, every: int, at_once: int) -> Iterator[range]:
    """Split updates first..last into ranges of at most `at_once` that never cross a multiple of
    `every`, after which something else is due.
    """
    while first <= last:
        end = min(first + at_once, last + 1, -(-first // every) * every + 1)
        yield range(first, end)
        first = end


def make_work(
    step: TrainStep,
    sampler: Sampler,
    branch: int,
    learning_rate: float,
    schedule: Schedule,
    at_once: int,
) -> Callable[[range], Work]:
    """Return work(updates), up to `at_once` of them: what they need is drawn, and on its way to the
    device, before it is run.

    Several are one program, whose loop they pass through as many times as they are: how updates are
    put together, which depends on where a run was stopped, leaves no trace in the bits.
    """
    program = _program(step, at_once)

    def work(updates: range) -> Work:
        inputs = _inputs(sampler, branch, learning_rate, schedule, updates, at_once)
        return Work(updates[-1], lambda arrays: program(arrays, *inputs))

    return work


def compile_work(
    step: TrainStep,
    sampler: Sampler,
    arrays: Arrays,
    learning_rate: float,
    schedule: Schedule,
    at_once: int,
) -> Compiled:
    """Compile what runs the first updates of a run, of arrays whose shapes suffice; JAX keeps it,
    so that work which `make_work` makes of the same step is not compiled again.
    """
    program = cast(Wrapped, _program(step, at_once))
    inputs = _inputs(sampler, 0, learning_rate, schedule, range(1, 2), at_once)
    return program.lower(arrays, *inputs).compile()


def _program(step: TrainStep, at_once: int) -> Callable[..., Arrays]:
    return step if at_once == 1 else make_train_steps(step)


def _inputs(
    sampler: Sampler,
    branch: int,
    learning_rate: float,
    schedule: Schedule,
    updates: range,
    at_once: int,
) -> tuple[Any, ...]:
    """Return what the program takes beside the arrays."""
    if at_once == 1:
        (number,) = updates
        return sampler.batch(branch, number), make_update(learning_rate, number, schedule)
    # Always as many, for one program; those behind the last are not made.
    numbers = [*updates, *[updates[-1]] * (at_once - len(updates))]
    drawn = sampler.batches(branch, numbers), make_updates(learning_rate, numbers, schedule)
    return *jax.device_put(drawn), len(updates)


class RunAhead:
    """Waits for the device where about _SECONDS of work, as steps have lately taken, lie ahead."""

    def __init__(self) -> None:
        self._ahead = 0
        self._seconds_a_step = math.inf
        self._since = time.monotonic()

    def dispatched(self, result: Array) -> None:
        """Count a step, of which `result` is a part."""
        self._ahead += 1
        if self._ahead * self._seconds_a_step >= _SECONDS:
            result.block_until_ready()
            now = time.monotonic()
            self._seconds_a_step = (now - self._since) / self._ahead
            self._ahead, self._since = 0, now
