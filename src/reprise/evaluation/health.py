"""Interest health: whether each of a model's K interests contributes.

Several interests can collapse into one: they point in the same direction, or one of them fills
every list and the others are dead. These metrics show it earlier than recall does.
"""

import numpy as np
from numpy.typing import NDArray

DEAD_BELOW = 0.1  # of the equal share 1 / K


def of_lists(
    interests: NDArray[np.int32], num_interest: int, cutoffs: tuple[int, ...]
) -> dict[str, float]:
    """Return the health of lists at each cutoff; interests [U, N]: the interest (from 0) of each
    listed item, -1 past a list's end.

    interest_share_1@n ... K: the fraction of all listed items that come from the interest, 0 if
    nothing is listed; interest_dead@n: the number of interests with less than a tenth of the equal
    share 1 / K; interests_used@n: the number of interests in a user's list, mean over users.
    """
    users = np.arange(len(interests))[:, None]
    health: dict[str, float] = {}
    for n in cutoffs:
        # Counted by (user, interest + 1), so that the ends of short lists fall into column 0.
        place = users * (num_interest + 1) + interests[:, :n] + 1
        counted = np.bincount(place.ravel(), minlength=len(users) * (num_interest + 1))
        held = counted.reshape(len(users), num_interest + 1)[:, 1:]
        total = held.sum(axis=0)
        share = total / max(1, total.sum())
        for number, value in enumerate(share, start=1):
            health[f"interest_share_{number}@{n}"] = float(value)
        # Integers on the left, so that rounding does not decide a share of exactly a tenth.
        dead = total * num_interest < DEAD_BELOW * total.sum()
        health[f"interest_dead@{n}"] = float(dead.sum())
        health[f"interests_used@{n}"] = float((held > 0).sum(axis=1).mean())
    return health


def cosines(interests: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return [U]: the mean pairwise cosine of a user's interests [U, K, d], K > 1.

    A zero interest has cosine 0 with all others.
    """
    vectors = interests.astype(np.float64)
    count = vectors.shape[1]
    norms = np.sqrt(np.einsum("ukd,ukd->uk", vectors, vectors))
    unit = vectors / np.where(norms > 0, norms, 1)[:, :, None]
    # |sum of unit vectors|^2 is the sum over all ordered pairs, each vector with itself among them.
    total = unit.sum(axis=1)
    both_ways = np.einsum("ud,ud->u", total, total) - np.einsum("ukd,ukd->u", unit, unit)
    means: NDArray[np.float64] = both_ways / (count * (count - 1))
    return means
