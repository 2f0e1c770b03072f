"""`reprise runs compare`: differences of runs, their results, and their curves by step."""

from typing import Any

from reprise.errors import UsageError
from reprise.runs.events import Line, kept_lines, starts
from reprise.runs.manage.apart import apart
from reprise.runs.manage.survey import Survey, summary

_DEFAULT_METRIC = "recall@50"


def compare(runs: list[Survey], metric: str | None = None) -> dict[str, Any]:
    """Return the comparison as JSON values; lists are in the order of `runs`, None for missing
    values.

    Keys: runs: their summaries. same_data: whether all were trained on the same data. warnings:
    keys of messages on what keeps their metrics from being compared, see `apart`. differences:
    configuration values by name that are not all equal. metrics: validation metrics at each run's
    best evaluation. curve: `metric` (by default the recall that selects the best) at each step with
    an evaluation, without what a rewind discarded.

    Raises:
        UsageError: No run has the metric.
    """
    lines = [kept_lines(starts(run.events), run.evaluations) for run in runs]
    at_best = [_best_line(run) for run in runs]
    known = _metrics(lines)
    chosen = metric or _selector(runs)
    if metric is not None and metric not in known:
        expected = " | ".join(name for name in known if not name.startswith("interest")) or "-"
        raise UsageError("bad_value", option="metric", value=metric, expected=expected)
    steps = sorted({line["step"] for curve in lines for line in curve})
    by_step = [{line["step"]: line.get(f"valid_{chosen}") for line in curve} for curve in lines]
    warnings = apart([run.identity for run in runs])
    return {
        "runs": [summary(run) | {"seconds": _seconds(run)} for run in runs],
        "same_data": "compare_other_data" not in warnings,
        "warnings": warnings,
        "differences": _differences(runs),
        "metrics": {
            name: [line.get(f"valid_{name}") for line in at_best]
            for name in known
            if any(f"valid_{name}" in line for line in at_best)
        },
        "curve": {
            "metric": chosen,
            "steps": [
                {"step": step, "values": [values.get(step) for values in by_step]} for step in steps
            ],
        },
    }


def _differences(runs: list[Survey]) -> dict[str, list[Any]]:
    configs = [run.config for run in runs]
    names = dict.fromkeys(name for config in configs for name in config if name != "name")
    values = {name: [config.get(name) for config in configs] for name in names}
    return {
        name: given for name, given in values.items() if any(value != given[0] for value in given)
    }


def _best_line(run: Survey) -> dict[str, Any]:
    best = run.progress.best
    at_best = [
        line
        for line in run.evaluations
        if best is not None and (line["branch"], line["step"]) == (best.branch, best.step)
    ]
    return at_best[0] if at_best else {}


def _seconds(run: Survey) -> float | None:
    return run.latest.progress.seconds if run.latest else None


def _metrics(curves: list[list[Line]]) -> list[str]:
    names = dict.fromkeys(name for curve in curves for line in curve for name in line)
    return [name.removeprefix("valid_") for name in names if name.startswith("valid_")]


def _selector(runs: list[Survey]) -> str:
    """Return the metric that selects the best of all runs, or one that all have."""
    names = {run.metric for run in runs} - {None}
    return str(names.pop()) if len(names) == 1 else _DEFAULT_METRIC
