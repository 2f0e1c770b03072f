"""A run's folder: its lock, run.json, the evaluations' log, and what a start resumes from.

runs/<dataset>_<name>/    (of the original command line <dataset>_<model>_b128_lr0.007_..._<name>)
    run.json        configuration, dataset fingerprint, where the data was (`where`), environment,
                    history of starts
    results.json    evaluations of its stored models, see `results`
    LOCK            flock: one writer at a time
    checkpoints/    see `store`
    items/          raw ids, titles and categories of its items, see `items`
    features/       the item features that it is trained on, see `features`
    memory/         the edges of its memory, see `memory`
    metrics.jsonl   one line an evaluation, always as the resumed checkpoint knows it, see
                    `checkpoints.log`
    train.log       what was printed, with times
    tensorboard/
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from reprise import durable
from reprise.checkpoints import store
from reprise.checkpoints.log import Log
from reprise.checkpoints.store import Checkpoint
from reprise.config.load import in_todays_names, lift_identity
from reprise.data.dataset import DATA_KEYS
from reprise.errors import CheckpointError, ConfigMismatchError
from reprise.runs import results
from reprise.runs.events import is_event, rate_trained_with
from reprise.runs.lock import LOCK, held
from reprise.text.messages import Phrase, Say, unsaid
from reprise.text.shown import shown
from reprise.training.state import Progress, Snapshot

Source = Literal["latest", "best"]
RUN_SCHEMA = 1
NOTHING = Progress(learning_rate=float("nan"))  # before the first step
_CHANGED = {  # the messages that tell of another digest
    "item_ids": "items_relabelled",
    "times": "times_changed",
    "rank": "rank_changed",
    "edges": "memory_changed",
}
_COUNTS = ("test_iter", "top_n", "max_steps", "patience")  # of the configuration


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """The checkpoint folder."""
        return self.path / "checkpoints"

    @property
    def lock(self) -> Path:
        """The file that a writer holds locked; it names the last one."""
        return self.path / LOCK

    @property
    def record(self) -> Path:
        """run.json."""
        return self.path / "run.json"

    @property
    def items(self) -> Path:
        """What the run keeps of its items, see `runs.items`."""
        return self.path / "items"

    @property
    def features(self) -> Path:
        """What the run keeps of its items' features, see `runs.features`."""
        return self.path / "features"

    @property
    def memory(self) -> Path:
        """What the run keeps of what is counted beside its model, see `runs.memory`."""
        return self.path / "memory"

    @property
    def metrics(self) -> Path:
        """The evaluations' log, for those who read the run."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Log:
        """The evaluations' log, in both copies."""
        return Log(self.checkpoints, self.metrics)


@dataclass(frozen=True)
class Resumption:
    """The snapshot that a start resumes from. checkpoint: where it was stored; rewound: whether it
    was not the latest, so that a new branch begins.
    """

    checkpoint: Checkpoint
    snapshot: Snapshot
    rewound: bool


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Lock the run for writing; raise RunInUseError with the process that holds the lock. The lock
    ends with its process.
    """
    durable.make_folder(folder.checkpoints)
    with held(folder.path):
        durable.sweep(leftovers(folder))
        yield


def leftovers(folder: RunFolder) -> list[Path]:
    """Return what crashes have left in a run that nobody else writes. Beside its checkpoints, which
    the lock guards, other processes may be at work: an export into the run's folder, its report.
    CheckpointError where these folders cannot be listed.
    """
    try:
        return durable.abandoned(folder.path) + durable.leftovers(folder.checkpoints)
    except OSError as error:
        path, reason = error.filename or folder.path, error.strerror or str(error)
        raise CheckpointError("folder_unreadable", path=path, reason=reason) from error


def check_identity(
    folder: RunFolder, identity: Mapping[str, Any], warn: Say, data_folder: Path | None = None
) -> None:
    """Refuse, with the differences, a folder that holds a run of another identity; `data_folder`
    is what a change of the data set is told of.

    The identity is stored in the checkpoints; run.json decides between different ones, or alone if
    there are no checkpoints.
    """
    recorded = read_record(folder, warn).get("identity")
    found = store.scan(folder.checkpoints)
    stored = recorded
    if found and recorded not in [checkpoint.identity for checkpoint in found]:
        stored = found[-1].identity
    if stored is not None:
        if data_folder is not None and _other(stored, identity, "dataset_fingerprint"):
            raise ConfigMismatchError("dataset_not_its", path=folder.path, dataset=data_folder)
        refuse_difference(folder, stored, identity)


def refuse_difference(
    folder: RunFolder, stored: Mapping[str, Any], asked: Mapping[str, Any]
) -> None:
    """Raise ConfigMismatchError, with one line per key, if the two differ."""
    differences = _difference(stored, asked)
    if len(differences) == 1 and differences[0] in _CHANGED:
        raise ConfigMismatchError(_CHANGED[differences[0]], path=folder.path)
    if differences == ["features"]:
        known, own = stored["features"], asked["features"]
        names = [name for name in sorted(known) if known[name] != own.get(name)]
        raise ConfigMismatchError("features_changed", path=folder.path, names=", ".join(names))
    if differences:
        lines = "\n".join(f"  {shown(line)}" for line in differences)
        raise ConfigMismatchError("config_differs", path=folder.path, differences=lines)


def _difference(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return "key: stored -> asked" for each key that differs, of a digest the key alone; what an
    older version did not store is no difference. Without a rank, items were numbered by it.
    """
    known = {"rank": None, **stored} if "rank" in asked else stored
    return [
        key if key in DATA_KEYS else f"{key}: {value} -> {asked.get(key)}"
        for key, value in sorted(known.items())
        if _other(known, asked, key)
    ]


