"""Build what a run needs from its config and data set: the jitted step, the batch sampler, the
evaluation users and the initial TrainState.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from reprise.config import memory
from reprise.config.by_data import Facts, by_data, settled
from reprise.config.features import chosen, digests, on_device, with_names, with_row
from reprise.config.model import model_of, shape_of
from reprise.config.schema import TrainConfig
from reprise.data.dataset import Dataset, Truth
from reprise.data.features import Feature
from reprise.data.sequences import EvaluationUsers, Sequences
from reprise.errors import DataError, UsageError
from reprise.memory.edges import Edges
from reprise.models.features import Features
from reprise.models.registry import Model, Params
from reprise.runtime import device, environment
from reprise.runtime import mesh as meshes
from reprise.runtime.memory import forget
from reprise.runtime.mesh import Mesh
from reprise.runtime.processes import ALONE, Processes
from reprise.training import averaging, features_on_mesh, on_mesh
from reprise.training.batches import Sampler, make_sampler
from reprise.training.item_start import begun, values_by_counts
from reprise.training.losses import Objective, positive_power
from reprise.training.negatives import Ranking, ranking_of
from reprise.training.optimizers import ApplyPending, make_apply_pending
from reprise.training.schedules import schedule_of
from reprise.training.state import (
    Arrays,
    Progress,
    Snapshot,
    TrainState,
    restore,
    take_snapshot,
)
from reprise.training.step import TrainStep, initial_arrays, make_train_step
from reprise.training.targets import TargetRule

_QUICKLY = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}


@dataclass(frozen=True)
class Task:
    """The training setup: step, sampler, evaluation users, and what identifies the run.

    Attributes:
        selecting: The validation users whose metric selects the best model.
        at_once: Maximum number of steps per dispatch.
        features: What of the items' features is trained on, for the step; None: nothing.
        edges: The edges of the memory; None: there is none.
        mesh: The devices; None: there is one.
    """

    config: TrainConfig
    dataset: Dataset
    identity: dict[str, Any]
    environment: dict[str, str]
    model: Model
    step: TrainStep
    apply_pending: ApplyPending
    sampler: Sampler
    valid: EvaluationUsers
    test: EvaluationUsers
    selecting: EvaluationUsers
    num_items: int
    item_category: NDArray[np.int32] | None
    truth: Mapping[str, Truth | None]
    at_once: int
    features: Features | None = None
    edges: Edges | None = None
    mesh: Mesh | None = None

    @property
    def processes(self) -> Processes:
        """The processes that train."""
        return ALONE if self.mesh is None else self.mesh.processes

    @property
    def leads(self) -> bool:
        """Whether this process writes the run's folder, and prints."""
        return self.processes.leads

    def led(self, decide: Callable[[], Any]) -> Any:
        """Return what decide() returns in the leading process, see `Processes.led`."""
        return self.processes.led(decide)

    @property
    def selector(self) -> str:
        """The validation metric that selects the best model."""
        return f"recall@{self.config.top_n}"


