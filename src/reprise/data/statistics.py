"""Dataset statistics, with warnings about data that hurts training."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import LAST, SHARE, SPLITS, Dataset
from reprise.data.draft import totals_of
from reprise.data.sequences import EvaluationUsers, Sequences
from reprise.errors import DataError

SHORT = 5  # items: ComiRec's filter leaves no user with fewer
DOMINATING = 0.05  # of all interactions, an item's share
OUTSTANDING = 2  # times as many items as half of the users have
ORDERED = 0.9  # least rank correlation between falling ids and popularity
_QUANTILES = (0, 25, 50, 75, 95, 100)


def totals(dataset: Dataset) -> tuple[int, int]:
    """Return the users and interactions, each counted once, in whatever splits they are."""
    users = {split: len(sequences.lengths) for split, sequences in dataset.splits.items()}
    items = {split: len(sequences.items) for split, sequences in dataset.splits.items()}
    of_all = dataset.splits["train"].targets is None
    if dataset.evaluation == LAST and of_all:  # the other splits: train's users, an item more each
        return users["train"], items["train"] + users["valid"] + users["test"]
    if dataset.evaluation != SHARE:
        return totals_of(
            (dataset.raw_users(split), own.lengths) for split, own in dataset.splits.items()
        )
    return sum(users.values()), sum(items.values())


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return the facts of a dataset, as JSON holds them.

    users, interactions: by split, and "all" (each counted once); history_length: of users' whole
    sequences; popularity: of items, in interactions; histograms are [least, most, how many] over
    powers of two. category_coverage: shares that have a category. repeated_interactions: the share
    that a user had with the same item before. repeated_targets: by split, the share of users some
    target of whom is in his history. rank_correlation: Spearman's, of ids and ranks by falling
    popularity, where equals stand as their ids do; None of one item. times: whether they are known;
    item_features: `Dataset.features_told`, where there are any. warnings: `warnings_of` these.
    """
    whole = dataset.whole_sequences()
    users, interactions = totals(dataset)
    counts = np.bincount(whole.items, minlength=dataset.num_items + 1)[1:]
    known = dataset.item_category[1:] >= 0
    by_split = dataset.splits.items()
    facts: dict[str, Any] = {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "source": dict(dataset.meta["source"]) if "source" in dataset.meta else {},
        "evaluation": dataset.evaluation,
        "users": {split: len(own.lengths) for split, own in by_split} | {"all": users},
        "interactions": {split: len(own.items) for split, own in by_split} | {"all": interactions},
        "items": dataset.num_items,
        "categories": len(np.unique(dataset.item_category[1:][known])),
        "history_length": _distribution(whole.lengths),
        "popularity": _distribution(counts) | _concentration(dataset, counts),
        "category_coverage": {
            "items": float(known.mean()),
            "interactions": float(counts[known].sum() / counts.sum()),
        },
        "repeated_interactions": _repeated(whole),
        "repeated_targets": {split: _repeated_targets(dataset, split) for split in SPLITS[1:]},
        "rank_correlation": _rank_correlation(_warm(dataset, counts)),
        "times": dataset.has_times,
        **({"item_features": told} if (told := dataset.features_told)["features"] else {}),
    }
    told = facts["source"].get("warnings", [])
    return facts | {"warnings": [*told, *warnings_of(facts)]}


def warnings_of(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the warnings that facts give rise to: warning (its message's key) and its values."""
    found: list[dict[str, Any]] = []
    median = facts["history_length"]["quantiles"]["50"]
    if median < SHORT:
        found.append({"warning": "short_histories", "median": median, "least": SHORT})
    popularity = facts["popularity"]
    if popularity["top_share"] > DOMINATING:
        top, percent = popularity["top_item"], round(100 * popularity["top_share"], 1)
        found.append({"warning": "dominating_item", "item": top, "percent": percent})
    longest = facts["history_length"]["quantiles"]["100"]
    share = longest / facts["interactions"]["all"]
    if share > DOMINATING and longest > OUTSTANDING * median:
        found.append({"warning": "dominating_user", "percent": round(100 * share, 1)})
    correlation = facts["rank_correlation"]
    if correlation is not None and correlation < ORDERED:
        found.append({"warning": "ids_out_of_order", "correlation": round(correlation, 3)})
    return found


def _distribution(numbers: NDArray[np.integer]) -> dict[str, Any]:
    quantiles = np.percentile(numbers, _QUANTILES, method="inverted_cdf")
    # frexp's exponent of n >= 1 is its number of binary digits, and of 0 it is 0.
    digits = np.bincount(np.frexp(numbers.astype(np.float64))[1])
    return {
        "mean": float(numbers.mean()),
        "quantiles": {str(q): int(value) for q, value in zip(_QUANTILES, quantiles, strict=True)},
        "histogram": [
            [2**place // 2, max(2**place - 1, 0), int(count)]
            for place, count in enumerate(digits)
            if count or place
        ],
    }


def _concentration(dataset: Dataset, counts: NDArray[np.integer]) -> dict[str, Any]:
    """Return what the most popular have: the first item, the first hundredth; Gini's index."""
    rising = np.sort(counts)
    total, size = int(rising.sum()), len(rising)
    hundredth = -(-size // 100)
    gini = 2 * float(np.arange(1, size + 1) @ rising) / (size * total) - (size + 1) / size
    return {
        "top_item": int(counts.argmax()) + 1,
        "top_share": float(rising[-1] / total),
        "top_hundredth_share": float(rising[-hundredth:].sum() / total),
        "gini": gini,
    }


def _pairs(split: Sequences, width: int) -> NDArray[np.int64]:
    """Return one number for each (user, item)."""
    users = np.repeat(np.arange(len(split.lengths)), split.lengths)
    pairs: NDArray[np.int64] = users * width + split.items
    return pairs


def _repeated(whole: Sequences) -> float:
    pairs = _pairs(whole, int(whole.items.max()) + 1)
    return 1 - len(np.unique(pairs)) / len(pairs)


def _repeated_targets(dataset: Dataset, split: str) -> float | None:
    """Return the share of the split's users of whom a target was met before; None without users."""
    try:
        users: EvaluationUsers = dataset.evaluation_users(split, 1)
    except DataError:
        return None
    width = dataset.num_items + 1
    targets = Sequences(users.target_offsets, users.target_items)
    past = users.past.of(0, len(users.lengths))
    again = np.isin(_pairs(targets, width), _pairs(past, width))
    return float(np.logical_or.reduceat(again, targets.offsets[:-1]).mean())


def _warm(dataset: Dataset, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the counts of the items by rank, without those held out of training, which stand
    behind the others.
    """
    rank = np.argsort(dataset.rank[1:], kind="stable")
    return counts[rank] if dataset.cold is None else counts[rank][~dataset.cold[1:][rank]]


def _rank_correlation(counts: NDArray[np.integer]) -> float | None:
    ids = np.arange(len(counts))
    ranks = np.empty_like(ids)
    ranks[np.argsort(-counts, kind="stable")] = ids  # equals rank as they stand
    return float(np.corrcoef(ids, ranks)[0, 1]) if len(ids) > 1 else None
