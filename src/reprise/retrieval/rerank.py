"""Diversify lists by category: score minus lambda times the number of items already selected from
the same category (ComiRec, section 3.3, greedy inference).
"""

import numpy as np
from numpy.typing import NDArray

from reprise.retrieval.ranking import NO_INTEREST, NO_ITEM, Ranking


def select(ranking: Ranking, item_category: NDArray[np.int32], top_n: int, coef: float) -> Ranking:
    """Select lists [U, top_n] greedily by score - coef * taken(category), in order of selection,
    with the items' original scores and interests.

    `coef` is in units of the scores: inner products or, with a temperature, cosines not divided by
    it. The better ranked item wins ties, and items of unknown category are left out, both as in
    ComiRec. Short lists are padded as in `Ranking`.
    """
    category = item_category[ranking.ids]
    scores = np.where(
        (ranking.ids != NO_ITEM) & (category >= 0), ranking.scores.astype(np.float64), -np.inf
    )
    users = np.arange(len(scores))
    taken = np.zeros(scores.shape, np.int64)  # how many of each candidate's category are chosen
    chosen = Ranking(
        np.full((len(scores), top_n), NO_ITEM, np.int64),
        np.full((len(scores), top_n), -np.inf, np.float32),
        np.full((len(scores), top_n), NO_INTEREST, np.int32),
    )
    for place in range(min(top_n, scores.shape[1])):
        best = np.argmax(scores - coef * taken, axis=1)
        left = np.isfinite(scores[users, best])
        place_of = (users[left], best[left])
        chosen.ids[left, place] = ranking.ids[place_of]
        chosen.scores[left, place] = ranking.scores[place_of]
        chosen.interests[left, place] = ranking.interests[place_of]
        taken += category == category[users, best][:, None]
        scores[users, best] = -np.inf
    return chosen
