"""Mark the interactions that are targets (`--target-events`); the others are history only."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import SPLITS, items_given
from reprise.data.ordering import Mask
from reprise.data.sequences import Sequences
from reprise.data.splits import Users
from reprise.errors import DataError


def with_targets(
    whole: Sequences,
    targets: Mask | None,
    rows: NDArray[np.integer],
    times: NDArray[Any],
    ordered: bool,
) -> Sequences:
    """Return the sequences with a mask of targets, or as they are if all are targets.

    targets: of the kept rows, None: all; rows: [N], each interaction's place among the kept rows;
    times: of the kept rows; ordered: whether the order of rows means something. If not,
    of a user's interactions with the same item and time, the last are the targets.
    """
    if targets is None:
        return whole
    targets = targets[rows]
    if not ordered:
        own, users = times[rows], np.zeros(len(rows), np.bool_)
        users[whole.offsets[:-1][whole.lengths > 0]] = True
        changed = users[1:] | (own[1:] != own[:-1]) | (whole.items[1:] != whole.items[:-1])
        run = np.concatenate([[0], np.cumsum(changed)])
        targets = targets[np.argsort(2 * run + targets, kind="stable")]
    return replace(whole, targets=targets)


class TargetCounts:
    """By split, the number of target interactions and of users without any (train: they are not
    trained on; valid, test: not evaluated), summed over portions.
    """

    def __init__(self, evaluation: str) -> None:
        self._evaluation = evaluation
        self._targets, self._having, self._users = (dict.fromkeys(SPLITS, 0) for _ in range(3))

    def add(self, splits: Mapping[str, Users]) -> None:
        """Count the splits of a portion."""
        for split in SPLITS:
            own = splits[split].sequences
            assert own.targets is not None
            if split == SPLITS[0]:
                before = np.concatenate([[0], np.cumsum(own.targets)])
                having = np.diff(before[own.offsets]) > 0
            else:
                having = items_given(own, self._evaluation, splits[split].known) > 0
            self._targets[split] += int(own.targets.sum())
            self._having[split] += int(having.sum())
            self._users[split] += len(having)

    def told(self, taken: Mapping[str, Any], where: Path) -> dict[str, Any]:
        """Return what meta.json keeps of targets; DataError where a split is left without users."""
        for split in SPLITS:
            if not self._having[split]:
                raise DataError("no_targets", split=split, where=where)
        without = {split: self._users[split] - self._having[split] for split in SPLITS}
        events = taken["events"]["targets"]
        return {"targets": {"events": events, "interactions": self._targets, "without": without}}
