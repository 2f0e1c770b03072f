"""`reprise runs delete` and `rename`."""

from pathlib import Path

from reprise import durable
from reprise.config.schema import check_value
from reprise.errors import UsageError, WriteError
from reprise.runs.folder import RunFolder, read_record, record_events
from reprise.runs.lock import held
from reprise.runs.naming import called, read
from reprise.text.messages import Phrase, unsaid


def delete(folder: RunFolder) -> None:
    """Delete a run's folder; raise RunInUseError if a process is writing it. What a crash leaves of
    it is not a run any more: `reprise runs prune` deletes it.
    """
    with held(folder.path):
        remove_folder(folder.path)


def rename(folder: RunFolder, name: str) -> RunFolder:
    """Rename a run and its folder; return the new folder.

    Raises:
        UsageError: The name is invalid, or another run of the data set has it.
        RunInUseError: A process is writing the run.
    """
    check_value("name", name)
    runs_folder, dataset = folder.path.parent, read(folder).values.get("dataset")
    target = RunFolder(folder.path.with_name(name if dataset is None else f"{dataset}_{name}"))
    taken = [] if dataset is None else called(runs_folder, dataset, name)
    if target.path.exists() and target.path not in (folder.path, *(run.path for run in taken)):
        taken.append(target)
    for other in taken:
        if other.path.resolve() != folder.path.resolve():
            raise UsageError("name_taken", path=other.path, name=name)
    with held(folder.path):
        _record_name(folder, name)  # a crash after this leaves the old folder with the new name
        if target != folder:
            durable.move(folder.path, target.path)
    return target


def _record_name(folder: RunFolder, name: str) -> None:
    """Write a run's new name into run.json, and among its events: trackers know it by its first."""
    record = read_record(folder, unsaid)
    old = read(folder).name
    if record:
        event = {"event": "renamed", "old": old, "new": name}
        record_events(
            folder,
            record["identity"],
            {**record.get("config", {}), "name": name},
            record.get("environment", {}),
            [event] if old != name else [],
        )


def remove_folder(path: Path) -> None:
    """Remove a folder completely; raise WriteError if that fails."""
    durable.restore(path)  # what is left of an older one would come back
    durable.discard(path)
    if path.exists():
        raise WriteError("write_refused", path=path, reason=Phrase("not_removed"))
