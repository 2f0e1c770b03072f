"""What a run's stored models were measured to be: results.json, the source of all tables.

schema      1
final       the rating of the run's last state, where the run ended between two evaluations:
            checkpoint, manifest, step, branch, metric (None: not a number)
results     an entry an evaluation, the newest last: what `evaluate --json` prints, with the
            checkpoint by its name; at (UTC), branch, manifest, dataset, dataset_fingerprint

The final rating is no part of the state, so that a run which is extended goes on as if it had never
ended: it counts as long as its checkpoint is the latest. manifest tells a checkpoint from another
that came to have its name.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from reprise import durable
from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint, DamagedCheckpointError
from reprise.errors import RunInUseError, WriteError
from reprise.runs.lock import briefly_held
from reprise.text.messages import Phrase, Say, unsaid
from reprise.training.state import Best

SCHEMA = 1
FILE = "results.json"
# What tells an evaluation from another of the same model.
_KEY = ("checkpoint", "manifest", "dataset_fingerprint", "split", "seen_items", "lambda", "cutoffs")

Split = Literal["valid", "test"]
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Final:
    """The rating of a run's last state; metric: None where it is not a number."""

    checkpoint: str
    manifest: str
    step: int
    branch: int
    metric: float | None

    def is_of(self, checkpoint: Checkpoint) -> bool:
        """Whether it rates this checkpoint."""
        return self.checkpoint == checkpoint.path.name and self.manifest == _digest(checkpoint)


@dataclass(frozen=True)
class Results:
    """What results.json holds."""

    final: Final | None = None
    entries: tuple[Entry, ...] = ()

    def of(self, checkpoint: Checkpoint, split: str) -> Entry | None:
        """Return what a checkpoint was measured to be on a split of the run's own data, lists by
        score and seen items as the model has them, all cutoffs together; None where it was not.
        """
        merged: dict[str, Any] = {}
        for entry in self.entries:
            if _is_plain(entry, checkpoint, split):
                intervals = merged.get("confidence", {}).get("intervals", {})
                cutoffs = sorted({*merged.get("cutoffs", ()), *entry["cutoffs"]})
                groups = _joined(merged.get("groups", {}), entry.get("groups", {}))
                merged |= {**entry, "groups": groups}
                confidence = dict(entry["confidence"])
                confidence["intervals"] = {**intervals, **confidence["intervals"]}
                merged |= {"cutoffs": cutoffs, "confidence": confidence}
        return merged or None


def read(run: Path, warn: Say = unsaid) -> Results:
    """Return a run's results; none where there is no file, and, with a warning, where it cannot be
    read.
    """
    path = run / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] == SCHEMA and all(map(_is_entry, content["results"])):
            final = content["final"]
            return Results(None if final is None else Final(**final), tuple(content["results"]))
        reason: Any = Phrase("unexpected_content")
    except FileNotFoundError:
        return Results()
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error
    warn("results_damaged", path=path, reason=reason)
    return Results()


def best_of(checkpoints: list[Checkpoint], results: Results) -> Checkpoint | None:
    """Return the best of a run's checkpoints, oldest first: `store.best_of`, or the last where its
    final rating is higher.
    """
    best, final = store.best_of(checkpoints), rating(checkpoints, results)
    if final is None:
        return best
    known = None if best is None else best.progress.metric
    return checkpoints[-1] if known is None or final.metric > known else best


def best_known(checkpoints: list[Checkpoint], results: Results, known: Best | None) -> Best | None:
    """Return a run's best: as its state knows it, or the final rating where that is higher."""
    final = rating(checkpoints, results)
    return known if final is None or (known and known.metric >= final.metric) else final


def rating(checkpoints: list[Checkpoint], results: Results) -> Best | None:
    """Return the final rating, where it is of the latest checkpoint and a number."""
    final = results.final
    if final is None or final.metric is None or not checkpoints or not final.is_of(checkpoints[-1]):
        return None
    return Best(final.metric, final.step, final.branch)


def final_of(checkpoint: Checkpoint, metric: float | None) -> Final:
    """Return the final rating of a checkpoint."""
    progress = checkpoint.progress
    digest = _digest(checkpoint)
    return Final(checkpoint.path.name, digest, progress.step, progress.branch, metric)


def keep(
    checkpoint: Checkpoint, found: Iterable[Entry], warn: Say, final: Final | None = None
) -> None:
    """Add evaluations of a checkpoint to its run's results.json, in place of the same ones made
    before. One that cannot be written costs no evaluation: it is said.

    Args:
        checkpoint: What was measured; where it lies in no run, nothing is kept.
        found: `evaluation.evaluation_facts`.
        warn: Told what is wrong.
        final: The final rating, where this is its time.
    """
    run = checkpoint.path.resolve().parent.parent
    if checkpoint.path.resolve().parent != run / "checkpoints":
        return
    new = [_entry(checkpoint, facts) for facts in found]
    try:
        with briefly_held(run):
            known = read(run, warn)
            keys = [_key(entry) for entry in new]
            kept = [entry for entry in known.entries if _key(entry) not in keys]
            final = final or known.final
            content = {
                "schema": SCHEMA,
                "final": None if final is None else asdict(final),
                "results": [*kept, *new],
            }
            text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            durable.replace_file(run / FILE, text.encode())
    except WriteError as error:
        warn("results_unwritten", path=run / FILE, reason=error.values["reason"])
    except RunInUseError as error:
        warn("results_unwritten", path=run / FILE, reason=error)
    except OSError as error:
        warn("results_unwritten", path=run / FILE, reason=error.strerror or str(error))


def _entry(checkpoint: Checkpoint, facts: Entry) -> dict[str, Any]:
    identity = checkpoint.identity
    own = {key: identity[key] for key in ("dataset", "dataset_fingerprint")}
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": checkpoint.path.name,
        "manifest": _digest(checkpoint),
        "branch": checkpoint.progress.branch,
    }
    return about | own | {key: value for key, value in facts.items() if key != "checkpoint"}


def _is_plain(entry: Entry, checkpoint: Checkpoint, split: str) -> bool:
    asked = {
        "checkpoint": checkpoint.path.name,
        "manifest": _digest(checkpoint),
        "dataset_fingerprint": checkpoint.identity["dataset_fingerprint"],
        "split": split,
        "lambda": None,
    }
    kept = entry["seen_items"] != "filtered"
    return kept and all(entry[key] == value for key, value in asked.items())


def _joined(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups of evaluations at other cutoffs, each with the values of both."""
    return {
        kind: {
            name: {**known.get(kind, {}).get(name, {}), **values} for name, values in found.items()
        }
        for kind, found in new.items()
    }


def _key(entry: Entry) -> str:
    return json.dumps([entry[key] for key in _KEY])


def _is_entry(entry: Any) -> bool:
    """Whether a value is an entry, as far as anything relies on it."""
    return (
        isinstance(entry, dict)
        and all(key in entry for key in ("at", "step", "branch", "users", *_KEY))
        and isinstance(entry["cutoffs"], list)
        and isinstance(entry.get("confidence"), dict)
        and isinstance(entry["confidence"].get("intervals"), dict)
    )


def _digest(checkpoint: Checkpoint) -> str:
    """Return what tells a checkpoint by its content; "" where it is gone or damaged."""
    try:
        return store.digest_of(checkpoint.path)
    except DamagedCheckpointError:
        return ""
