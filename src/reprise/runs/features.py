"""A run's copy of the item features that it is trained on, stored when the run starts.

    features/features.json     of each feature: kind and name, and what of it is no array
    features/<n>.<part>.npy    the arrays of the n-th
    features/MANIFEST.json     SHA-256 and size of all

So a model can be used without its data set. What is read must have the digests of the run's
identity.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise import durable
from reprise.checkpoints import store
from reprise.checkpoints.store import DamagedCheckpointError
from reprise.data.features import KINDS, Feature
from reprise.errors import DataError
from reprise.runs.folder import RunFolder
from reprise.text.messages import Say

_LIST = "features.json"


def keep(folder: RunFolder, features: Sequence[Feature], warn: Say) -> None:
    """Copy the features of a run into its folder, all or nothing. An intact copy is kept, a damaged
    one is replaced.
    """
    if not features:
        return
    if folder.features.is_dir():
        try:
            _read(folder, {one.name: one.digest for one in features})
            return
        except DamagedCheckpointError as damage:
            warn("items_damaged", path=folder.features, reason=damage)
            durable.discard(folder.features)
    content: dict[str, bytes | NDArray[Any]] = {}
    listed = []
    for place, feature in enumerate(features):
        parts = {one.name: getattr(feature, one.name) for one in dataclasses.fields(feature)}
        arrays = {name: part for name, part in parts.items() if isinstance(part, np.ndarray)}
        content |= {f"{place}.{name}.npy": part for name, part in arrays.items()}
        plain = {name: part for name, part in parts.items() if name not in arrays}
        listed.append({"kind": feature.kind, "arrays": sorted(arrays), "plain": plain})
    content[_LIST] = f"{json.dumps(listed, ensure_ascii=False, indent=1)}\n".encode()
    durable.publish_folder(folder.features, lambda draft: store.fill(draft, content))


def read(folder: RunFolder, digests: Mapping[str, str]) -> tuple[Feature, ...]:
    """Return the features with these digests by name; raise DataError where the run has no such
    copy.
    """
    if not folder.features.is_dir():
        raise DataError("features_missing", path=folder.features)
    try:
        return _read(folder, digests)
    except DamagedCheckpointError as damage:
        raise DataError("items_unusable", path=folder.features, reason=damage) from damage


def _read(folder: RunFolder, digests: Mapping[str, str]) -> tuple[Feature, ...]:
    """Return the features, verified against the manifest and their digests."""
    path = folder.features
    manifest = store.read_manifest(path)
    try:
        listed = json.loads(store.verified(path, _LIST, manifest))
        found = []
        for place, one in enumerate(listed):
            arrays: dict[str, Any] = {
                name: store.read_array(path, f"{place}.{name}.npy", manifest)
                for name in one["arrays"]
            }
            make: Any = KINDS[one["kind"]]
            found.append(make(**one["plain"], **arrays))
        if {one.name: one.digest for one in found} != dict(digests):
            raise DamagedCheckpointError("unexpected_content")
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpointError("file_content", name=_LIST, error=error) from error
    return tuple(found)
