"""Measure the baselines of a data set, each with the settings that are best on its valid users."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import Dataset
from reprise.data.sequences import EvaluationUsers
from reprise.errors import UsageError
from reprise.evaluation.baselines import BASELINES, MOST_SOLVED, Baseline, Fitted, Settings, solving
from reprise.evaluation.cold import COLD, ColdBaseline
from reprise.evaluation.evaluate import Evaluation, score
from reprise.evaluation.metrics import METRICS, Lists, recall
from reprise.runs.baselines_kept import Facts
from reprise.runs.cold import able, is_cold, lists_of_cold
from reprise.runs.evaluation import Measured, evaluation_facts
from reprise.runs.numbered import Numbers
from reprise.runs.results import Split
from reprise.text.messages import Say, unsaid

NAMES = tuple(baseline.name for baseline in (*BASELINES, *COLD))
SELECTED_BY = 50  # the cutoff of the recall that chooses settings
SELECTED_ON = 5_000  # valid users that choose settings, at most; drawn by the seed
_SEED = 1


@dataclass(frozen=True)
class Chosen:
    """A baseline with the settings that are best on the valid users, and their recall@50 there."""

    baseline: Baseline
    settings: Settings
    valid_recall: float
    fitted: Fitted


def measure_baselines(
    dataset: Dataset,
    split: Split,
    cutoffs: tuple[int, ...],
    names: Collection[str] | None = None,
    say: Say = unsaid,
    done: Callable[[str], None] = lambda name: None,
) -> Facts:
    """Fit each baseline on the training users, choose its settings on the valid users, and evaluate
    it on a split, without the items of the users' histories.

    Args:
        dataset: The data set.
        split: The users to evaluate.
        cutoffs: The cutoffs of the metrics.
        names: The baselines to measure, of NAMES; None: all, of those for cold items the ones that
            can be.
        say: Called with what is left out.
        done: Called with the name of each baseline when it is measured.

    Returns:
        dataset, dataset_fingerprint, split; left_out: why ("items": the catalogue is too large,
        "times": it has none, "cold": no target is cold, or no feature fits), by the name of a
        baseline; baselines, by name: settings, valid_recall@50 (of those for cold items
        valid_cold_recall@50), and `evaluation_facts`.
    """
    if unknown := sorted(set(names or ()) - set(NAMES)):
        expected = " | ".join(NAMES)
        raise UsageError("bad_value", option="only", value=unknown[0], expected=expected)
    asked = [one for one in BASELINES if names is None or one.name in names]
    left_out = _left_out(asked, dataset, say)
    valid = dataset.evaluation_users("valid", 1).sample(SELECTED_ON, _SEED)
    users = dataset.evaluation_users(split, 1)
    numbers = Numbers.by_rank(dataset)
    top_n = max(cutoffs)
    found = {}
    for baseline in asked:
        if baseline.name not in left_out:
            chosen = _choose(baseline, dataset, numbers, valid)
            ids = numbers.ranked(chosen.fitted, users.past, top_n)
            own = _chosen_by("recall", chosen.settings, chosen.valid_recall)
            found[baseline.name] = own | _facts(ids, dataset, users, split, cutoffs)
            done(baseline.name)
    for cold in _cold(names, dataset, users, split, cutoffs, left_out, say):
        lists = lists_of_cold(cold, dataset, valid, users, SELECTED_BY, top_n)
        own = _chosen_by("cold_recall", lists.settings, lists.valid_recall)
        found[cold.name] = own | _facts(lists.ids, dataset, users, split, cutoffs)
        done(cold.name)
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


def _cold(
    names: Collection[str] | None,
    dataset: Dataset,
    users: EvaluationUsers,
    split: Split,
    cutoffs: tuple[int, ...],
    left_out: dict[str, str],
    say: Say,
) -> list[ColdBaseline]:
    """Return the baselines for cold items to measure; say which of `names` cannot be, and add them
    to `left_out`.
    """
    can = able(dataset, users, cutoffs)
    asked = [one for one in can if names is None or one.name in names]
    if unable := [one.name for one in COLD if one not in can and one.name in (names or ())]:
        say("baselines_without_cold", names=", ".join(unable), split=split)
        left_out |= dict.fromkeys(unable, "cold")
    items = int(is_cold(dataset).sum())
    if asked and (whole := [n for n in cutoffs if n >= items]):
        say("baselines_of_all_cold", cutoffs=", ".join(map(str, whole)), items=items)
    return asked


def _choose(
    baseline: Baseline, dataset: Dataset, numbers: Numbers, valid: EvaluationUsers
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


def _chosen_by(metric: str, settings: Mapping[str, Any], value: float | None) -> Facts:
    """Return what is told of settings, and of the metric on the valid users that chose them."""
    return {"settings": dict(settings), f"valid_{metric}@{SELECTED_BY}": value}


def _facts(
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
    absent = ("checkpoint", "step", "is_best", "lambda")
    return {key: value for key, value in facts.items() if key not in absent}
