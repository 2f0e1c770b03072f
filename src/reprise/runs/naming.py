"""Find runs by name, and merge the given settings with the stored ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint
from reprise.config.load import make_config
from reprise.config.schema import IDENTITY, NONE, SETTINGS, TrainConfig, check_value
from reprise.errors import CheckpointError, RepriseError, UsageError
from reprise.models.registry import UNTRAINED
from reprise.models.scoring import MEMORY
from reprise.runs.called import folder_names, name_in
from reprise.runs.folder import RunFolder, find_checkpoint, read_record
from reprise.runs.manage.survey import find, folders, short_name, survey
from reprise.text.messages import unsaid

_EXTENDABLE = tuple(name for name, declared in SETTINGS.items() if declared.extendable)


@dataclass(frozen=True)
class Known:
    """A run and its stored settings by name."""

    folder: RunFolder
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The experiment's name, from run.json or else from the folder's name."""
        if "name" in self.values:
            return str(self.values["name"])
        return name_in(self.folder.path.name, self.values)


class FitOf(TypedDict):
    """The run that a final fit is based on: its folder's name, its best step, and the numbers of
    the best model's memory, if it has one, which a final fit has nobody to fit to.
    """

    run: str
    step: int
    memory: NotRequired[list[float]]


@dataclass(frozen=True)
class Named:
    """The run that a start creates or resumes.

    known: the run to resume; None: a new one. taken: the requested name, if another run has it and
    the new one got the next free name. source, fit_of: for a final fit, the run it is based on, and
    what run.json records about it.
    """

    config: TrainConfig
    folder: RunFolder
    known: Known | None
    taken: str | None = None
    source: RunFolder | None = None
    fit_of: FitOf | None = None


def read(folder: RunFolder) -> Known:
    """Return a run's stored settings, from run.json or else from its checkpoints."""
    try:
        record = read_record(folder, unsaid)
    except CheckpointError:  # the start says so, if it is of this run
        record = {}
    identity = record.get("identity")
    if identity is None:
        found = store.scan(folder.checkpoints)
        identity = found[-1].identity if found else {}
    stored = {
        **record.get("config", {}),
        **{key: identity[key] for key in IDENTITY if key in identity},
    }
    return Known(folder, {key: stored[key] for key in SETTINGS if stored.get(key) is not None})


def for_final_fit(
    source: RunFolder, given: Mapping[str, Any], runs_folder: Path, new: bool = False
) -> Named:
    """Return the final fit of a run: its settings, all users, and its best step as the number of
    steps; `given` settings and `new` as in `for_training`.

    Raises:
        UsageError: The run has no best step, a model without training, or another data set.
    """
    known, best = read(source), survey(source).best_known
    if best is None or known.values["model"] in UNTRAINED:
        raise UsageError("final_fit_of_none", path=source.path)
    if given.get("dataset", known.values["dataset"]) != known.values["dataset"]:
        raise UsageError("only_one", options="--dataset, --final-fit")
    fit = {"train_users": "all", "max_steps": best.step}
    settings = {key: value for key, value in known.values.items() if key != "name"} | fit
    named = for_training({**settings, **given}, runs_folder, new)
    fit_of = FitOf(run=source.path.name, step=best.step)
    if NONE not in (named.config.memory, known.values.get("memory", NONE)):
        fit_of["memory"] = _numbers(find_checkpoint(source.path, "best", unsaid))
    return replace(named, source=source, fit_of=fit_of)


def _numbers(checkpoint: Checkpoint) -> list[float]:
    """Return the numbers of a stored model's memory."""
    manifest, name = store.read_manifest(checkpoint.path), f"params.{MEMORY}.npy"
    try:
        numbers: list[float] = store.read_array(checkpoint.path, name, manifest).tolist()
    except store.DamagedCheckpointError as damage:
        raise CheckpointError("checkpoint_damaged", path=checkpoint.path, reason=damage) from damage
    return numbers


