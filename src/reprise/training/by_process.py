"""Batches of several processes: each reads the sequences of its own users alone.

The users are divided into runs with about as many interactions each, one a process. All processes
draw the same users and positions; each reads what was drawn of its own, in the rows of the batch
that have them, with zeros in the others, and the sum over the processes is what one process would
have read.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reprise.runtime.mesh import Mesh
from reprise.training.batches import Batch, Draw, Sampler, Taken


@dataclass(frozen=True)
class Part:
    """A process's part in reading batches: the users first..end - 1 are its own."""

    sampler: Sampler
    first: int
    end: int

    @classmethod
    def of(cls, sampler: Sampler, mesh: Mesh) -> "Part":
        """Return this process's part."""
        offsets, processes = sampler.split.offsets, mesh.processes
        bounds = divided(offsets, processes.count)
        return cls(sampler, int(bounds[processes.index]), int(bounds[processes.index + 1]))

    def own(self, branch: int, step: int) -> tuple[Draw, NDArray[np.int32]]:
        """Return what is drawn for an update, and what this process has read of it:
        [B, L + m], or with times [B, 2 L + m + 1].
        """
        draw = self.sampler.draw(branch, step)
        is_own = (draw.users >= self.first) & (draw.users < self.end)
        taken = self.sampler.taken(draw.of(is_own))
        read = np.concatenate([part for part in taken if part is not None], axis=1)
        rows = np.zeros((len(is_own), read.shape[1]), np.int32)
        rows[is_own] = read
        return draw, rows

    def batch(self, branch: int, step: int, draw: Draw, rows: ArrayLike) -> Batch:
        """Return the batch of an update, given the sum of what all processes have read."""
        length, count = self.sampler.history_length, self.sampler.rule.count
        history, target, times = np.split(np.asarray(rows), [length, length + count], axis=1)
        taken = Taken(history, target, times if self.sampler.timed else None)
        return self.sampler.made(branch, step, draw, taken)


def divided(offsets: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return where the users of each of `count` processes begin, and the last one's end,
    [count + 1]: of sequences with these offsets [U + 1], about as many interactions each.
    """
    ends = offsets[0] + (offsets[-1] - offsets[0]) * np.arange(count + 1) // count
    bounds: NDArray[np.int64] = np.searchsorted(offsets, ends)
    bounds[0], bounds[-1] = 0, len(offsets) - 1
    return bounds
