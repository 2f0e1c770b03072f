"""The lists of the baselines for cold items, those without training interactions.

A baseline's one setting is its feature: that with the best recall of the cold targets of the valid
users. What is popular among cold items is what the histories of the evaluated users have; items
that have as many stand in an order drawn by chance, as their numbers may be by interactions that
are held out.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import Dataset
from reprise.data.features import Codes, Feature, codes_of
from reprise.data.sequences import EvaluationUsers
from reprise.evaluation.baselines import Fitted
from reprise.evaluation.cold import COLD, ColdBaseline, Settings
from reprise.evaluation.groups import COLDNESS, by_coldness, coldness
from reprise.runs.numbered import Numbers

_CATEGORY = "category"  # of a data set without features
_SEED = 1


class ColdLists(NamedTuple):
    """The lists of users by the best setting, and the recall of cold targets that chose it, None
    where no valid user has any.
    """

    settings: Settings
    valid_recall: float | None
    ids: NDArray[np.int64]


def able(dataset: Dataset, users: EvaluationUsers, cutoffs: Sequence[int]) -> list[ColdBaseline]:
    """Return the baselines with a feature of their kind; none where none of the users' targets are
    cold, or where all cold items are in any list.
    """
    cold = is_cold(dataset)
    if not cold[users.target_items].any() or cold.sum() <= min(cutoffs):
        return []
    return [baseline for baseline in COLD if _names(baseline, dataset)]


def is_cold(dataset: Dataset) -> NDArray[np.bool_]:
    """Return which items are without training interactions, [V+1]."""
    cold: NDArray[np.bool_] = coldness(dataset.training_counts) == COLDNESS.index("cold")
    return cold


def lists_of_cold(
    baseline: ColdBaseline,
    dataset: Dataset,
    valid: EvaluationUsers,
    users: EvaluationUsers,
    cutoff: int,
    top_n: int,
) -> ColdLists:
    """Return the lists of users, [U, top_n], by the feature with the best recall of the cold
    targets of the valid users at a cutoff; of equal ones, by the first.
    """
    features = _features(baseline, dataset)
    numbers = _numbers(dataset, valid)
    best: Settings | None = None
    recall: float | None = None
    for settings, fitted in _candidates(baseline, dataset, features, valid, numbers):
        ids = numbers.ranked(fitted, valid.past, cutoff)
        groups = by_coldness(ids, valid, dataset.training_counts, (cutoff,))
        found = groups[COLDNESS.index("cold")].metrics[f"recall@{cutoff}"] if groups else None
        if best is None or (found is not None and recall is not None and found > recall):
            best, recall = settings, found
    numbers = _numbers(dataset, users)
    for settings, fitted in _candidates(baseline, dataset, features, users, numbers):
        if settings == best:
            return ColdLists(settings, recall, numbers.ranked(fitted, users.past, top_n))
    raise AssertionError(best)


def _candidates(
    baseline: ColdBaseline,
    dataset: Dataset,
    features: list[Feature],
    users: EvaluationUsers,
    numbers: Numbers,
) -> Iterator[tuple[Settings, Fitted]]:
    """Return what is fitted by each feature, in these numbers."""
    order = numbers.item
    assert order is not None
    cold = is_cold(dataset)
    return baseline.candidates(
        (one.of(order) for one in features), _known(dataset, users)[order], cold[order]
    )


def _numbers(dataset: Dataset, users: EvaluationUsers) -> Numbers:
    """Return the items' numbers by what is known of their popularity."""
    ties = np.random.Generator(np.random.Philox(_SEED)).permutation(dataset.num_items + 1)
    return Numbers.by_count(_known(dataset, users), ties[dataset.rank])


def _known(dataset: Dataset, users: EvaluationUsers) -> NDArray[np.int64]:
    """Return the interactions of each item in training and in the users' histories, [V+1]."""
    own = users.past.of(0, len(users.past.lengths)).items
    return dataset.training_counts + np.bincount(own, minlength=dataset.num_items + 1)


def _names(baseline: ColdBaseline, dataset: Dataset) -> list[str]:
    """Return the names of the features that a baseline can use."""
    kinds = [kind.kind for kind in baseline.kinds]
    found = [name for name, told in dataset.features.told.items() if told["kind"] in kinds]
    alone = not found and Codes in baseline.kinds and dataset.known_categories is not None
    return [_CATEGORY] if alone else found


def _features(baseline: ColdBaseline, dataset: Dataset) -> list[Feature]:
    """Return the features that a baseline can use; where it is one of categories and there are
    none, the categories that the source told.
    """
    names = _names(baseline, dataset)
    if any(name in dataset.features.told for name in names):
        return [dataset.feature(name) for name in names]
    told = dataset.known_categories
    assert told is not None
    return [codes_of(_CATEGORY, told[1:] + 1, int(told.max()) + 2)]
