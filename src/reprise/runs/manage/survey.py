"""Read the state of runs from their folders, without changing them and without JAX."""

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from reprise import durable
from reprise.checkpoints import store
from reprise.checkpoints.log import Found
from reprise.checkpoints.store import Checkpoint, DamagedCheckpointError
from reprise.data.dataset import DATA_KEYS
from reprise.errors import CheckpointError, UsageError
from reprise.runs import results
from reprise.runs.called import name_in
from reprise.runs.events import best_of
from reprise.runs.folder import NOTHING, RunFolder, read_record
from reprise.runs.lock import writer_of
from reprise.runs.results import Results
from reprise.text.messages import Language, Phrase, Say, unsaid
from reprise.text.suggest import suggest
from reprise.training.state import Best, Progress
from reprise.training.stopping import out_of_patience

State = Literal["running", "interrupted", "finished", "stopped early", "damaged"]
_COUNTS = ("step", "branch", "evaluations_without_improvement")  # integers of an evaluation


@dataclass(frozen=True)
class Stored:
    """A path with a checkpoint's name: its `size` in bytes, and its checkpoint, or why it cannot be
    used (`damage`: damaged or unreadable).
    """

    path: Path
    size: int
    checkpoint: Checkpoint | None
    damage: Phrase | None = None


@dataclass(frozen=True)
class Survey:
    """The state of a run, by its files.

    pid: of the writing process, or None. record: run.json, empty if unreadable. stored: its
    checkpoints, damaged ones first, then oldest first. set_aside: checkpoints in quarantine.
    results: results.json. size: bytes of all files. updated: Unix time of the last write.
    """

    folder: RunFolder
    pid: str | None
    record: Mapping[str, Any]
    stored: tuple[Stored, ...]
    set_aside: tuple[Path, ...]
    results: Results
    size: int
    updated: float

    @cached_property
    def whole(self) -> list[Checkpoint]:
        """The usable checkpoints, oldest first."""
        return [entry.checkpoint for entry in self.stored if entry.checkpoint and not entry.damage]

    @property
    def latest(self) -> Checkpoint | None:
        """The checkpoint from which training continues."""
        return self.whole[-1] if self.whole else None

    @property
    def best(self) -> Checkpoint | None:
        """The best model that is stored."""
        return results.best_of(self.whole, self.results)

    @property
    def best_known(self) -> Best | None:
        """The run's best: the rating of where it ended included."""
        if self.progress.step > (self.latest.progress.step if self.latest else 0):
            return self.progress.best  # it is trained on, at this moment
        return results.best_known(self.whole, self.results, self.progress.best)

    @property
    def best_lost(self) -> bool:
        """Whether the weights of the run's best are gone, though its metric is known."""
        known, stored = self.progress.best, store.best_of(self.whole)
        if self.pid is not None or known is None or stored is None:
            return False
        return (known.branch, known.step) != stored.order[:2]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration by field name; without run.json, from the checkpoints."""
        if isinstance(recorded := self.record.get("config"), dict):
            return dict(recorded)
        known = dict(self.latest.identity) if self.latest else {}
        for key in DATA_KEYS:
            known.pop(key, None)
        return known | ({"name": self.name} if known else {})

    @property
    def identity(self) -> Mapping[str, Any]:
        """The settings that must not change between starts."""
        return self.latest.identity if self.latest else self.record.get("identity", {})

    @property
    def name(self) -> str:
        """The experiment's name; without run.json, what its folder's tells of it."""
        return _name_in(self.record) or name_in(self.folder.path.name, self.identity)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events in run.json, oldest first."""
        return list(self.record.get("events", []))

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """The run's evaluations: those of the latest checkpoint, since later ones in the log will
        be repeated; those of the log while the run is training, or without a checkpoint.
        """
        return _parsed(self._logged.lines)

    @property
    def evaluations_lost(self) -> int:
        """How many evaluations can no longer be read."""
        known = 0 if self.latest is None else self.latest.progress.logged.lines
        return max(0, known - len(self._logged.lines))

    @cached_property
    def _logged(self) -> Found:
        stored = NOTHING if self.latest is None else self.latest.progress
        return self.folder.log.read(stored, beyond=self.latest is None or self.pid is not None)

    @cached_property
    def progress(self) -> Progress:
        """The run's progress: of its latest checkpoint, or of a later evaluation."""
        stored = self.latest.progress if self.latest else NOTHING
        if self.latest is not None and self.pid is None:
            return stored
        last = self.evaluations[-1] if self.evaluations else {"step": 0, "branch": 0}
        if (last["branch"], last["step"]) <= (stored.branch, stored.step):
            return stored
        return dataclasses.replace(
            stored,
            step=last["step"],
            branch=last["branch"],
            evaluated_step=last["step"],
            best=best_of(self.evaluations, stored.best),
            evaluations_without_improvement=last["evaluations_without_improvement"],
        )

    @property
    def state(self) -> State:
        """The run's state; a run stopped before its first checkpoint is not damaged."""
        if self.pid is not None:
            return "running"
        if self.latest is None:
            return "damaged" if self.stored or self.set_aside else "interrupted"
        progress, config = self.latest.progress, self.config
        patience, budget = config.get("patience"), config.get("max_steps")
        if patience is not None and out_of_patience(progress, patience):
            return "stopped early"
        # Like `loop.is_finished`: an interrupted evaluation is repeated before the end.
        at_evaluation = progress.step % config.get("test_iter", 1) == 0
        due = at_evaluation and progress.step > progress.evaluated_step
        return "finished" if budget and progress.step >= budget and not due else "interrupted"

    @property
    def metric(self) -> str | None:
        """The name of the metric that selects the best, such as recall@50."""
        return f"recall@{self.config['top_n']}" if "top_n" in self.config else None