def make_task(
    config: TrainConfig, dataset: Dataset, edges: Edges | None = None, mesh: Mesh | None = None
) -> Task:
    """Build the task; raise UsageError or DataError if config and data do not fit together.

    edges: those of the memory, if they are known already. mesh: the devices, if they are several.
    """
    device.multiply_in_float32()
    train = dataset.whole_sequences() if config.is_final_fit else dataset.splits["train"]
    users, items = len(train.lengths), dataset.num_items
    facts = Facts(len(train.items), users, items, dataset.evaluation)
    config = by_data(with_names(config, dataset), facts)
    if mesh is not None:
        on_mesh.check(config, mesh)
    model = model_of(config)
    jax.eval_shape(lambda: model.init(jax.random.key(0), shape_of(config)))  # or refuse
    if config.routing_penalty > 0 and model.interests_and_attention is None:
        raise UsageError("no_attention", model=config.model)
    if config.reads_times and not dataset.has_times:
        raise DataError("dataset_untimed", dataset=dataset.folder)
    valid = dataset.evaluation_users("valid", config.maxlen)
    features, objective = chosen(config, dataset), objective_of(config, dataset.num_items)
    if config.memory == "none":
        edges = None
    elif edges is None:
        edges = memory.edges_of(config, train, dataset.num_items)
    rows = with_row(train, dataset.num_items)
    sampler = sampler_of(
        config,
        train,
        dataset.num_items,
        ranking_of(dataset.rank, dataset.cold),
        1 if mesh is None else mesh.size,
    )
    identity = _identity(config, dataset) | digests(features) | memory.digest(edges)
    if mesh is not None and mesh.processes.count > 1:  # each reads its own users' from here on
        forget(train.items)
        forget(train.times)
    return Task(
        config=config,
        dataset=dataset,
        identity=identity,
        environment=environment.current() | meshes.named(mesh),
        model=model,
        step=step_of(model, objective, config, mesh),
        apply_pending=_apply_pending(config, mesh),
        sampler=sampler,
        valid=valid,
        test=dataset.evaluation_users("test", config.maxlen),
        selecting=valid.sample(config.valid_users, config.seed) if config.valid_users else valid,
        num_items=dataset.num_items,
        item_category=dataset.known_categories,
        truth={split: dataset.truth(split) for split in ("valid", "test")},
        at_once=device.steps_at_once() if mesh is None else 1,
        features=_on_devices(features, rows, mesh),
        edges=edges,
        mesh=mesh,
    )


def sampler_of(
    config: TrainConfig,
    train: Sequences,
    num_items: int,
    ranking: Ranking | None = None,
    devices: int = 1,
) -> Sampler:
    """Return what draws a config's batches from training sequences, for so many devices."""
    return make_sampler(
        train,
        num_items,
        config.batch_size,
        config.maxlen,
        config.num_negatives,
        config.seed,
        config.sampler,
        TargetRule(config.min_history, config.targets, config.next_n, settled(config.next_share)),
        ranking,
        config.reads_times,
        model_of(config).packing is not None,
        devices,
    )


def _on_devices(
    features: Sequence[Feature], rows: NDArray[np.bool_], mesh: Mesh | None
) -> Features | None:
    """Return item features as arrays of the device, or dealt to those of a mesh."""
    if mesh is None:
        return on_device(features, rows)
    return features_on_mesh.dealt(mesh, features, rows)


def step_of(
    model: Model, objective: Objective, config: TrainConfig, mesh: Mesh | None = None
) -> TrainStep:
    """Return a config's train step, on one device or a mesh."""
    about = (model, config.optimizer, objective, schedule_of(config))
    return make_train_step(*about) if mesh is None else on_mesh.make_train_step(mesh, *about)


def _apply_pending(config: TrainConfig, mesh: Mesh | None) -> ApplyPending:
    about = (config.optimizer, schedule_of(config))
    return make_apply_pending(*about) if mesh is None else on_mesh.make_apply_pending(mesh, *about)


