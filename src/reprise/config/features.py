"""The item features that a configuration names: those of a data set, and as arrays of a device."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from reprise.config.schema import ALL, NONE, TrainConfig
from reprise.config.setting import joined
from reprise.data.dataset import Dataset
from reprise.data.features import Bags, Codes, Feature, Vectors
from reprise.data.sequences import Sequences
from reprise.errors import UsageError
from reprise.models import features as models
from reprise.text.suggest import suggest

FEATURES_KEY = "features"  # of a run's identity: the digests by name


def with_names(config: TrainConfig, dataset: Dataset) -> TrainConfig:
    """Return the configuration with the features' names in the place of "all", so that a run is not
    bound to what its data set gets later.
    """
    if config.item_features != ALL:
        return config
    names = joined(tuple(dataset.features))
    if names is None:
        raise UsageError("no_features", dataset=dataset.folder)
    return replace(config, item_features=names)


def chosen(config: TrainConfig, dataset: Dataset) -> tuple[Feature, ...]:
    """Return the features that a configuration names, by name; raise UsageError for one that the
    data set does not have.
    """
    names = with_names(config, dataset).item_features.split(",")
    if names == [NONE]:
        return ()
    known = dataset.features
    if not known:
        raise UsageError("no_features", dataset=dataset.folder)
    for name in names:
        if name not in known:
            raise UsageError(
                "unknown_feature",
                name=name,
                dataset=dataset.folder,
                suggestion=suggest(known, name),
                known=", ".join(sorted(known)),
            )
    return tuple(map(dataset.feature, names))


def digests(features: Sequence[Feature]) -> dict[str, Any]:
    """Return what of a run's identity binds it to these features; nothing where there are none."""
    return {FEATURES_KEY: {one.name: one.digest for one in features}} if features else {}


def with_row(train: Sequences, num_items: int) -> NDArray[np.bool_]:
    """Return the items with interactions in training, [V+1], see `models.Features`."""
    return np.bincount(train.items, minlength=num_items + 1) > 0


def on_device(
    features: Sequence[Feature], rows: NDArray[np.bool_] | None = None
) -> models.Features | None:
    """Return features as arrays of the device; None where there are none.

    Args:
        features: The features.
        rows: `models.Features.with_row`; None: all, to answer with a trained model.
    """
    if not features:
        return None
    each, sizes = zip(*map(_on_device, features), strict=True)
    if rows is None:
        rows = np.ones(_num_items(features[0]) + 1, bool)
    return models.Features(jnp.asarray(rows), each, sizes)


def _on_device(feature: Feature) -> tuple[models.Feature, int]:
    """Return a feature on the device, and the rows of its parameter."""
    if isinstance(feature, Codes):
        return models.Category(jnp.asarray(feature.codes)), feature.size
    if isinstance(feature, Bags):
        lengths = models.lengths_of(feature.counts)
        offsets = jnp.asarray(feature.offsets.astype(np.int32))
        return models.Categories(offsets, jnp.asarray(feature.codes), lengths), feature.size
    values = feature.values if isinstance(feature, Vectors) else feature.values[:, None]
    return models.Linear(jnp.asarray(values)), values.shape[1]


def _num_items(feature: Feature) -> int:
    if isinstance(feature, Bags):
        return len(feature.offsets) - 2
    return len(feature.codes if isinstance(feature, Codes) else feature.values) - 1


def feature_digests(identity: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the digests by name of the features that a run of this identity uses."""
    known: Mapping[str, str] = identity.get(FEATURES_KEY, {})
    return known
