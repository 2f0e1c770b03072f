"""Metrics of recommended lists: one table that evaluation, console, reports and trackers read.

A new metric is a function and an entry of METRICS; docs/metrics.md explains it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import Truth
from reprise.data.sequences import Sequences
from reprise.retrieval.ranking import NO_ITEM, members

# What a metric is of: a user's targets, a user's list by itself, or the lists of all users.
Of = Literal["targets", "list", "catalogue"]


@dataclass(frozen=True)
class Lists:
    """Users' recommended lists, and what they are held against.

    ids [U, N]: items, distinct, best first (0 past a list's end, or where an item is none of the
    catalogue's); targets in CSR form; num_items: V; item_category [V+1], truth and training_counts
    [V+1], the training interactions of each item: None where they are not known.
    """

    ids: NDArray[np.int64]
    target_offsets: NDArray[np.int64]
    target_items: NDArray[np.int32]
    num_items: int = 0
    item_category: NDArray[np.int32] | None = None
    truth: Truth | None = None
    training_counts: NDArray[np.int64] | None = None

    @cached_property
    def hits(self) -> NDArray[np.bool_]:
        """Which listed items are targets, [U, N]."""
        return members(self.ids, Sequences(self.target_offsets, self.target_items))

    @cached_property
    def distinct_targets(self) -> NDArray[np.int64]:
        """Distinct targets of each user, [U]."""
        return _distinct_counts(self.target_offsets, self.target_items)

    @cached_property
    def gains(self) -> NDArray[np.float64]:
        """What a hit at each rank adds to the DCG, [N]: 1 / log2(rank + 1)."""
        return 1.0 / np.log2(np.arange(2, self.ids.shape[1] + 2))

    @cached_property
    def precision_sums(self) -> NDArray[np.float64]:
        """Sum of the precision at each hit among the first n, in column n - 1, [U, N]."""
        ranks = np.arange(1, self.ids.shape[1] + 1)
        sums: NDArray[np.float64] = np.cumsum(self.hits * np.cumsum(self.hits, 1) / ranks, 1)
        return sums

    def found(self, n: int) -> NDArray[np.int64]:
        """Return the hits among the first n, [U]."""
        count: NDArray[np.int64] = self.hits[:, :n].sum(axis=1)
        return count

    def dcg(self, n: int) -> NDArray[np.float64]:
        """Return the discounted cumulative gain of the first n, [U]."""
        return self.hits[:, :n] @ self.gains[: self.hits[:, :n].shape[1]]


@dataclass(frozen=True)
class Metric:
    """A metric: its name, which keys begin with ("recall@50"), and how people read it.

    values(lists, n): [U] at a cutoff, or the one value of a catalogue's metric; None where the
    lists know too little. about: the message that explains it to anyone. interval: whether means
    get a confidence interval. in_training: whether training's evaluations take it, too: it is then
    part of the bytes of metrics.jsonl.
    """

    name: str
    label: str
    values: Callable[[Lists, int], Any]
    about: str
    of: Of = "targets"
    interval: bool = False
    higher_is_better: bool = True
    in_training: bool = True

    @property
    def per_user(self) -> bool:
        """Whether every user has a value, whose mean is the metric."""
        return self.of != "catalogue"


def recall(lists: Lists, n: int) -> NDArray[np.float64]:
    """Return the hits among the first n by the number of targets, repeats counted, as ComiRec's
    published code.
    """
    share: NDArray[np.float64] = lists.found(n) / np.diff(lists.target_offsets)
    return share


def ndcg(lists: Lists, n: int) -> NDArray[np.float64]:
    """Return DCG / DCG of min(n, distinct targets) hits at the top: the standard."""
    return lists.dcg(n) / _ideal(n)[np.minimum(lists.distinct_targets, n)]


def ndcg_comirec(lists: Lists, n: int) -> NDArray[np.float64]:
    """Return DCG / DCG of as many hits at the top as there are (one hit at rank 1 is 1.0), over the
    list by score: the published code keeps the list in a Python set, so that its ndcg (and nothing
    else) is of an arbitrary order.
    """
    found = lists.found(n)
    ideal: NDArray[np.float64] = np.maximum(_ideal(n)[found], found == 0)
    return lists.dcg(n) / ideal


def hitrate(lists: Lists, n: int) -> NDArray[np.float64]:
    """Return 1 where there is a hit among the first n, else 0."""
    return (lists.found(n) > 0).astype(np.float64)


def mrr(lists: Lists, n: int) -> NDArray[np.float64]:
    """Return 1 / rank of the first hit, 0 without one."""
    first = lists.hits[:, :n].argmax(axis=1) + 1
    rank: NDArray[np.float64] = (lists.found(n) > 0) / first
    return rank


def average_precision(lists: Lists, n: int) -> NDArray[np.float64]:
    """Return the sum of the precision at each hit among the first n, by the number of distinct
    targets, as trec_eval's map_cut.
    """
    reached = min(n, lists.ids.shape[1])
    share: NDArray[np.float64] = lists.precision_sums[:, reached - 1] / lists.distinct_targets
    return share


def precision(lists: Lists, n: int) -> NDArray[np.float64]:
    """Return the hits among the first n, by n, however many items are listed."""
    share: NDArray[np.float64] = lists.found(n) / n
    return share


def _novelty(lists: Lists, n: int) -> NDArray[np.float64] | None:
    counts = lists.training_counts
    return None if counts is None else novelty(lists.ids[:, :n], counts)


def _popularity(lists: Lists, n: int) -> NDArray[np.float64] | None:
    counts = lists.training_counts
    return None if counts is None else popularity(lists.ids[:, :n], counts)


def _diversity(lists: Lists, n: int) -> NDArray[np.float64] | None:
    known = lists.item_category
    return None if known is None else diversity(lists.ids[:, :n], known)


def _interest_coverage(lists: Lists, n: int) -> NDArray[np.float64] | None:
    truth = lists.truth
    if truth is None:
        return None
    return interest_coverage(lists.ids[:, :n], truth.item_interest, truth.user_interests)


def _catalogue_coverage(lists: Lists, n: int) -> float:
    return catalogue_coverage(lists.ids[:, :n], lists.num_items)


def _gini(lists: Lists, n: int) -> float:
    return gini(lists.ids[:, :n], lists.num_items)


def _ideal(n: int) -> NDArray[np.float64]:
    """Return the DCG of 0..n hits at the top, [n + 1]."""
    gains = 1.0 / np.log2(np.arange(2, n + 2))
    return np.concatenate([[0.0], np.cumsum(gains)])


METRICS = (
    Metric("recall", "Recall", recall, "about_recall", interval=True),
    Metric("ndcg", "NDCG", ndcg, "about_ndcg", interval=True),
    Metric("ndcg_comirec", "NDCG(ComiRec)", ndcg_comirec, "about_ndcg_comirec", interval=True),
    Metric("hitrate", "HR", hitrate, "about_hitrate", interval=True),
    Metric("mrr", "MRR", mrr, "about_mrr", interval=True),
    Metric("map", "MAP", average_precision, "about_map", interval=True, in_training=False),
    Metric(
        "precision", "Precision", precision, "about_precision", interval=True, in_training=False
    ),
    Metric("diversity", "Diversity", _diversity, "about_diversity", of="list"),
    Metric(
        "interest_coverage",
        "Interest coverage",
        _interest_coverage,
        "about_interest_coverage",
        of="list",
    ),
    Metric("novelty", "Novelty", _novelty, "about_novelty", of="list", in_training=False),
    Metric(
        "popularity",
        "Popularity (ARP)",
        _popularity,
        "about_popularity",
        of="list",
        higher_is_better=False,
        in_training=False,
    ),
    Metric(
        "catalogue_coverage",
        "Catalogue coverage",
        _catalogue_coverage,
        "about_catalogue_coverage",
        of="catalogue",
    ),
    Metric(
        "gini",
        "Gini",
        _gini,
        "about_gini",
        of="catalogue",
        higher_is_better=False,
        in_training=False,
    ),
)
IN_TRAINING = tuple(metric for metric in METRICS if metric.in_training)
BY_NAME = {metric.name: metric for metric in METRICS}


def metric_of(key: str) -> Metric | None:
    """Return the metric of a key such as "recall@50"; None of a key that is no metric of lists."""
    name, at, _ = key.partition("@")
    return BY_NAME.get(name) if at else None


def measured(
    lists: Lists,
    cutoffs: tuple[int, ...],
    kinds: tuple[Of, ...] = ("targets", "list", "catalogue"),
    metrics: Sequence[Metric] = METRICS,
) -> Iterator[tuple[str, Any]]:
    """Yield each of the metrics of these kinds that the lists know enough for, by key: at one
    cutoff after the other.
    """
    for kind in kinds:
        for n in cutoffs:
            for metric in metrics:
                if metric.of == kind and (values := metric.values(lists, n)) is not None:
                    yield f"{metric.name}@{n}", values


def diversity(ids: NDArray[np.int64], item_category: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return for each list [U, N] the share of item pairs of different category (ComiRec,
    equation 15), 0 without a pair; items of unknown category count as one category.
    """
    real, column = ids != NO_ITEM, np.arange(ids.shape[1])
    unlike_any = int(item_category.min()) - 1 - column  # what fills a short list
    category = np.sort(np.where(real, item_category[ids], unlike_any), axis=1)
    # A run of r equal categories holds r * (r - 1) / 2 equal pairs: count, for each item, the
    # items of its run before it.
    start = np.ones(category.shape, bool)
    start[:, 1:] = category[:, 1:] != category[:, :-1]
    before = column - np.maximum.accumulate(np.where(start, column, 0), axis=1)
    size = real.sum(axis=1)
    pairs = size * (size - 1) / 2
    share: NDArray[np.float64] = (pairs - before.sum(axis=1)) / np.maximum(pairs, 1)
    return share


def catalogue_coverage(ids: NDArray[np.int64], num_items: int) -> float:
    """Return the share of items 1..num_items that are in at least one of the lists [U, N]."""
    listed = np.zeros(num_items + 1, bool)
    listed[ids] = True
    return float(np.count_nonzero(listed[NO_ITEM + 1 :]) / num_items)


def gini(ids: NDArray[np.int64], num_items: int) -> float:
    """Return the Gini coefficient of how often each of items 1..num_items is in the lists [U, N]:
    0 where all are listed equally often, near 1 where few fill all lists; 0 of empty lists.
    """
    # Items that are in no list come first, and add nothing: of a large catalogue they are most.
    listed = np.sort(np.unique(ids[ids != NO_ITEM], return_counts=True)[1])
    if not (total := int(listed.sum())):
        return 0.0
    place = np.arange(num_items - len(listed) + 1, num_items + 1)
    return float((2 * place - num_items - 1) @ listed / (num_items * total))


def novelty(ids: NDArray[np.int64], training_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each list [U, N] the mean self-information of its items in bits, -log2 of an
    item's share of all training interactions [V+1]; an item without any counts as one with one.
    """
    share = np.maximum(training_counts[ids], 1) / max(1, training_counts.sum())
    return _mean_of_items(ids, -np.log2(share))


def popularity(ids: NDArray[np.int64], training_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each list [U, N] the mean of its items' training interactions [V+1]."""
    return _mean_of_items(ids, training_counts[ids])


def _mean_of_items(
    ids: NDArray[np.int64], values: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return for each list [U, N] the mean of its items' values [U, N]; 0 of an empty list."""
    real = ids != NO_ITEM
    total = np.where(real, values, 0).sum(axis=1, dtype=np.float64)
    means: NDArray[np.float64] = total / np.maximum(real.sum(axis=1), 1)
    return means


def interest_coverage(
    ids: NDArray[np.int64], item_interest: NDArray[np.int32], user_interests: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return for each list [U, N] the share of its user's true interests [U, T] (padded with -1)
    that hold at least a tenth of it: how well a recommender serves every need, not one.
    """
    of_list = item_interest[ids]
    held = (of_list[:, None, :] == user_interests[:, :, None]).sum(axis=2)
    real = user_interests >= 0
    share: NDArray[np.float64] = ((held >= ids.shape[1] / 10) & real).sum(axis=1) / real.sum(axis=1)
    return share


def _distinct_counts(offsets: NDArray[np.int64], items: NDArray[np.int32]) -> NDArray[np.int64]:
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    pairs = np.unique(np.stack([owner, items]), axis=1)
    return np.bincount(pairs[0], minlength=len(offsets) - 1)
