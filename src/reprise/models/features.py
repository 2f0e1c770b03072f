"""Features of items: what they add to an item's values (`models.items`), and their parameters."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from reprise.models.registry import Params

_PREFIX = "feature."  # of the parameters' names: "feature.0", ... in the order of the features
_MOST_DENSE = 4096  # rows of a parameter, above which those of a batch are fewer


class Rows(NamedTuple):
    """Some items, where each of several devices has the features of items of its own.

    Attributes:
        places: [M], where an item's features are on this device; past the end: on another one.
        room: How many items have theirs on this device.
        add_up: add_up(array) returns the sum of the devices' arrays.
    """

    places: Array
    room: int
    add_up: Callable[[Array], Array]

    def of(self, array: Array) -> Array:
        """Return the rows [M, ...] of the items, of arrays [room, ...] with each device's."""
        return self.own(looked_up(array, self.places), jnp.arange(len(self.places)))

    def own(self, values: Array, item: Array) -> Array:
        """Return values [N, ...], each taken from the device of the `item`-th of the items [N]."""
        here = (self.places < self.room)[item]
        return self.add_up(jnp.where(here.reshape(-1, *[1] * (values.ndim - 1)), values, 0))


class Category(NamedTuple):
    """A category of each item: codes [V+1] int32, each with an embedding; 0 of unknown ones."""

    codes: Array

    def added(self, table: Array, items: Array) -> Array:
        """Return what the feature adds to the values of items [M], [M, width]."""
        return table[looked_up(self.codes, items)]

    def of(self, rows: Rows) -> "Category":
        """Return the feature of some items."""
        return Category(rows.of(self.codes))

    def numbered(self, size: int, training: Array) -> tuple["Category", "Distinct"]:
        """Return the feature with each code's place among the distinct ones, and these; training
        [M]: which items train the feature.
        """
        distinct, place = _distinct(self.codes, size, training)
        return Category(place), distinct


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["offsets", "codes"],
    meta_fields=["lengths"],
)
@dataclass(frozen=True)
class Categories:
    """Several categories of each item: item i has codes[offsets[i]:offsets[i + 1]].

    Attributes:
        offsets: [V+2] int32.
        codes: [N] int32.
        lengths: How many items have how many categories, (categories, items), the most first: how
            much room a number of items needs follows from it.
    """

    offsets: Array
    codes: Array
    lengths: tuple[tuple[int, int], ...]

    def added(self, table: Array, items: Array) -> Array:
        """Return the mean of the categories' embeddings for items [M], [M, width]."""
        room, count = self.room(len(items)), len(self.offsets) - 1
        start = looked_up(self.offsets, items)
        size = jnp.where(items < count, looked_up(self.offsets, items + 1) - start, 0)
        owner = jnp.repeat(jnp.arange(len(items)), size, total_repeat_length=room)
        ends = jnp.cumsum(size)
        place = jnp.arange(room)
        code = looked_up(self.codes, start[owner] + place - (ends - size)[owner])
        taken = jnp.where((place < ends[-1])[:, None], table[code], 0)
        total = jax.ops.segment_sum(taken, owner, len(items), indices_are_sorted=True)
        return total / jnp.maximum(size, 1)[:, None]

    def of(self, rows: Rows) -> "Categories":
        """Return the feature of some items."""
        size = rows.of(jnp.diff(self.offsets))
        ends = jnp.cumsum(size)
        room = self.room(len(size))
        owner = jnp.repeat(jnp.arange(len(size)), size, total_repeat_length=room)
        within = jnp.arange(room) - (ends - size)[owner]
        start = looked_up(self.offsets, rows.places)[owner]
        codes = rows.own(looked_up(self.codes, start + within), owner)
        return Categories(jnp.append(0, ends), codes, self.lengths)

    def numbered(self, size: int, training: Array) -> tuple["Categories", "Distinct"]:
        """Return what `Category.numbered` does."""
        room = len(self.codes)
        codes = jnp.where(jnp.arange(room) < self.offsets[-1], self.codes, size)
        by_code = jnp.repeat(training, jnp.diff(self.offsets), total_repeat_length=room)
        distinct, place = _distinct(codes, size, by_code)
        return Categories(self.offsets, place, self.lengths), distinct

    def room(self, items: int) -> int:
        """Return the most categories that so many items have together."""
        room = 0
        for size, count in self.lengths:
            taken = min(items, count)
            room, items = room + taken * size, items - taken
        return max(room, 1)


