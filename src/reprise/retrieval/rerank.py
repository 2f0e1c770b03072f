"""Diversify lists by category: score minus lambda times the number of items already selected from
the same category (ComiRec, section 3.3, greedy inference).

With lambda >= 0, the greedy loop takes a category's items in the order of their scores. So what is
subtracted from an item is known before the first selection: lambda times the number of better
candidates of its category. Each category then falls by what is left, and the loop merges the
categories, which a sort does: O(N log N) for N candidates, all users together.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.errors import UsageError
from reprise.retrieval.ranking import NO_INTEREST, NO_ITEM, Ranking
from reprise.text.messages import Phrase


def check_lambda(coef: float, option: str = "lambda") -> None:
    """Raise UsageError unless lambda is finite and at least 0; `option`: how it was given."""
    if not 0 <= coef < math.inf:
        expected = Phrase("good_from", low=0)
        raise UsageError("bad_value", option=option, value=coef, expected=expected)


def select(ranking: Ranking, item_category: NDArray[np.int32], top_n: int, coef: float) -> Ranking:
    """Select lists [U, top_n] greedily by score - coef * taken(category), in order of selection,
    with the items' original scores and interests.

    The better ranked item wins ties. Items of unknown category are left out, both as in ComiRec,
    and so are items whose score is not finite. Short lists are padded as in `Ranking`.

    Args:
        ranking: Candidates, by descending score.
        item_category: [V+1], below 0 where unknown.
        top_n: Length of the lists.
        coef: Lambda, finite and at least 0, in units of the scores: inner products or, with a
            temperature, cosines not divided by it.
    """
    check_lambda(coef)
    category = item_category[ranking.ids]
    left_out = (ranking.ids == NO_ITEM) | (category < 0) | ~np.isfinite(ranking.scores)
    with np.errstate(over="ignore"):  # a lambda near the greatest number makes -inf
        penalty = coef * _better_of_category(category, left_out)
    kept = np.where(left_out, 0, ranking.scores) - penalty
    order = np.lexsort((-kept, left_out))[:, :top_n]  # stable: the better ranked wins ties
    missing = np.take_along_axis(left_out, order, 1)
    short = ((0, 0), (0, top_n - order.shape[1]))

    def chosen(values: NDArray[Any], padding: float) -> NDArray[Any]:
        found = np.where(missing, padding, np.take_along_axis(values, order, 1))
        return np.pad(found.astype(values.dtype), short, constant_values=padding)

    return Ranking(
        chosen(ranking.ids, NO_ITEM),
        chosen(ranking.scores, -np.inf),
        chosen(ranking.interests, NO_INTEREST),
    )


def _better_of_category(
    category: NDArray[np.int32], left_out: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return for each candidate [U, N] the number of those of its category that rank before it;
    what is left out counts among itself only.
    """
    column = np.arange(category.shape[1])
    category = np.where(left_out, -1, category)
    by_category = np.argsort(category, axis=1, kind="stable")
    ordered = np.take_along_axis(category, by_category, 1)
    starts = np.ones(category.shape, bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    better = np.empty(category.shape, np.int64)
    first = np.maximum.accumulate(np.where(starts, column, 0), axis=1)
    np.put_along_axis(better, by_category, column - first, 1)
    return better
