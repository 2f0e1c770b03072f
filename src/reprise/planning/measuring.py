"""Measure a machine's constants in some seconds, by the programs that training runs.

The step that is measured has each device's share of the planned batch, and as many of the planned
devices as this machine can be: of a larger catalogue, a table that is larger than caches.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from reprise.config.model import model_of
from reprise.evaluation.evaluate import evaluate
from reprise.planning import sizes, stand_in
from reprise.planning.constants import Constants
from reprise.planning.description import Description
from reprise.planning.program import Work, work_of
from reprise.planning.steps import fastest, stepped
from reprise.planning.worker import stepped_together
from reprise.retrieval.search import Chunk, search, worker_threads
from reprise.retrieval.vectors import CHUNK, retriever_of_rows, user_vectors
from reprise.runtime import device, environment
from reprise.runtime.mesh import at_hand, mesh_of
from reprise.training import item_table
from reprise.training.estimate import size_of
from reprise.training.setup import arrays_of
from reprise.training.state import Arrays

MOST_HERE = 4  # devices, and processes, that are tried on one machine
_TABLE = 256 * 10**6  # bytes, more than caches hold
_EVALUATED, _SEARCHED = 2 * CHUNK, 65_536  # users and items
_SIDE, _ELEMENTS = 1536, 8_000_000


def trial_of(planned: Description) -> Description:
    """Return what of a planned run this machine can be: on fewer devices and items, without
    features.
    """
    processes = min(planned.processes_here, MOST_HERE)
    if processes > 1:
        devices = min(planned.devices, max(1, MOST_HERE // processes))
    else:
        devices = at_hand(min(planned.devices, MOST_HERE))
    config = stand_in.smaller(planned, devices * processes)
    row = size_of(sizes.shapes_of(planned.on(1, 1)).rows) // (planned.items + 1)
    items = min(planned.items, max(1, _TABLE // row))
    tried = replace(planned, interconnect=None).on(devices, processes)
    return replace(tried, config=config, items=items, features=None)


def measured(planned: Description) -> Constants:
    """Measure the constants of this machine for a planned run."""
    tried = trial_of(planned)
    if tried.processes > 1:
        found = stepped_together(tried)
    else:
        found = stepped(tried, mesh_of(tried.devices))
    shared = not device.present()
    flops, memory_rate = _products(), _memory_rate()
    work = work_of(tried, sizes.shapes_of(tried), stand_in.drawn_of(tried).batch)
    here = tried.all_devices if shared else 1
    user, score = _evaluation(tried)
    return Constants(
        machine=environment.current()["device"],
        shared=shared,
        of=named(planned),
        devices=tried.devices,
        processes=tried.processes,
        flops=flops,
        memory_rate=memory_rate,
        exchange_seconds=found.exchange,
        exchange_rate=found.rate,
        step_seconds=found.step,
        floor_seconds=here * floor(work, flops, memory_rate),
        user_seconds=user,
        score_seconds=score,
        row_seconds=found.row,
    )


def floor(work: Work, flops: float, memory_rate: float) -> float:
    """Return the seconds that a device's products and its memory traffic take."""
    return work.flops / flops + work.moved / memory_rate


def named(planned: Description) -> str:
    """Return the settings of the step that is measured for a planned run."""
    config = planned.config
    share = config.batch_size // planned.all_devices
    return (
        f"{config.model} d{config.embedding_dim} h{config.hidden_size} L{config.maxlen}"
        f" K{config.num_interest} e{config.encoder_layers} m{config.targets}"
        f" {config.sampler} S{config.negatives} b{share} {config.optimizer}"
    )


def _products() -> float:
    """Return the FLOPs a second of matrix products."""
    one = jnp.ones((_SIDE, _SIDE), jnp.float32)
    product = jax.jit(jnp.matmul)
    return 2 * _SIDE**3 / fastest(lambda: product(one, one).block_until_ready(), 6)


def _memory_rate() -> float:
    """Return the bytes a second of a + b into c, over arrays larger than caches."""
    if device.present():
        x, y = jnp.ones((2, _ELEMENTS * 8), jnp.float32)
        add: Callable[[Array, Array], Array] = jax.jit(jnp.add)
        return 3 * float(x.nbytes) / fastest(lambda: add(x, y).block_until_ready(), 6)
    a, b, c = np.ones((3, _ELEMENTS), np.float32)
    cores = worker_threads()
    parts = [slice(*ends) for ends in pairwise(np.linspace(0, _ELEMENTS, cores + 1).astype(int))]
    with ThreadPoolExecutor(cores) as pool:

        def add_all() -> None:
            list(pool.map(lambda part: np.add(a[part], b[part], out=c[part]), parts))

        return 3 * a.nbytes / fastest(add_all, 6)


def _evaluation(tried: Description) -> tuple[float, float]:
    """Return the seconds of an evaluation for a user, and for each item that is scored for one."""
    if tried.config.is_final_fit:
        return 0.0, 1e-12
    config, items = tried.config, min(tried.items, _SEARCHED)
    users = stand_in.evaluated(config, items, _EVALUATED)
    arrays: Arrays = jax.jit(lambda: arrays_of(config, items))()
    width = item_table.width(arrays.rows)
    own = (arrays.rows, width, arrays.params, None, config.request_at)
    retriever = retriever_of_rows(model_of(config), config.scoring, *own)
    vectors = list(user_vectors(retriever, users))  # compiles
    every = np.ascontiguousarray(retriever.candidates())
    top_n = max(config.cutoffs)

    def searched() -> None:
        list(search((Chunk(one, top_n) for one in vectors), every))

    searching = fastest(searched, 2)
    whole = fastest(lambda: evaluate(retriever, users, config.cutoffs), 2)
    return max(whole - searching, 0.0) / _EVALUATED, searching / (_EVALUATED * items)
