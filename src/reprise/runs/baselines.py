"""Measure the baselines of a data set, each with the settings that are best on its valid users."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import Dataset
from reprise.data.sequences import EvaluationUsers, Past, Sequences
from reprise.errors import UsageError
from reprise.evaluation.baselines import BASELINES, MOST_SOLVED, Baseline, Fitted, solving
from reprise.evaluation.evaluate import Evaluation, score
from reprise.evaluation.metrics import METRICS, Lists, recall
from reprise.runs.baselines_kept import Facts
from reprise.runs.evaluation import Measured, evaluation_facts
from reprise.runs.results import Split
from reprise.text.messages import Say, unsaid

NAMES = tuple(baseline.name for baseline in BASELINES)
SELECTED_BY = 50  # the cutoff of the recall that chooses settings
SELECTED_ON = 5_000  # valid users that choose settings, at most; drawn by the seed
_SEED = 1


@dataclass(frozen=True)
class Chosen:
    """A baseline with the settings that are best on the valid users, and their recall@50 there."""

    baseline: Baseline
    settings: Mapping[str, float]
    valid_recall: float
    fitted: Fitted


def measure_baselines(
    dataset: Dataset,
    split: Split,
    cutoffs: tuple[int, ...],
    names: Collection[str] = NAMES,
    say: Say = unsaid,
    done: Callable[[str], None] = lambda name: None,
) -> Facts:
    """Fit each baseline on the training users, choose its settings on the valid users, and evaluate
    it on a split, without the items of the users' histories.

    Args:
        dataset: The data set.
        split: The users to evaluate.
        cutoffs: The cutoffs of the metrics.
        names: The baselines to measure, of NAMES.
        say: Called with what is left out.
        done: Called with the name of each baseline when it is measured.

    Returns:
        dataset, dataset_fingerprint, split; left_out: why ("items": the catalogue is too large,
        "times": it has none), by the name of a baseline; baselines, by name: settings,
        valid_recall@50, and `evaluation_facts`.
    """
    if unknown := sorted(set(names) - set(NAMES)):
        expected = " | ".join(NAMES)
        raise UsageError("bad_value", option="only", value=unknown[0], expected=expected)
    asked = [baseline for baseline in BASELINES if baseline.name in names]
    left_out = _left_out(asked, dataset, say)
    valid = dataset.evaluation_users("valid", 1).sample(SELECTED_ON, _SEED)
    users = dataset.evaluation_users(split, 1)
    numbers = _Numbers.of(dataset)
    found = {}
    for baseline in asked:
        if baseline.name not in left_out:
            chosen = _choose(baseline, dataset, numbers, valid)
            ids = numbers.ranked(chosen.fitted, users.past, max(cutoffs))
            found[baseline.name] = _facts(chosen, ids, dataset, users, split, cutoffs)
            done(baseline.name)
    return {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "split": split,
        "left_out": left_out,
        "baselines": found,
    }


def _left_out(asked: Sequence[Baseline], dataset: Dataset, say: Say) -> dict[str, str]:
    """Return which baselines cannot be measured on a data set, and why; say it."""
    items, timed = dataset.num_items, dataset.splits["train"].times is not None
    large = [one.name for one in asked if one.solves and items > MOST_SOLVED]
    untimed = [one.name for one in asked if one.timed and not timed]
    if large:
        size, hours = solving(items)
        shape = {"items": items, "most": MOST_SOLVED, "gigabytes": size / 1e9, "hours": hours}
        say("baselines_left_out", names=", ".join(large), **shape)
    if untimed:
        say("baselines_without_times", names=", ".join(untimed))
    return dict.fromkeys(large, "items") | dict.fromkeys(untimed, "times")


class _Numbers(NamedTuple):
    """Items' numbers by falling popularity, which baselines expect: rank [V+1] of each item, and
    item [V+1] of each rank; None where items are numbered so.
    """

    rank: NDArray[np.int32] | None
    item: NDArray[np.int64] | None

    @classmethod
    def of(cls, dataset: Dataset) -> "_Numbers":
        """Return those of a data set."""
        if dataset.is_numbered_by_rank:
            return cls(None, None)
        return cls(dataset.rank, np.argsort(dataset.rank))

    def of_train(self, train: Sequences) -> Sequences:
        """Return training sequences in ranks."""
        return train if self.rank is None else replace(train, items=self.rank[train.items])

    def ranked(self, fitted: Fitted, past: Past, top_n: int) -> NDArray[np.int64]:
        """Return the lists of users, of what was fitted in ranks, in items."""
        if self.rank is None or self.item is None:
            return fitted.ranked(past, top_n)
        ids = fitted.ranked(replace(past, items=self.rank[past.items]), top_n)
        return self.item[ids]


def _choose(
    baseline: Baseline, dataset: Dataset, numbers: _Numbers, valid: EvaluationUsers
) -> Chosen:
    """Return the best settings by recall@50; of equal ones, the first."""
    best: Chosen | None = None
    train = numbers.of_train(dataset.splits["train"])
    for settings, fitted in baseline.candidates(train, dataset.num_items):
        ids = numbers.ranked(fitted, valid.past, SELECTED_BY)
        found = float(
            recall(Lists(ids, valid.target_offsets, valid.target_items), SELECTED_BY).mean()
        )
        if best is None or found > best.valid_recall:
            best = Chosen(baseline, settings, found, fitted)
    assert best is not None
    return best


def _facts(
    chosen: Chosen,
    ids: NDArray[np.int64],
    dataset: Dataset,
    users: EvaluationUsers,
    split: Split,
    cutoffs: tuple[int, ...],
) -> Facts:
    category, counts = dataset.known_categories, dataset.training_counts
    targets = users.target_offsets, users.target_items
    listed = Lists(ids, *targets, dataset.num_items, category, dataset.truth(split), counts)
    means, by_user = score(listed, cutoffs, METRICS)
    evaluation = Evaluation(means, ids, by_user, -math.inf)
    measured = Measured(None, evaluation, users, cutoffs, dataset.evaluation, counts, category)
    measured = replace(measured, about=dataset.target_events)
    facts = evaluation_facts(measured, split, None)
    own = {"settings": dict(chosen.settings), f"valid_recall@{SELECTED_BY}": chosen.valid_recall}
    absent = ("checkpoint", "step", "is_best", "lambda")
    return own | {key: value for key, value in facts.items() if key not in absent}
