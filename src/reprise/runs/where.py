"""Locate a run's data: run.json stores the folder as a hint, the fingerprint is what counts."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reprise.checkpoints import store
from reprise.data.dataset import stored_fingerprint
from reprise.data.prepare import locate
from reprise.errors import CheckpointError, DataError
from reprise.runs.folder import RunFolder, read_record
from reprise.runs.manage.survey import folders
from reprise.runs.naming import Named
from reprise.text.messages import unsaid

DATA = Path("data")  # the folder of the data sets, where none is given


def hint(folder: RunFolder, data_folder: Path) -> str:
    """Return the folder of a run's data as stored in run.json: relative to the run's if both are in
    one project, which may be moved; otherwise absolute.
    """
    run, data = _absolute(folder.path), _absolute(data_folder)
    project = run.parent.parent
    return os.path.relpath(data, run) if data.is_relative_to(project) else str(data)


def locator(path: Path, data_dir: Path | None) -> Callable[[str], Path]:
    """Return a function that returns the folder of a run's data set by its name.

    Args:
        path: The run, or one of its checkpoints.
        data_dir: The folder of the data sets; None: the stored one, or else DATA.
    """
    return lambda name: data_of(run_of(path), name, data_dir)


def folder_for(named: Named, data_dir: Path | None) -> Path:
    """Return the dataset folder for a start of a run, see `data_of` and `data_for_new`."""
    of_run = named.source if named.known is None else named.folder
    if of_run is None:
        return data_for_new(named.config.dataset, data_dir, named.folder.path.parent)
    return data_of(of_run, named.config.dataset, data_dir)


def data_of(folder: RunFolder, dataset: str, data_dir: Path | None) -> Path:
    """Return the folder of a run's data set, see `locator`: the first candidate with the
    fingerprint of the run, or else the first that is a data set, which the caller checks.

    Raises:
        DataError: No candidate is a data set.
    """
    record = _record(folder) if data_dir is None else {}
    fingerprint = record.get("identity", {}).get("dataset_fingerprint")
    kept, asked = _hinted(folder, record), data_dir or DATA
    if kept is not None:
        found = [stored_fingerprint(place) for place in (kept, asked / dataset)]
        if fingerprint in found:
            return (kept, asked / dataset)[found.index(fingerprint)]
        if found[0] is not None:
            return kept
    try:
        return locate(asked, dataset)
    except DataError as error:
        if error.key != "dataset_not_found":
            raise
        values = {"dataset": dataset, "run": folder.path, "data_dir": asked}
        if kept is None:
            raise DataError("dataset_of_run", **values) from error
        raise DataError("dataset_moved", kept=kept, **values) from error


def data_for_new(dataset: str, data_dir: Path | None, runs_folder: Path) -> Path:
    """Return the dataset folder for a new run; raise DataError if it is not in `data_dir`, with the
    place where another run has it.
    """
    asked = data_dir or DATA
    try:
        return locate(asked, dataset)
    except DataError as error:
        if error.key != "dataset_not_found":
            raise
        for folder in folders(runs_folder):
            place = _hinted(folder, _record(folder))
            if (
                place is not None
                and place.name == dataset
                and stored_fingerprint(place) is not None
            ):
                values = {"dataset": dataset, "data_dir": asked, "found": place.parent}
                raise DataError("dataset_elsewhere", **values) from error
        raise


def run_of(path: Path) -> RunFolder:
    """Return the run of a path to it or to one of its checkpoints."""
    is_checkpoint = (path / store.MANIFEST).exists() and not (path / "checkpoints").is_dir()
    return RunFolder(path.resolve().parent.parent if is_checkpoint else path)


def _hinted(folder: RunFolder, record: Mapping[str, Any]) -> Path | None:
    """Return the data's folder stored in run.json, as the shortest path from here."""
    kept = record.get("data_folder")
    if kept is None:
        return None
    place = _absolute(folder.path / kept)
    here = Path.cwd()
    return place.relative_to(here) if place.is_relative_to(here) else place


def _absolute(path: Path) -> Path:
    """Return an absolute path without resolving links."""
    return Path(os.path.normpath(path.absolute()))


def _record(folder: RunFolder) -> dict[str, Any]:
    try:
        return read_record(folder, unsaid)
    except CheckpointError:
        return {}