def survey(folder: RunFolder, thorough: bool = False) -> Survey:
    """Read a run's folder; checkpoints are compared with their manifests by size or, if `thorough`,
    byte by byte.
    """
    pid = writer_of(folder.path)
    try:
        found = [_stored(path, thorough) for path in store.names(folder.checkpoints)]
    except CheckpointError as error:  # of the folder
        found = [Stored(folder.checkpoints, 0, None, _unread(error))]
    entries = _files(folder.path)
    quarantine = folder.checkpoints / store.QUARANTINE
    return Survey(
        folder=folder,
        pid=pid,
        record=_record(folder),
        stored=tuple(sorted((entry for entry in found if entry is not None), key=_order)),
        set_aside=tuple(_listed(quarantine)),
        results=results.read(folder.path),
        size=sum(status.st_size for _, status in entries),
        # A refused attempt to lock may touch the file, so its time does not count.
        updated=max((s.st_mtime for path, s in entries if path != folder.lock), default=0.0),
    )


def folders(runs_folder: Path, warn: Say = unsaid) -> list[RunFolder]:
    """Return the runs in a folder of runs, by name; `warn` of unreadable folders."""
    if not runs_folder.is_dir():
        return []
    found = []
    for folder in map(RunFolder, sorted(runs_folder.iterdir())):
        try:
            if folder.path.name[0] != "." and _is_run(folder):
                found.append(folder)
        except OSError as error:
            warn("not_looked_into", path=folder.path, reason=error.strerror)
    return found


def find(runs_folder: Path, name: str) -> RunFolder:
    """Find a run by its folder's name, path, or unique experiment name.

    Raises:
        CheckpointError: There is none; the message suggests the nearest name, or names the runs if
            it is a group's.
        UsageError: Several runs have the name, or it is empty.
    """
    if not name:  # as a path it would be the current folder
        raise UsageError("bad_value", option="NAME", value=name, expected=Phrase("good_path"))
    for path in (runs_folder / name, Path(name)):
        if _is_run(RunFolder(path)):
            return RunFolder(path)
    names = {folder: short_name(folder) for folder in folders(runs_folder)}
    named = [folder for folder, short in names.items() if short == name]
    if len(named) == 1:
        return named[0]
    if named:
        known = ", ".join(folder.path.name for folder in named)
        raise UsageError("run_ambiguous", name=name, known=known)
    if members := _members(names, name):
        shown = ", ".join(names[folder] for _, folder in members)
        raise CheckpointError("run_is_group", name=name, names=shown)
    known_names = {*names.values(), *(folder.path.name for folder in names)}
    if not known_names:
        raise CheckpointError("run_missing", path=runs_folder / name)
    suggestion = suggest(known_names, name)
    raise CheckpointError("run_unknown", name=name, folder=runs_folder, suggestion=suggestion)


def members_of(runs_folder: Path, group: str) -> list[tuple[int, RunFolder]]:
    """Return the runs of a group with their seeds, by seed: those named GROUP-s19 and so on."""
    return _members({folder: short_name(folder) for folder in folders(runs_folder)}, group)


def _members(names: Mapping[RunFolder, str], group: str) -> list[tuple[int, RunFolder]]:
    pattern = re.compile(re.escape(group) + r"-s(\d+)")
    named = [(pattern.fullmatch(name), folder) for folder, name in names.items()]
    found = [(int(match[1]), folder) for match, folder in named if match]
    return sorted(found, key=lambda member: member[0])


def path_of(run: Path, runs_folder: Path) -> Path:
    """Return the path of a run or checkpoint: `run` itself if it is a path, else that of the run
    with this name in `runs_folder`.
    """
    is_checkpoint = (run / store.MANIFEST).exists() or run.name.startswith("ckpt-")
    if len(run.parts) != 1 or (is_checkpoint and run.exists()):
        return run
    return find(runs_folder, run.name).path


def short_name(folder: RunFolder) -> str:
    """Return the experiment's name; without run.json, what the folder's tells of it."""
    if name := _name_in(_record(folder)):
        return name
    try:
        found = store.scan(folder.checkpoints)
    except CheckpointError:
        found = []
    return name_in(folder.path.name, found[-1].identity if found else {})


