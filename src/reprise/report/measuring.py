"""Evaluate a run's best model for the report: metrics, groups of users and items, and recall and
diversity over lambda.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reprise.errors import CheckpointError, RepriseError
from reprise.report.facts import Run, noting
from reprise.runs import results
from reprise.runs.beside import has_baselines
from reprise.runs.evaluation import evaluation_facts, measure, measure_each
from reprise.runs.folder import find_checkpoint
from reprise.runs.results import Split
from reprise.runs.stored import Locate, load
from reprise.text.messages import Say

# Scores are inner products or cosines: three orders of magnitude cover both.
LAMBDAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Trade:
    """Recall and diversity of lists diversified with `coef` (None: ranked by score alone)."""

    coef: float | None
    recall: float | None
    diversity: float | None


@dataclass(frozen=True)
class Measured:
    """The evaluation of a run's best model.

    Attributes:
        facts: `runs.evaluation.evaluation_facts`; None if it could not be evaluated.
        trades: By ascending lambda; empty without categories.
        notes: (message key, values) of what is missing, and why.
    """

    facts: dict[str, Any] | None
    trades: tuple[Trade, ...]
    notes: tuple[tuple[str, dict[str, Any]], ...]


def measure_run(
    run: Run, locate: Locate, split: Split, coefs: Sequence[float], say: Say
) -> Measured:
    """Evaluate the run's best model on a split, once without lambda and once by all of them, and
    without seen items where there are baselines to stand beside.
    Errors that the user can fix are printed, and noted instead of the result.

    `locate` returns the folder of a dataset by its name.
    """
    notes: list[tuple[str, dict[str, Any]]] = []
    try:
        say("page_measuring", run=run.label, split=split)
        stored = load(run.path, "best", noting(notes, say), locate)
        plain = evaluation_facts(measure(stored, split), split, None)
        found = [plain]
        if plain["seen_items"] != "filtered" and has_baselines(run.path, run.identity, split):
            found.append(evaluation_facts(measure(stored, split, filter_seen=True), split, None))
        results.keep(stored.checkpoint, found, say)
        trades = [_trade(plain, run.cutoff)]
        if stored.dataset.known_categories is None:
            trades.clear()
        if trades and coefs:
            shown = ", ".join(f"{coef:g}" for coef in coefs)
            say("page_measuring_lambda", run=run.label, coef=shown)
            for coef, one in zip(coefs, measure_each(stored, split, coefs), strict=True):
                trades.append(_trade(one.evaluation.metrics | {"lambda": coef}, run.cutoff))
    except RepriseError as error:
        noting(notes, say)(error.key, **error.values)
        return Measured(None, (), tuple(notes))
    if not trades:
        notes.append(("page_no_categories", {"dataset": run.config.get("dataset", "?")}))
    return Measured(plain, tuple(trades), tuple(notes))


def measured_before(run: Run, split: Split, say: Say) -> Measured:
    """Return the results of the best model stored in results.json; nothing is computed."""
    try:
        checkpoint = find_checkpoint(run.path, "best", say)
    except CheckpointError:  # the page already reports damage
        return Measured(None, (), ())
    entry = results.read(run.path).of(checkpoint, split)
    if entry is None or f"recall@{run.cutoff}" not in entry:  # or at other cutoffs alone
        return Measured(None, (), ())
    return Measured(dict(entry), (), ())


def _trade(metrics: dict[str, Any], cutoff: int) -> Trade:
    recall, diversity = metrics[f"recall@{cutoff}"], metrics.get(f"diversity@{cutoff}")
    return Trade(metrics["lambda"], _finite(recall), _finite(diversity))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
