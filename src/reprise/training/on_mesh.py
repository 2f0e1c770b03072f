"""The programs of training on a mesh of devices (`runtime.mesh`).

Each device has its share of the item rows and of the batch's examples, and all small parameters. A
step sums up the values of the batch's unique rows, to which each device adds those of its own, and
the gradients by them: what devices exchange depends on the batch, not on the catalogue. No program
has an array as large as the whole table.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import NamedSharding
from jax.typing import ArrayLike

from reprise.config.schema import SETTINGS, TrainConfig
from reprise.errors import UsageError
from reprise.models.features import Features
from reprise.models.registry import UNTRAINED, Model
from reprise.runtime.mesh import AXIS, DEALT, EVERYWHERE, Mesh, own_places
from reprise.training import averaging, features_on_mesh, item_table, losses
from reprise.training.batches import Batch
from reprise.training.optimizers import ApplyPending, Update, apply_all_of
from reprise.training.schedules import Schedule
from reprise.training.state import Arrays
from reprise.training.step import Exchange, TrainStep, update_of

# Negatives are shared by all examples.
_BATCH = Batch(
    unique_rows=EVERYWHERE,
    history=DEALT,
    prefixes=DEALT,
    target=DEALT,
    negatives=EVERYWHERE,
    log_q_target=DEALT,
    log_q_negatives=EVERYWHERE,
    key=EVERYWHERE,
    times=DEALT,
    packed=DEALT,
)


def check(config: TrainConfig, mesh: Mesh) -> None:
    """Refuse what cannot be trained on several devices."""
    refused = {
        "model": config.model in UNTRAINED,
        "sampler": config.sampler == "full",  # each device would have all rows
        "selection": config.selection == "sample",
    }
    for option, is_refused in refused.items():
        if is_refused:
            flag, value = SETTINGS[option].flags[0], getattr(config, option)
            raise UsageError("not_on_mesh", option=flag, value=value)
    if config.batch_size % mesh.size:
        raise UsageError("batch_not_split", batch_size=config.batch_size, devices=mesh.size)


def placed(mesh: Mesh, batch: Batch) -> Batch:
    """Put a batch on the devices."""
    put: Any = {DEALT: mesh.split, EVERYWHERE: partial(mesh.everywhere, copied=False)}
    specs: Any = _BATCH
    return Batch._make(
        None if array is None else put[spec](array)
        for array, spec in zip(batch, specs, strict=True)
    )


def share_shapes(batch: Batch, devices: int) -> Batch:
    """Return the shapes of what each of so many devices gets of a batch."""
    shape: Any = jax.ShapeDtypeStruct

    def share(array: Any, spec: Any) -> Any:
        if array is None:
            return None
        first = array.shape[0] // (devices if spec == DEALT else 1)
        return shape((first, *array.shape[1:]), array.dtype)

    specs: Any = _BATCH
    return Batch._make(share(*each) for each in zip(batch, specs, strict=True))


@cache
def make_train_step(
    mesh: Mesh, model: Model, optimizer: str, objective: losses.Objective, schedule: Schedule
) -> TrainStep:
    """Return `step.make_train_step` of batches that are `placed`."""
    update = update_of(model, optimizer, objective, schedule)

    def of_device(arrays: Arrays, batch: Batch, at: Update, features: Features | None) -> Arrays:
        exchange = _exchange(mesh.size, len(arrays.rows))
        return update(arrays, batch, at, features_on_mesh.of_device(features), exchange)

    on_each = _on_each(mesh, of_device, (_BATCH, EVERYWHERE, DEALT))

    def step(arrays: Arrays, batch: Batch, at: Update, features: Features | None = None) -> Arrays:
        return on_each(arrays, batch, at, features)

    return jax.jit(step, donate_argnums=0)


@cache
def make_apply_pending(mesh: Mesh, optimizer: str, schedule: Schedule) -> ApplyPending:
    """Return `optimizers.make_apply_pending` of a state on the mesh."""
    apply_all = apply_all_of(optimizer, schedule)
    return jax.jit(_on_each(mesh, apply_all, (EVERYWHERE, EVERYWHERE)), donate_argnums=0)


def make_initial_arrays(
    mesh: Mesh, initial: Callable[..., Arrays]
) -> Callable[[Features | None], Arrays]:
    """Return what makes initial(init_table, features), which is `step.initial_arrays`, on a mesh
    with dealt features.
    """

    def of_place(place: ArrayLike, features: Features | None) -> Arrays:
        table = partial(item_table.init_share, place, mesh.size)
        return _dealt(initial(init_table=table, features=features_on_mesh.of_device(features)))

    def make(features: Features | None) -> Arrays:
        shapes = jax.eval_shape(partial(of_place, 0), features)
        mapped = _mapped(
            mesh, lambda own: of_place(lax.axis_index(AXIS), own), (DEALT,), _specs_of(shapes)
        )
        made: Arrays = mapped(features)
        return made

    return make


@cache
def make_average(mesh: Mesh) -> Callable[[Arrays, ArrayLike], Arrays]:
    """Return `averaging.moved` of a state on the mesh."""
    return jax.jit(_on_each(mesh, averaging.moved, (EVERYWHERE,)), donate_argnums=0)


def shapes_of(mesh: Mesh, arrays: Arrays) -> Arrays:
    """Return the shapes of arrays with what device each part is on, as a state has them: programs
    compiled for these are found again.
    """

    def placed(spec: Any, one: Any) -> Any:
        shape: Any = jax.ShapeDtypeStruct
        return shape(one.shape, one.dtype, sharding=NamedSharding(mesh.devices, spec))

    made: Arrays = jax.tree.map(placed, _specs_of(arrays), arrays)
    return made


def _specs_of(arrays: Arrays) -> Arrays:
    """Return where each of a state's arrays is."""
    everywhere: Arrays = jax.tree.map(lambda _: EVERYWHERE, arrays)
    return everywhere.by_table(lambda _: DEALT)


def _on_each(
    mesh: Mesh, program: Callable[..., Arrays], specs: tuple[Any, ...]
) -> Callable[..., Arrays]:
    """Return what runs program(arrays, ...) on each device's own arrays; specs: of the others."""

    def of_device(arrays: Arrays, *inputs: Any) -> Arrays:
        return _dealt(program(arrays.by_table(lambda table: table[0]), *inputs))

    def on_each(arrays: Arrays, *inputs: Any) -> Arrays:
        own = _specs_of(arrays)
        made: Arrays = _mapped(mesh, of_device, (own, *specs), own)(arrays, *inputs)
        return made

    return on_each


def _mapped(mesh: Mesh, program: Callable[..., Arrays], specs: Any, made: Arrays) -> Any:
    # Gradients are summed up by `Exchange.mean`, not by what JAX would derive.
    return jax.shard_map(
        program, mesh=mesh.devices, in_specs=specs, out_specs=made, check_vma=False
    )


def _dealt(arrays: Arrays) -> Arrays:
    return arrays.by_table(lambda table: table[None])


def _exchange(devices: int, room: int) -> Exchange:
    """Return what devices exchange that have `room` rows each."""

    def gathered(values: Array, places: ArrayLike) -> Array:
        own = jnp.asarray(places) < room
        add_up: Any = lax.psum
        summed: Array = add_up(jnp.where(own[:, None], values, 0), AXIS)
        return summed

    return Exchange(
        lambda rows: own_places(rows, devices, room),
        gathered,
        partial(lax.pmean, axis_name=AXIS),
        partial(features_on_mesh.of_rows, room=room),
    )
