"""`reprise data list` and `delete`: prepared datasets, and the runs that were trained on them."""

from pathlib import Path
from typing import Any

from reprise.data.dataset import read_meta
from reprise.errors import CheckpointError, DataError, RunInUseError
from reprise.runs.folder import read_record
from reprise.runs.lock import writer_of
from reprise.runs.manage.prune import size_of
from reprise.runs.manage.remove import remove_folder
from reprise.runs.manage.survey import find as find_run
from reprise.runs.manage.survey import folders
from reprise.text.messages import unsaid


def found_in(data_dir: Path, runs_dir: Path) -> list[dict[str, Any]]:
    """Return the intact prepared datasets in a folder, sorted by name, as JSON values: name,
    folder, users and interactions by split, items, fingerprint, size in bytes, and runs: the folder
    names of the runs in `runs_dir` that were trained on it.
    """
    trained = _trained(runs_dir)
    found = []
    for folder in sorted(data_dir.iterdir()) if data_dir.is_dir() else []:
        if folder.name.startswith("."):
            continue  # being written or replaced
        try:
            meta = read_meta(folder)
        except DataError:
            continue
        about = {key: meta[key] for key in ("name", "users", "interactions", "fingerprint")}
        runs = [name for name, known in trained.items() if known == meta["fingerprint"]]
        size = size_of(folder)
        own = {"folder": str(folder), "items": meta["num_items"], "size": size, "runs": runs}
        found.append(about | own)
    return found


def find(data_dir: Path, runs_dir: Path, name: str) -> dict[str, Any]:
    """Return the entry of `found_in` with that name; raise DataError if there is none."""
    for one in found_in(data_dir, runs_dir):
        if name in (one["name"], Path(one["folder"]).name):
            return one
    raise DataError("dataset_unknown", name=name, folder=data_dir)


def delete(found: dict[str, Any], runs_dir: Path) -> None:
    """Remove a dataset of `found_in`; raise RunInUseError if a run is being trained on it."""
    for name in found["runs"]:
        path = find_run(runs_dir, name).path
        if (pid := writer_of(path)) is not None:
            raise RunInUseError("run_in_use", path=path, pid=pid)
    remove_folder(Path(found["folder"]))


def _trained(runs_dir: Path) -> dict[str, str | None]:
    """Return the fingerprint of the data of each run, by its folder's name."""
    found = {}
    for folder in folders(runs_dir):
        try:
            identity = read_record(folder, unsaid).get("identity", {})
        except CheckpointError:
            continue
        found[folder.path.name] = identity.get("dataset_fingerprint")
    return found
