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
_BY_REQUEST = "gaps+request"


def apart(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys of warnings about differences in data, validation users, the cutoff that
    selects the best model, or, of models that depend on it, the time of the request.
    """
    warnings = [
        warning
        for key, (default, warning) in _RATED_BY.items()
        if len({identity.get(key, default) for identity in identities}) > 1
    ]
    asked = {one.get("request_time") for one in identities if one.get("time_bias") == _BY_REQUEST}
    return [*warnings, *(["compare_other_request"] if len(asked) > 1 else [])]
