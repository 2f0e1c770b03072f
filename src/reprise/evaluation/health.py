"""Interest health: whether each of a model's K interests brings something of its own.

A model of several interests can decay into one: the interests point the same way, or one of them
fills every list and the others are dead. Recall tells of it late; these numbers at once.
"""

import numpy as np
from numpy.typing import NDArray

DEAD_BELOW = 0.1  # of the equal share 1 / K


def of_lists(
    interests: NDArray[np.int32], num_interest: int, cutoffs: tuple[int, ...]
) -> dict[str, float]:
    """Return the health of lists at each cutoff; interests [U, N]: which interest (from 0) each
    listed item comes from, -1 past a list's end.

    interest_share_1@n ... K: the share of all listed items that come from the interest;
    interest_dead@n: how many interests have a share below a tenth of the equal share 1 / K;
    interests_used@n: the number of interests with an item in the list, mean over users.
    All shares are 0 where nothing is listed.
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
        # In whole numbers: a share of exactly a tenth must not fall to rounding.
        dead = total * num_interest < DEAD_BELOW * total.sum()
        health[f"interest_dead@{n}"] = float(dead.sum())
        health[f"interests_used@{n}"] = float((held > 0).sum(axis=1).mean())
    return health


def cosines(interests: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return [U]: the mean cosine over the pairs of a user's interests [U, K, d], K > 1.

    A zero interest has cosine 0 to all others.
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
