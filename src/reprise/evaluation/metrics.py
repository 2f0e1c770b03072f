"""Ranking metrics for one user each: recall, hit rate, MRR, and NDCG by both definitions in use."""

import numpy as np
from numpy.typing import NDArray

from reprise.data.sequences import Sequences
from reprise.retrieval.ranking import NO_ITEM, members


def per_user(
    ids: NDArray[np.int64],
    target_offsets: NDArray[np.int64],
    target_items: NDArray[np.int32],
    cutoffs: tuple[int, ...],
) -> dict[str, NDArray[np.float64]]:
    """Return each metric at each cutoff as [U] float64, keyed "recall@50" and so on.

    ids [U, N]: recommended items, distinct, best first; targets in CSR form. With h distinct
    targets among the first n items:
    recall = h / number of targets, repeats counted (as ComiRec's published code);
    hitrate = 1 if h > 0; mrr = 1 / rank of the first hit, 0 without one;
    ndcg_comirec = DCG / DCG of h hits at the top (one hit at rank 1 is 1.0), over the list by
    score: the published code keeps the list in a Python set, so that its ndcg (and nothing else)
    is of an arbitrary order;
    ndcg = DCG / DCG of min(n, distinct targets) hits at the top, the standard.
    """
    hits = members(ids, Sequences(target_offsets, target_items))
    counts = np.diff(target_offsets)
    distinct = _distinct_counts(target_offsets, target_items)
    gains = 1.0 / np.log2(np.arange(2, max(cutoffs) + 2))
    ideal = np.concatenate([[0.0], np.cumsum(gains)])
    metrics: dict[str, NDArray[np.float64]] = {}
    for n in cutoffs:
        found = hits[:, :n].sum(axis=1)
        dcg = hits[:, :n] @ gains[: hits[:, :n].shape[1]]
        metrics[f"recall@{n}"] = found / counts
        metrics[f"ndcg@{n}"] = dcg / ideal[np.minimum(distinct, n)]
        metrics[f"ndcg_comirec@{n}"] = dcg / np.maximum(ideal[found], gains[0] * (found == 0))
        metrics[f"hitrate@{n}"] = (found > 0).astype(np.float64)
        first = hits[:, :n].argmax(axis=1) + 1
        metrics[f"mrr@{n}"] = (found > 0) / first
    return metrics


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
