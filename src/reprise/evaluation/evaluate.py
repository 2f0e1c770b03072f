"""Whole-catalogue evaluation: from a state and a split's users to mean metrics."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import Truth
from reprise.data.sequences import EvaluationUsers, Sequences
from reprise.errors import DataError
from reprise.evaluation import health, metrics
from reprise.models.scoring import COMIREC, WORTH, Scoring
from reprise.retrieval import rerank
from reprise.retrieval.search import search

if TYPE_CHECKING:
    from reprise.training.state import Arrays
    from reprise.training.step import Interests

_SHORTEST = np.float32(1e-6)  # length below which a vector is not stretched to 1
_CHUNK = 256  # users a call; fixed, because the size decides the last bits of the scores


class EvaluationInterruptedError(Exception):
    """Raised when `should_stop` answered yes in the middle."""


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
    arrays: "Arrays",
    interests: "Interests",
    users: EvaluationUsers,
    cutoffs: tuple[int, ...],
    item_category: NDArray[np.int32] | None = None,
    truth: Truth | None = None,
    coef: float | None = None,
    filter_seen: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    scoring: Scoring = COMIREC,
) -> Evaluation:
    """Return the mean of each metric over all users (`metrics.per_user`, at each cutoff), the
    catalogue coverage, and of models with several interests their health (`health`).

    With `item_category`, diversity at each cutoff too, and with `truth` interest coverage; with
    `coef`, the list is chosen by `control.select`; with `filter_seen`, the items of a user's whole
    history are left out first. `scoring`: as `interests` were made for it. Interests, items or a
    worth of repeats that are not finite make every metric NaN. DataError where `coef` has no
    categories to work on.
    """
    if coef is not None and item_category is None:
        raise DataError("no_categories")
    top_n, count = max(cutoffs), len(users.lengths)
    items = candidates(arrays, scoring)[1:]  # without the padding
    worth = repeat_worth(arrays, scoring, filter_seen)
    passed = _Passed()
    lists = [
        ranking
        if coef is None or item_category is None
        else rerank.select(ranking, item_category, top_n, coef)
        for ranking in search(
            passed.through(_padded_interests(arrays, interests, users, should_stop)),
            items,
            top_n,
            _seen(users) if worth else None,
            worth,
            by_interest=coef is not None,
        )
    ]
    finite = passed.finite and np.isfinite(items).all() and (filter_seen or math.isfinite(worth))
    ids = np.concatenate([ranking.ids[:, :top_n] for ranking in lists])[:count]
    by_user = user_metrics(ids, users, cutoffs, item_category, truth)
    means = _means(by_user)
    for n in cutoffs:
        means[f"catalogue_coverage@{n}"] = metrics.catalogue_coverage(ids[:, :n], len(items))
    if passed.num_interest > 1:
        origin = np.concatenate([ranking.interests[:, :top_n] for ranking in lists])[:count]
        means |= health.of_lists(origin, passed.num_interest, cutoffs)
        means["interest_cosine"] = float(np.concatenate(passed.cosines)[:count].mean())
    if not finite:
        means = dict.fromkeys(means, math.nan)
        by_user = {name: np.full(count, math.nan) for name in by_user}
    return Evaluation(means, ids, by_user, worth)


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


def interests_of(
    arrays: "Arrays", interests: "Interests", users: EvaluationUsers
) -> Iterator[NDArray[np.float32]]:
    """Yield the interests [u, K, d] of some users after the other, as `evaluate` scores them."""
    left = len(users.lengths)
    for made in _padded_interests(arrays, interests, users):
        yield made[:left]
        left -= len(made)


def _padded_interests(
    arrays: "Arrays",
    interests: "Interests",
    users: EvaluationUsers,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[NDArray[np.float32]]:
    """Yield the interests [_CHUNK, K, d] of one chunk of users after the other."""
    for start in range(0, len(users.lengths), _CHUNK):
        if should_stop():
            raise EvaluationInterruptedError
        yield np.asarray(interests(arrays, *_padded(users, start)))


def candidates(arrays: "Arrays", scoring: Scoring) -> NDArray[np.float32]:
    """Return what retrieval scores items by, [V+1, d], row 0 the padding: their vectors as
    candidates, by cosine at length 1 (`training.losses.unit`).
    """
    rows = np.asarray(arrays.rows)
    values: NDArray[np.float32] = scoring.candidates(rows[:, : rows.shape[1] // 3])
    if not scoring.cosine:
        return values
    parts = values.reshape(len(values), scoring.members, -1)
    with np.errstate(all="ignore"):  # values that are not finite, and squares that overflow
        lengths = np.sqrt(np.einsum("vmd,vmd->vm", parts, parts) * np.float32(scoring.members))
        unit: NDArray[np.float32] = parts / np.maximum(lengths, _SHORTEST)[..., None]
    return unit.reshape(values.shape)


def repeat_worth(arrays: "Arrays", scoring: Scoring, filter_seen: bool) -> float:
    """Return `Evaluation.repeat_worth`."""
    if filter_seen:
        return -math.inf
    return float(np.asarray(arrays.params[WORTH])) if scoring.repeats else 0.0


def user_metrics(
    ids: NDArray[np.int64],
    users: EvaluationUsers,
    cutoffs: tuple[int, ...],
    item_category: NDArray[np.int32] | None = None,
    truth: Truth | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Return each user's metrics [U] of recommended lists [U, N], as `evaluate`."""
    values = metrics.per_user(ids, users.target_offsets, users.target_items, cutoffs)
    for n in cutoffs:
        if item_category is not None:
            values[f"diversity@{n}"] = metrics.diversity(ids[:, :n], item_category)
        if truth is not None:
            values[f"interest_coverage@{n}"] = metrics.interest_coverage(
                ids[:, :n], truth.item_interest, truth.user_interests
            )
    return values


def _means(values: dict[str, NDArray[np.float64]]) -> dict[str, float]:
    return {name: float(value.mean()) for name, value in values.items()}


def _padded(users: EvaluationUsers, start: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return a chunk of exactly _CHUNK users: one compiled shape, and the same bits, for all."""
    history, lengths = users.history[start:][:_CHUNK], users.lengths[start:][:_CHUNK]
    missing = _CHUNK - len(lengths)
    return np.pad(history, ((0, missing), (0, 0))), np.pad(lengths, (0, missing))


def _seen(users: EvaluationUsers) -> Iterator[Sequences]:
    """Yield what each chunk's users have seen; those who fill up the last chunk, nothing."""
    for start in range(0, len(users.lengths), _CHUNK):
        past = users.past.of(start, start + _CHUNK)
        missing = _CHUNK - len(past.lengths)
        yield Sequences(np.pad(past.offsets, (0, missing), mode="edge"), past.items)
