"""What `reprise evaluate` tells of a stored model: facts for programs, and their short report."""

import math
from typing import Any

from rich.table import Table

from reprise.cli.show.run import METRIC_NAMES
from reprise.cli.show.terminal import make_console
from reprise.data.dataset import HIDDEN
from reprise.evaluation import groups, intervals
from reprise.evaluation.groups import Group
from reprise.runs.session import Measured, Split
from reprise.text.messages import Messages

# Metrics that get an interval, at each cutoff.
BOUNDED = ("recall", "ndcg", "ndcg_comirec", "hitrate", "mrr")
_SEEN = {"kept": "seen_kept", "filtered": "seen_filtered", "learned": "seen_learned"}


def evaluation_facts(measured: Measured, split: Split, coef: float | None) -> dict[str, Any]:
    """Return what was measured, as JSON holds it: numbers that are not finite are None.

    checkpoint, step, is_best, split, users, hidden (what is to be found: `dataset.EVALUATIONS`),
    seen_items ("kept", "filtered" or "learned"), repeat_worth (of "learned"), lambda, cutoffs;
    each metric by its key ("recall@50"); confidence: level, resamples, and intervals by metric
    ([low, high]); groups: history_length, mixture (where categories are known) and popularity, each
    by name: users, recall and ndcg at each cutoff, of popularity the number of items, and of
    mixture the least and the greatest entropy of its users' histories, in bits.
    """
    progress, evaluation = measured.checkpoint.progress, measured.evaluation
    cutoffs = measured.cutoffs
    bounded = [f"{name}@{n}" for n in cutoffs for name in BOUNDED]
    bounds = intervals.bootstrap({key: evaluation.by_user[key] for key in bounded})
    facts = {
        "checkpoint": str(measured.checkpoint.path),
        "step": progress.step,
        "is_best": progress.is_best,
        "split": split,
        "users": len(measured.users.lengths),
        "hidden": measured.hidden,
        **_seen_items(evaluation.repeat_worth),
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
    item_group = groups.popularity(measured.training_counts)
    ids = measured.evaluation.ids
    return found | {"popularity": groups.by_popularity(ids, users, item_group, cutoffs)}


def show_evaluation(facts: dict[str, Any], messages: Messages) -> None:
    """Print the report of `evaluation_facts`; it is plain text where it is piped."""
    text, coef = messages.text, facts["lambda"]
    lists = "lists_by_score" if coef is None else "lists_by_category"
    lines = [
        text("report_model", path=facts["checkpoint"], step=facts["step"]),
        text("report_users", users=facts["users"], split=facts["split"]),
        text(HIDDEN[facts["hidden"]]),
        text(_SEEN[facts["seen_items"]], worth=_number(facts.get("repeat_worth"), 3)),
        text(lists, coef=coef),
    ]
    # A line that a program may look for is not wrapped.
    console = make_console()
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    confidence = facts["confidence"]
    percent, resamples = round(100 * confidence["level"]), confidence["resamples"]
    title = text("report_metrics", percent=percent, resamples=resamples)
    tables = [(title, _metric_table(facts, messages)), ("", _group_table(facts, messages))]
    if "interest_cosine" in facts:
        title = text("report_interests", cosine=_number(facts["interest_cosine"]))
        tables.append((title, _interest_table(facts, messages)))
    for title, table in tables:
        console.print(f"\n{title}" if title else "", markup=False, style="bold")
        console.print(table)


def _metric_table(facts: dict[str, Any], messages: Messages) -> Table:
    bounds = facts["confidence"]["intervals"]
    table = _table("", *(f"@{n}" for n in facts["cutoffs"]))
    names = METRIC_NAMES | {"catalogue_coverage": messages.text("report_catalogue")}
    for kind, name in names.items():
        cells = []
        for key in (f"{kind}@{n}" for n in facts["cutoffs"]):
            if key in facts:
                low, high = bounds.get(key, (None, None))
                shown = "" if low is None else f" [{_number(low)}, {_number(high)}]"
                cells.append(_number(facts[key]) + shown)
        if cells:
            table.add_row(name, *cells)
    return table


def _group_table(facts: dict[str, Any], messages: Messages) -> Table:
    n = max(facts["cutoffs"])
    head = (messages.text("users"), f"Recall@{n}", f"NDCG@{n}")
    table = _table(messages.text("report_groups"), *head)
    for kind, found in facts["groups"].items():
        for name, group in found.items():
            values = (_number(group[f"{metric}@{n}"]) for metric in ("recall", "ndcg"))
            shown = _group_name(kind, name, group, messages)
            table.add_row(shown, str(group["users"]), *values)
    return table


def _group_name(kind: str, name: str, group: dict[str, Any], messages: Messages) -> str:
    text = messages.text
    if kind == "history_length":
        return text("report_history", group=name)
    if kind == "popularity":
        return text("report_popularity", group=text(name), items=group["items"])
    if "bits" not in group:
        return text("report_mixture_unknown")
    low, high = (_number(bits, 2) for bits in group["bits"])
    return text("report_mixture", group=text(name), low=low, high=high)


def _interest_table(facts: dict[str, Any], messages: Messages) -> Table:
    columns = (messages.text(key) for key in ("report_shares", "report_dead", "report_used"))
    table = _table("", *columns)
    for n in facts["cutoffs"]:
        shares = [
            value
            for key, value in facts.items()
            if key.startswith("interest_share_") and key.endswith(f"@{n}")
        ]
        dead = _number(facts[f"interest_dead@{n}"], 0)
        table.add_row(
            f"@{n}",
            "  ".join(_number(share, 3) for share in shares),
            f"{dead} / {len(shares)}",
            _number(facts[f"interests_used@{n}"], 2),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


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


def _number(value: float | None, digits: int = 6) -> str:
    return "nan" if value is None else f"{value:.{digits}f}"
