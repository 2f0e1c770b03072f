"""Dispatch steps to the device: one at a time on a CPU, several per call on an accelerator, and
only as far ahead as a stop request can wait for.
"""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any, NamedTuple, cast

import jax
from jax import Array
from jax.stages import Compiled, Wrapped

from reprise.models.features import Features
from reprise.runtime.mesh import Mesh
from reprise.training.batches import Draw, Sampler, prefetch
from reprise.training.by_process import Part
from reprise.training.on_mesh import placed
from reprise.training.optimizers import make_update, make_updates
from reprise.training.schedules import Schedule
from reprise.training.state import Arrays
from reprise.training.step import TrainStep, make_train_steps

# Work that may be in flight when a stop is requested. JAX queues up to 32 steps on a CPU, which is
# ten seconds with the preset. Draining the queue costs the gap until the next dispatch, about 0.1%.
_SECONDS = 0.25


class Work(NamedTuple):
    """Updates ready to run: run(arrays) -> arrays consumes its input; `last` is the last update."""

    last: int
    run: Callable[[Arrays], Arrays]


class Own(NamedTuple):
    """What this process has read for an update, see `by_process.Part`; then what all have."""

    number: int
    draw: Draw
    taken: Any


def portions(first: int, last: int, every: int, at_once: int) -> Iterator[range]:
    """Split updates first..last into ranges of at most `at_once` that never cross a multiple of
    `every`, the evaluation interval.
    """
    while first <= last:
        end = min(first + at_once, last + 1, -(-first // every) * every + 1)
        yield range(first, end)
        first = end


def work_of(
    step: TrainStep,
    sampler: Sampler,
    branch: int,
    learning_rate: float,
    schedule: Schedule,
    at_once: int,
    ranges: Iterable[range],
    features: Features | None = None,
    mesh: Mesh | None = None,
    check: Callable[[], None] = lambda: None,
) -> Generator[Work, None, None]:
    """Yield the work of each of the ranges of up to `at_once` updates. Threads draw their batches
    and start the transfer to the device before they run; check() is called before each is drawn.

    Several updates run as one program, a loop over the updates. How updates are grouped depends on
    where a run was stopped; the results are bitwise identical for every grouping. Of several
    processes, each reads its own users' sequences alone, and hears of the others': all have to take
    the same work in the same order.
    """
    program, about = _program(step, at_once), (sampler, branch, learning_rate, schedule)

    def work(updates: range) -> Work:
        check()
        inputs = _inputs(*about, updates, at_once, mesh)
        return Work(updates[-1], lambda arrays: program(arrays, *inputs, features))

    if mesh is None or mesh.processes.count == 1:
        yield from prefetch(work, ranges)
        return
    part = Part.of(sampler, mesh)

    def own(updates: range) -> Own:
        check()
        (number,) = updates
        return Own(number, *part.own(branch, number))

    def together(heard: Own) -> Work:
        batch = part.batch(branch, heard.number, heard.draw, heard.taken)
        update = make_update(learning_rate, heard.number, schedule)
        inputs = placed(mesh, batch), update
        return Work(heard.number, lambda arrays: program(arrays, *inputs, features))

    with closing(prefetch(own, ranges)) as each:
        # Summed up where this is taken from, by the thread that runs the steps: the devices of all
        # processes have to get their programs in the same order.
        summed = (one._replace(taken=mesh.added_up(one.taken)) for one in each)
        yield from prefetch(together, summed)


def compile_work(
    step: TrainStep,
    sampler: Sampler,
    arrays: Arrays,
    learning_rate: float,
    schedule: Schedule,
    at_once: int,
    features: Features | None = None,
    mesh: Mesh | None = None,
) -> Compiled:
    """Compile the program that `work_of` runs, from the shapes of `arrays`. JAX caches it, so
    `work_of` with the same step does not compile it again.
    """
    program = cast(Wrapped, _program(step, at_once))
    inputs = _inputs(sampler, 0, learning_rate, schedule, range(1, 2), at_once, mesh)
    return program.lower(arrays, *inputs, features).compile()


def _program(step: TrainStep, at_once: int) -> Callable[..., Arrays]:
    return step if at_once == 1 else make_train_steps(step)


def _inputs(
    sampler: Sampler,
    branch: int,
    learning_rate: float,
    schedule: Schedule,
    updates: range,
    at_once: int,
    mesh: Mesh | None,
) -> tuple[Any, ...]:
    """Return the program's arguments between arrays and features."""
    if at_once == 1:
        (number,) = updates
        batch, update = sampler.batch(branch, number), make_update(learning_rate, number, schedule)
        return batch if mesh is None else placed(mesh, batch), update
    # Padded to a fixed number, for one compiled program; the padding is not run.
    numbers = [*updates, *[updates[-1]] * (at_once - len(updates))]
    drawn = sampler.batches(branch, numbers), make_updates(learning_rate, numbers, schedule)
    return *jax.device_put(drawn), len(updates)


class RunAhead:
    """Block when about _SECONDS of work is queued on the device, by recent step times."""

    def __init__(self) -> None:
        self._ahead = 0
        self._seconds_a_step = math.inf
        self._since = time.monotonic()

    def dispatched(self, result: Array) -> None:
        """Count a dispatched step; `result` is one of its outputs."""
        self._ahead += 1
        if self._ahead * self._seconds_a_step >= _SECONDS:
            result.block_until_ready()
            now = time.monotonic()
            self._seconds_a_step = (now - self._since) / self._ahead
            self._ahead, self._since = 0, now
