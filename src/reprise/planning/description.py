"""The description of a run that does not exist yet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from reprise.config.by_data import Facts, by_data
from reprise.config.features import chosen, with_names
from reprise.config.schema import ALL, NONE, TrainConfig
from reprise.data import features as known
from reprise.data.dataset import SHARE, open_dataset
from reprise.data.features import Bags, Codes, Vectors
from reprise.data.prepare import locate
from reprise.data.readers.features import KINDS
from reprise.data.sequences import Sequences
from reprise.errors import UsageError
from reprise.models.features import (
    Categories,
    Category,
    Feature,
    Features,
    Linear,
    lengths_of,
)
from reprise.models.registry import UNTRAINED
from reprise.planning.numbers import whole_of
from reprise.runtime.mesh import Mesh, mesh_elsewhere
from reprise.text.messages import Phrase
from reprise.training import on_mesh
from reprise.training.state import share_length

MOST_ITEMS = 2_000_000_000  # int32 numbers them, and the padding of a batch's rows past them
MOST_OTHERS = 10**15
_VALID_SHARE = 10  # of the users, one in so many is in `valid`
_WIDEST = 10**6
USUAL_LATENCY = 50e-6  # seconds


@dataclass(frozen=True)
class Interconnect:
    """What connects the hosts: bytes a second, and the seconds that a message takes at least."""

    rate: float
    latency: float


@dataclass(frozen=True)
class Description:
    """A run that does not exist yet.

    Attributes:
        config: Its configuration.
        items, users, interactions: Of its data set.
        devices: Those of each process.
        processes: How many there are: on this machine or, with an interconnect, on a host each.
        interconnect: What connects the hosts; None: all processes are on this machine.
        features: The shapes of the items' features; None: there are none.
        bags: Of each feature, how many categories each item has [V+1]; None where that is equal for
            all, or it has none.
        train: The training sequences of a data set that exists; None: it does not.
        evaluation: What an evaluation hides of a user's items, one of `EVALUATIONS`.
    """

    config: TrainConfig
    items: int
    users: int
    interactions: int
    devices: int = 1
    processes: int = 1
    interconnect: Interconnect | None = None
    features: Features | None = None
    bags: tuple[NDArray[np.int64] | None, ...] = ()
    train: Sequences | None = None
    evaluation: str = SHARE

    def __post_init__(self) -> None:
        facts = Facts(self.interactions, self.users, self.items, self.evaluation)
        object.__setattr__(self, "config", by_data(self.config, facts))

    @property
    def all_devices(self) -> int:
        """The devices of all processes."""
        return self.devices * self.processes

    @property
    def processes_here(self) -> int:
        """The processes on one machine."""
        return self.processes if self.interconnect is None else 1

    @property
    def evaluated_users(self) -> int:
        """The users of an evaluation during training."""
        if self.config.is_final_fit:
            return 0
        valid = max(1, self.users // _VALID_SHARE)
        return min(self.config.valid_users or valid, valid)

    @cached_property
    def mesh(self) -> Mesh | None:
        """The devices, which need not be here; None: there is one."""
        return mesh_elsewhere(self.devices, self.processes)

    @cached_property
    def dealt_features(self) -> Features | None:
        """The shapes of the features on the devices: dealt to them, where they are several."""
        if self.features is None or self.mesh is None:
            return self.features
        bags = self.bags or (None,) * len(self.features.each)
        own = partial(_dealt, self.all_devices, self.items)
        each = tuple(map(own, self.features.each, bags))
        room = share_length(0, self.items + 1, self.all_devices)
        with_row = array_shape(self.all_devices, room, kind=np.bool_)
        return Features(with_row, each, self.features.sizes)

    def check(self) -> None:
        """Refuse what cannot be trained, as training does."""
        if self.config.model in UNTRAINED:
            raise UsageError("plan_untrained", model=self.config.model)
        if self.mesh is not None:
            on_mesh.check(self.config, self.mesh)

    def on(self, devices: int, processes: int) -> "Description":
        """Return the same run on other devices."""
        return replace(self, devices=devices, processes=processes)


def of_dataset(config: TrainConfig, data_dir: Path, **placed: Any) -> Description:
    """Return the description of a run on a data set that exists; placed: its devices."""
    dataset = open_dataset(locate(data_dir, config.dataset))
    config = with_names(config, dataset)
    train = dataset.whole_sequences() if config.is_final_fit else dataset.splits["train"]
    users = sum(len(split.lengths) for split in dataset.splits.values())
    own = chosen(config, dataset)
    bags = tuple(one.counts if isinstance(one, Bags) else None for one in own)
    counts = (dataset.num_items, users, len(train.items))
    features = _features([_shapes_of(one) for one in own], dataset.num_items)
    placed |= {"bags": bags, "train": train, "evaluation": dataset.evaluation}
    return Description(config, *counts, features=features, **placed)


def with_features(
    config: TrainConfig, described: Sequence[str], items: int
) -> tuple[TrainConfig, Features | None]:
    """Return the config with item features, and their shapes, described as KIND or KIND:SIZE, KIND
    one of those of `prepare --item-features`: category:SIZE of so many categories,
    categories:SIZE:EACH of which an item has EACH, number, vector:WIDTH.
    """
    if not described:
        if config.item_features != NONE:
            raise UsageError("missing_value", option="features")
        return config, None
    named = replace(config, item_features=ALL)
    return named, _features([_feature(one, items) for one in described], items)


def _features(shapes: Sequence[tuple[Feature, int]], items: int) -> Features | None:
    """Return the shapes of features, given those of each and the rows of their parameters."""
    if not shapes:
        return None
    each, sizes = zip(*shapes, strict=True)
    return Features(array_shape(items + 1, kind=np.bool_), each, sizes)


def _shapes_of(feature: known.Feature) -> tuple[Feature, int]:
    """Return the shapes of `config.features.on_device` of a feature."""
    if isinstance(feature, Codes):
        return Category(array_shape(len(feature.codes))), feature.size
    if isinstance(feature, Bags):
        offsets, codes = (array_shape(len(one)) for one in (feature.offsets, feature.codes))
        return Categories(offsets, codes, lengths_of(feature.counts)), feature.size
    width = feature.values.shape[1] if isinstance(feature, Vectors) else 1
    return Linear(array_shape(len(feature.values), width, kind=np.float32)), width


def _dealt(devices: int, items: int, feature: Feature, counts: NDArray[np.int64] | None) -> Feature:
    """Return the shapes of `features_on_mesh.dealt` of a feature."""
    room = share_length(0, items + 1, devices)
    if isinstance(feature, Category):
        return Category(array_shape(devices, room))
    if isinstance(feature, Linear):
        return Linear(array_shape(devices, room, feature.values.shape[1], kind=np.float32))
    if counts is None:  # as many of each item; padding has one
        of_item = feature.lengths[0][0]
        padding = of_item - 1
        own = [of_item * share_length(place, items + 1, devices) for place in (0, 1)]
        most = max(own[0] - padding, own[1])
    else:
        most = max(int(counts[place::devices].sum()) for place in range(devices))
    shapes = array_shape(devices, room + 1), array_shape(devices, max(1, most))
    return Categories(*shapes, feature.lengths)


def _feature(text: str, items: int) -> tuple[Feature, int]:
    kind, *numbers = text.split(":")
    wanted = dict(zip(KINDS, (1, 2, 0, 1), strict=True)).get(kind)
    if wanted != len(numbers):
        expected = Phrase("good_planned_features")
        raise UsageError("bad_value", option="features", value=text, expected=expected)
    sizes = [whole_of("features", one, _WIDEST) for one in numbers]
    if kind == "category":
        return Category(array_shape(items + 1)), sizes[0] + 1
    if kind == "categories":
        size, of_item = sizes
        codes = array_shape(items * of_item + 1)
        return Categories(array_shape(items + 2), codes, ((of_item, items), (1, 1))), size + 1
    width = sizes[0] if sizes else 1
    return Linear(array_shape(items + 1, width, kind=np.float32)), width


def array_shape(*shape: int, kind: Any = np.int32) -> jax.Array:
    """Return the shape and type of an array, which stands for it where programs are traced."""
    make: Any = jax.ShapeDtypeStruct
    made: jax.Array = make(shape, kind)
    return made
