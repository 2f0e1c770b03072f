"""Whole-catalogue evaluation: from a model and a split's users to mean metrics."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import Truth
from reprise.data.sequences import EvaluationUsers
from reprise.errors import DataError
from reprise.evaluation import health
from reprise.evaluation.metrics import IN_TRAINING, Lists, Metric, measured
from reprise.retrieval import rerank
from reprise.retrieval.search import search
from reprise.retrieval.vectors import Retriever, added_to_seen, seen_items, user_vectors


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: the metrics, and what they are the means of.

    ids [U, N] int64: the lists; by_user: each mean metric's values [U] float64; repeat_worth: what
    was added to the scores of items in a user's whole history: 0, -inf where they were left out, or
    what the model has learned.
    """

    metrics: dict[str, float]
    ids: NDArray[np.int64]
    by_user: dict[str, NDArray[np.float64]]
    repeat_worth: float


def evaluate(
    retriever: Retriever,
    users: EvaluationUsers,
    cutoffs: tuple[int, ...],
    item_category: NDArray[np.int32] | None = None,
    truth: Truth | None = None,
    coef: float | None = None,
    filter_seen: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    metrics: Sequence[Metric] = IN_TRAINING,
    training_counts: NDArray[np.int64] | None = None,
) -> Evaluation:
    """Return the mean of each of `metrics` over all users, at each cutoff, and of models with
    several interests their health (`health`).

    With `item_category`, diversity at each cutoff too, with `truth` interest coverage, with
    `training_counts` [V+1], the training interactions of each item, novelty and popularity; with
    `coef`, the list is chosen by `rerank.select`; with `filter_seen`, the items of a user's whole
    history are left out first. Interests, items or a repeat bias that are not finite make every
    metric NaN. DataError where `coef` has no categories to work on; InterruptedSearchError where
    `should_stop` answered yes in the middle.
    """
    if coef is not None and item_category is None:
        raise DataError("no_categories")
    top_n, count = max(cutoffs), len(users.lengths)
    items = retriever.item_vectors()[1:]  # without the padding
    seen_bias = added_to_seen(retriever, filter_seen)
    passed = _Passed()
    lists = [
        ranking
        if coef is None or item_category is None
        else rerank.select(ranking, item_category, top_n, coef)
        for ranking in search(
            passed.through(user_vectors(retriever, users, should_stop)),
            items,
            top_n,
            seen_items(users) if seen_bias else None,
            seen_bias,
            by_interest=coef is not None,
        )
    ]
    finite = (
        passed.finite and np.isfinite(items).all() and (filter_seen or math.isfinite(seen_bias))
    )
    ids = np.concatenate([ranking.ids[:, :top_n] for ranking in lists])[:count]
    targets = users.target_offsets, users.target_items
    listed = Lists(ids, *targets, len(items), item_category, truth, training_counts)
    means, by_user = score(listed, cutoffs, metrics)
    if passed.num_interest > 1:
        origin = np.concatenate([ranking.interests[:, :top_n] for ranking in lists])[:count]
        means |= health.of_lists(origin, passed.num_interest, cutoffs)
        means["interest_cosine"] = float(np.concatenate(passed.cosines)[:count].mean())
    if not finite:
        means = dict.fromkeys(means, math.nan)
        by_user = {name: np.full(count, math.nan) for name in by_user}
    return Evaluation(means, ids, by_user, seen_bias)


def score(
    lists: Lists, cutoffs: tuple[int, ...], metrics: Sequence[Metric]
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    """Return the mean of each metric by key, and of those that are means the users' values [U]."""
    means, by_user = {}, {}
    for key, values in measured(lists, cutoffs, metrics=metrics):
        means[key] = float(np.mean(values))
        if np.ndim(values):
            by_user[key] = values
    return means, by_user


class _Passed:
    """What has been seen of interests that went by: how many a user has, whether all their numbers
    are finite, and where there are several the mean cosine of each user's, [u] a chunk.
    """

    def __init__(self) -> None:
        self.num_interest, self.finite = 1, True
        self.cosines: list[NDArray[np.float64]] = []

    def through(self, chunks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield the chunks as they come."""
        for made in chunks:
            self.num_interest = made.shape[1]
            self.finite &= bool(np.isfinite(made).all())
            if self.num_interest > 1:
                with np.errstate(all="ignore"):  # numbers that are not finite
                    self.cosines.append(health.cosines(made))
            yield made
