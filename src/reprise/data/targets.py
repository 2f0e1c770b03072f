"""Mark the interactions that are targets (`--target-events`); the others are history only."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.dataset import SPLITS, items_given
from reprise.data.ordering import Mask
from reprise.data.sequences import Sequences
from reprise.data.splits import Users
from reprise.errors import DataError


def with_targets(
    whole: Sequences,
    frame: pl.DataFrame,
    kept: Mask,
    rows: NDArray[np.integer],
    times: NDArray[Any],
    ordered: bool,
) -> Sequences:
    """Return the sequences `whole` with a mask of targets, or as they are if all are targets.

    kept: which rows of `frame` are in the sequences; rows: [N], each interaction's place among the
    kept rows; times: of the kept rows; ordered: whether the order of rows means something. If not,
    of a user's interactions with the same item and time, the last are the targets.
    """
    if "target" not in frame.columns:
        return whole
    targets = frame["target"].to_numpy()[kept][rows]
    if targets.all():
        return whole
    if not ordered:
        own, users = times[rows], np.zeros(len(rows), np.bool_)
        users[whole.offsets[:-1][whole.lengths > 0]] = True
        changed = users[1:] | (own[1:] != own[:-1]) | (whole.items[1:] != whole.items[:-1])
        run = np.concatenate([[0], np.cumsum(changed)])
        targets = targets[np.argsort(2 * run + targets, kind="stable")]
    return replace(whole, targets=targets)


def targets_told(
    splits: Mapping[str, Users], evaluation: str, taken: Mapping[str, Any], where: Path
) -> dict[str, Any]:
    """Return what meta.json stores about targets; nothing if all interactions are targets.

    It has the target events and, by split, the number of target interactions and of users without
    any (train: they are not trained on; valid, test: not evaluated).

    Raises:
        DataError: No user of a split has a target.
    """
    found: dict[str, dict[str, int]] = {"interactions": {}, "without": {}}
    for split in SPLITS:
        own = splits[split].sequences
        if own.targets is None:
            return {}
        if split == SPLITS[0]:
            before = np.concatenate([[0], np.cumsum(own.targets)])
            having = np.diff(before[own.offsets]) > 0
        else:
            having = items_given(own, evaluation, splits[split].known) > 0
        if not having.any():
            raise DataError("no_targets", split=split, where=where)
        found["interactions"][split] = int(own.targets.sum())
        found["without"][split] = int((~having).sum())
    return {"targets": {"events": taken["events"]["targets"], **found}}
