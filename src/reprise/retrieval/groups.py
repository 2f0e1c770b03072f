"""Results by group: users by the length of their history, targets by the items' popularity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import EvaluationUsers
from reprise.retrieval import metrics

HISTORY_FROM = (1, 10, 20, 50, 100)  # the least length of each group
POPULARITY = ("head", "middle", "tail")


@dataclass(frozen=True)
class Group:
    """One group's name, its number of users, and its mean recall and ndcg by key ("recall@50"), NaN
    without users; items: how many items it holds, of a group of items.
    """

    name: str
    users: int
    metrics: dict[str, float]
    items: int | None = None


def by_history(
    users: EvaluationUsers, by_user: dict[str, NDArray[np.float64]], cutoffs: tuple[int, ...]
) -> list[Group]:
    """Return the groups of users whose whole history is 1-9, 10-19, 20-49, 50-99, 100+ items long;
    only those with users. by_user: the metrics [U] of each user.
    """
    number = np.digitize(users.past.lengths, HISTORY_FROM) - 1
    groups = []
    for group in np.unique(number).tolist():
        inside = number == group
        name = f"{HISTORY_FROM[group]}+"
        if group + 1 < len(HISTORY_FROM):
            name = f"{HISTORY_FROM[group]}-{HISTORY_FROM[group + 1] - 1}"
        means = {key: float(by_user[key][inside].mean()) for key in _keys(cutoffs)}
        groups.append(Group(name, int(inside.sum()), means))
    return groups


def popularity(training_counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [V+1]: the group of each item (0 head, 1 middle, 2 tail; -1 for padding).

    training_counts [V+1]: training interactions of each item. Items are taken by falling count,
    ties by rising id; an item is in the group in which the interactions of those before it end, so
    that each group holds about a third of all interactions.
    """
    counts = training_counts[1:]
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    groups = np.full(len(training_counts), -1, np.int64)
    # In whole numbers; items that nobody trained on come after everything, in the tail.
    groups[order + 1] = np.minimum(before * len(POPULARITY) // max(1, counts.sum()), 2)
    return groups


def by_popularity(
    ids: NDArray[np.int64],
    users: EvaluationUsers,
    item_group: NDArray[np.int64],
    cutoffs: tuple[int, ...],
) -> list[Group]:
    """Return the groups of `popularity`: metrics of lists [U, N] by the targets of each group
    alone, as if a user had no others, mean over the users who have such targets.
    """
    owner = np.repeat(np.arange(len(ids)), np.diff(users.target_offsets))
    groups = []
    for group, name in enumerate(POPULARITY):
        inside = item_group[users.target_items] == group
        counts = np.bincount(owner[inside], minlength=len(ids))
        having = counts > 0
        means = dict.fromkeys(_keys(cutoffs), float("nan"))
        if having.any():
            offsets = np.concatenate([[0], np.cumsum(counts[having])])
            values = metrics.per_user(ids[having], offsets, users.target_items[inside], cutoffs)
            means = {key: float(values[key].mean()) for key in means}
        groups.append(Group(name, int(having.sum()), means, int((item_group == group).sum())))
    return groups


def _keys(cutoffs: tuple[int, ...]) -> list[str]:
    return [f"{name}@{n}" for n in cutoffs for name in ("recall", "ndcg")]
