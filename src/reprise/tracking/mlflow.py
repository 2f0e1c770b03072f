"""MLflow: one MLflow run per branch, on the server MLFLOW_TRACKING_URI, in the experiment
MLFLOW_EXPERIMENT_NAME ("reprise" by default).

MLflow keeps each point for good. So where it holds points of a state that was thrown away (a
checkpoint was damaged, and the learning rate changed), the branch gets another MLflow run, "(2)",
with all its points. Parameters cannot change either: settings that can are tags.
"""

import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from reprise.tracking import CHANGING, MARKER, Points, TrackedRun

_KEY, _NAME, _ATTEMPT = "reprise.key", "reprise.run", "reprise.attempt"
_MOST_METRICS = 1_000  # a request


class MLflowLog:
    """The open MLflow run of a branch."""

    def __init__(self, client: Any, experiment: str, run: TrackedRun) -> None:
        self._client, self._experiment, self._run = client, experiment, run
        self._logged: dict[int, Points] = {}
        self._id, self._known = "", dict[int, Points]()
        query = f"tags.`{_KEY}` = '{run.key}'"
        found = client.search_runs([experiment], query, max_results=100)
        self._attempts = len(found)
        for one in sorted(found, key=_attempt, reverse=True):
            known = self._history(one.info.run_id)
            if all(_same(known.get(step), points) for step, points in self._own.items()):
                self._id, self._known = one.info.run_id, known
                break
        else:
            self._make()
        self._describe()
        self._send(self._own.items())

    @property
    def _own(self) -> dict[int, Points]:
        """The branch's evaluations when it was opened."""
        return self._run.record[self._run.branch]

    def log(self, step: int, points: Points) -> None:
        """Log an evaluation, unless it is known."""
        self._send([(step, points)])

    def results(self, step: int, points: Points) -> None:
        """Log the final metrics, each value once."""
        now = int(time.time() * 1000)
        new = [tag for tag in points if not self._has(_name(tag), step, points[tag])]
        metrics = [Metric(_name(tag), points[tag], now, step) for tag in new]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, finished: bool) -> None:
        """Mark the run as finished, or as one that may continue."""
        if finished and max(self._known, default=0) > max(self._logged, default=0):
            self._begin_anew()  # what lies ahead was thrown away
        self._client.set_terminated(self._id, status="FINISHED" if finished else "KILLED")

    def _send(self, evaluations: Iterable[tuple[int, Points]]) -> None:
        waiting: list[Metric] = []
        for step, points in sorted(evaluations, key=lambda pair: pair[0]):
            self._logged[step] = points
            if step in self._known:
                if _same(self._known[step], points):
                    continue
                self._begin_anew()
                return
            now = int(time.time() * 1000)
            metrics = [Metric(_name(tag), value, now, step) for tag, value in points.items()]
            if len(waiting) + len(metrics) > _MOST_METRICS:
                self._client.log_batch(self._id, metrics=waiting)
                waiting = []
            waiting += metrics
            self._known[step] = points
        if waiting:
            self._client.log_batch(self._id, metrics=waiting)

    def _begin_anew(self) -> None:
        """Leave the MLflow run, and log everything to another one."""
        self._client.set_terminated(self._id, status="KILLED")
        self._make()
        self._describe()
        self._send(self._logged.copy().items())

    def _make(self) -> None:
        self._attempts += 1
        tags = {
            _KEY: self._run.key,
            _ATTEMPT: str(self._attempts),
            "reprise.branch": str(self._run.branch),
        }
        made = self._client.create_run(self._experiment, tags=tags, run_name=self._shown_name(tags))
        self._id, self._known = str(made.info.run_id), {}
        fixed = {name: value for name, value in self._run.settings.items() if name not in CHANGING}
        params = [Param(name, str(value)) for name, value in fixed.items()]
        self._client.log_batch(self._id, params=params)

    def _describe(self) -> None:
        """Show name, status and changing settings as they are now."""
        tags = self._client.get_run(self._id).data.tags
        self._client.update_run(self._id, status="RUNNING", name=self._shown_name(tags))
        changing = {name: str(self._run.config.get(name)) for name in CHANGING}
        for name, value in {_NAME: self._run.name, **changing}.items():
            self._client.set_tag(self._id, name, value)

    def _shown_name(self, tags: Mapping[str, str]) -> str:
        attempt = int(tags.get(_ATTEMPT, 1))
        return self._run.shown_name + (f" ({attempt})" if attempt > 1 else "")

    def _history(self, run_id: str) -> dict[int, Points]:
        """Return what tells evaluations apart, by step."""
        found: dict[int, Points] = {}
        for tag in (MARKER, "train/loss", f"valid/recall@{self._run.config.get('top_n')}"):
            for metric in self._client.get_metric_history(run_id, _name(tag)):
                found.setdefault(metric.step, {})[tag] = metric.value
        return found

    def _has(self, name: str, step: int, value: float) -> bool:
        history = self._client.get_metric_history(self._id, name)
        return any(one.step == step and _alike(one.value, value) for one in history)


def open_log(run: TrackedRun) -> MLflowLog:
    """Open or resume the branch's MLflow run. Earlier branches are completed, and what a killed
    start left as running is ended.
    """
    client = MlflowClient()
    experiment = _experiment(client)
    for branch in sorted(run.record):
        if branch != run.branch:
            MLflowLog(client, experiment, replace(run, branch=branch)).close(finished=False)
    query = f"tags.`{_KEY}` LIKE '{run.key_of_all}-%'"
    for one in client.search_runs([experiment], query, max_results=1_000):
        if one.info.status == "RUNNING":
            client.set_terminated(one.info.run_id, status="KILLED")
    return MLflowLog(client, experiment, run)


def _attempt(found: Any) -> int:
    return int(found.data.tags.get(_ATTEMPT, 1))


def _same(known: Points | None, points: Points) -> bool:
    """Return whether the points that are known are those that there are."""
    return known is None or all(
        tag not in points or _alike(value, points[tag]) for tag, value in known.items()
    )


def _alike(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def _experiment(client: Any) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "reprise")
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _name(tag: str) -> str:
    """Return the tag as an MLflow metric name, which must not contain @."""
    return tag.replace("@", "_at_")
