"""Vectors of items by which of them occur together: where training may begin.

Counts of items that are near each other in training sequences give the positive pointwise mutual
information of each pair of items, M_ij = max(0, log(c_ij c / (c_i c_j))), whose greatest singular
vectors, each times the root of its value, are word embeddings (Levy and Goldberg, "Neural Word
Embedding as Implicit Matrix Factorization", NIPS 2014, sections 3 and 5).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh
from threadpoolctl import threadpool_limits

from reprise.data.sequences import Sequences
from reprise.memory.counting import rule_counts

WINDOW = 10  # the greatest distance of a pair
_START = 1  # seed of the vector that the iterations begin with
_SMALLEST = 1e-6  # norm, below which a vector is rounding error


def item_factors(train: Sequences, num_items: int, dim: int) -> NDArray[np.float32]:
    """Return a vector of norm 1 for each item, [V+1, dim], which are alike if the items occur
    beside the same ones; zeros for padding, and for items that do not occur beside others.

    Pairs are at most WINDOW places apart, in either order, and count distance^-1/2. BLAS uses one
    thread, so that the number of threads does not matter.
    """
    made = np.zeros((num_items + 1, dim), np.float32)
    information = _information(train, num_items)
    count = min(dim, num_items - 1)  # the most that the iterations find
    if information.nnz == 0:
        return made
    start = np.random.default_rng(_START).standard_normal(num_items)
    with threadpool_limits(1, user_api="blas"):
        # Of a symmetric matrix, the singular values are the eigenvalues but for the sign.
        value, vector = eigsh(information, count, which="LM", v0=start)
    vector = vector * np.sqrt(np.abs(value))
    norm = np.linalg.norm(vector, axis=1, keepdims=True)
    np.divide(vector, norm, out=made[1:, :count], where=norm > _SMALLEST, casting="same_kind")
    return made


def _information(train: Sequences, num_items: int) -> Any:
    """Return the positive pointwise mutual information of items, [V, V] float64."""
    count = rule_counts(train, num_items, WINDOW).astype(np.float64)
    count = (count + count.T).tocsr()
    of_item = count.sum(axis=0)
    row = np.repeat(np.arange(num_items), np.diff(count.indptr))
    count.data = np.log(count.data * of_item.sum() / (of_item[row] * of_item[count.indices]))
    count.data = np.maximum(count.data, 0)
    count.eliminate_zeros()
    return count
