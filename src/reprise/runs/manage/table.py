"""A table of the results of several runs' best models, from results.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reprise.evaluation.metrics import METRICS, metric_of
from reprise.runs.manage.apart import apart
from reprise.runs.manage.groups import Group, of_comparison
from reprise.runs.manage.survey import measured, summary, survey

_ABOUT = ("checkpoint", "step", "users", "seen_items", "at")


def table(groups: Sequence[Group], split: str) -> dict[str, Any]:
    """Return the table as JSON holds it; lists are in the order of the groups' runs.

    split; same_data: whether all were trained on the same content; warnings: keys of messages on
    what keeps their metrics from being compared, see `apart`, except other validation users, since
    all users of the split were measured; runs: name, folder, dataset and model of each, and of its
    best model checkpoint, step, users, seen_items and at (None where it was not measured on the
    split); metrics: by key ("recall@50"), value, low and high of each, None where a run has none;
    groups: name and runs of each, and mean and deviation of the metrics that all of its runs have.
    """
    runs = [survey(folder) for group in groups for folder in group.folders]
    found = [measured(run, split) for run in runs]
    cutoffs = sorted({n for entry in found if entry for n in entry["cutoffs"]})
    keys = [f"{metric.name}@{n}" for metric in METRICS for n in cutoffs]
    rows = {key: [_cell(entry, key) for entry in found] for key in keys}
    known = {key: cells for key, cells in rows.items() if any(cells)}
    values = {
        key: [cell["value"] if cell else None for cell in cells] for key, cells in known.items()
    }
    found_apart = apart([run.identity for run in runs])
    warnings = [warning for warning in found_apart if warning != "compare_other_users"]
    return {
        "split": split,
        "same_data": "compare_other_data" not in warnings,
        "warnings": warnings,
        "runs": [
            {key: summary(run)[key] for key in ("name", "folder", "dataset", "model")}
            | {key: None if entry is None else entry[key] for key in _ABOUT}
            for run, entry in zip(runs, found, strict=True)
        ],
        "metrics": known,
        "groups": of_comparison(groups, values),
    }


def columns(facts: Mapping[str, Any], members: bool = False) -> list[dict[str, Any]]:
    """Return the columns of a table: a run, or the mean over a group's seeds.

    Each has what `table` tells of a run, its name's way to be told from others (label), seeds (of a
    group, else 1) and cells by metric: value, deviation (of a group), low and high. A group's own
    runs stand before it where it stands alone, or `members` asks for them.
    """
    every = [
        {**run, "label": label, "seeds": 1, "cells": {}}
        for run, label in zip(facts["runs"], labels(facts["runs"]), strict=True)
    ]
    for key, cells in facts["metrics"].items():
        for column, cell in zip(every, cells, strict=True):
            column["cells"][key] = cell and {**cell, "deviation": None}
    found, first = [], 0
    for group in facts["groups"]:
        own = every[first : first + len(group["runs"])]
        if len(own) == 1 or members or len(facts["groups"]) == 1:
            found += own
        if len(own) > 1:
            found.append(_mean(group, own))
        first += len(own)
    return found


def labels(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what each run can be asked for by: its name, or its folder's where others share it."""
    known = {(run["name"], run["folder"]) for run in runs}
    names = [name for name, _ in known]
    return [
        run["name"] if names.count(run["name"]) == 1 else Path(run["folder"]).name for run in runs
    ]


def _mean(group: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the column of a group, which tells what its runs have in common."""
    common = {key: value for key, value in runs[0].items() if _all_same(key, runs)}
    cells = {
        key: {"value": one["mean"], "deviation": one["deviation"], "low": None, "high": None}
        for key, one in group["metrics"].items()
    }
    name = group["name"]
    return {**common, "name": name, "label": name, "seeds": len(runs), "cells": cells}


def _all_same(key: str, runs: Sequence[Mapping[str, Any]]) -> bool:
    return all(run[key] == runs[0][key] for run in runs)


def best_of(key: str, cells: Sequence[Mapping[str, Any] | None]) -> float | None:
    """Return the best value of a metric's row; None where fewer than two have one."""
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