def lengths_of(counts: NDArray[np.integer]) -> tuple[tuple[int, int], ...]:
    """Return `Categories.lengths` of items with `counts` [V+1] categories."""
    lengths, items = np.unique(counts, return_counts=True)
    return tuple(zip(lengths[::-1].tolist(), items[::-1].tolist(), strict=True))


class Linear(NamedTuple):
    """Numbers of each item, mapped linearly: values [V+1, n] float32, zeros of unknown ones."""

    values: Array

    def added(self, table: Array, items: Array) -> Array:
        """Return what the feature adds to the values of items [M], [M, width]."""
        return looked_up(self.values, items) @ table

    def of(self, rows: Rows) -> "Linear":
        """Return the feature of some items."""
        return Linear(rows.of(self.values))


Feature: TypeAlias = Category | Categories | Linear


@partial(jax.tree_util.register_dataclass, data_fields=["with_row", "each"], meta_fields=["sizes"])
@dataclass(frozen=True)
class Features:
    """The features of all items, arrays on the device.

    Attributes:
        with_row: [V+1] bool, the items with interactions in training. Others have no row: theirs
            would be noise, pushed away as a negative ever since. For the same reason they do not
            train the features, which are all that they have.
        each: The features; parameter "feature.n" is of the n-th.
        sizes: Rows of each feature's parameter.
    """

    with_row: Array
    each: tuple[Feature, ...]
    sizes: tuple[int, ...]

    def init(self, width: int) -> Params:
        """Return the parameters, zero: items begin as without features."""
        return {
            f"{_PREFIX}{place}": jnp.zeros((size, width), jnp.float32)
            for place, size in enumerate(self.sizes)
        }

    @property
    def large(self) -> tuple[str, ...]:
        """The parameters that have an embedding for each of so many categories that a batch needs
        few of them.
        """
        return tuple(
            f"{_PREFIX}{place}"
            for place, (feature, size) in enumerate(zip(self.each, self.sizes, strict=True))
            if not isinstance(feature, Linear) and size > _MOST_DENSE
        )

    def numbered(self, names: Collection[str]) -> tuple["Features", dict[str, "Distinct"]]:
        """Return the features of some items where those with parameters of these names have the
        places of their codes among the distinct ones, and these by name.
        """
        each, distinct = list(self.each), {}
        for place, size in enumerate(self.sizes):
            feature, name = each[place], f"{_PREFIX}{place}"
            if name in names and not isinstance(feature, Linear):
                each[place], distinct[name] = feature.numbered(size, self.with_row)
        return Features(self.with_row, tuple(each), self.sizes), distinct

    def of(self, rows: Rows) -> "Features":
        """Return the features of some items."""
        with_row = rows.of(self.with_row.astype(jnp.int32)) > 0
        return Features(with_row, tuple(one.of(rows) for one in self.each), self.sizes)

    def added(self, params: Params, items: Array, numbers: Array) -> Array:
        """Return what the features add to the values of items [M], [M, width]; nothing to padding,
        which is number 0. Of items past the end the result is not for use.

        items: where the features have them; numbers: what they are called in the catalogue.
        """
        total: Array = sum(
            (
                feature.added(params[f"{_PREFIX}{place}"], items)
                for place, feature in enumerate(self.each)
            ),
            start=jnp.zeros((), jnp.float32),
        )
        return jnp.where(numbers[:, None] > 0, total, 0)


def of_network(params: Params) -> Params:
    """Return the parameters without those of features."""
    return {name: value for name, value in params.items() if not name.startswith(_PREFIX)}


class Distinct(NamedTuple):
    """The distinct ones of codes [N] below a size.

    Attributes:
        codes: [N], of equal codes the first one alone, in its place; different numbers past the end
            in the others' places.
        trained: The same without those of items that do not train the feature, padding included.
    """

    codes: Array
    trained: Array


def _distinct(codes: Array, size: int, training: Array) -> tuple[Distinct, Array]:
    """Return the distinct codes, and the place of each code [N] among them; training [N]: which of
    the codes are of items that train the feature.
    """
    place = jnp.arange(len(codes))
    # Sorting them would take several times as long as this scratch of 4 bytes a category.
    firsts = jnp.full(size, len(codes)).at[codes].min(place, mode="drop")
    first = looked_up(firsts, codes)
    is_first = (first == place) & (codes < size)
    trained = jnp.zeros(len(codes), bool).at[first].max(training & (codes < size), mode="drop")
    past = size + place
    distinct = jnp.where(is_first, codes, past)
    return Distinct(distinct, jnp.where(trained, distinct, past)), first


def looked_up(array: Array, index: Array) -> Array:
    """Return array[index]; past the end, the last."""
    taken: Array = array.at[index].get(mode="clip")
    return taken
