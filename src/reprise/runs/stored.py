"""Load a run's stored model for use: no optimizer, no sampler, no data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint
from reprise.config.features import feature_digests, on_device
from reprise.config.model import model_of
from reprise.config.schema import TrainConfig
from reprise.data.dataset import DATA_KEYS, Dataset, open_dataset
from reprise.data.features import Feature
from reprise.errors import ConfigMismatchError, DataError
from reprise.retrieval.vectors import Retriever, retriever_of_rows
from reprise.runs import features as kept
from reprise.runs import items, memory
from reprise.runs.folder import RunFolder, Source, find_checkpoint, load_checkpoint
from reprise.runtime import device
from reprise.text.messages import Say
from reprise.training import item_table
from reprise.training.state import Snapshot, restore

if TYPE_CHECKING:
    import polars as pl
    from jax import Array

Locate = Callable[[str], Path]  # the folder of a data set, by its name


@dataclass(frozen=True)
class StoredModel:
    """A checkpoint's model with its configuration and items.

    config: the training configuration, without the run's name. locate: returns the folder of a data
    set by its name; None if the data is not needed.
    """

    checkpoint: Checkpoint
    config: TrainConfig
    retriever: Retriever
    locate: Locate | None = None

    @property
    def num_items(self) -> int:
        """Items of the catalogue, V."""
        return self.retriever.num_items

    @cached_property
    def items(self) -> "pl.DataFrame":
        """Items 1..V, one row each: item, raw_id, and where known category_code, category and
        title. They are stored in the run or, for runs of older versions, taken from the data set;
        DataError if neither can be used.
        """
        folder = RunFolder(self.checkpoint.path.resolve().parent.parent)
        if self.locate is not None and not folder.items.is_dir():
            data = self.dataset
            return items.with_codes(data.about_items(), np.asarray(data.item_category))
        return items.read(folder, self.num_items)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set that the model was trained on; ConfigMismatchError if the folder of that
        name contains other data or other item ids.
        """
        identity, path = self.checkpoint.identity, self.checkpoint.path
        assert self.locate is not None
        dataset = open_dataset(self.locate(str(identity["dataset"])))
        if dataset.fingerprint != identity["dataset_fingerprint"]:
            raise ConfigMismatchError("dataset_changed", path=path, dataset=dataset.folder)
        if "item_ids" in identity and dataset.item_ids_digest != identity["item_ids"]:
            raise ConfigMismatchError("items_relabelled", path=path)
        if "times" in identity and dataset.times_digest != identity["times"]:
            raise ConfigMismatchError("times_changed", path=path)
        if identity.get("rank") != dataset.rank_digest:
            raise ConfigMismatchError("rank_changed", path=path)
        return dataset


def load(path: Path, which: Source, say: Say, locate: Locate | None = None) -> StoredModel:
    """Load a run's latest or best model, or that of the checkpoint `path`; every file that is read
    is verified. Raise CheckpointError if there is no usable checkpoint.
    """
    return from_checkpoint(find_checkpoint(path, which, say), locate)


def from_checkpoint(checkpoint: Checkpoint, locate: Locate | None = None) -> StoredModel:
    """Load the model of a checkpoint, see `load`."""
    device.multiply_in_float32()
    config = stored_config(checkpoint)
    values, params = _weights(checkpoint, config)
    features = on_device(features_of(checkpoint, locate))
    edges = memory.read(RunFolder(checkpoint.path.resolve().parent.parent), checkpoint.identity)
    parts = (device.own(values), values.shape[1], params, features)
    model = model_of(config)
    retriever = retriever_of_rows(model, config.scoring, *parts, config.request_at, edges)
    return StoredModel(checkpoint, config, retriever, locate)


def features_of(checkpoint: Checkpoint, locate: Locate | None) -> Sequence[Feature]:
    """Return the item features that a checkpoint's model was trained on."""
    digests = feature_digests(checkpoint.identity)
    if not digests:
        return ()
    folder = RunFolder(checkpoint.path.resolve().parent.parent)
    if folder.features.is_dir() or locate is None:
        return kept.read(folder, digests)
    dataset = open_dataset(locate(str(checkpoint.identity["dataset"])))
    found = [dataset.feature(name) for name in digests if name in dataset.features]
    if {one.name: one.digest for one in found} != digests:
        raise DataError("features_missing", path=folder.features)
    return found


def stored_config(checkpoint: Checkpoint) -> TrainConfig:
    """Return the configuration of a stored model, without the run's name. (If it has no optimizer,
    the default is used: its rows have no pending updates.)
    """
    values: dict[str, Any] = dict(checkpoint.identity)
    for key in DATA_KEYS:
        values.pop(key, None)
    return TrainConfig(name="stored", **values)


def _weights(
    checkpoint: Checkpoint, config: TrainConfig
) -> tuple[NDArray[np.float32], dict[str, "Array"]]:
    """Return the values [V+1, width] of the item rows, with pending updates applied, and the
    parameters; or the averages of both.
    """
    # Their moments are twice as large, and seldom needed.
    only_values = partial(store.load, of_rows=item_table.values)
    snapshot = load_checkpoint(checkpoint, only_values)
    averages = _averages(snapshot, config)
    if not averages and config.optimizer == "row-adam" and _is_behind(snapshot):
        return _up_to_date(load_checkpoint(checkpoint), config)
    params = {
        name.removeprefix("params."): device.own(averages.get(name, array))
        for name, array in snapshot.arrays.items()
        if name.startswith("params.")
    }
    return averages.get("rows", snapshot.arrays["rows"]), params


def _is_behind(snapshot: Snapshot) -> bool:
    """Whether row-adam left updates pending."""
    return any(
        bool((array != snapshot.progress.step).any())
        for name, array in snapshot.arrays.items()
        if name == "row_steps" or name.startswith("steps.")
    )


def _averages(snapshot: Snapshot, config: TrainConfig) -> dict[str, NDArray[Any]]:
    """Return the averages that a stored model is made of, by the names of its weights, if any."""
    if config.average_decay == 0:
        return {}
    from reprise.training import averaging

    begun = averaging.has_begun(snapshot.progress.step, config)
    return averaging.of_snapshot(snapshot.arrays) if begun else {}


def _up_to_date(
    snapshot: Snapshot, config: TrainConfig
) -> tuple[NDArray[np.float32], dict[str, "Array"]]:
    """Return the values of a snapshot's rows and its parameters with pending updates applied:
    row-adam leaves some between evaluations, but none at an evaluation, when the best model is
    stored.
    """
    from reprise.training.optimizers import make_apply_pending
    from reprise.training.schedules import schedule_of

    progress = snapshot.progress
    apply_pending = make_apply_pending(config.optimizer, schedule_of(config))
    arrays = apply_pending(restore(snapshot).arrays, progress.step, progress.learning_rate)
    return np.asarray(item_table.values(arrays.rows)), arrays.params
