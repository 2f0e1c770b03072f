"""Take and time the steps that stand for a planned run's, as training takes them."""

import time
from collections.abc import Callable
from contextlib import closing
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax

from reprise.config.model import model_of
from reprise.planning import stand_in
from reprise.planning.description import Description
from reprise.runtime import device
from reprise.runtime.memory import keep_freed_memory
from reprise.runtime.mesh import AXIS, DEALT, EVERYWHERE, Mesh
from reprise.runtime.processes import ALONE
from reprise.training.dispatch import portions, work_of
from reprise.training.on_mesh import make_apply_pending as make_dealt_apply_pending
from reprise.training.optimizers import make_apply_pending
from reprise.training.schedules import schedule_of
from reprise.training.setup import arrays_of, objective_of, step_of
from reprise.training.state import Arrays

_SECONDS = 2.0  # of steps
_WARM, _BLOCK = 6, 5  # steps: to warm up, and timed together
_FEW, _MANY = 256, 1 << 20  # numbers that are summed up


class Stepped(NamedTuple):
    """What was measured of steps: seconds of one, of a sum over the devices, bytes a second that a
    device sends in it, and seconds to bring a row up to date.
    """

    step: float
    exchange: float
    rate: float
    row: float


def stepped(tried: Description, mesh: Mesh | None) -> Stepped:
    """Take steps on devices that are here."""
    seconds, arrays = _steps(tried, mesh)
    row = _row_seconds(tried, mesh, arrays)
    if mesh is None:
        return Stepped(seconds, 0.0, 0.0, row)
    return Stepped(seconds, *_exchange(mesh), row)


def fastest(work: Callable[[], object], times: int) -> float:
    """Return the seconds of the fastest of so many times, after one to warm up."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def _steps(tried: Description, mesh: Mesh | None) -> tuple[float, Arrays]:
    """Return the median seconds of a step, as training takes them, and the state after them."""
    config, model = tried.config, model_of(tried.config)
    at_once = device.steps_at_once() if mesh is None else 1
    step = step_of(model, objective_of(config, tried.items), config, mesh)
    sampler = stand_in.sampler_for(tried, config, tried.items, tried.all_devices)
    arrays: Arrays = jax.jit(lambda: arrays_of(config, tried.items, mesh=mesh))()
    keep_freed_memory()
    schedule, rate = schedule_of(config), config.learning_rate
    about = (step, sampler, 0, rate, schedule, at_once)
    together = ALONE if mesh is None else mesh.processes
    done = 0

    def block(steps: int) -> float:
        nonlocal arrays, done
        numbers = portions(done + 1, done + steps, steps, at_once)
        done += steps
        start = time.perf_counter()
        with closing(work_of(*about, numbers, None, mesh)) as works:
            for work in works:
                arrays = work.run(arrays)
        arrays.loss_sum.block_until_ready()
        return (time.perf_counter() - start) / steps

    size = _BLOCK * at_once
    block(max(_WARM, at_once))
    first = block(size)
    blocks = together.led(lambda: int(max(3, min(40, _SECONDS / (first * size)))))
    return median([block(size) for _ in range(blocks)]), arrays


def _row_seconds(tried: Description, mesh: Mesh | None, arrays: Arrays) -> float:
    """Return the seconds to bring one of all rows on this machine up to date."""
    config = tried.config
    about = (config.optimizer, schedule_of(config))
    apply = make_apply_pending(*about) if mesh is None else make_dealt_apply_pending(mesh, *about)
    taken = []
    for number in range(10_000, 10_003):
        start = time.perf_counter()
        arrays = apply(arrays, number, config.learning_rate)
        arrays.rows.block_until_ready()
        taken.append(time.perf_counter() - start)
    return min(taken) / (tried.items + 1)


def _exchange(mesh: Mesh) -> tuple[float, float]:
    """Return the seconds of a sum over the devices, and the bytes a second that each sends."""
    add_up: Any = lax.psum
    summed = jax.jit(
        jax.shard_map(
            lambda values: add_up(values, AXIS),
            mesh=mesh.devices,
            in_specs=DEALT,
            out_specs=EVERYWHERE,
            check_vma=False,
        )
    )

    def seconds(count: int) -> float:
        ones = mesh.split(np.ones(count * mesh.size, np.float32))
        return fastest(lambda: summed(ones).block_until_ready(), 12)

    few, many = seconds(_FEW), seconds(_MANY)
    sent = 2 * (mesh.size - 1) / mesh.size * 4 * (_MANY - _FEW)
    return few, sent / max(many - few, 1e-9)
