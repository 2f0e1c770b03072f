"""Checkpoints without training: small states to save, and changes to stored ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reprise import durable
from reprise.checkpoints import store
from reprise.config.schema import TrainConfig
from reprise.runs.folder import RunFolder
from reprise.text.messages import Phrase
from reprise.training.state import Best, Progress, Snapshot

IDENTITY = TrainConfig("small", "t").identity("of the data")


def rewrite_state(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change state.json and sign the manifest anew, with a log that was put beside it."""
    state = store._json(change(json.loads((path / "state.json").read_bytes())))
    (path / "state.json").write_bytes(state)
    manifest = json.loads((path / "MANIFEST.json").read_bytes())["files"]
    for name in ("state.json", "metrics.jsonl"):
        if (path / name).exists():
            content = (path / name).read_bytes()
            manifest[name] = {"sha256": store._sha256(content), "size": len(content)}
    signed = {"files": manifest, "sha256": store._sha256(store._json(manifest))}
    (path / "MANIFEST.json").write_bytes(store._json(signed))


def as_before_logs(folder: RunFolder) -> None:
    """Store the log of evaluations as before schema 11: in each checkpoint, and nowhere else beside
    the run's own copy.
    """
    content = folder.log.stored.read_bytes()
    folder.log.stored.unlink()
    for path in folder.checkpoints.glob("ckpt-*"):
        mark = json.loads((path / "state.json").read_bytes())["progress"]["logged"]
        (path / "metrics.jsonl").write_bytes(content[: mark["size"]])
        rewrite_state(path, _with_schema_10)


def _with_schema_10(state: dict[str, Any]) -> dict[str, Any]:
    progress = {key: value for key, value in state["progress"].items() if key != "logged"}
    return state | {"schema": 10, "progress": progress}


def snapshot(step: int, metric: float | None = None, best: Best | None = None) -> Snapshot:
    """A small state; with `metric`, one that was rated at its step."""
    rng = np.random.default_rng(step)
    arrays: dict[str, Any] = {
        "rows": rng.standard_normal((40, 12)).astype(np.float32),
        "params.w": rng.standard_normal((3, 4, 4)).astype(np.float32),
        "loss_sum": np.array(rng.random(), np.float32),
    }
    progress = Progress(
        learning_rate=0.005,
        step=step,
        evaluated_step=step if metric is not None else 0,
        metric=metric,
        best=best,
    )
    return Snapshot(arrays, progress)


def rated(metrics: dict[int, float]) -> list[Snapshot]:
    """States rated at each step, each knowing the best so far (the first on ties)."""
    snapshots: list[Snapshot] = []
    best: Best | None = None
    for step, metric in metrics.items():
        if best is None or metric > best.metric:
            best = Best(metric, step, 0)
        snapshots.append(snapshot(step, metric, best))
    return snapshots


def warnings_into(said: list[str]) -> Callable[..., None]:
    """A `store.Warn` that keeps the keys."""
    return lambda key, **values: said.append(key)


def no_warning(key: str, **values: object) -> None:
    """A `store.Warn` for where nothing may be wrong."""
    raise AssertionError(f"{key}: {values}")


def fail(path: Path, reason: Phrase) -> None:
    """Damage where there may be none."""
    raise AssertionError(f"{path}: {reason}")


def save_all(folder: RunFolder, snapshots: list[Snapshot]) -> None:
    """Store the snapshots one after another."""
    for one in snapshots:
        store.save(folder.checkpoints, one, IDENTITY)


def names(folder: RunFolder) -> list[str]:
    """The names of the checkpoints that are there."""
    return sorted(path.name for path in folder.checkpoints.glob("ckpt-*"))


def stored(folder: RunFolder) -> list[str]:
    """The names of all that is in the checkpoints' folder but the log."""
    found = durable.entries(folder.checkpoints)
    return [path.name for path in found if path != folder.log.stored]


def harm_file(path: Path, harm: str, place: str = "middle") -> None:
    """Flip a bit of a file, cut it, fill 512 bytes with zeros, or delete it."""
    content = bytearray(path.read_bytes())
    at = {"start": 0, "middle": len(content) // 2, "end": len(content) - 1}[place]
    if harm == "delete":
        path.unlink()
        return
    if harm == "flip":
        content[at] ^= 1
    elif harm == "cut":
        del content[at:]
    else:
        content[at : at + 512] = bytes(len(content[at : at + 512]))
    path.write_bytes(content)