def _identity(config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    """Return what must not change between starts of the run: settings, and the data it uses."""
    identity = config.identity(dataset.fingerprint) | {"item_ids": dataset.item_ids_digest}
    identity |= {"times": dataset.times_digest} if config.reads_times else {}
    rank = dataset.rank_digest
    return identity | ({} if rank is None else {"rank": rank})


def fresh_state(task: Task) -> TrainState:
    """Return the state of step 0, a pure function of the config and the training sequences."""
    arrays = _once(partial(_initial_arrays, task), task.features)
    if task.config.item_init == "counts":
        values = values_by_counts(task.config, task.sampler.split, task.num_items)
        dealt = jnp.asarray(values) if task.mesh is None else task.mesh.deal(values)
        arrays = arrays._replace(rows=begun(arrays.rows, dealt))
    return TrainState(arrays, Progress(learning_rate=task.config.learning_rate))


def _once(make: Callable[[Features | None], Arrays], features: Features | None) -> Arrays:
    """Return make(features), run as one program compiled with little optimisation; the results are
    bitwise identical.
    """
    try:
        made: Arrays = jax.jit(make, compiler_options=_QUICKLY)(features)
    except jax.errors.JaxRuntimeError:  # another XLA, which does not know these options
        made = jax.jit(make)(features)
    return made


def initial_shapes(task: Task) -> Arrays:
    """Return shapes and dtypes of a fresh state's arrays, without allocating them."""
    arrays: Arrays = jax.eval_shape(partial(_initial_arrays, task), task.features)
    return arrays if task.mesh is None else on_mesh.shapes_of(task.mesh, arrays)


def _initial_arrays(task: Task, features: Features | None) -> Arrays:
    rank = None if task.dataset.is_numbered_by_rank else task.dataset.rank
    return arrays_of(task.config, task.num_items, features, task.mesh, rank)


def arrays_of(
    config: TrainConfig,
    num_items: int,
    features: Features | None = None,
    mesh: Mesh | None = None,
    rank: NDArray[np.int32] | None = None,
) -> Arrays:
    """Make the arrays of step 0, to be traced by JAX: see `step.initial_arrays`. features: those of
    the mesh are dealt.
    """
    initial = partial(
        initial_arrays,
        model_of(config),
        shape_of(config),
        num_items,
        config.seed,
        config.embedding_scale,
        config.scoring,
        rank,
        averaged=config.average_decay > 0,
    )
    if mesh is None:
        return initial(features=features)
    return on_mesh.make_initial_arrays(mesh, initial)(features)


def snapshot_of(
    task: Task, state: TrainState, into: Snapshot | None = None, copied: bool = True
) -> Snapshot:
    """Copy a state to the host, see `take_snapshot`."""
    return take_snapshot(state, into, None if task.mesh is None else task.num_items + 1, copied)


def state_of(task: Task, snapshot: Snapshot) -> TrainState:
    """Put a snapshot on the task's devices, whichever it was taken from."""
    return restore(snapshot, task.mesh)


def small(task: Task, value: ArrayLike) -> Array:
    """Put a small array where the task's are."""
    return jnp.asarray(value) if task.mesh is None else task.mesh.everywhere(value)


def gathered(task: Task, rows: Array, width: int, params: Params) -> tuple[Array, int, Params]:
    """Return a mesh's dealt rows [N, R, at least width] and parameters on one device of each
    process, for use.
    """
    assert task.mesh is not None
    whole = meshes.whole(task.mesh, rows, task.num_items + 1, width)
    own = {name: device.own(np.asarray(value)) for name, value in params.items()}
    return device.own(whole), width, own


def averaged(task: Task, state: TrainState) -> TrainState:
    """Move the averages of the weights on, where the state's step is one to do so; `state` is
    consumed.
    """
    step, config = state.progress.step, task.config
    if config.average_decay == 0 or step % averaging.interval(config):
        return state
    state = up_to_date(task, state)
    look = averaging.look if task.mesh is None else on_mesh.make_average(task.mesh)
    return state.at(look(state.arrays, averaging.share_of_look(step, config)))


def up_to_date(task: Task, state: TrainState) -> TrainState:
    """Apply the pending updates of all item rows; `state` is consumed.

    Needed before the rows are read: by an evaluation, an export, or a change of learning rate. A
    checkpoint between evaluations keeps them pending, so that a stop does not change the results.
    """
    progress = state.progress
    return state.at(task.apply_pending(state.arrays, progress.step, progress.learning_rate))


def objective_of(config: TrainConfig, num_items: int) -> Objective:
    """Return the objective that a config trains for, over so many items."""
    power = None
    if config.loss == "gbce":
        count = num_items if config.sampler == "full" else config.num_negatives
        power = positive_power(count, num_items, config.calibration)
    return Objective(
        selection=config.selection,
        temperature=settled(config.temperature),
        neg_score=config.neg_score,
        hard_negatives=config.hard_negatives,
        positive_power=power,
        interest_penalty=config.interest_penalty,
        routing_penalty=config.routing_penalty,
        item_dropout=settled(config.item_dropout),
        id_dropout=config.id_dropout,
        scoring=config.scoring,
    )
