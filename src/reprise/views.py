"""What a program holds of runs: views of their folders, which read what is there when asked."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprise.text.shown import shown as escaped

if TYPE_CHECKING:
    import polars as pl

    from reprise.runs.manage.survey import Survey

Statistics = dict[str, dict[str, float | None]]  # of each metric by its key: mean, deviation


@dataclass(frozen=True)
class Run:
    """A run in its folder. data_dir: the folder of its data set's folder."""

    path: Path
    data_dir: Path

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._survey.name

    @property
    def config(self) -> dict[str, Any]:
        """The settings, by name."""
        return self._survey.config

    @property
    def best(self) -> dict[str, Any] | None:
        """The best evaluation on the validation users: step, branch, and each metric by its key;
        None before the first. Where the run ended between two evaluations, its end can be it.
        """
        survey = self._survey
        best = survey.best_known
        if best is None:
            return None
        metrics = {survey.metric or "recall": best.metric}
        for line in survey.evaluations:
            if (line["branch"], line["step"]) == (best.branch, best.step):
                metrics = {
                    key.removeprefix("valid_"): value
                    for key, value in line.items()
                    if key.startswith("valid_")
                }
        return {"step": best.step, "branch": best.branch, **metrics}

    @property
    def results(self) -> dict[str, dict[str, Any] | None]:
        """What the best model was measured to be, by split, as results.json has it: metrics by key,
        intervals, users; None where it was not measured on the split.
        """
        from reprise.runs.manage.survey import measured

        survey = self._survey
        return {split: measured(survey, split) for split in ("valid", "test")}

    @property
    def history(self) -> "pl.DataFrame":
        """The evaluations every `test_iter` steps so far, a row each: step, branch, train_loss and
        validation metrics. What the end of a training measures is in `results`.
        """
        import polars as pl

        found = self._survey.evaluations
        empty = {"step": pl.Int64, "branch": pl.Int64, "train_loss": pl.Float64}
        return pl.DataFrame(found, None if found else empty, infer_schema_length=None)

    def __repr__(self) -> str:
        survey = self._survey
        step, best = survey.progress.step, _best(self.best, survey.metric)
        return f"Run({self.name!r}: {survey.state}, step {step}, best {best}, {self.path})"

    def _repr_html_(self) -> str:
        survey = self._survey
        rows = (
            ("state", survey.state),
            ("model", survey.config.get("model")),
            ("dataset", survey.config.get("dataset")),
            ("step", f"{survey.progress.step} / {survey.config.get('max_steps')}"),
            ("best", _best(self.best, survey.metric)),
            ("folder", self.path),
        )
        return _html(self.name, rows)

    @property
    def _survey(self) -> "Survey":
        from reprise.runs.folder import RunFolder
        from reprise.runs.manage.survey import survey

        return survey(RunFolder(self.path))


