"""Confidence intervals of mean metrics: the percentile bootstrap over users (Efron 1979)."""

from collections.abc import Mapping

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

    values: each metric's [U] in -1..1 (the differences of two models are a paired comparison), the
    same users for all (NaN: the bounds are NaN). Bounds are linear percentiles of the means of the
    resamples, each of U users drawn with replacement.

    Users whose values are all zero, most of them as a rule, add nothing to a sum: `resample` draws
    how many others come up, and which. The means are distributed as if all had been drawn.
    """
    if not values:
        return {}
    # Multiples of 2^-24 add up exactly in any order, so that no thread count changes a bit.
    columns = np.round(np.stack(list(values.values()), axis=1) / _STEP) * _STEP
    users, columns = len(columns), columns[(columns != 0).any(axis=1)]
    means = np.empty((resamples, columns.shape[1]))
    rows = max(1, min(resamples, _BLOCK // max(1, len(columns))))
    counts = np.empty((rows, len(columns)))
    for start in range(0, resamples, rows):
        block = counts[: resamples - start]
        for number, times in enumerate(block, start=start):
            drawn = resample(users, len(columns), seed, number)
            times[:] = np.bincount(drawn, minlength=len(columns))
        means[start : start + len(block)] = block @ columns / users
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return {name: (float(low[n]), float(high[n])) for n, name in enumerate(values)}


def resample(users: int, marked: int, seed: int, number: int) -> NDArray[np.uint32]:
    """Return which of the first `marked` come up, in `users` draws from so many: a pure function
    of the resample's number.
    """
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))
    times = generator.binomial(users, marked / users)
    return generator.integers(max(1, marked), size=times, dtype=np.uint32)
