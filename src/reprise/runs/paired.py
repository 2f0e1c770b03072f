"""Compare the best models of runs, or of groups of them, on the same users: a paired bootstrap."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.errors import UsageError
from reprise.evaluation import intervals
from reprise.evaluation.metrics import metric_of
from reprise.runs.evaluation import measure
from reprise.runs.folder import RunFolder
from reprise.runs.manage.groups import Group
from reprise.runs.results import Split
from reprise.runs.stored import Locate, StoredModel, load
from reprise.text.messages import Say

Values = dict[str, NDArray[np.float64]]  # of each metric, the users' [U]


def compare_paired(
    groups: Sequence[Group], split: Split, locate: Callable[[RunFolder], Locate], say: Say
) -> dict[str, Any]:
    """Evaluate the best models, and return their differences as JSON values.

    Keys: split, users; level and resamples of the intervals; subjects: name and runs of each group;
    metrics: by key, the values of each group, and for each but the first the difference from the
    first with its interval. A user's value is the mean over the group's runs, so the intervals
    cover the variation between users, not between seeds.

    Args:
        groups: Two or more runs or groups of runs that differ in their seeds.
        split: The users to evaluate.
        locate: locate(run) returns the function that locates a run's data set.
        say: Called with warnings, and with each model that is evaluated.

    Raises:
        UsageError: The runs were trained on different data, and so have different users.
    """
    models = [
        [load(folder.path, "best", say, locate(folder)) for folder in group.folders]
        for group in groups
    ]
    everyone = [stored for own in models for stored in own]
    if len({stored.checkpoint.identity["dataset_fingerprint"] for stored in everyone}) > 1:
        raise UsageError("paired_other_users")
    cutoffs = tuple(sorted({n for stored in everyone for n in stored.config.cutoffs}))
    by_group, users = [], 0
    for own in models:
        found = [_values(stored, split, cutoffs, say) for stored in own]
        by_group.append({key: np.mean([one[key] for one in found], axis=0) for key in found[0]})
        users = len(next(iter(found[0].values())))
    first, others = by_group[0], by_group[1:]
    bounds = [
        intervals.bootstrap({key: other[key] - first[key] for key in first}) for other in others
    ]
    return {
        "split": split,
        "users": users,
        "level": intervals.LEVEL,
        "resamples": intervals.RESAMPLES,
        "subjects": [
            {"name": group.name, "runs": [str(folder.path) for folder in group.folders]}
            for group in groups
        ],
        "metrics": {
            key: {
                "values": [_finite(own[key].mean()) for own in by_group],
                "differences": [
                    {
                        "difference": _finite((other[key] - first[key]).mean()),
                        "interval": [_finite(bound) for bound in found[key]],
                    }
                    for other, found in zip(others, bounds, strict=True)
                ],
            }
            for key in first
        },
    }


def _values(stored: StoredModel, split: Split, cutoffs: tuple[int, ...], say: Say) -> Values:
    """Return the users' values of each metric that has intervals."""
    say("paired_measuring", path=stored.checkpoint.path, split=split)
    by_user = measure(stored, split, cutoffs=cutoffs).evaluation.by_user
    metrics = {key: metric_of(key) for key in by_user}
    return {key: by_user[key] for key, of in metrics.items() if of is not None and of.interval}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
