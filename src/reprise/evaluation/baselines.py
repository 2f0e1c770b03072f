"""Baselines that count instead of learning by gradient: what any model has to beat.

Each but `recent` is an item-to-item matrix S and a decay r: the score of item j for a history
h_1 .. h_n is the sum over i of r^(n - i) S[h_i, j], a history's last item having age 0.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from reprise.data.sequences import Past, Sequences
from reprise.evaluation.ranked import Matrix, ranked
from reprise.evaluation.recent import recent
from reprise.memory.counting import (
    by_user,
    decayed_products,
    occurrences,
    row_blocks,
    rule_counts,
)
from reprise.retrieval.search import falling, worker_threads

# Items above which baselines that solve a system of all pairs are left out. They hold up to four
# matrices [V, V] of 8 bytes, and take time as V^3.
MOST_SOLVED = 15_000
_HOURS = 0.2  # of both baselines that solve a system, with 12,101 items
_PAIRS = 20_000_000  # counted at a time
_FUTURE_DECAY = 0.9  # of `ridge`'s targets, by item
_THIN = 0.2  # share of pairs up to which `ridge` holds futures as a sparse matrix
_NEIGHBOURS = 1_000  # of an item, that `knn` counts in a catalogue of more than MOST_SOLVED items
_SOLVED = 256  # users that `ridge` is solved for at a time
_SHRINK = 20  # added to the denominator of `knn`'s cosines

Settings = Mapping[str, float]
_Float = NDArray[np.float64]


class Fitted(Protocol):
    """A fitted baseline."""

    def ranked(self, past: Past, top_n: int) -> NDArray[np.int64]:
        """Return the lists of users, as `ranked.ranked`."""


class ItemToItem(NamedTuple):
    """A matrix [V, V] float32 from items of a history to items, and the decay by age."""

    matrix: Matrix
    decay: float

    def scores(self, some: Sequences) -> Matrix:
        """Multiply the histories' weights and the matrix."""
        return _weights(some, self.matrix.shape[0], self.decay) @ self.matrix

    def ranked(self, past: Past, top_n: int) -> NDArray[np.int64]:
        """Return the lists of users."""
        return ranked(self, past, top_n)


class Regressed(NamedTuple):
    """A ridge regression (A + penalty I)^-1 F from pasts to futures, by the Cholesky factor of the
    first and F: as few users are evaluated, it is solved for their pasts, not for all items.
    """

    factor: _Float
    future: Matrix
    decay: float

    def scores(self, some: Sequences) -> Matrix:
        """Solve for the histories' weights, and multiply with F."""
        past = _weights(some, len(self.factor), self.decay).toarray().astype(np.float64)
        solved = linalg.cho_solve((self.factor, True), past.T, overwrite_b=True, check_finite=False)
        return np.ascontiguousarray(solved.T.astype(np.float32)) @ self.future

    def ranked(self, past: Past, top_n: int) -> NDArray[np.int64]:
        """Return the lists of users."""
        return ranked(self, past, top_n, _SOLVED)


@dataclass(frozen=True)
class Baseline:
    """A baseline.

    candidates(train, num_items): yields each combination of settings with what is fitted by it,
    one at a time. solves: whether it holds matrices of all pairs of items. timed: whether it needs
    the times of interactions.
    """

    name: str
    candidates: Callable[[Sequences, int], Iterator[tuple[Settings, Fitted]]]
    solves: bool = False
    timed: bool = False


def popular(train: Sequences, num_items: int) -> Iterator[tuple[Settings, Fitted]]:
    """Yield no evidence at all: what is left is the order of popularity."""
    yield {}, ItemToItem(sparse.csr_array((num_items, num_items), dtype=np.float32), 1)


def rules(train: Sequences, num_items: int) -> Iterator[tuple[Settings, ItemToItem]]:
    """Yield sequential rules, over windows, powers and decays: see `rule_counts`. Rows are divided
    by the root of the item's count, columns by the count to the power.
    """
    counts = np.maximum(occurrences(train, num_items), 1)
    for window in (10, 30):
        counted = rule_counts(train, num_items, window)
        for power in (0.0, 0.5):
            matrix = _scaled(counted, counts**-0.5, counts**-power)
            for decay in (0.8, 0.9):
                settings = {"window": window, "power": power, "decay": decay}
                yield settings, ItemToItem(matrix, decay)


def knn(train: Sequences, num_items: int) -> Iterator[tuple[Settings, ItemToItem]]:
    """Yield item-to-item nearest neighbours over decays: see `cosines`. A small catalogue's items
    have all neighbours, as leaving some out changes recall by up to 0.002.
    """
    matrix = cosines(train, num_items, _NEIGHBOURS if num_items > MOST_SOLVED else None)
    for decay in (0.9, 0.95, 1.0):
        yield {"decay": decay}, ItemToItem(matrix, decay)


def ease(train: Sequences, num_items: int) -> Iterator[tuple[Settings, ItemToItem]]:
    """Yield EASE^R (Steck, WWW 2019, eq. 8), over penalties and decays: the ridge regression of
    each item on the others, over users' sets of items.
    """
    met = _incidence(train, num_items)
    together = sparse.csr_array(met.T @ met)
    for penalty in (100.0, 300.0, 1000.0):
        inverse = _inverse(together.astype(np.float64).toarray(), penalty)
        inverse /= -np.diag(inverse)
        np.fill_diagonal(inverse, 0)
        weights = inverse.astype(np.float32)
        del inverse
        for decay in (0.97, 1.0):
            yield {"penalty": penalty, "decay": decay}, ItemToItem(weights, decay)


