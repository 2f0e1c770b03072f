"""A table of the results of several runs' best models, from results.json."""

from collections.abc import Sequence
from typing import Any

from reprise.evaluation.metrics import METRICS, metric_of
from reprise.runs.manage.survey import Survey, measured, summary

_ABOUT = ("checkpoint", "step", "users", "seen_items", "at")


def table(runs: Sequence[Survey], split: str) -> dict[str, Any]:
    """Return the table as JSON holds it; lists are in the order of `runs`.

    split; same_data: whether all were trained on the same content; runs: name, folder, dataset and
    model of each, and of its best model checkpoint, step, users, seen_items and at (None where it
    was not measured on the split); metrics: by key ("recall@50"), value, low and high of each, None
    where a run has none.
    """
    found = [measured(run, split) for run in runs]
    cutoffs = sorted({n for entry in found if entry for n in entry["cutoffs"]})
    keys = [f"{metric.name}@{n}" for metric in METRICS for n in cutoffs]
    rows = {key: [_cell(entry, key) for entry in found] for key in keys}
    fingerprints = {run.identity.get("dataset_fingerprint") for run in runs}
    return {
        "split": split,
        "same_data": len(fingerprints) == 1,
        "runs": [
            {key: summary(run)[key] for key in ("name", "folder", "dataset", "model")}
            | {key: None if entry is None else entry[key] for key in _ABOUT}
            for run, entry in zip(runs, found, strict=True)
        ],
        "metrics": {key: cells for key, cells in rows.items() if any(cells)},
    }


def best_of(key: str, cells: Sequence[dict[str, Any] | None]) -> float | None:
    """Return the best value of a metric's row; None where fewer than two runs have one."""
    known: list[float] = [cell["value"] for cell in cells if cell is not None]
    metric = metric_of(key)
    if len(known) < 2 or metric is None:
        return None
    return max(known) if metric.higher_is_better else min(known)


def _cell(entry: dict[str, Any] | None, key: str) -> dict[str, Any] | None:
    value = None if entry is None else entry.get(key)
    if entry is None or value is None:
        return None
    low, high = entry["confidence"]["intervals"].get(key, (None, None))
    return {"value": value, "low": low, "high": high}
