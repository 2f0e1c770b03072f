"""MLflow: one MLflow run per branch, on the server MLFLOW_TRACKING_URI, in the experiment
MLFLOW_EXPERIMENT_NAME ("reprise" by default).
"""

import os
import time
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from reprise.tracking import MARKER, Points, TrackedRun

_KEY, _NAME = "reprise.key", "reprise.run"


class MLflowLog:
    """An open MLflow run."""

    def __init__(self, run: TrackedRun) -> None:
        self._client = MlflowClient()
        experiment = _experiment(self._client)
        found = self._client.search_runs(
            [experiment], f"tags.`{_KEY}` = '{run.key}'", max_results=1
        )
        if found:
            self._id: str = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING", name=run.shown_name)
            self._client.set_tag(self._id, _NAME, run.name)
        else:
            self._id = self._make(experiment, run)
        history = self._client.get_metric_history(self._id, _name(MARKER))
        self._known = {metric.step for metric in history}
        for step, points in sorted(run.record[run.branch].items()):
            self.log(step, points)

    def log(self, step: int, points: Points) -> None:
        """Log an evaluation; logging one again is harmless, as training is deterministic."""
        if step in self._known:
            return
        now = int(time.time() * 1000)
        metrics = [Metric(_name(tag), value, now, step) for tag, value in points.items()]
        self._client.log_batch(self._id, metrics=metrics)
        self._known.add(step)

    def results(self, step: int, points: Points) -> None:
        """Log the final metrics, each once."""
        now = int(time.time() * 1000)
        new = [tag for tag in points if not self._has(_name(tag), step)]
        metrics = [Metric(_name(tag), points[tag], now, step) for tag in new]
        self._client.log_batch(self._id, metrics=metrics)

    def _has(self, name: str, step: int) -> bool:
        return any(one.step == step for one in self._client.get_metric_history(self._id, name))

    def close(self, finished: bool) -> None:
        """Mark the run as finished, or as one that may continue."""
        self._client.set_terminated(self._id, status="FINISHED" if finished else "KILLED")

    def _make(self, experiment: str, run: TrackedRun) -> str:
        tags = {_KEY: run.key, _NAME: run.name, "reprise.branch": str(run.branch)}
        made = self._client.create_run(experiment, tags=tags, run_name=run.shown_name)
        params = [Param(name, str(value)) for name, value in run.config.items()]
        self._client.log_batch(made.info.run_id, params=params)
        return str(made.info.run_id)


def open_log(run: TrackedRun) -> MLflowLog:
    """Open or resume the branch's MLflow run."""
    return MLflowLog(run)


def _experiment(client: Any) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "reprise")
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _name(tag: str) -> str:
    """Return the tag as an MLflow metric name, which must not contain @."""
    return tag.replace("@", "_at_")
