"""What keeps the metrics of runs from being compared."""

from collections.abc import Mapping, Sequence
from typing import Any

# A setting or key that runs are rated by, and the message where it differs. Identities of older
# runs may lack a setting: then it has its default.
_RATED_BY = {
    "dataset_fingerprint": (None, "compare_other_data"),
    "valid_users": (0, "compare_other_users"),
    "top_n": (50, "compare_other_cutoff"),
}


def apart(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys of the warnings about runs of these identities: that their data, their
    validation users or the cutoffs that select their best models are not the same.
    """
    return [
        warning
        for key, (default, warning) in _RATED_BY.items()
        if len({identity.get(key, default) for identity in identities}) > 1
    ]