def ridge(train: Sequences, num_items: int) -> Iterator[tuple[Settings, Regressed]]:
    """Yield the ridge regression from a decayed past to a decayed future (as SLIT, Choi et al.,
    WWW 2021, over all prefixes), over decays and penalties.

    Each place of a training sequence is an example: the past up to it, an item of age k weighing
    decay^k, and the items after it, the k-th weighing 0.9^(k - 1), all of them 1 together.
    """
    for decay in (0.8, 0.9):
        past, both = decayed_products(train, num_items, decay, _FUTURE_DECAY)
        thin = np.count_nonzero(both) < _THIN * both.size
        future = sparse.csr_array(both, dtype=np.float32) if thin else both.astype(np.float32)
        del both
        for penalty in (300.0, 1000.0, 3000.0):
            shifted = past.copy(order="F")
            shifted[np.diag_indices(num_items)] += penalty
            factor, _ = linalg.cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)
            yield {"decay": decay, "penalty": penalty}, Regressed(factor, future, decay)


BASELINES = (
    Baseline("popular", popular),
    Baseline("recent", recent, timed=True),
    Baseline("rules", rules),
    Baseline("knn", knn),
    Baseline("ease", ease, solves=True),
    Baseline("ridge", ridge, solves=True),
)


def solving(num_items: int) -> tuple[float, float]:
    """Return the bytes that baselines which solve a system hold at most, and their hours on two
    cores, estimated from the work that 12,101 items took.
    """
    return 4 * 8 * num_items**2, _HOURS * (num_items / 12_101) ** 3


def cosines(train: Sequences, num_items: int, most: int | None = None) -> Any:
    """Return the shrunk cosine of the sets of users that two items have: n_ij / (root(n_i n_j) +
    20), [V, V] float32; of each item with the `most` items of the highest ones only.
    """
    met = _incidence(train, num_items)
    having = sparse.csr_array(met.T)
    work = np.cumsum(having @ np.diff(met.indptr))  # pairs of all items up to each one
    at = np.searchsorted(work, np.arange(_PAIRS, work[-1], _PAIRS), "right")
    bounds = np.unique([0, *at.tolist(), num_items])
    rows = partial(_cosines_of, met, having, most or num_items)
    with ThreadPoolExecutor(worker_threads()) as pool:
        parts = list(pool.map(rows, pairwise(bounds.tolist())))
    lengths = np.concatenate([part[2] for part in parts]).cumsum()
    kind = np.int32 if lengths[-1] <= np.iinfo(np.int32).max else np.int64
    data, indices = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    indptr = np.append(0, lengths).astype(kind)
    return sparse.csr_array((data, indices.astype(kind), indptr), shape=(num_items, num_items))


def _cosines_of(
    met: Any, having: Any, most: int, rows: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.integer], NDArray[np.integer]]:
    """Return the values of some rows of `cosines`, their columns, and how many each row has; of
    equal values, those of popular items.
    """
    first, end = rows
    part = sparse.csr_array(having[first:end] @ met)
    root = np.sqrt(np.diff(having.indptr)).astype(np.float32)
    row = np.repeat(np.arange(first, end), np.diff(part.indptr))
    part.data /= root[row] * root[part.indices] + np.float32(_SHRINK)
    kept = row != part.indices
    for long in np.flatnonzero(np.diff(part.indptr) > most):
        own = slice(part.indptr[long], part.indptr[long + 1])
        values = np.where(kept[own], part.data[own], np.float32(-1))
        key = falling(values) << np.uint64(32) | part.indices[own].astype(np.uint64)
        kept[own] = key <= np.partition(key, most - 1)[most - 1]
    return (
        part.data[kept],
        part.indices[kept],
        np.bincount(row[kept] - first, minlength=end - first),
    )


def _weights(some: Sequences, num_items: int, decay: float) -> Any:
    """Return the weight of each item in each history, [u, V] float32: decay^age, summed over its
    occurrences.
    """
    lengths = some.lengths
    age = np.repeat(lengths, lengths) - some.places - 1
    weight = (decay ** age.astype(np.float64)).astype(np.float32)
    return by_user(some, weight, num_items)


def _incidence(train: Sequences, num_items: int) -> Any:
    """Return which items each user has, [U, V] float32: 1 or 0."""
    met = by_user(train, np.ones(len(train.items), np.float32), num_items)
    met.sum_duplicates()
    met.data[:] = 1
    return met


def _scaled(matrix: Any, rows: _Float, columns: _Float) -> Any:
    """Return a csr_array with rows and columns multiplied; the places of its values are shared."""
    values = matrix.data * np.repeat(rows.astype(np.float32), np.diff(matrix.indptr))
    values *= columns.astype(np.float32)[matrix.indices]
    return sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def _inverse(matrix: _Float, penalty: float) -> _Float:
    """Return the inverse of a positive matrix plus `penalty` on its diagonal."""
    matrix[np.diag_indices(len(matrix))] += penalty
    factor, _ = linalg.lapack.dpotrf(matrix.T, lower=False, overwrite_a=True)
    inverse: _Float
    inverse, _ = linalg.lapack.dpotri(factor, lower=False, overwrite_c=True)
    for here in row_blocks(len(inverse)):
        inverse[here, here] = np.triu(inverse[here, here]) + np.triu(inverse[here, here], 1).T
        inverse[here.stop :, here] = inverse[here, here.stop :].T
    return inverse
