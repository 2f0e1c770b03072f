"""Describe a checkpoint's contents (`reprise inspect`)."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size

from reprise.runs.folder import Source, find_checkpoint, load_checkpoint
from reprise.text.messages import Messages, Say
from reprise.text.shown import shown

_WIDTHS, _NUMBER = (32, 20, 8), 14  # widths of the columns, and of the last one


def describe(path: Path, which: Source, warn: Say) -> dict[str, Any]:
    """Return the facts of the checkpoint at `path`, or of a run's latest or best one.

    Verify every byte; raise CheckpointError for damage.
    """
    checkpoint = find_checkpoint(path, which, warn)
    snapshot = load_checkpoint(checkpoint)
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


def report_lines(facts: Mapping[str, Any], messages: Messages) -> list[str]:
    """Return the facts as aligned lines."""
    text, best = messages.text, facts["best"]
    environment = ", ".join(f"{key} {value}" for key, value in facts["environment"].items())
    unknown = text("shown_unknown")
    plain = {
        "shown_checkpoint": facts["path"],
        "shown_manifest": text("shown_whole"),
        "shown_step": facts["step"],
        "shown_branch": facts["branch"],
        "shown_best": unknown if best is None else text("shown_best_at", **best),
        "shown_trials": facts["evaluations_without_improvement"],
        "shown_rate": facts["learning_rate"],
        "shown_seconds": f"{facts['seconds']:.1f}",
        "shown_environment": environment or unknown,
    }
    lines = [_row(text(key), str(value)) for key, value in plain.items()]
    lines.append(_row("state_digest", facts["state_digest"]))
    head = (text("shown_array"), text("shown_shape"), "dtype")
    lines.append(_row(*head, _to_the_right(text("shown_bytes"))))
    for array in facts["arrays"]:
        shape = "x".join(str(size) for size in array["shape"]) or text("shown_scalar")
        size = _to_the_right(f"{array['bytes']:,}")
        lines.append(_row(array["name"], shape, array["dtype"], size))
    return lines


def _row(*cells: str) -> str:
    """Return a line of columns padded by display width, except the last one."""
    *first, last = map(shown, cells)
    return " ".join([*map(set_cell_size, first, _WIDTHS), last])


def _to_the_right(number: str) -> str:
    return " " * (_NUMBER - cell_len(number)) + number
