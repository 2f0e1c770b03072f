"""Convert a TensorFlow checkpoint into the first checkpoint of a run (`reprise import-tf`)."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from reprise.checkpoints import store
from reprise.config.load import make_config
from reprise.config.schema import TrainConfig, check_value
from reprise.data.dataset import Dataset, open_dataset
from reprise.errors import CheckpointError, UsageError
from reprise.importers.tensorflow.checkpoint import TfCheckpoint, open_checkpoint
from reprise.importers.tensorflow.match import Reading, Wanted, find_reading
from reprise.importers.tensorflow.names import DRAWN, ROWS
from reprise.importers.tensorflow.object_graph import Variable
from reprise.importers.tensorflow.recognise import find_model
from reprise.models.registry import canonical_name
from reprise.runs.folder import RunFolder, locked, record_events
from reprise.runs.loop import measure_best
from reprise.runs.naming import called
from reprise.runs.signals import StopRequest
from reprise.runs.where import hint
from reprise.text.messages import Phrase, Say
from reprise.training import averaging, item_table
from reprise.training.setup import Task, fresh_state, make_task
from reprise.training.state import (
    Best,
    Progress,
    Snapshot,
    TrainState,
    restore,
    take_snapshot,
)

Float32 = NDArray[np.float32]
_ROUNDING = 1e-3  # float32 sums in another order reverse the rare near tie
_SIZES = ("maxlen", "embedding_dim", "hidden_size", "num_interest")
_MOST_STEPS = 2**31 - 1  # rows count theirs in int32


@dataclass(frozen=True)
class ImportRequest:
    """The arguments of an import.

    Attributes:
        source: A TensorFlow checkpoint.
        values: Given fields of the configuration; other sizes come from the checkpoint.
        data_folder: The dataset.
        runs_folder: Where to create the run.
        mapped: Names of variables by parameter.
        ignored: Names of trained variables that are no part of the model.
        step, best_metric: Values that the checkpoint does not store.
    """

    source: Path
    values: Mapping[str, Any]
    data_folder: Path
    runs_folder: Path
    mapped: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    step: int | None = None
    best_metric: float | None = None

    def __post_init__(self) -> None:
        for name in _SIZES:
            if name in self.values:
                check_value(name, self.values[name])
        if self.step is not None and not 1 <= self.step <= _MOST_STEPS:
            expected = Phrase("good_whole_within", low=1, high=_MOST_STEPS)
            raise UsageError("bad_value", option="step", value=self.step, expected=expected)
        if self.best_metric is not None and not 0 <= self.best_metric <= 1:
            expected = Phrase("good_within", low=0, high=1)
            raise UsageError(
                "bad_value", option="best_metric", value=self.best_metric, expected=expected
            )


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        config: The run's configuration.
        folder: The run.
        reading: The variable of each parameter.
        unused: The other variables.
        without_moments: Parameters whose Adam moments start at zero.
        drawn: Parameters that are drawn anew.
        progress: The run's progress.
    """

    config: TrainConfig
    folder: RunFolder
    reading: Reading
    unused: tuple[Variable, ...]
    without_moments: tuple[str, ...]
    drawn: tuple[str, ...]
    progress: Progress


def import_checkpoint(request: ImportRequest, say: Say) -> Imported:
    """Convert a TensorFlow checkpoint into a run; raise RepriseError for what the user can fix.

    Nothing is written before everything is read, checked and evaluated.
    """
    dataset = open_dataset(request.data_folder)
    source = open_checkpoint(request.source)
    step = _step(request, source)
    reading = _read_sizes(request, source, dataset)
    config = _configure(request, source, reading)
    folder = RunFolder(request.runs_folder / config.run_name)
    for taken in called(request.runs_folder, config.dataset, config.name):
        raise UsageError("run_exists", path=taken.path)
    _tell(request, source, config, step, say)
    task = make_task(config, dataset)
    arrays, without_moments = read_arrays(source, reading, task, step)
    _tell_moments(reading, without_moments, say)
    progress = Progress(learning_rate=config.learning_rate, step=step)
    state = measure_best(task, restore(Snapshot(arrays, progress)), StopRequest())
    state = _rated(request, source, task, state, say)
    with locked(folder):
        if store.names(folder.checkpoints):  # another import was faster
            raise UsageError("run_exists", path=folder.path)
        store.save(folder.checkpoints, take_snapshot(state), task.identity, task.environment)
        event = {"event": "imported", "from": str(source.path), "step": step, "branch": 0}
        values = dataclasses.asdict(config)
        where_data_is = hint(folder, request.data_folder)
        record_events(folder, task.identity, values, task.environment, [event], where_data_is)
    used = {variable.key for variable in reading.variables.values()}
    return Imported(
        config=config,
        folder=folder,
        reading=reading,
        unused=tuple(variable for variable in source.variables if variable.key not in used),
        without_moments=without_moments,
        drawn=tuple(sorted(DRAWN.get(reading.model, frozenset()) - set(reading.variables))),
        progress=state.progress,
    )


