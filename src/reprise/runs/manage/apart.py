"""Detect runs whose metrics are not comparable."""

from collections.abc import Mapping, Sequence
from typing import Any

# By setting or key that metrics depend on: its value if an older run's identity lacks it, and the
# warning if it differs.
_RATED_BY = {
    "dataset_fingerprint": (None, "compare_other_data"),
    "valid_users": (0, "compare_other_users"),
    "top_n": (50, "compare_other_cutoff"),
}


def apart(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys of warnings about differences in data, validation users, or the cutoff that
    selects the best model.
    """
    return [
        warning
        for key, (default, warning) in _RATED_BY.items()
        if len({identity.get(key, default) for identity in identities}) > 1
    ]
