"""Groups: runs that differ in their seeds only, each an ordinary run named NAME-s19.

A group is defined by these names only: each of its runs can be used like any other run.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprise.errors import CheckpointError, UsageError
from reprise.runs.folder import RunFolder
from reprise.runs.manage.survey import find, folders, short_name
from reprise.text.messages import Phrase


@dataclass(frozen=True)
class Group:
    """A single run, or the runs of several seeds, sorted by seed."""

    name: str
    folders: tuple[RunFolder, ...]


def seeds_of(text: str) -> tuple[int, ...]:
    """Return the seeds of "19,20,21", each once."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch(r"\d+", part) for part in parts):
        raise UsageError("bad_value", option="seeds", value=text, expected=Phrase("good_seeds"))
    return tuple(dict.fromkeys(map(int, parts)))


def members(given: Mapping[str, Any], seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield the settings of the runs that `given` ones make with each seed."""
    if "seed" in given:
        raise UsageError("only_one", options="--seed, --seeds")
    if "name" not in given:
        raise UsageError("missing_value", option="name")
    for seed in seeds:
        yield {**given, "seed": seed, "name": f"{given['name']}-s{seed}"}


def find_group(runs_folder: Path, name: str) -> Group:
    """Return the run of that name, folder or path, or else the group of that name.

    Raises:
        CheckpointError: There is neither; the message suggests the nearest name.
        UsageError: There are groups of that name on several data sets.
    """
    try:
        return Group(name, (find(runs_folder, name),))
    except CheckpointError:
        pattern = re.compile(re.escape(name) + r"-s(\d+)")
        named = [(pattern.fullmatch(short_name(folder)), folder) for folder in folders(runs_folder)]
        found = [(int(match[1]), folder) for match, folder in named if match]
        if not found:
            raise
    if len({seed for seed, _ in found}) < len(found):
        known = ", ".join(folder.path.name for _, folder in found)
        raise UsageError("run_ambiguous", name=name, known=known)
    return Group(name, tuple(folder for _, folder in sorted(found, key=lambda pair: pair[0])))


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
