"""Evaluate a model over all items on a split's users."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import Truth
from reprise.data.sequences import EvaluationUsers
from reprise.errors import DataError
from reprise.evaluation import health
from reprise.evaluation.metrics import IN_TRAINING, Lists, Metric, measured
from reprise.retrieval import rerank
from reprise.retrieval.on_mesh import DealtRetriever
from reprise.retrieval.ranking import Ranking
from reprise.retrieval.search import Chunk, search
from reprise.retrieval.terms import Terms
from reprise.retrieval.vectors import (
    Retriever,
    added_scores,
    added_to_seen,
    adds,
    seen_items,
    user_vectors,
)


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        metrics: Mean metrics by key ("recall@50").
        ids: [U, N] int64, the lists.
        by_user: The values [U] float64 behind each mean.
        repeat_worth: The bias on the scores of items in a user's whole history: 0, the learned
            repeat bias, or -inf if they were filtered.
        request_time: When users asked, one of `REQUEST_TIMES`; None: it does not matter.
    """

    metrics: dict[str, float]
    ids: NDArray[np.int64]
    by_user: dict[str, NDArray[np.float64]]
    repeat_worth: float
    request_time: str | None = None


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
    """Compute the mean of each of `metrics` over all users, and the interest health (`health`) of
    models with several interests.

    Non-finite interests, items or repeat bias make all metrics NaN.

    Args:
        retriever: The model.
        users: Histories and targets.
        cutoffs: List lengths at which metrics are computed.
        item_category: Enables diversity.
        truth: Enables interest coverage.
        coef: Lambda of `rerank.select`; None: rank by score.
        filter_seen: Whether to remove the items of a user's whole history from the lists.
        should_stop: Checked before each chunk of users.
        metrics: Rows of `metrics.METRICS`.
        training_counts: Training interactions of each item, [V+1]; enables novelty and popularity.

    Raises:
        DataError: `coef` is given without categories.
        InterruptedSearchError: `should_stop` returned true.
    """
    (found,) = evaluate_each(
        retriever,
        users,
        cutoffs,
        (coef,),
        item_category,
        truth,
        filter_seen,
        should_stop,
        metrics,
        training_counts,
    )
    return found


def evaluate_each(
    retriever: Retriever,
    users: EvaluationUsers,
    cutoffs: tuple[int, ...],
    coefs: Sequence[float | None],
    item_category: NDArray[np.int32] | None = None,
    truth: Truth | None = None,
    filter_seen: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    metrics: Sequence[Metric] = IN_TRAINING,
    training_counts: NDArray[np.int64] | None = None,
) -> list[Evaluation]:
    """Return what `evaluate` returns for each of `coefs`, all numbers or all None, in one pass over
    the users: one search, and of each ranking one selection for each lambda.
    """
    by_category = coefs[0] is not None
    if by_category and item_category is None:
        raise DataError("no_categories")
    top_n, count = max(cutoffs), len(users.lengths)
    items = retriever.candidates()
    seen_bias = added_to_seen(retriever, filter_seen)
    passed = _Passed()
    made = passed.through(user_vectors(retriever, users, should_stop))
    chunks = _chunks(retriever, users, made, top_n, by_category, filter_seen)
    lists: list[list[Ranking]] = [[] for _ in coefs]
    for ranking in _rankings(retriever, chunks, items):
        for own, coef in zip(lists, coefs, strict=True):
            own.append(_chosen(ranking, item_category, top_n, coef))
    finite = bool(
        passed.finite
        and retriever.is_finite(items)
        and (filter_seen or math.isfinite(seen_bias))
        and (retriever.memory is None or np.isfinite(retriever.memory.numbers).all())
    )
    targets = users.target_offsets, users.target_items
    evaluations = []
    for own in lists:
        ids = np.concatenate([ranking.ids for ranking in own])[:count]
        listed = Lists(ids, *targets, retriever.num_items, item_category, truth, training_counts)
        means, by_user = score(listed, cutoffs, metrics)
        if passed.num_interest > 1:
            origin = np.concatenate([ranking.interests for ranking in own])[:count]
            means |= health.of_lists(origin, passed.num_interest, cutoffs)
            means["interest_cosine"] = float(np.concatenate(passed.cosines)[:count].mean())
        if not finite:
            means = dict.fromkeys(means, math.nan)
            by_user = {name: np.full(count, math.nan) for name in by_user}
        asked_at = retriever.request_time
        evaluations.append(Evaluation(means, ids, by_user, seen_bias, asked_at))
    return evaluations


def _rankings(
    retriever: Retriever, chunks: Iterator[Chunk], items: NDArray[np.float32]
) -> Iterable[Ranking]:
    if isinstance(retriever, DealtRetriever):
        return retriever.rankings(chunks, items)
    return search(chunks, items)


def _chosen(
    ranking: Ranking, item_category: NDArray[np.int32] | None, top_n: int, coef: float | None
) -> Ranking:
    """Return the first `top_n` of a ranking by score or, given a lambda, by category, too."""
    if coef is None or item_category is None:
        ids, scores, interests = ranking
        return Ranking(ids[:, :top_n], scores[:, :top_n], interests[:, :top_n])
    return rerank.select(ranking, item_category, top_n, coef)


def _chunks(
    retriever: Retriever,
    users: EvaluationUsers,
    made: Iterator[NDArray[np.float32]],
    top_n: int,
    by_interest: bool,
    filter_seen: bool,
) -> Iterator[Chunk]:
    """Yield what to search for, of the users' interests."""
    pasts = seen_items(users) if adds(retriever, filter_seen) else None
    for interests in made:
        added = None if pasts is None else added_scores(retriever, next(pasts), filter_seen)
        yield Chunk(interests, top_n, Terms(added), by_interest)


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
    """Observes interests as they pass: interests per user, whether all values are finite, and, for
    several interests, the mean cosine of each user, [u] per chunk.
    """

    def __init__(self) -> None:
        self.num_interest, self.finite = 1, True
        self.cosines: list[NDArray[np.float64]] = []

    def through(self, chunks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield the chunks unchanged."""
        for made in chunks:
            self.num_interest = made.shape[1]
            self.finite &= bool(np.isfinite(made).all())
            if self.num_interest > 1:
                with np.errstate(all="ignore"):  # non-finite values
                    self.cosines.append(health.cosines(made))
            yield made
