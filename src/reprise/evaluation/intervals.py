"""Confidence intervals of mean metrics: the percentile bootstrap over users (Efron 1979)."""

from collections.abc import Iterator, Mapping
from itertools import count

import numpy as np
from numpy.typing import NDArray

LEVEL, RESAMPLES, SEED = 0.95, 1000, 19
_BLOCK = 2**22  # counts held at a time: 32 MiB
_STEP = 2.0**-24


def bootstrap(
    values: Mapping[str, NDArray[np.float64]],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, tuple[float, float]]:
    """Return the bounds between which the middle `level` of the means over resampled users lie.

    Bounds are linear percentiles of the means of the resamples, each of U users drawn with
    replacement. They depend on a metric's own values, U and `seed` alone: whatever else is asked
    for, and of two models on the same users, the resamples are the same.

    Args:
        values: Each metric's [U] in -1..1 (the differences of two models are a paired comparison),
            the same users for all (NaN: the bounds are NaN).
        level: Share of the means between the bounds.
        resamples: Number of resamples.
        seed: Seed of the resamples.
    """
    if not values:
        return {}
    # Multiples of 2^-24 add up exactly in any order, so that no thread count changes a bit.
    columns = np.round(np.stack(list(values.values()), axis=1) / _STEP) * _STEP
    users, marked = len(columns), np.flatnonzero((columns != 0).any(axis=1))
    columns = columns[marked]  # the others are drawn, and add nothing to a sum
    means = np.empty((resamples, columns.shape[1]))
    rows = max(1, min(resamples, _BLOCK // max(1, len(marked))))
    counts = np.empty((rows, len(marked)))
    drawn = resampled(users, seed)
    for start in range(0, resamples, rows):
        block = counts[: resamples - start]
        for times in block:
            times[:] = np.bincount(next(drawn), minlength=users)[marked]
        means[start : start + len(block)] = block @ columns / users
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return {name: (float(low[n]), float(high[n])) for n, name in enumerate(values)}


def resampled(users: int, seed: int) -> Iterator[NDArray[np.uint32]]:
    """Yield one resample after the other, [users]: `users` of so many users with replacement. Each
    is a pure function of the arguments and its place.
    """
    # One generator, set to each key, as NumPy takes longer to make one than to draw few users.
    bits = np.random.Philox(key=0)
    generator, fresh = np.random.Generator(bits), bits.state
    for number in count():
        fresh["state"]["key"] = np.array([seed, number], np.uint64)
        bits.state = fresh
        yield generator.integers(users, size=users, dtype=np.uint32)
