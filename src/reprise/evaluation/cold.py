"""Baselines for items without training interactions, by what is known of them: their category, or
a vector made elsewhere.

Both are lists of `allowed` items alone, such as the cold ones: among all items, what is popular
would hide them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from reprise.data.features import UNKNOWN, Bags, Codes, Feature, Vectors
from reprise.data.sequences import Past, Sequences
from reprise.evaluation.baselines import Fitted
from reprise.evaluation.ranked import Matrix, ranked

_Floats = NDArray[np.float32]
Settings: TypeAlias = Mapping[str, str]
_Counts: TypeAlias = NDArray[np.integer]
_Mask: TypeAlias = NDArray[np.bool_]


class OfCategory(NamedTuple):
    """Popular items of the categories in a user's history: share [V, C] of each item's categories,
    by item number - 1, and popularity [V], above 0.

    An item's score is the history's share of its categories, times its popularity.
    """

    share: Matrix
    popularity: _Floats
    allowed: NDArray[np.bool_]

    def scores(self, some: Sequences) -> Matrix:
        """Return the scores of all items, [U, V]."""
        return (_history(some, self.share.shape[0]) @ self.share @ self.share.T).multiply(
            self.popularity[None]
        )

    def ranked(self, past: Past, top_n: int) -> NDArray[np.int64]:
        """Return the lists of users."""
        return ranked(self, past, top_n, allowed=self.allowed)


class Nearest(NamedTuple):
    """Items nearest to the mean of a history's vectors, by cosine: vectors [V, n] of norm 1, by
    item number - 1; 0 where unknown.
    """

    vectors: _Floats
    allowed: NDArray[np.bool_]

    def scores(self, some: Sequences) -> Matrix:
        """Return the scores of all items, [U, V]."""
        mean = _history(some, len(self.vectors)) @ self.vectors
        return np.asarray(mean @ self.vectors.T)

    def ranked(self, past: Past, top_n: int) -> NDArray[np.int64]:
        """Return the lists of users."""
        return ranked(self, past, top_n, allowed=self.allowed)


@dataclass(frozen=True)
class ColdBaseline:
    """A baseline for items without training interactions.

    kinds: the features that it needs one of. candidates(features, counts, allowed): yields each
    setting, which is the feature, with what is fitted by it; the arguments are as `of_category`
    takes them.
    """

    name: str
    kinds: tuple[type[Feature], ...]
    candidates: Callable[[Iterable[Feature], _Counts, _Mask], Iterator[tuple[Settings, Fitted]]]


def _by_category(
    features: Iterable[Feature], counts: _Counts, allowed: _Mask
) -> Iterator[tuple[Settings, OfCategory]]:
    for feature in features:
        if isinstance(feature, Codes | Bags):
            yield {"feature": feature.name}, of_category(feature, counts, allowed)


def _by_vector(
    features: Iterable[Feature], counts: _Counts, allowed: _Mask
) -> Iterator[tuple[Settings, Nearest]]:
    for feature in features:
        if isinstance(feature, Vectors):
            yield {"feature": feature.name}, nearest(feature, allowed)


COLD = (
    ColdBaseline("category", (Codes, Bags), _by_category),
    ColdBaseline("nearest", (Vectors,), _by_vector),
)


def of_category(
    feature: Codes | Bags, counts: NDArray[np.integer], allowed: NDArray[np.bool_]
) -> OfCategory:
    """Return the popular items of a user's categories.

    Args:
        feature: The categories of items; those without any are in none.
        counts: Known interactions of each item, [V+1]: of cold items those that are not from
            training, such as of the histories of evaluated users, or none.
        allowed: What may be listed, [V+1].
    """
    if isinstance(feature, Codes):
        offsets, codes = np.arange(len(feature.codes) + 1), feature.codes
    else:
        offsets, codes = feature.offsets, feature.codes
    item = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    known = (codes != UNKNOWN) & (item > 0)
    weight = (1 / np.diff(offsets)[item[known]]).astype(np.float32)
    shape = len(offsets) - 2, feature.size
    share = sparse.csr_array((weight, (item[known] - 1, codes[known])), shape=shape)
    return OfCategory(share, (counts[1:] + 1).astype(np.float32), allowed)


def nearest(feature: Vectors, allowed: NDArray[np.bool_]) -> Nearest:
    """Return the items nearest to a history by their vectors, of those `allowed`, [V+1]."""
    values = feature.values[1:]
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    return Nearest((values / np.where(norm > 0, norm, 1)).astype(np.float32), allowed)


def _history(some: Sequences, num_items: int) -> Matrix:
    """Return the share of each item in each history, [U, V]."""
    weight = np.repeat(1 / np.maximum(some.lengths, 1), some.lengths).astype(np.float32)
    offsets = (some.offsets - some.offsets[0]).astype(np.int32)
    shape = len(some.lengths), num_items
    return sparse.csr_array((weight, some.items - np.int32(1), offsets), shape=shape)
