"""The bytes of a run, by the shapes of the arrays that training makes: no array is made."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax

from reprise.checkpoints import store
from reprise.config.model import model_of
from reprise.models.features import Features
from reprise.planning.description import Description, array_shape
from reprise.runtime import environment
from reprise.training import item_table
from reprise.training.batches import Batch
from reprise.training.estimate import size_of, sizes_by, temporary_of
from reprise.training.on_mesh import share_shapes
from reprise.training.optimizers import make_update
from reprise.training.schedules import schedule_of
from reprise.training.setup import arrays_of, objective_of, step_of
from reprise.training.state import (
    Arrays,
    Best,
    LogMark,
    Progress,
    Shaped,
    share_of,
    snapshot_shapes,
)

_DIGEST = "0" * 64


def shapes_of(planned: Description) -> Arrays:
    """Return the shapes of a fresh state's arrays; on several devices, those of all of them."""
    make = partial(arrays_of, planned.config, planned.items, mesh=planned.mesh)
    shapes: Arrays = jax.eval_shape(
        lambda features: make(features=features), planned.dealt_features
    )
    return shapes


def on_device(planned: Description, arrays: Arrays) -> dict[str, int]:
    """Return the bytes that each device holds between steps."""
    own, features = _of_one(planned, arrays)
    rows = size_of(own.rows)
    values = rows // own.rows.shape[-1] * item_table.width(own.rows)
    parts = {
        "items": values,
        "optimizer": rows
        - values
        + size_of(own.row_steps)
        + sum(map(_sum, (own.m, own.v, own.steps))),
        "network": _sum(own.params) + size_of(own.loss_sum),
        "averages": _sum(own.average),
        "features": _sum(features),
    }
    return {**parts, "total": sum(parts.values())}


def checkpoint(planned: Description, arrays: Arrays) -> dict[str, int]:
    """Return the bytes of a checkpoint's files, and of what the process that writes most of them
    writes; `described` of its two JSON files is known but for some digits.
    """
    rows = None if planned.mesh is None else planned.items + 1
    stored = snapshot_shapes(arrays, rows)
    sizes = {name: store.stored_size(shape) for name, shape in stored.items()}
    by_process = [0] * planned.processes
    for name, size in sizes.items():
        share = share_of(name)
        by_process[0 if share is None else share[1] // planned.devices] += size
    return {
        "arrays": sum(sizes.values()),
        "described": _described(planned, stored),
        "written_by_process": max(by_process),
        "kept": store.MOST_KEPT * sum(sizes.values()),
    }


def memory(planned: Description, arrays: Arrays, temporary: int, copies: bool = True) -> int:
    """Return the estimated peak memory of a process, as training states it when it starts, but for
    the edges of a memory. copies: whether checkpoints are written from a copy of the state.
    """
    config, own, every = planned.config, planned.devices, planned.all_devices
    about = (planned.items, temporary, own, every, planned.dealt_features, copies)
    return sizes_by(arrays, config, *about).memory


def temporary(planned: Description, arrays: Arrays, batch: Batch) -> int:
    """Return the bytes of a step's intermediate values on each device: its program is compiled."""
    config, every = planned.config, planned.all_devices
    own, features = _of_one(planned, arrays)
    step: Any = step_of(model_of(config), objective_of(config, planned.items), config)
    update = make_update(config.learning_rate, 1, schedule_of(config))
    lowered = step.lower(own, share_shapes(batch, every), update, features)
    return temporary_of(lowered.compile())


def _of_one(planned: Description, arrays: Arrays) -> tuple[Arrays, Features | None]:
    """Return the shapes of what one device has of the arrays and of the items' features."""
    features = planned.dealt_features
    if planned.mesh is None:
        return arrays, features
    return arrays.by_table(_without_first), jax.tree.map(_without_first, features)


def with_dimension(planned: Description, dim: int) -> Description:
    """Return the same run with another embedding dimension, and the hidden size where it was equal;
    UsageError where the model cannot have it.
    """
    config = planned.config
    hidden = dim if config.hidden_size == config.embedding_dim else config.hidden_size
    return replace(planned, config=replace(config, embedding_dim=dim, hidden_size=hidden))


def _described(planned: Description, stored: dict[str, Shaped]) -> int:
    """Return the bytes of a checkpoint's JSON files, of a state in the middle of a run."""
    config, number = planned.config, 0.1234567890123456
    step = config.max_steps // 2
    log = LogMark(step // config.test_iter, 300 * step // config.test_iter, _DIGEST)
    progress = Progress(
        config.learning_rate, step, 0, step, number, Best(number, step, 0), 0, 1e4 * number, log
    )
    identity = config.identity(_DIGEST) | {"item_ids": _DIGEST}
    used = environment.current()
    if planned.mesh is not None:
        used |= {environment.MESH: str(planned.all_devices)}
    return store.described_size(stored, progress, {"identity": identity, "environment": used})


def _without_first(array: Any) -> Any:
    return array_shape(*array.shape[1:], kind=array.dtype)


def _sum(tree: Any) -> int:
    return sum(map(size_of, jax.tree.leaves(tree)))
