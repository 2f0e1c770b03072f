"""The stored baselines of a data set and its runs, in one table: seen items left out of both."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from reprise.evaluation.metrics import BY_NAME
from reprise.runs.baselines_kept import Facts, read
from reprise.runs.folder import RunFolder
from reprise.runs.manage.survey import Survey, survey
from reprise.runs.manage.table import labels
from reprise.runs.results import Split
from reprise.text.messages import Messages

_SHOWN = ("recall", "ndcg")


def runs_beside(folders: Iterable[RunFolder], facts: Facts) -> dict[str, Any]:
    """Return the results of the best models of runs on the same data and split without seen items,
    by the run's name (its folder's, where runs share one); of a run that has not been evaluated so,
    None.
    """
    every = map(survey, folders)
    of_data = [run for run in every if _is_on(run, facts["dataset_fingerprint"])]
    found = [
        run.best and run.results.of(run.best, facts["split"], filtered=True) for run in of_data
    ]
    names = [{"name": run.name, "folder": str(run.folder.path)} for run in of_data]
    return dict(zip(labels(names), found, strict=True))


def _is_on(run: Survey, fingerprint: str) -> bool:
    """Return whether a run is on this data, and has a model and users to evaluate."""
    known = run.identity.get("dataset_fingerprint") == fingerprint
    return known and run.best is not None and run.config.get("train_users") != "all"


def stored_beside(folders: Sequence[RunFolder], split: Split) -> list[Facts]:
    """Return the stored baselines of the data of these runs, a table for each data set that has
    any, with the runs beside them: what `measure_baselines` returns, and `runs`.
    """
    found: dict[str, Facts] = {}
    for folder in folders:
        facts = _stored(folder.path, survey(folder).identity, split)
        if facts is not None and facts["dataset_fingerprint"] not in found:
            beside = {"runs": runs_beside(folders, facts)}
            found[facts["dataset_fingerprint"]] = facts | beside
    return list(found.values())


def has_baselines(run: Path, identity: Mapping[str, Any], split: Split) -> bool:
    """Return whether there are stored baselines of a run's data."""
    return _stored(run, identity, split) is not None


def _stored(run: Path, identity: Mapping[str, Any], split: Split) -> Facts | None:
    if not {"dataset", "dataset_fingerprint"} <= identity.keys():
        return None
    known = read(run.resolve().parent, identity["dataset"], identity["dataset_fingerprint"])
    return known.get(split)


def heads_and_rows(
    facts: Mapping[str, Any], messages: Messages
) -> tuple[list[str], list[list[str]]]:
    """Return the table of baselines, and below them the runs that were evaluated without seen
    items: its heads, and a name, metrics and settings a row.
    """
    cutoffs = sorted({n for own in facts["baselines"].values() for n in own["cutoffs"]})
    keys = [f"{name}@{n}" for name in _SHOWN for n in cutoffs]
    cold = _cold_cutoffs(facts, cutoffs)
    called = {name: messages.metric(name, BY_NAME[name].label) for name in _SHOWN}
    metrics = [f"{called[name]}@{n}" for name in _SHOWN for n in cutoffs]
    metrics += [messages.text("baseline_cold", metric=f"{called['recall']}@{n}") for n in cold]
    heads = ["", *metrics, messages.text("baseline_settings")]
    return heads, list(_rows(facts, keys, cold))


def cold_recalls(facts: Mapping[str, Any]) -> dict[int, float | None]:
    """Return an evaluation's recall of cold targets, by the cutoff; empty where none are cold."""
    found = facts.get("groups", {}).get("coldness", {}).get("cold", {})
    keys = {n: f"recall@{n}" for n in facts["cutoffs"]}
    return {n: found[key] for n, key in keys.items() if key in found}


def settings_told(facts: Mapping[str, Any]) -> str:
    """Return a baseline's settings as text; "" of a run, which has none."""
    return ", ".join(
        f"{name} {value}" if isinstance(value, str) else f"{name} {value:g}"
        for name, value in facts.get("settings", {}).items()
    )


def _cold_cutoffs(facts: Mapping[str, Any], cutoffs: Sequence[int]) -> list[int]:
    """Return the cutoffs at which some baseline's recall of cold targets is known."""
    known = set().union(*map(cold_recalls, facts["baselines"].values()))
    return [n for n in cutoffs if n in known]


def unmeasured(facts: Mapping[str, Any], messages: Messages) -> list[str]:
    """Return a line for each run that is not in the table."""
    return [
        messages.text("baseline_run_unmeasured", run=run, split=facts["split"])
        for run, entry in facts["runs"].items()
        if entry is None
    ]


def _rows(facts: Mapping[str, Any], keys: list[str], cold: list[int]) -> Iterator[list[str]]:
    for name, own in chain(facts["baselines"].items(), facts["runs"].items()):
        if own is not None:
            values = [*map(own.get, keys), *map(cold_recalls(own).get, cold)]
            yield [name, *map(_number, values), settings_told(own)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
