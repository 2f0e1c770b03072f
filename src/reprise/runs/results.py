"""Evaluation results of a run's stored models: results.json, the source of all tables.

schema      1
final       the evaluation of the run's last state, if the run ended between two evaluations:
            checkpoint, manifest, step, branch, metric (None: not a number)
results     one entry per evaluation, newest last: the content of `evaluate --json`, with the
            checkpoint's name; at (UTC), branch, manifest, dataset, dataset_fingerprint

The final evaluation is not part of the state, so that an extended run continues as if it had never
ended: it counts as long as its checkpoint is the latest. manifest distinguishes checkpoints that
have had the same name.
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
_FORMERLY = {"hidden": "held_out"}  # keys of an entry by earlier versions
# What tells an evaluation from another of the same model.
_KEY = ("checkpoint", "manifest", "dataset_fingerprint", "split", "seen_items", "lambda", "cutoffs")
_REQUEST_TIME = "request_time"  # tells evaluations apart, too, of models that it matters to

Split = Literal["valid", "test"]
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Final:
    """The evaluation of a run's last state; metric: None if it is not a number."""

    checkpoint: str
    manifest: str
    step: int
    branch: int
    metric: float | None

    def is_of(self, checkpoint: Checkpoint) -> bool:
        """Return whether it is the evaluation of this checkpoint."""
        return self.checkpoint == checkpoint.path.name and self.manifest == _digest(checkpoint)


@dataclass(frozen=True)
class Results:
    """The content of results.json."""

    final: Final | None = None
    entries: tuple[Entry, ...] = ()

    def of(self, checkpoint: Checkpoint, split: str, filtered: bool = False) -> Entry | None:
        """Return a checkpoint's results on a split of the run's own data, for lists by score and
        the model's default treatment of seen items, or if `filtered` without them, with all
        cutoffs; None if it was not evaluated.
        """
        merged: dict[str, Any] = {}
        for entry in self.entries:
            if _is_of(entry, checkpoint, split, filtered):
                intervals = merged.get("confidence", {}).get("intervals", {})
                cutoffs = sorted({*merged.get("cutoffs", ()), *entry["cutoffs"]})
                groups = _joined(merged.get("groups", {}), entry.get("groups", {}))
                merged |= {**entry, "groups": groups}
                confidence = dict(entry["confidence"])
                confidence["intervals"] = {**intervals, **confidence["intervals"]}
                merged |= {"cutoffs": cutoffs, "confidence": confidence}
        return merged or None


def read(run: Path, warn: Say = unsaid) -> Results:
    """Return a run's results: none without the file or, with a warning, if it cannot be read."""
    path = run / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] == SCHEMA and all(map(_is_entry, content["results"])):
            final = content["final"]
            entries = tuple(map(_in_todays_names, content["results"]))
            return Results(None if final is None else Final(**final), entries)
        reason: Any = Phrase("unexpected_content")
    except FileNotFoundError:
        return Results()
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error
    warn("results_damaged", path=path, reason=reason)
    return Results()


def best_of(checkpoints: list[Checkpoint], results: Results) -> Checkpoint | None:
    """Return the best of a run's checkpoints, given oldest first: `store.best_of`, or the last one
    if its final evaluation is better.
    """
    best, final = store.best_of(checkpoints), rating(checkpoints, results)
    if final is None:
        return best
    known = None if best is None else best.progress.metric
    return checkpoints[-1] if known is None or final.metric > known else best


def best_known(checkpoints: list[Checkpoint], results: Results, known: Best | None) -> Best | None:
    """Return a run's best: the state's, or the final evaluation if that is better."""
    final = rating(checkpoints, results)
    return known if final is None or (known and known.metric >= final.metric) else final


def rating(checkpoints: list[Checkpoint], results: Results) -> Best | None:
    """Return the final evaluation if it is of the latest checkpoint and a number, else None."""
    final = results.final
    if final is None or final.metric is None or not checkpoints or not final.is_of(checkpoints[-1]):
        return None
    return Best(final.metric, final.step, final.branch)


def final_of(checkpoint: Checkpoint, metric: float | None) -> Final:
    """Return the final evaluation of a checkpoint."""
    progress = checkpoint.progress
    digest = _digest(checkpoint)
    return Final(checkpoint.path.name, digest, progress.step, progress.branch, metric)


def keep(
    checkpoint: Checkpoint, found: Iterable[Entry], warn: Say, final: Final | None = None
) -> None:
    """Store evaluations of a checkpoint in its run's results.json, replacing earlier ones of the
    same kind. A failure to write is a warning, not an error.

    Args:
        checkpoint: The evaluated checkpoint; outside a run, nothing is stored.
        found: `evaluation.evaluation_facts`.
        warn: Called with warnings.
        final: The final evaluation, if the run has just ended.
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


def _is_of(entry: Entry, checkpoint: Checkpoint, split: str, filtered: bool) -> bool:
    asked = {
        "checkpoint": checkpoint.path.name,
        "manifest": _digest(checkpoint),
        "dataset_fingerprint": checkpoint.identity["dataset_fingerprint"],
        "split": split,
        "lambda": None,
    }
    same = (entry["seen_items"] == "filtered") == filtered
    same &= entry.get(_REQUEST_TIME) in (None, checkpoint.identity.get(_REQUEST_TIME))
    return same and all(entry[key] == value for key, value in asked.items())


def _joined(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the groups of two evaluations at different cutoffs."""
    return {
        kind: {
            name: {**known.get(kind, {}).get(name, {}), **values} for name, values in found.items()
        }
        for kind, found in new.items()
    }


def _key(entry: Entry) -> str:
    return json.dumps([*(entry[key] for key in _KEY), entry.get(_REQUEST_TIME)])


def _is_entry(entry: Any) -> bool:
    """Return whether a value has the form of an entry, as far as it is used."""
    return (
        isinstance(entry, dict)
        and all(key in entry for key in ("at", "step", "branch", "users", *_KEY))
        and isinstance(entry["cutoffs"], list)
        and isinstance(entry.get("confidence"), dict)
        and isinstance(entry["confidence"].get("intervals"), dict)
    )


def _in_todays_names(entry: Entry) -> Entry:
    return {_FORMERLY.get(key, key): value for key, value in entry.items()}


def _digest(checkpoint: Checkpoint) -> str:
    """Return the digest of a checkpoint's manifest; "" if it is missing or damaged."""
    try:
        return store.digest_of(checkpoint.path)
    except DamagedCheckpointError:
        return ""
