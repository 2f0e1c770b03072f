"""Metrics by group: users by history length and by category diversity of the history, targets by
item popularity, and by whether their items are known from training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reprise.data.sequences import EvaluationUsers, Past
from reprise.evaluation.metrics import BY_NAME, Lists, measured

HISTORY_FROM = (1, 10, 20, 50, 100)  # minimum length of each group
HISTORY = (
    *(f"{first}-{following - 1}" for first, following in pairwise(HISTORY_FROM)),
    f"{HISTORY_FROM[-1]}+",
)
POPULARITY = ("head", "middle", "tail")
COLDNESS = ("warm", "cold")
MIXTURE = ("focused", "middle", "mixed")
UNKNOWN = "unknown"
_METRICS = (BY_NAME["recall"], BY_NAME["ndcg"])
_DECIMALS = 9  # of an entropy, so that equal mixtures tie despite rounding


@dataclass(frozen=True)
class Group:
    """The metrics of one group.

    Attributes:
        name: Name of the group.
        users: Number of users.
        metrics: Mean recall and NDCG by key ("recall@50"); NaN without users.
        items: Number of items, for groups of items.
        bits: Minimum and maximum entropy of its users, for groups by mixture.
    """

    name: str
    users: int
    metrics: dict[str, float]
    items: int | None = None
    bits: tuple[float, float] | None = None


def by_history(
    users: EvaluationUsers, by_user: dict[str, NDArray[np.float64]], cutoffs: tuple[int, ...]
) -> list[Group]:
    """Return the non-empty groups of `history`; by_user: metrics [U] by key."""
    return _by_number(history(users.past), HISTORY, by_user, cutoffs)


def history(past: Past) -> NDArray[np.int64]:
    """Return [U]: each user's index in HISTORY, by the length of their whole history."""
    return np.digitize(past.lengths, HISTORY_FROM) - 1


def by_mixture(
    users: EvaluationUsers,
    by_user: dict[str, NDArray[np.float64]],
    item_category: NDArray[np.int32],
    cutoffs: tuple[int, ...],
) -> list[Group]:
    """Return the non-empty groups of `mixture`, with users without known categories last, as
    "unknown"; by_user: metrics [U] by key.
    """
    bits = category_entropy(users.past, item_category)
    number = mixture(bits)
    groups = []
    for group in _by_number(number, (*MIXTURE, UNKNOWN), by_user, cutoffs):
        if group.name != UNKNOWN:
            own = bits[number == MIXTURE.index(group.name)]
            group = replace(group, bits=(float(own.min()), float(own.max())))
        groups.append(group)
    return groups


def mixture(bits: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return [U]: each user's index in MIXTURE by entropy; len(MIXTURE) if the entropy is NaN.

    A user's third is the one that contains the number of users with less entropy, so equal
    entropies stay together. Thirds, because fixed bounds in bits do not suit every dataset: in one,
    four of five users stay within one category; in another, most spread over seven.
    """
    known = np.sort(bits[~np.isnan(bits)])
    below = np.searchsorted(known, bits, side="left")
    third = below * len(MIXTURE) // max(1, len(known))
    return np.where(np.isnan(bits), len(MIXTURE), third)


def category_entropy(past: Past, item_category: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return [U]: the entropy in bits of the categories in each user's whole history, ignoring
    items of unknown category (-1); NaN if none is known.
    """
    users = len(past.lengths)
    category = item_category[past.of(0, users).items].astype(np.int64)
    owner, known = np.repeat(np.arange(users), past.lengths), category >= 0
    stride = int(category.max(initial=0)) + 1
    pairs, counts = np.unique(owner[known] * stride + category[known], return_counts=True)
    total = np.bincount(owner[known], minlength=users)
    # -sum p log p with p = c / n is log n - sum c log c / n.
    inside = np.bincount(pairs // stride, weights=counts * np.log2(counts), minlength=users)
    some = np.maximum(total, 1)
    bits = np.round(np.log2(some) - inside / some, _DECIMALS) + 0.0  # no negative zero
    return np.where(total > 0, bits, np.nan)


def popularity(training_counts: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return [V+1]: the group of each item (0 head, 1 middle, 2 tail; -1 for padding).

    training_counts [V+1]: training interactions of each item. Items are sorted by descending count,
    ties by ascending id, and cut where the cumulative count passes a third and two thirds, so that
    each group has about a third of all interactions.
    """
    # Of a large catalogue few have any; the others are in the tail, of whatever there is.
    items = 1 + np.flatnonzero(training_counts[1:])
    counts = training_counts[items]
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    tail = len(POPULARITY) - 1
    groups = np.full(len(training_counts), tail if len(items) else 0, np.int8)
    groups[0] = -1
    groups[items[order]] = np.minimum(before * len(POPULARITY) // max(1, counts.sum()), tail)
    return groups


def coldness(training_counts: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return [V+1]: the group of each item (0 warm; 1 cold: without training interactions; -1 for
    padding).
    """
    groups: NDArray[np.int8] = (training_counts == 0).astype(np.int8)
    groups[0] = -1
    return groups


def by_popularity(
    ids: NDArray[np.int64],
    users: EvaluationUsers,
    training_counts: NDArray[np.int64],
    cutoffs: tuple[int, ...],
) -> list[Group]:
    """Return the groups of `popularity`, as `by_target` does."""
    return by_target(ids, users, popularity(training_counts), POPULARITY, cutoffs)


def by_coldness(
    ids: NDArray[np.int64],
    users: EvaluationUsers,
    training_counts: NDArray[np.int64],
    cutoffs: tuple[int, ...],
) -> list[Group]:
    """Return the groups of `coldness`, as `by_target` does; none where no target is cold."""
    groups = coldness(training_counts)
    if not (groups[users.target_items] == COLDNESS.index("cold")).any():
        return []
    return by_target(ids, users, groups, COLDNESS, cutoffs)


def by_target(
    ids: NDArray[np.int64],
    users: EvaluationUsers,
    item_group: NDArray[np.int8],
    names: Sequence[str],
    cutoffs: tuple[int, ...],
) -> list[Group]:
    """Return groups of items, item_group [V+1] being each one's index in `names`: metrics of lists
    [U, N] on each group's targets alone, averaged over the users who have such targets.
    """
    owner = np.repeat(np.arange(len(ids)), np.diff(users.target_offsets))
    groups = []
    for group, name in enumerate(names):
        inside = item_group[users.target_items] == group
        counts = np.bincount(owner[inside], minlength=len(ids))
        having = counts > 0
        means = dict.fromkeys(_keys(cutoffs), float("nan"))
        if having.any():
            offsets = np.concatenate([[0], np.cumsum(counts[having])])
            lists = Lists(ids[having], offsets, users.target_items[inside])
            values = dict(measured(lists, cutoffs, metrics=_METRICS))
            means = {key: float(values[key].mean()) for key in means}
        groups.append(Group(name, int(having.sum()), means, int((item_group == group).sum())))
    return groups


def _by_number(
    number: NDArray[np.int64],
    names: Sequence[str],
    by_user: dict[str, NDArray[np.float64]],
    cutoffs: tuple[int, ...],
) -> list[Group]:
    """Return the non-empty groups; number [U]: each user's index in `names`."""
    groups = []
    for group in np.unique(number).tolist():
        inside = number == group
        means = {key: float(by_user[key][inside].mean()) for key in _keys(cutoffs)}
        groups.append(Group(names[group], int(inside.sum()), means))
    return groups


def _keys(cutoffs: tuple[int, ...]) -> list[str]:
    return [f"{metric.name}@{n}" for n in cutoffs for metric in _METRICS]
