"""Item features of every kind, drawn at random, and what they add, computed slowly."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reprise.data.features import (
    Bags,
    Codes,
    Feature,
    Numbers,
    bags_of,
    codes_of,
    numbers_of,
    vectors_of,
)
from reprise.data.item_files import Described

NAMES = ("brand", "genres", "price", "text")  # one of each kind


def random_features(rng: np.random.Generator, num_items: int) -> dict[str, Feature]:
    """Return a feature of each kind by name, some of each unknown, for items 1..num_items."""
    sizes = rng.integers(0, 5, num_items)
    owners = np.repeat(np.arange(1, num_items + 1), sizes)
    price = np.where(rng.random(num_items) < 0.3, np.nan, rng.normal(3, 2, num_items))
    text = np.where(rng.random((num_items, 1)) < 0.3, 0, rng.normal(size=(num_items, 3)))
    made = (
        codes_of("brand", rng.integers(0, 6, num_items), 6),
        bags_of("genres", owners, rng.integers(1, 8, len(owners)), num_items, 8),
        numbers_of("price", price),
        vectors_of("text", text),
    )
    return {one.name: one for one in made}


def described(features: Mapping[str, Feature]) -> list[Described]:
    """Return features as a draft has them."""
    return [Described(one, name, "items.csv") for name, one in features.items()]


def added_slowly(
    features: Sequence[Feature], params: Sequence[NDArray[np.float64]], item: int
) -> NDArray[np.float64]:
    """Return what the features add to an item's values, one at a time in double precision."""
    total = np.zeros(params[0].shape[1])
    if item == 0:
        return total
    for feature, table in zip(features, params, strict=True):
        if isinstance(feature, Codes):
            total += table[feature.codes[item]]
        elif isinstance(feature, Bags):
            own = feature.codes[feature.offsets[item] : feature.offsets[item + 1]]
            total += sum(table[code] for code in own) / len(own)
        else:
            value = feature.values[item]
            for number, row in zip(np.atleast_1d(value).astype(np.float64), table, strict=True):
                total += number * row
    return total


def sizes_of(features: Sequence[Feature]) -> list[int]:
    """Return how many rows the parameter of each feature has."""
    return [
        one.size
        if isinstance(one, Codes | Bags)
        else 1
        if isinstance(one, Numbers)
        else one.values.shape[1]
        for one in features
    ]
