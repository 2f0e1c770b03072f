"""What a run will take, known before it begins: its parameters and its memory."""

from dataclasses import dataclass

import jax
import numpy as np

from reprise.runs.loop import Task, fresh_state

_PROCESS = 350_000_000  # bytes: Python and its libraries, before anything of a run


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
    """Return a task's sizes, from the shapes alone.

    memory: the process, the state, the copy that is being saved, and the candidates of an
    evaluation with the scores of its users; the batch's own share is small beside them.
    """
    arrays = jax.eval_shape(lambda: fresh_state(task).arrays)
    leaves = jax.tree.leaves(arrays)
    state = sum(leaf.size * np.dtype(leaf.dtype).itemsize for leaf in leaves)
    values = arrays.rows.size // 3  # beside their two moments
    network = sum(leaf.size for leaf in jax.tree.leaves(arrays.params))
    return Sizes(values, network, state, _PROCESS + 2 * state + 4 * values)