def for_training(given: Mapping[str, Any], runs_folder: Path, new: bool = False) -> Named:
    """Return the run for the `given` settings: the run of that name and data set, with its stored
    values for settings that are not given; or a new one if there is none, or if `new`.

    Raises:
        UsageError: Several runs have the name.
    """
    name = given.get("name")
    if name is None:
        make_config(given)  # refuses
    check_value("name", name)
    every = [read(folder) for folder in folders(runs_folder)]
    found = [known for known in every if _is_called(known, given)]
    if not found:
        return _fresh(given, runs_folder)
    if new:
        dataset = given.get("dataset", found[0].values.get("dataset"))
        names = {known.name for known in every if known.values.get("dataset") == dataset}
        free = next(f"{name}-{n}" for n in range(2, len(names) + 3) if f"{name}-{n}" not in names)
        made = _fresh({"dataset": dataset, **given, "name": free}, runs_folder)
        return Named(made.config, made.folder, None, taken=name)
    known = _the_one(found, given)
    return Named(_continued(known, given), known.folder, known)


def for_resuming(name: str, given: Mapping[str, Any], runs_folder: Path) -> Named:
    """Return the run of that name, folder or path, with its stored settings, except the `given`
    ones, which are extendable.

    Raises:
        UsageError: run.json is lost, and with it the number of steps, which must be given.
    """
    known = read(find(runs_folder, name))
    if not known.values:
        raise CheckpointError("no_checkpoint", path=known.folder.path)
    missing = [key for key in _EXTENDABLE if key not in {*known.values, *given}]
    if missing:
        options = ", ".join(SETTINGS[key].flags[0] for key in missing)
        raise UsageError("length_unknown", path=known.folder.path, options=options)
    return Named(_continued(known, given), known.folder, known)


def called(runs_folder: Path, dataset: str, name: str) -> list[RunFolder]:
    """Return the runs with that data set and name."""
    every = [read(folder) for folder in folders(runs_folder)]
    asked = {"dataset": dataset, "name": name}
    return [known.folder for known in every if _is_called(known, asked)]


def label_of(folder: RunFolder, name: str) -> str:
    """Return the name that identifies a run in its folder of runs: its own, or its folder's if
    another run has the same name.
    """
    others = [other for other in folders(folder.path.parent) if other.path.name != folder.path.name]
    taken = any(name in (other.path.name, short_name(other)) for other in others)
    return folder.path.name if taken else name


def _continued(known: Known, given: Mapping[str, Any]) -> TrainConfig:
    return make_config(
        {**known.values, **given, "name": known.name if known.values else given["name"]}
    )


def _fresh(given: Mapping[str, Any], runs_folder: Path) -> Named:
    """Return a new run with an unused folder: a run of another data set and name can have the same
    folder name.
    """
    config = make_config(given)
    folder, number = RunFolder(runs_folder / config.folder_name), 1
    while folder.record.exists() or store.names(folder.checkpoints):
        number += 1
        folder = RunFolder(runs_folder / f"{config.folder_name}-{number}")
    return Named(config, folder, None)


def _is_called(known: Known, given: Mapping[str, Any]) -> bool:
    """Return whether a run has the given name and, if given, data set. Without run.json, both come
    from its folder's name, in the current scheme or the one that contains settings.
    """
    values, name, dataset = known.values, given["name"], given.get("dataset")
    if dataset is not None and values.get("dataset", dataset) != dataset:
        return False
    if values:
        return known.name == str(name)
    return known.folder.path.name in folder_names(given)  # nothing of it can be read


def _the_one(found: list[Known], given: Mapping[str, Any]) -> Known:
    """Select a run from those of the same name: in older folders, whose names contain settings,
    there can be several.
    """
    if len(found) == 1:
        return found[0]
    named = [known for known in found if known.folder.path.name in folder_names(given)[1:]]
    agreeing = named or [known for known in found if not _differs(known, given)]
    if len(agreeing) == 1:
        return agreeing[0]
    raise ambiguous(str(given["name"]), (known.folder for known in found))


def ambiguous(name: str, found: Iterable[RunFolder]) -> UsageError:
    """Return the error for a name shared by several runs."""
    known = ", ".join(folder.path.name for folder in found)
    return UsageError("run_ambiguous", name=name, known=known)


def _differs(known: Known, given: Mapping[str, Any]) -> bool:
    """Return whether given settings differ from those that the run cannot change."""
    try:
        asked, stored = _continued(known, given), _continued(known, {})
    except RepriseError:
        return True
    return any(getattr(asked, key) != getattr(stored, key) for key in IDENTITY)
