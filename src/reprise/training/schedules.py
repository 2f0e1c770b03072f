"""Learning rate schedules: a factor that depends on the update's number alone.

So a run can be extended, and a row's pending updates be applied in closed form.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprise.config.schema import TrainConfig

FLOOR = 0.01  # factor at which a decay ends, and stays


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up times decay.

    Attributes:
        warmup: Updates of linear warm-up from 0 to 1; 0: none.
        decay: "none", "linear" or "cosine" (half a wave; Loshchilov and Hutter, ICLR 2017,
            equation 5, one period), from 1 at the start to FLOOR at update `decay_steps`.
        decay_steps: Update from which the factor stays at FLOOR.
    """

    warmup: int = 0
    decay: str = "none"
    decay_steps: int = 0

    @property
    def end(self) -> int:
        """The update from which the factor is constant."""
        return max(self.warmup, self.decay_steps if self.decay != "none" else 0)

    def factor(self, number: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the factor on the learning rate at updates `number` (from 1), float64."""
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