@dataclass(frozen=True)
class Group:
    """Runs of one configuration but for their seeds, each an ordinary run named NAME-s19. A
    deviation is that of a sample, None of one run.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def best(self) -> Statistics | None:
        """Mean and deviation over the runs of the metrics of each run's best evaluation on the
        validation users; None where a run has none.
        """
        return _over(run.best for run in self.runs)

    @property
    def results(self) -> dict[str, Statistics | None]:
        """Mean and deviation over the runs of what each best model was measured to be, by split;
        None where one was not measured on the split.
        """
        every = [run.results for run in self.runs]
        return {split: _over(of_run[split] for of_run in every) for split in ("valid", "test")}

    def __repr__(self) -> str:
        seeds = ", ".join(str(run.config.get("seed")) for run in self.runs)
        return f"Group({self.name!r}: seeds {seeds}, best {self._mean(self.best)})"

    def _repr_html_(self) -> str:
        heads = ("", "state", "step", "best", "test")
        rows: list[tuple[str, ...]] = [
            (
                run.name,
                run._survey.state,
                f"{run._survey.progress.step} / {run.config.get('max_steps')}",
                _best(run.best, self._metric),
                _value(run.results["test"], self._metric),
            )
            for run in self.runs
        ]
        means = self._mean(self.best), self._mean(self.results["test"])
        rows.append(("mean ± deviation", "", "", *means))
        return _html(self.name, [heads, *rows])

    @property
    def _metric(self) -> str | None:
        """The metric that selects the best, where it is one."""
        names = {run._survey.metric for run in self.runs}
        return names.pop() if len(names) == 1 else None

    def _mean(self, found: Statistics | None) -> str:
        """Return "recall@50 0.123456 ± 0.001234"; "-" where there is no mean."""
        metric = self._metric
        one = None if found is None or metric is None else found.get(metric)
        if one is None:
            return "-"
        deviation = "" if one["deviation"] is None else f" ± {one['deviation']:.6f}"
        return f"{metric} {one['mean']:.6f}{deviation}"


@dataclass(frozen=True)
class Baselines(Mapping[str, Any]):
    """What counting reaches on the users of a split, by the baseline's name: its settings, and its
    metrics by key ("recall@50"), as `reprise baselines --json` has them.

    facts: all of that, with `left_out` and the runs beside them.
    """

    facts: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.facts["baselines"][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.facts["baselines"])

    def __len__(self) -> int:
        return len(self.facts["baselines"])

    @property
    def frame(self) -> "pl.DataFrame":
        """A row for each baseline and, below them, for each run of the same data that was evaluated
        on the same users without seen items: name, kind, metrics, where targets are cold their
        recall ("cold_recall@50"), and the baseline's settings.
        """
        import polars as pl

        from reprise.runs.beside import cold_recalls, settings_told

        rows = []
        for kind, found in (("baseline", self), ("run", self.facts["runs"])):
            for name, own in found.items():
                if own is not None:
                    metrics = {key: value for key, value in own.items() if "@" in key}
                    cold = {f"cold_recall@{n}": value for n, value in cold_recalls(own).items()}
                    about = {"settings": settings_told(own)}
                    rows.append({"name": name, "kind": kind, **metrics, **cold, **about})
        return pl.DataFrame(rows, infer_schema_length=None)

    def __repr__(self) -> str:
        best = ", ".join(f"{name} {self._recall(name)}" for name in self)
        return f"Baselines({self.facts['dataset']!r}, {self.facts['split']}: {best})"

    def _repr_html_(self) -> str:
        rows = [(name, self._recall(name)) for name in self]
        runs = self.facts["runs"].items()
        rows += [(name, _value(own, self._metric)) for name, own in runs if own is not None]
        return _html(f"{self.facts['dataset']}, {self.facts['split']}", rows)

    @property
    def _metric(self) -> str:
        cutoffs = [n for own in self.values() for n in own["cutoffs"]]
        return f"recall@{max(cutoffs, default=50)}"

    def _recall(self, name: str) -> str:
        return _value(self[name], self._metric)


def _over(found: Iterable[dict[str, Any] | None]) -> Statistics | None:
    """Return the statistics of metrics over runs; None where one of them has none."""
    from reprise.evaluation.metrics import metric_of
    from reprise.runs.manage.groups import statistics

    every = list(found)
    known = [one for one in every if one is not None]
    if len(known) < len(every):
        return None
    return statistics(
        [{key: value for key, value in one.items() if metric_of(key) is not None} for one in known]
    )


def _best(best: dict[str, Any] | None, metric: str | None) -> str:
    """Return "recall@50 0.123456 @ 2000"; "-" where nothing was rated."""
    shown = _value(best, metric)
    return "-" if best is None or shown == "-" else f"{shown} @ {best['step']}"


def _value(found: dict[str, Any] | None, metric: str | None) -> str:
    """Return "recall@50 0.123456"; "-" where it is not known."""
    value = None if found is None or metric is None else found.get(metric)
    return "-" if value is None else f"{metric} {value:.6f}"


def _html(caption: str, rows: Iterable[Iterable[object]]) -> str:
    """Return a table whose first column is heads."""
    shown = []
    for head, *cells in rows:
        values = "".join(f"<td>{_safe(cell)}</td>" for cell in cells)
        shown.append(f"<tr><th style='text-align:left'>{_safe(head)}</th>{values}</tr>")
    return f"<table><caption>{_safe(caption)}</caption>{''.join(shown)}</table>"


def _safe(value: object) -> str:
    return escape(escaped(str(value)))
