"""`reprise inspect`: what a checkpoint holds, as plain values and as lines."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reprise.runs import run
from reprise.runs.run import Source
from reprise.runs.store import Warn


def describe(path: Path, which: Source, warn: Warn) -> dict[str, Any]:
    """Return the facts of the checkpoint at `path`, or of a run's latest or best one.

    Every byte is verified; CheckpointError names what does not hold.
    """
    checkpoint = run.find_checkpoint(path, which, warn)
    snapshot = run.load_checkpoint(checkpoint)
    progress = checkpoint.progress
    return {
        "path": str(checkpoint.path),
        "schema": checkpoint.schema,
        "whole": True,
        "step": progress.step,
        "branch": progress.branch,
        "best": None if progress.best is None else dataclasses.asdict(progress.best),
        "is_best": progress.is_best,
        "metric": progress.metric,
        "evaluated_step": progress.evaluated_step,
        "evaluations_without_improvement": progress.evaluations_without_improvement,
        "learning_rate": progress.learning_rate,
        "seconds": progress.seconds,
        "identity": dict(checkpoint.identity),
        "environment": dict(checkpoint.environment),
        "arrays": [
            {
                "name": name,
                "shape": list(array.shape),
                "dtype": str(array.dtype),
                "bytes": array.nbytes,
            }
            for name, array in sorted(snapshot.arrays.items())
        ],
        "state_digest": snapshot.digest(),
    }


def report_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the facts as aligned lines."""
    best = facts["best"]
    plain = {
        "checkpoint": facts["path"],
        "manifest": "holds: every file matches its SHA-256",
        "step": facts["step"],
        "branch": facts["branch"],
        "best": "unknown"
        if best is None
        else f"{best['metric']:.6f} at step {best['step']} of branch {best['branch']}",
        "evaluations without improvement": facts["evaluations_without_improvement"],
        "learning rate": facts["learning_rate"],
        "seconds trained": f"{facts['seconds']:.1f}",
        "environment": ", ".join(f"{key} {value}" for key, value in facts["environment"].items())
        or "unknown",
        "state_digest": facts["state_digest"],
    }
    lines = [f"{key:<32} {value}" for key, value in plain.items()]
    lines.append(f"{'array':<32} {'shape':<20} {'dtype':<8} {'bytes':>14}")
    for array in facts["arrays"]:
        shape = "x".join(str(size) for size in array["shape"]) or "scalar"
        lines.append(f"{array['name']:<32} {shape:<20} {array['dtype']:<8} {array['bytes']:>14,}")
    return lines
