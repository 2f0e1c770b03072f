"""What is trained on what: a configuration and a data set turned into functions, batches and users,
and the state that they start from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from reprise.config.schema import TrainConfig
from reprise.data.dataset import Dataset, Truth
from reprise.data.sequences import EvaluationUsers
from reprise.errors import UsageError
from reprise.models.registry import Model, ModelShape, get_model
from reprise.models.wrappers.dynamic import with_dynamic_interests
from reprise.models.wrappers.encoder import Encoder, with_encoder
from reprise.models.wrappers.members import with_members
from reprise.models.wrappers.repeats import with_repeats
from reprise.runtime import device, environment
from reprise.training.batches import Sampler, TargetRule, make_sampler
from reprise.training.losses import Objective
from reprise.training.schedules import Schedule
from reprise.training.state import Arrays, Progress, TrainState
from reprise.training.step import (
    Interests,
    Settle,
    TrainStep,
    initial_arrays,
    make_interests,
    make_settle,
    make_train_step,
)

_QUICKLY = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}


@dataclass(frozen=True)
class Task:
    """What is trained on what: the config's values turned into functions and data; `selecting`:
    those of the valid users whose metric chooses the best model; at_once: steps that the device is
    given by one dispatch, at most.
    """

    config: TrainConfig
    identity: dict[str, Any]
    environment: dict[str, str]
    step: TrainStep
    settle: Settle
    interests: Interests
    sampler: Sampler
    valid: EvaluationUsers
    test: EvaluationUsers
    selecting: EvaluationUsers
    num_items: int
    item_category: NDArray[np.int32] | None
    truth: Mapping[str, Truth | None]
    at_once: int

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """Where metrics are taken: 20, 50 and the selecting cutoff."""
        return tuple(sorted({20, 50, self.config.top_n}))

    @property
    def selector(self) -> str:
        """The validation metric that chooses the best model."""
        return f"recall@{self.config.top_n}"


def make_task(config: TrainConfig, dataset: Dataset) -> Task:
    """Build the task; UsageError or DataError where config and data do not fit together."""
    device.multiply_in_float32()
    model = _model(config)
    jax.eval_shape(lambda: model.init(jax.random.key(0), _shape(config)))  # or refuse
    if config.routing_penalty > 0 and model.interests_and_attention is None:
        raise UsageError("no_attention", model=config.model)
    train = dataset.splits["train"]
    valid = dataset.evaluation_users("valid", config.maxlen)
    category = np.asarray(dataset.item_category)
    return Task(
        config=config,
        identity=config.identity(dataset.fingerprint),
        environment=environment.current(),
        step=make_train_step(model, config.optimizer, _objective(config), schedule_of(config)),
        settle=make_settle(config.optimizer, schedule_of(config)),
        interests=make_interests(model, config.scoring),
        sampler=make_sampler(
            train,
            dataset.num_items,
            config.batch_size,
            config.maxlen,
            config.num_negatives,
            config.seed,
            config.sampler,
            TargetRule(config.first_target, config.targets, config.next_n, config.next_share),
        ),
        valid=valid,
        test=dataset.evaluation_users("test", config.maxlen),
        selecting=valid.sample(config.valid_users, config.seed) if config.valid_users else valid,
        num_items=dataset.num_items,
        item_category=category if (category >= 0).any() else None,
        truth={split: dataset.truth(split) for split in ("valid", "test")},
        at_once=device.steps_at_once(),
    )


def schedule_of(config: TrainConfig) -> Schedule:
    """Return the schedule of the config's learning rate."""
    return Schedule(config.warmup, config.decay, config.decay_steps)


def fresh_state(task: Task) -> TrainState:
    """Return the state of step 0, a pure function of the config."""
    return TrainState(
        _once(lambda: _initial_arrays(task)), Progress(learning_rate=task.config.learning_rate)
    )


def _once(make: Callable[[], Arrays]) -> Arrays:
    """Return make(), as one program that is compiled with little effort; its bits are the same."""
    try:
        made: Arrays = jax.jit(make, compiler_options=_QUICKLY)()
    except jax.errors.JaxRuntimeError:  # another XLA, which does not know these options
        made = jax.jit(make)()
    return made


def initial_shapes(task: Task) -> Arrays:
    """Return shapes and dtypes of a fresh state's arrays, none of which is made."""
    arrays: Arrays = jax.eval_shape(lambda: _initial_arrays(task))
    return arrays


def _initial_arrays(task: Task) -> Arrays:
    config = task.config
    return initial_arrays(
        _model(config),
        _shape(config),
        task.num_items,
        config.seed,
        config.embedding_scale,
        config.scoring,
    )


def settled(task: Task, state: TrainState) -> TrainState:
    """Return the state with every item row as its step has it; `state` is consumed.

    For what looks at the rows from outside: an evaluation, an export, another learning rate. A
    state stored between evaluations is left as it is, so that a stop leaves no trace in the bits.
    """
    progress = state.progress
    return state.at(task.settle(state.arrays, progress.step, progress.learning_rate))


def _model(config: TrainConfig) -> Model:
    encoder = Encoder(config.encoder_layers, config.encoder_heads, config.dropout)
    model = get_model(config.model)
    if config.interest_count == "by-length":
        model = with_dynamic_interests(model)
    model = with_members(with_encoder(model, encoder), config.members)
    return with_repeats(model) if config.scoring.repeats else model


def _shape(config: TrainConfig) -> ModelShape:
    return ModelShape(config.maxlen, config.embedding_dim, config.hidden_size, config.num_interest)


def _objective(config: TrainConfig) -> Objective:
    return Objective(
        selection=config.selection,
        temperature=config.temperature,
        neg_score=config.neg_score,
        hard_negatives=config.hard_negatives,
        routing_penalty=config.routing_penalty,
        item_dropout=config.item_dropout,
        scoring=config.scoring,
    )
