"""Item features on a mesh of devices: each has those of the items whose rows it has.

A step hears of the features of its batch's items from the devices that have them, as it does of
their rows; what is added to the rows is then the same on every device.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from reprise.data.features import Bags, Codes, Feature, Vectors
from reprise.models import features as models
from reprise.models.features import of_network
from reprise.models.items import all_composed
from reprise.models.registry import Params
from reprise.runtime.mesh import AXIS, DEALT, EVERYWHERE, Mesh


def dealt(
    mesh: Mesh, features: Sequence[Feature], with_row: NDArray[np.bool_]
) -> models.Features | None:
    """Return `config.features.on_device`, each array with a first axis over the devices."""
    if not features:
        return None
    each, sizes = zip(*(_dealt(mesh, one) for one in features), strict=True)
    return models.Features(mesh.deal(with_row), each, sizes)


def of_device(features: models.Features | None) -> models.Features | None:
    """Return a device's own features, inside a program of the mesh."""
    made: models.Features | None = jax.tree.map(lambda array: array[0], features)
    return made


def of_rows(
    features: models.Features, rows: Any, places: Any, room: int
) -> tuple[models.Features, Array]:
    """Return the features of a batch's unique rows [M], and the rows' places among them, given
    those of a device's own items and where these have the rows.
    """
    add_up: Any = partial(lax.psum, axis_name=AXIS)
    taken = models.Rows(jnp.asarray(places), room, add_up)
    return features.of(taken), jnp.arange(len(rows))


def composed(
    mesh: Mesh, rows: Array, params: Params, width: int, features: models.Features
) -> tuple[Array, Params]:
    """Return a model for evaluation: of dealt rows [N, R, at least width], the values alone with
    what the features add to them, [N, R, width], and the parameters without those of features.
    """
    return _composing(mesh, width)(rows, params, features), of_network(params)


@cache
def _composing(mesh: Mesh, width: int) -> Callable[..., Array]:
    def own(rows: Array, params: Any, features: models.Features) -> Array:
        here = of_device(features)
        assert here is not None
        share = (lax.axis_index(AXIS), mesh.size)
        made: Array = all_composed(rows[0], params, here, width, share)
        return made[None]

    specs = (DEALT, EVERYWHERE, DEALT)
    mapped = jax.shard_map(own, mesh=mesh.devices, in_specs=specs, out_specs=DEALT, check_vma=False)
    made: Callable[..., Array] = jax.jit(mapped)
    return made


def _dealt(mesh: Mesh, feature: Feature) -> tuple[models.Feature, int]:
    """Return a feature on the devices, and the rows of its parameter."""
    if isinstance(feature, Codes):
        return models.Category(mesh.deal(feature.codes)), feature.size
    if isinstance(feature, Bags):
        return _of_bags(mesh, feature), feature.size
    values = feature.values if isinstance(feature, Vectors) else feature.values[:, None]
    return models.Linear(mesh.deal(values)), values.shape[1]


def _of_bags(mesh: Mesh, feature: Bags) -> models.Categories:
    counts = feature.counts
    room = -(-len(counts) // mesh.size)
    most = max(1, *(int(counts[place :: mesh.size].sum()) for place in range(mesh.size)))

    def offsets(place: int) -> NDArray[np.int32]:
        own = counts[place :: mesh.size]
        ends = np.cumsum(np.pad(own, (0, room - len(own))))
        return np.concatenate([[0], ends]).astype(np.int32)

    def codes(place: int) -> NDArray[np.int32]:
        own = np.repeat(np.arange(len(counts)) % mesh.size == place, counts)
        taken = np.asarray(feature.codes)[own]
        return np.pad(taken, (0, most - len(taken)))

    return models.Categories(
        mesh.each((room + 1,), offsets), mesh.each((most,), codes), models.lengths_of(counts)
    )
