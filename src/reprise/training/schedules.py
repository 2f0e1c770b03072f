"""How the learning rate changes over a run: a factor that depends on the update's number alone, so
that a run's budget can be extended, and a row's skipped updates be made up for in closed form.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprise.config.schema import TrainConfig

FLOOR = 0.01  # share of the rate that a decay ends at, and keeps


@dataclass(frozen=True)
class Schedule:
    """The factor is the product of two.

    warmup: updates in which it climbs evenly to 1 (0: it starts there). decay: "none", or "linear"
    or "cosine" (half a wave; Loshchilov and Hutter, ICLR 2017, equation 5, one period) from 1 at
    the start to FLOOR at update `decay_steps`, where it stays.
    """

    warmup: int = 0
    decay: str = "none"
    decay_steps: int = 0

    @property
    def end(self) -> int:
        """The update from which on the factor does not change."""
        return max(self.warmup, self.decay_steps if self.decay != "none" else 0)

    def factor(self, number: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return what the learning rate is multiplied by at updates `number` (from 1), float64."""
        factor = np.minimum(number / self.warmup, 1.0) if self.warmup else np.ones(number.shape)
        if self.decay != "none":
            done = np.minimum(number / self.decay_steps, 1.0)
            left = 1 - done if self.decay == "linear" else (1 + np.cos(np.pi * done)) / 2
            factor = factor * (FLOOR + (1 - FLOOR) * left)
        return np.asarray(factor)


CONSTANT = Schedule()


def schedule_of(config: TrainConfig) -> Schedule:
    """Return the schedule of a configuration's learning rate."""
    return Schedule(config.warmup, config.decay, config.decay_steps)
