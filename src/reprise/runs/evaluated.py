"""Evaluate stored models, one or those of a group, and store the results."""

from collections.abc import Mapping, Sequence
from typing import Any

from reprise.data.dataset import Dataset
from reprise.evaluation.metrics import metric_of
from reprise.runs import results
from reprise.runs.evaluation import evaluation_facts, measure_each, warn_of_whole_lists
from reprise.runs.manage.groups import statistics
from reprise.runs.results import Split
from reprise.runs.stored import StoredModel
from reprise.runs.transfer import measure_each_on
from reprise.text.messages import Say


def evaluate_stored(
    stored: StoredModel,
    split: Split,
    coefs: Sequence[float | None],
    filter_seen: bool,
    cutoffs: tuple[int, ...] | None,
    say: Say,
    on: Dataset | None = None,
    keeps: bool = True,
) -> list[dict[str, Any]]:
    """Evaluate a stored model by each lambda (all None, or none), on its own data set or on `on`;
    store the results in its run if it `keeps` them, and return them (`evaluation_facts`).
    """
    if on is None:
        found = measure_each(stored, split, coefs, filter_seen, cutoffs)
    else:
        found = measure_each_on(stored, on, split, say, coefs, filter_seen, cutoffs)
    warn_of_whole_lists(found[0], say)
    points = [evaluation_facts(one, split, coef) for one, coef in zip(found, coefs, strict=True)]
    if keeps:
        results.keep(stored.checkpoint, points, say)
    return points


def group_facts(name: str, runs: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the evaluation of a group: its name, mean and deviation of each metric, and each run's
    evaluation by its name.
    """
    of_lists = [
        {key: value for key, value in facts.items() if metric_of(key) is not None}
        for facts in runs.values()
    ]
    return {"name": name, "metrics": statistics(of_lists), "runs": dict(runs)}
