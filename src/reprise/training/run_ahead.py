"""How far steps are dispatched ahead of the device: no further than a stop should wait for."""

import math
import time

from jax import Array

# What a stop may find unfinished. JAX lets 32 steps wait on a CPU, which are ten seconds of the
# preset's; waiting for all of them costs the gap until the next is dispatched, some 0.1 % of this.
_SECONDS = 0.25


class RunAhead:
    """Waits for the device where about _SECONDS of work, as steps have lately taken, lie ahead."""

    def __init__(self) -> None:
        self._ahead = 0
        self._seconds_a_step = math.inf
        self._since = time.monotonic()

    def dispatched(self, result: Array) -> None:
        """Count a step, of which `result` is a part."""
        self._ahead += 1
        if self._ahead * self._seconds_a_step >= _SECONDS:
            result.block_until_ready()
            now = time.monotonic()
            self._seconds_a_step = (now - self._since) / self._ahead
            self._ahead, self._since = 0, now
