"""Edges by a ridge regression from what users had to what they had next, over all items at once."""

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from reprise.data.sequences import Sequences
from reprise.memory.counting import decayed_products
from reprise.memory.edges import Edges
from reprise.memory.rules import matrix_edges

# Items above which no system of all pairs is solved: it holds up to four matrices [V, V] of 8
# bytes, and takes time as V^3.
MOST_SOLVED = 15_000
DECAY, FUTURE_DECAY, PENALTY = 0.9, 0.9, 1000.0
_ROWS = 512  # whose edges are chosen at a time


def ridge_edges(train: Sequences, num_items: int, keep: int) -> Edges:
    """Return the greatest `keep` positive values of each row of (P'P + penalty I)^-1 P'F, the
    regression of `evaluation.baselines.ridge`. BLAS uses one thread, so that the number of
    threads does not matter.
    """
    past, both = decayed_products(train, num_items, DECAY, FUTURE_DECAY)
    past[np.diag_indices(num_items)] += PENALTY
    with threadpool_limits(1, user_api="blas"):
        factor = linalg.cho_factor(past, lower=True, overwrite_a=True, check_finite=False)
        solved = linalg.cho_solve(factor, both, overwrite_b=True, check_finite=False)
    blocks = range(0, num_items, _ROWS)
    return matrix_edges(((first, solved[first : first + _ROWS]) for first in blocks), keep)
