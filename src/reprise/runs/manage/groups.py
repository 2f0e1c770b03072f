"""Groups: runs that differ in their seeds only, each an ordinary run named NAME-s19.

A group is defined by these names only: each of its runs can be used like any other run.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

from reprise.errors import CheckpointError, UsageError
from reprise.runs.folder import RunFolder
from reprise.runs.manage.survey import find, members_of, path_of, short_name
from reprise.runs.naming import Named, for_training
from reprise.text.messages import Phrase


@dataclass(frozen=True)
class Group:
    """A single run, or the runs of several seeds, sorted by seed."""

    name: str
    folders: tuple[RunFolder, ...]


def seeds_of(given: str | Iterable[int]) -> tuple[int, ...]:
    """Return seeds such as "19,20,21", or (19, 20, 21), each once."""
    if isinstance(given, str):
        parts: list[Any] = [part.strip() for part in given.split(",") if part.strip()]
        seeds = [int(part) if re.fullmatch(r"\d+", part) else None for part in parts]
    else:
        parts = list(given) if isinstance(given, Iterable) else []
        seeds = [_whole(part) for part in parts]
    if not seeds or None in seeds:
        raise UsageError("bad_value", option="seeds", value=given, expected=Phrase("good_seeds"))
    return tuple(dict.fromkeys(seed for seed in seeds if seed is not None))


def for_seeds(
    given: Mapping[str, Any],
    seeds: Sequence[int],
    runs_folder: Path,
    beside: Mapping[str, bool],
) -> list[Named]:
    """Return the runs that `given` settings are of with each seed, as `naming.for_training` does.

    Args:
        given: The settings.
        seeds: A run for each.
        runs_folder: The folder of the runs.
        beside: What else is asked for, by flags that are of one run alone, and refused.
    """
    refused = {"--seed": "seed" in given, **beside}
    if asked := [flag for flag, is_asked in refused.items() if is_asked]:
        raise UsageError("only_one", options=", ".join(["--seeds", *asked]))
    if "name" not in given:
        raise UsageError("missing_value", option="name")
    return [
        for_training({**given, "seed": seed, "name": f"{given['name']}-s{seed}"}, runs_folder)
        for seed in seeds
    ]


def _whole(value: Any) -> int | None:
    """Return an integer, NumPy's too, as Python's; None of anything else."""
    try:
        return None if isinstance(value, bool) else index(value)
    except TypeError:
        return None


def find_group(runs_folder: Path, name: str) -> Group:
    """Return the run of that name, folder or path, or else the group of that name.

    Raises:
        CheckpointError: There is neither; the message suggests the nearest name.
        UsageError: There are groups of that name on several data sets.
    """
    try:
        return Group(name, (find(runs_folder, name),))
    except CheckpointError:
        found = members_of(runs_folder, name)
        if not found:
            raise
    if len({seed for seed, _ in found}) < len(found):
        known = ", ".join(folder.path.name for _, folder in found)
        raise UsageError("run_ambiguous", name=name, known=known)
    return Group(name, tuple(folder for _, folder in found))


def paths_of(run: Path, runs_folder: Path) -> tuple[str | None, list[Path]]:
    """Return the path of a run or checkpoint, as `survey.path_of` does; of a group, its name and
    the paths of its runs.
    """
    try:
        return None, [path_of(run, runs_folder)]
    except CheckpointError as error:
        if error.key != "run_is_group":
            raise
        group = find_group(runs_folder, run.name)
        return group.name, [folder.path for folder in group.folders]


def statistics(runs: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Return mean and sample standard deviation (None for one run) of each metric that all runs of
    a group have.
    """
    from statistics import fmean, stdev  # it imports much

    found: dict[str, dict[str, float | None]] = {}
    for key in runs[0]:
        values = [value for run in runs if (value := run.get(key)) is not None]
        if len(values) == len(runs) and all(map(math.isfinite, values)):
            deviation = stdev(values) if len(values) > 1 else None
            found[key] = {"mean": fmean(values), "deviation": deviation}
    return found


def of_comparison(groups: Sequence[Group], metrics: Mapping[str, Sequence[float | None]]) -> Any:
    """Return the statistics of each group of a comparison, whose `metrics` are each run's, one
    group's after the other's.
    """
    facts, first = [], 0
    for group in groups:
        count = len(group.folders)
        runs = [
            {key: values[first + place] for key, values in metrics.items()}
            for place in range(count)
        ]
        names = [short_name(folder) for folder in group.folders]
        facts.append({"name": group.name, "runs": names, "metrics": statistics(runs)})
        first += count
    return facts