def _other(stored: Mapping[str, Any], asked: Mapping[str, Any], key: str) -> bool:
    return key in stored and (key not in asked or stored[key] != asked[key])


def record_events(
    folder: RunFolder,
    identity: Mapping[str, Any],
    config: Mapping[str, Any],
    environment: Mapping[str, str],
    new_events: list[dict[str, Any]],
    data_folder: str | None = None,
) -> None:
    """Add events (a start, a learning-rate change) to run.json, which is created if missing;
    data_folder: the folder of the data, see `where`.
    """
    record = read_record(folder, unsaid)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    events = [*record.get("events", []), *({"at": now, **event} for event in new_events)]
    content = {
        "schema": RUN_SCHEMA,
        "identity": dict(identity),
        "config": dict(config),
        "environment": dict(environment),
        "data_folder": data_folder or record.get("data_folder"),
        "events": events,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    durable.replace_file(folder.record, text.encode())


def resume(
    folder: RunFolder,
    identity: Mapping[str, Any],
    source: Source,
    warn: Say,
    finished: Callable[[Progress], bool] = lambda latest: False,
    load: Callable[[Checkpoint], Snapshot] = store.load,
) -> Resumption | None:
    """Return the snapshot to resume from, or None for a fresh start.

    Damaged checkpoints and those of another identity are set aside, and the next intact one is
    used. Resuming from "best" opens a new branch if the best is not the latest, or was trained with
    another learning rate than it stores, unless the latest is `finished`. The log of evaluations is
    always that of the latest, to which it is cut. load: reads and verifies a checkpoint.
    """
    checkpoints = store.scan(
        folder.checkpoints, lambda path, reason: store.set_aside(path, reason, warn)
    )
    for checkpoint in list(checkpoints):
        if foreign := _difference(checkpoint.identity, identity):
            reason = Phrase("damage_other_run", differences=", ".join(foreign))
            store.set_aside(checkpoint.path, reason, warn)
            checkpoints.remove(checkpoint)
    while checkpoints:
        latest = checkpoints[-1]
        best = store.best_of(checkpoints) or latest
        to_best = source == "best" and not finished(latest.progress)
        chosen = best if to_best else latest
        needed = chosen
        try:
            snapshot = load(chosen)
            for needed in {latest.path: latest, best.path: best}.values():
                if needed is not chosen:
                    store.verify(needed)
        except store.DamagedCheckpointError as damage:
            store.set_aside(needed.path, damage, warn)
            checkpoints.remove(needed)
            continue
        _warn_of_lost_best(latest.progress, best, warn)
        own = _own_rate(folder, chosen) if to_best else None
        rewound = chosen is not latest or own is not None
        kept = _rewind(snapshot, latest, own) if rewound else snapshot
        logged = folder.log.settle(latest.progress, warn)
        return Resumption(
            chosen, Snapshot(kept.arrays, replace(kept.progress, logged=logged)), rewound
        )
    if durable.entries(folder.checkpoints / store.QUARANTINE):
        warn("nothing_whole", path=folder.checkpoints)
    folder.log.settle(NOTHING, warn)
    return None


def find_checkpoint(path: Path, which: Source, warn: Say) -> Checkpoint:
    """Return a run's latest or best checkpoint, or the one at `path`, without writing anything;
    raise CheckpointError if there is none.
    """
    is_run = (path / "checkpoints").is_dir()
    if not is_run and ((path / store.MANIFEST).exists() or path.resolve().name.startswith("ckpt-")):
        try:
            return store.read(path)
        except store.DamagedCheckpointError as damage:
            raise CheckpointError("checkpoint_damaged", path=path, reason=damage) from damage
    if not path.is_dir():
        raise CheckpointError("run_missing", path=path)
    found = store.scan(
        RunFolder(path).checkpoints,
        lambda damaged, reason: warn("damaged_ignored", path=damaged, reason=reason),
    )
    chosen = None
    if which == "best" and found:
        rated = store.best_of(found)
        chosen = results.best_of(found, results.read(path, warn)) or found[-1]
        if chosen is (rated or found[-1]):
            _warn_of_lost_best(found[-1].progress, chosen, warn)
    elif found:
        chosen = found[-1]
    if chosen is None:
        raise CheckpointError("no_checkpoint", path=path)
    return chosen


def load_checkpoint(
    checkpoint: Checkpoint, load: Callable[[Checkpoint], Snapshot] = store.load
) -> Snapshot:
    """Load a checkpoint's arrays; raise CheckpointError if they do not match the manifest, or if
    the run has deleted the checkpoint meanwhile.
    """
    try:
        return load(checkpoint)
    except store.DamagedCheckpointError as damage:
        if not checkpoint.path.exists():
            raise CheckpointError("run_changing", path=checkpoint.path) from damage
        raise CheckpointError("checkpoint_damaged", path=checkpoint.path, reason=damage) from damage


def _own_rate(folder: RunFolder, checkpoint: Checkpoint) -> float | None:
    """Return the learning rate that a checkpoint was trained with, if it stores another: of a step
    at which the rate was changed, older versions kept the changed state alone.
    """
    branch, step, repetition = checkpoint.order
    if not repetition:
        return None
    events = read_record(folder, unsaid).get("events", [])
    own = rate_trained_with(events, branch, step)
    return None if own == checkpoint.progress.learning_rate else own


def _rewind(snapshot: Snapshot, latest: Checkpoint, own_rate: float | None) -> Snapshot:
    """Return the snapshot after a rewind, with its own learning rate, and what is kept of `latest`:
    the best, whose weights may be lost, and the time.
    """
    progress = replace(
        snapshot.progress,
        branch=latest.progress.branch + 1,
        seconds=latest.progress.seconds,
        best=latest.progress.best or snapshot.progress.best,
        learning_rate=snapshot.progress.learning_rate if own_rate is None else own_rate,
    )
    return Snapshot(snapshot.arrays, progress)


def _warn_of_lost_best(latest: Progress, best: Checkpoint, warn: Say) -> None:
    known = latest.best
    if known is not None and (known.branch, known.step) != best.order[:2]:
        warn("best_lost", metric=known.metric, step=known.step, path=best.path)


def read_record(folder: RunFolder, warn: Say) -> dict[str, Any]:
    """Return run.json's content; warn if it is damaged, since the checkpoints have the identity,
    too. Raise CheckpointError if the system refuses to read it, since it may be intact.
    """
    reason: Phrase | Exception = Phrase("unexpected_content")
    try:
        if folder.record.exists() and not folder.record.is_file():  # reading a pipe never ends
            no_file = Phrase("no_plain_file")
            raise CheckpointError("checkpoint_unreadable", path=folder.record, reason=no_file)
        content = json.loads(folder.record.read_text(encoding="utf-8"))
        if _is_record(content):
            return _lifted(content)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CheckpointError(
            "checkpoint_unreadable", path=folder.record, reason=error.strerror or str(error)
        ) from error
    except ValueError as error:
        reason = error
    warn("record_damaged", path=folder.record, reason=reason)
    return {}


def _lifted(content: dict[str, Any]) -> dict[str, Any]:
    """Return run.json's content with settings under their current names."""
    config = in_todays_names(content.get("config", {}))
    return content | {"identity": lift_identity(content["identity"]), "config": config}


def _is_record(content: Any) -> bool:
    """Return whether a value has the form of run.json's content, as far as it is used."""
    if not isinstance(content, dict) or not isinstance(content.get("identity"), dict):
        return False
    config, events = content.get("config", {}), content.get("events")
    return (
        isinstance(config, dict)
        and isinstance(content.get("environment", {}), dict)
        and isinstance(content.get("data_folder"), str | None)
        and all(isinstance(config.get(name, 1), int) for name in _COUNTS)
        and config.get("test_iter") != 0
        and isinstance(events, list)
        and all(map(is_event, events))
    )