def read_arrays(
    source: TfCheckpoint, reading: Reading, task: Task, step: int
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Return the arrays of a snapshot of `step` by flat name, and the parameters whose moments are
    not stored.

    Raise CheckpointError for values that are not finite and for negative second moments.
    """
    fresh = take_snapshot(fresh_state(task)).arrays
    arrays = dict(fresh)  # parameters not in the checkpoint, an encoder's, start as the identity
    without_moments = []
    drawn = DRAWN.get(reading.model, frozenset())
    for parameter, variable in reading.variables.items():
        is_table = parameter == ROWS
        shape = variable.shape if is_table else fresh[f"params.{parameter}"].shape
        value = _sound(source, variable, variable.key).reshape(shape)
        m, v = np.zeros_like(value), np.zeros_like(value)
        if parameter in drawn:
            pass  # never trained
        elif variable.moments is None:
            without_moments.append(parameter)
        else:
            m, v = (_sound(source, variable, key).reshape(shape) for key in variable.moments)
            if (v < 0).any():
                reason = Phrase("damage_moment", name=variable.name)
                raise CheckpointError("tf_damaged", path=source.path, reason=reason)
        if is_table:
            rows = np.array(item_table.join(*map(jnp.asarray, (value, m, v))))
            rows[0] = 0  # padding: TensorFlow's code masks it, here it is zero
            arrays["rows"] = rows
            arrays["row_steps"] = np.full(len(rows), step, np.int32)
        else:
            named = zip(("params", "m", "v"), (value, m, v), strict=True)
            arrays |= {f"{group}.{parameter}": array for group, array in named}
    values = {**arrays, "rows": item_table.values(arrays["rows"])}
    averages = averaging.of_snapshot(arrays)  # begin as the weights
    arrays |= {f"average.{name}": values[name].copy() for name in averages}
    return arrays, tuple(without_moments)


def _step(request: ImportRequest, source: TfCheckpoint) -> int:
    step = source.step if request.step is None else request.step
    if step is not None:
        return step
    if source.several:
        unclear = [variable.name for variable in source.variables if variable.contested]
        key = "tf_step_and_moments_unclear" if unclear else "tf_step_unclear"
        raise UsageError(key, path=source.path, names=", ".join(unclear))
    raise UsageError("tf_step_unknown", path=source.path)


def _read_sizes(request: ImportRequest, source: TfCheckpoint, dataset: Dataset) -> Reading:
    wanted = Wanted(
        num_items=dataset.num_items,
        given={size: request.values[size] for size in _SIZES if size in request.values},
        chosen=request.mapped,
        ignored=request.ignored,
        defaults={size: getattr(TrainConfig, size) for size in _SIZES},
    )
    if "model" in request.values:
        name = canonical_name(request.values["model"])
        return find_reading(name, source.variables, wanted)
    return find_model(source.variables, wanted)


def _configure(request: ImportRequest, source: TfCheckpoint, reading: Reading) -> TrainConfig:
    stored = {} if source.learning_rate is None else {"learning_rate": source.learning_rate}
    return make_config({**stored, **request.values, **reading.sizes, "model": reading.model})


def _tell(
    request: ImportRequest, source: TfCheckpoint, config: TrainConfig, step: int, say: Say
) -> None:
    """Say of the model, the learning rate and the step where they are from."""
    say("tf_model_given" if "model" in request.values else "tf_model_found", model=config.model)
    rates = {"value": config.learning_rate, "stored": source.learning_rate}
    if "learning_rate" in request.values:
        say("tf_rate_given" if source.learning_rate is None else "tf_rate_overridden", **rates)
    else:
        say("tf_rate_default" if source.learning_rate is None else "tf_rate_stored", **rates)
    if request.step is None:
        say("tf_step_stored", value=step)
    else:
        key = "tf_step_given" if source.step is None else "tf_step_overridden"
        say(key, value=step, stored=source.step)


def _tell_moments(reading: Reading, without_moments: tuple[str, ...], say: Say) -> None:
    """Say which parameters start without moments, and why."""
    contested = [name for name in without_moments if reading.variables[name].contested]
    missing = [name for name in without_moments if name not in contested]
    if missing:
        say("tf_moments_missing", names=", ".join(missing))
    if contested:
        say("tf_moments_contested", names=", ".join(contested))


def _rated(
    request: ImportRequest, source: TfCheckpoint, task: Task, state: TrainState, say: Say
) -> TrainState:
    """Say how the model does on the data at hand, against the best metric that the checkpoint or
    the user knows, and return the state with the mark to beat: the user's, or else what was
    measured.
    """
    if task.config.is_final_fit:  # all users are trained on: nothing to measure
        return state
    measured = state.progress.best
    known = request.best_metric if source.best_metric is None else source.best_metric
    values = {
        "metric": task.selector,
        "measured": "-" if measured is None else f"{measured.metric:.6f}",
        "known": "-" if known is None else f"{known:.6f}",
    }
    if known is None:
        say("tf_best_measured", **values)
        return state
    alike = measured is not None and math.isclose(
        known, measured.metric, rel_tol=_ROUNDING, abs_tol=_ROUNDING**2
    )
    if source.best_metric is None:
        say("tf_best_given" if alike else "tf_best_given_differs", **values)
        best = Best(known, state.progress.step, state.progress.branch)
        return state.at(state.arrays, metric=known, best=best)
    say("tf_best_stored" if alike else "tf_best_differs", **values)
    if request.best_metric is not None:
        say("best_metric_unused")
    return state


def _sound(source: TfCheckpoint, variable: Variable, key: str) -> Float32:
    array = source.read(key)
    if not np.isfinite(array).all():
        raise CheckpointError("tf_not_finite", path=source.path, name=variable.name)
    return array
