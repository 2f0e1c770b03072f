"""Evaluate a run's stored model on the data set that it was trained on."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.checkpoints.store import Checkpoint
from reprise.config.schema import cutoffs_of
from reprise.config.setting import LARGEST
from reprise.data import REQUEST_TIMES
from reprise.data.dataset import Truth
from reprise.data.sequences import EvaluationUsers
from reprise.errors import UsageError
from reprise.evaluation import groups, intervals
from reprise.evaluation.evaluate import Evaluation, evaluate_each
from reprise.evaluation.groups import Group
from reprise.evaluation.metrics import BY_NAME, METRICS, Metric, metric_of
from reprise.retrieval.rerank import check_lambda
from reprise.runs.folder import Source
from reprise.runs.results import Split
from reprise.runs.stored import Locate, StoredModel, load
from reprise.text.messages import Phrase, Say

# The message that tells when users ask.
ASKED = dict(zip(REQUEST_TIMES, ("request_first_held_out", "request_last"), strict=True))


@dataclass(frozen=True)
class Measured:
    """An evaluation of a stored model: what was found, on which users and at which cutoffs.

    checkpoint: the model's; None: another system made the lists. held_out: which items are targets,
    one of `dataset.EVALUATIONS`; training_counts [V+1] int64: the training interactions of each
    item; item_category [V+1] int32, None where no category is known. about: what else the facts
    tell of where users and lists come from.
    """

    checkpoint: Checkpoint | None
    evaluation: Evaluation
    users: EvaluationUsers
    cutoffs: tuple[int, ...]
    held_out: str
    training_counts: NDArray[np.int64]
    item_category: NDArray[np.int32] | None
    about: Mapping[str, Any] = field(default_factory=dict)


def evaluate_run(
    path: Path,
    locate: Locate,
    split: Split,
    which: Source,
    say: Say,
    top_n: int | None = None,
    coef: float | None = None,
    filter_seen: bool = False,
) -> Measured:
    """Evaluate a run's stored model on a whole split.

    `locate` gives the folder of a dataset by its name; its content must be what the run was
    trained on. `top_n` adds a cutoff; `coef` and `filter_seen` as in `evaluate`.
    """
    if coef is not None:
        lambdas_asked((coef,))
    stored = load(path, which, say, locate)
    return measure(stored, split, coef, filter_seen, cutoffs_asked(None, top_n))


def asked_at(stored: StoredModel, request_time: str | None) -> StoredModel:
    """Return a stored model whose evaluated users ask at one of `REQUEST_TIMES`; None: at the run's
    own. UsageError for another time, and for a model that does not depend on it.
    """
    if request_time is None:
        return stored
    if request_time not in REQUEST_TIMES:
        expected = " | ".join(REQUEST_TIMES)
        raise UsageError("bad_value", option="request_time", value=request_time, expected=expected)
    if stored.retriever.request_time is None:
        raise UsageError("request_time_unread", path=stored.checkpoint.path)
    return replace(stored, retriever=replace(stored.retriever, request_time=request_time))


def lambdas_asked(coefs: Iterable[float], option: str = "lambda") -> tuple[float, ...]:
    """Return the distinct lambdas, ascending; raise UsageError for an invalid one, or for none."""
    asked = sorted({float(coef) for coef in coefs})
    if not asked:
        raise UsageError("missing_value", option=option)
    for coef in asked:
        check_lambda(coef, option)
    return tuple(asked)


def cutoffs_asked(
    cutoffs: Sequence[int] | None, top_n: int | None = None
) -> tuple[int, ...] | None:
    """Return where metrics are taken: at `cutoffs` (None: 20 and 50) and at `top_n`; None where
    neither is given: where the run's are.
    """
    for option, values in (("cutoffs", cutoffs or ()), ("top_n", (top_n,))):
        for value in values:
            if value is not None and not 1 <= value <= LARGEST:
                expected = Phrase("good_whole_within", low=1, high=LARGEST)
                raise UsageError("bad_value", option=option, value=value, expected=expected)
    if cutoffs is None:
        return None if top_n is None else cutoffs_of(top_n)
    if not cutoffs:
        raise UsageError("missing_value", option="cutoffs")
    return tuple(sorted({*map(int, cutoffs), *([] if top_n is None else [top_n])}))


def measure(
    stored: StoredModel,
    split: Split,
    coef: float | None = None,
    filter_seen: bool = False,
    cutoffs: tuple[int, ...] | None = None,
) -> Measured:
    """Evaluate a stored model on a whole split of its data set."""
    (measured,) = measure_each(stored, split, (coef,), filter_seen, cutoffs)
    return measured


def measure_each(
    stored: StoredModel,
    split: Split,
    coefs: Sequence[float | None],
    filter_seen: bool = False,
    cutoffs: tuple[int, ...] | None = None,
) -> list[Measured]:
    """Return what `measure` returns for each lambda (all None, or none), with one search."""
    if stored.config.is_final_fit:
        raise UsageError("trained_on_all", path=stored.checkpoint.path)
    dataset = stored.dataset
    users = dataset.evaluation_users(split, stored.config.maxlen)
    truth = dataset.truth(split)
    found = measure_users(stored, users, dataset.evaluation, coefs, truth, filter_seen, cutoffs)
    return [replace(measured, about=dataset.target_events) for measured in found]


def measure_users(
    stored: StoredModel,
    users: EvaluationUsers,
    held_out: str,
    coefs: Sequence[float | None],
    truth: Truth | None = None,
    filter_seen: bool = False,
    cutoffs: tuple[int, ...] | None = None,
) -> list[Measured]:
    """Evaluate a stored model on users of its data set, by each lambda."""
    dataset = stored.dataset
    cutoffs = stored.config.cutoffs if cutoffs is None else cutoffs
    category, counts = dataset.known_categories, dataset.training_counts
    evaluations = evaluate_each(
        stored.retriever,
        users,
        cutoffs,
        coefs,
        category,
        truth,
        filter_seen,
        metrics=METRICS,
        training_counts=counts,
    )
    return [
        Measured(stored.checkpoint, evaluation, users, cutoffs, held_out, counts, category)
        for evaluation in evaluations
    ]


def warn_of_whole_lists(measured: Measured, say: Say) -> None:
    """Warn of cutoffs at which lists hold all items, and so whatever is to be found."""
    items = len(measured.training_counts) - 1
    if whole := [n for n in measured.cutoffs if n >= items]:
        say("cutoffs_of_all", cutoffs=", ".join(map(str, whole)), items=items)


def evaluation_facts(measured: Measured, split: Split, coef: float | None) -> dict[str, Any]:
    """Return what was measured, as JSON holds it: numbers that are not finite are None.

    checkpoint, step and is_best (None of another system's lists), what `about` tells
    (target_events, where not all are to be found), split, users, held_out (which items are the
    targets: `dataset.EVALUATIONS`), seen_items ("kept", "filtered" or "learned"; "given" of another
    system's lists), repeat_worth (of "learned"), request_time (of models that depend on it:
    `REQUEST_TIMES`), lambda, cutoffs;
    each metric by its key ("recall@50"); confidence: level, resamples, and intervals by metric
    ([low, high]); groups: history_length, mixture (where categories are known), popularity, and
    coldness (where some targets are without training interactions), each by name: users, recall and
    ndcg at each cutoff, of popularity and coldness the number of items, and of mixture the least
    and the greatest entropy of its users' histories, in bits.
    """
    checkpoint, evaluation = measured.checkpoint, measured.evaluation
    cutoffs = measured.cutoffs
    bounded = {
        key: values
        for key, values in evaluation.by_user.items()
        if (metric := metric_of(key)) is not None and metric.interval
    }
    bounds = intervals.bootstrap(bounded)
    facts = {
        "checkpoint": None if checkpoint is None else str(checkpoint.path),
        "step": None if checkpoint is None else checkpoint.progress.step,
        "is_best": None if checkpoint is None else checkpoint.progress.is_best,
        "split": split,
        "users": len(measured.users.lengths),
        "held_out": measured.held_out,
        **_seen_items(evaluation.repeat_worth),
        **({"request_time": evaluation.request_time} if evaluation.request_time else {}),
        **measured.about,
        "lambda": coef,
        "cutoffs": list(cutoffs),
        **evaluation.metrics,
        "confidence": {
            "level": intervals.LEVEL,
            "resamples": intervals.RESAMPLES,
            "intervals": {key: list(bound) for key, bound in bounds.items()},
        },
        "groups": {kind: _by_name(found) for kind, found in _groups(measured).items()},
    }
    finite: dict[str, Any] = _finite(facts)
    return finite


def metrics_asked(names: Iterable[str] | None) -> tuple[Metric, ...]:
    """Return the metrics of these names, in the order of METRICS; None: all."""
    if names is None:
        return METRICS
    asked = set(names)
    if unknown := sorted(asked - set(BY_NAME)):
        expected = " | ".join(BY_NAME)
        raise UsageError("bad_value", option="metrics", value=unknown[0], expected=expected)
    return tuple(metric for metric in METRICS if metric.name in asked)


def only(facts: dict[str, Any], metrics: Collection[Metric]) -> dict[str, Any]:
    """Return the facts of an evaluation with only these metrics of lists; groups are unchanged."""

    def chosen(values: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: metric_of(key) for key in values}
        return {key: values[key] for key, of in kept.items() if of is None or of in metrics}

    confidence = facts["confidence"]
    return chosen(facts) | {
        "confidence": confidence | {"intervals": chosen(confidence["intervals"])}
    }


def _seen_items(worth: float) -> dict[str, Any]:
    if worth == -math.inf:
        return {"seen_items": "filtered"}
    return {"seen_items": "learned", "repeat_worth": worth} if worth else {"seen_items": "kept"}


def _groups(measured: Measured) -> dict[str, list[Group]]:
    users, cutoffs, category = measured.users, measured.cutoffs, measured.item_category
    by_user = measured.evaluation.by_user
    found = {"history_length": groups.by_history(users, by_user, cutoffs)}
    if category is not None:
        found["mixture"] = groups.by_mixture(users, by_user, category, cutoffs)
    ids, counts = measured.evaluation.ids, measured.training_counts
    found["popularity"] = groups.by_popularity(ids, users, counts, cutoffs)
    if by_coldness := groups.by_coldness(ids, users, counts, cutoffs):
        found["coldness"] = by_coldness
    return found


def _by_name(found: list[Group]) -> dict[str, dict[str, Any]]:
    return {
        group.name: {"users": group.users}
        | ({} if group.items is None else {"items": group.items})
        | ({} if group.bits is None else {"bits": list(group.bits)})
        | group.metrics
        for group in found
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