def summary(found: Survey) -> dict[str, Any]:
    """Return a run's summary for lists, as JSON values: times in UTC, sizes in bytes."""
    progress, config = found.progress, found.config
    return {
        "name": found.name,
        "folder": str(found.folder.path),
        "state": found.state,
        "pid": int(found.pid) if found.pid and found.pid.isdigit() else None,
        "dataset": config.get("dataset"),
        "model": config.get("model"),
        "step": progress.step,
        "max_steps": config.get("max_steps"),
        "branch": progress.branch,
        "metric": found.metric,
        "best": None if found.best_known is None else dataclasses.asdict(found.best_known),
        "results": {split: measured(found, split) for split in ("valid", "test")},
        "patience_used": progress.evaluations_without_improvement,
        "patience": config.get("patience"),
        "damaged_checkpoints": sum(entry.damage is not None for entry in found.stored),
        "created": found.events[0].get("at") if found.events else None,
        "updated": datetime.fromtimestamp(found.updated, UTC).isoformat(timespec="seconds"),
        "size": found.size,
    }


def measured(found: Survey, split: str) -> dict[str, Any] | None:
    """Return what a run's best model was measured to be on a split, see `results.Results.of`."""
    entry = None if found.best is None else found.results.of(found.best, split)
    if entry is None:
        return None
    return {key: value for key, value in entry.items() if key != "groups"}


def details(found: Survey, language: Language = "en") -> dict[str, Any]:
    """Return all facts of a run: summary, configuration, environment, checkpoints, history and
    evaluations. language: of the reasons of damage; English for programs.
    """
    latest, best = found.latest, found.best
    checkpoints = [_checkpoint_facts(entry, latest, best, language) for entry in found.stored]
    return summary(found) | {
        "learning_rate": latest.progress.learning_rate if latest else None,
        "seconds": latest.progress.seconds if latest else None,
        "config": found.config,
        "dataset_fingerprint": found.identity.get("dataset_fingerprint"),
        "environment": dict(found.record.get("environment", latest.environment if latest else {})),
        "checkpoints": checkpoints,
        "evaluated": list(found.results.entries),
        "best_lost": found.best_lost,
        "set_aside": [str(path) for path in found.set_aside],
        "events": found.events,
        "evaluations": found.evaluations,
        "evaluations_lost": found.evaluations_lost,
    }


def _checkpoint_facts(
    entry: Stored, latest: Checkpoint | None, best: Checkpoint | None, language: Language
) -> dict[str, Any]:
    checkpoint = entry.checkpoint
    progress = checkpoint.progress if checkpoint else None
    return {
        "path": str(entry.path),
        "step": progress.step if progress else None,
        "branch": progress.branch if progress else None,
        "metric": progress.metric if progress and progress.is_rated else None,
        "latest": checkpoint is not None and checkpoint is latest,
        "best": checkpoint is not None and checkpoint is best,
        "size": entry.size,
        "whole": entry.damage is None,
        "damage": entry.damage and entry.damage.said_in(language),
    }


def _stored(path: Path, thorough: bool) -> Stored | None:
    """Read a checkpoint; None if its run has deleted it meanwhile."""
    checkpoint: Checkpoint | None = None
    damage: Phrase | None = None
    try:
        checkpoint = store.read_as_named(path)
        if thorough:
            store.verify(checkpoint)
        else:
            store.check_sizes(checkpoint)
    except DamagedCheckpointError as error:
        damage = error
    except CheckpointError as error:  # unreadable
        damage = _unread(error)
    size = sum(status.st_size for _, status in _files(path))
    return Stored(path, size, checkpoint, damage) if path.is_dir() else None


def _unread(error: CheckpointError) -> Phrase:
    """Return why a file or folder cannot be read, for the entry that it belongs to."""
    return Phrase(
        "file_reason", name=Path(error.values["path"]).name, reason=error.values["reason"]
    )


def _listed(folder: Path) -> list[Path]:
    """Return what is in a folder, as far as it can be listed."""
    try:
        return durable.entries(folder)
    except OSError:
        return []


def _order(entry: Stored) -> tuple[bool, tuple[int, int, int]]:
    known = entry.checkpoint
    return known is not None, known.order if known else (0, 0, 0)


def _is_run(folder: RunFolder) -> bool:
    return folder.record.is_file() or folder.checkpoints.is_dir()


def _record(folder: RunFolder) -> dict[str, Any]:
    """Return run.json; an unreadable one must not hide the other runs of a list."""
    try:
        return read_record(folder, unsaid)
    except CheckpointError:
        return {}


def _name_in(record: Mapping[str, Any]) -> str | None:
    config = record.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return name if isinstance(name, str) else None


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the files under `folder`, without those that vanish meanwhile."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                found.append((path := Path(parent, name), path.stat()))
            except OSError:
                continue
    return found


def _parsed(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Parse the lines of evaluations, without truncated or damaged ones."""
    found = []
    for line in lines:
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict) and all(isinstance(values.get(key), int) for key in _COUNTS):
            found.append(values)
    return found
