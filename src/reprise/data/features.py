"""Features of items: the types, and looking up those of some items. Pure: no files.

An array has a row for each item 0..V: row 0 is padding, and has what an item has of whom nothing is
known.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 0  # the code of an item without a known category


@dataclass(frozen=True)
class Codes:
    """One category an item: codes [V+1] int32, below `size`; UNKNOWN has a row of its own."""

    name: str
    codes: NDArray[np.int32]
    size: int

    kind = "codes"

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which items have a category, [V+1]."""
        return np.asarray(self.codes != UNKNOWN)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all that the feature is."""
        return _digest(self.kind, self.name, self.size, self.codes)

    def of(self, items: NDArray[np.integer]) -> "Codes":
        """Return the feature of these items, a row each."""
        return Codes(self.name, self.codes[items], self.size)


@dataclass(frozen=True)
class Bags:
    """Several categories an item: codes[offsets[i]:offsets[i + 1]] are item i's, rising.

    offsets [V+2] int64, codes [N] int32, below `size`; UNKNOWN alone of an item without any.
    """

    name: str
    offsets: NDArray[np.int64]
    codes: NDArray[np.int32]
    size: int

    kind = "bags"

    @property
    def counts(self) -> NDArray[np.int64]:
        """Categories of each item, [V+1], at least 1."""
        return np.diff(self.offsets)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which items have a category, [V+1]."""
        return np.asarray(self.codes[self.offsets[:-1]] != UNKNOWN)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all that the feature is."""
        return _digest(self.kind, self.name, self.size, self.offsets, self.codes)

    def of(self, items: NDArray[np.integer]) -> "Bags":
        """Return the feature of these items, a row each."""
        counts = self.counts[items]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        index = np.repeat(self.offsets[items] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Bags(self.name, offsets, self.codes[index], self.size)

    def padded(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the codes as a matrix, right-padded with UNKNOWN, as wide as the longest of all,
        [V+1, width] int32, and how many each item has, [V+1] int32.
        """
        counts = self.counts
        real = np.arange(int(counts.max(initial=1))) < counts[:, None]
        codes = np.full(real.shape, UNKNOWN, np.int32)
        codes[real] = self.codes
        return codes, counts.astype(np.int32)


@dataclass(frozen=True)
class Numbers:
    """A number an item, standardised: values [V+1] float32 are (x - mean) / std, 0 where it is not
    `known` [V+1].
    """

    name: str
    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    mean: float
    std: float

    kind = "numbers"

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all that the feature is."""
        by = np.array([self.mean, self.std], np.float64)
        return _digest(self.kind, self.name, 1, self.values, self.known, by)

    def of(self, items: NDArray[np.integer]) -> "Numbers":
        """Return the feature of these items, a row each."""
        return Numbers(self.name, self.values[items], self.known[items], self.mean, self.std)


@dataclass(frozen=True)
class Vectors:
    """A vector an item: values [V+1, n] float32, zeros where it is unknown."""

    name: str
    values: NDArray[np.float32]

    kind = "vectors"

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which items have a vector, [V+1]."""
        return np.asarray(self.values.any(axis=1))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all that the feature is."""
        return _digest(self.kind, self.name, self.values.shape[1], self.values)

    def of(self, items: NDArray[np.integer]) -> "Vectors":
        """Return the feature of these items, a row each."""
        return Vectors(self.name, self.values[items])


Feature: TypeAlias = Codes | Bags | Numbers | Vectors
KINDS: dict[str, type[Feature]] = {one.kind: one for one in (Codes, Bags, Numbers, Vectors)}


def codes_of(name: str, codes: NDArray[np.integer], size: int) -> Codes:
    """Return the feature of the items 1..V that have these codes (UNKNOWN: none)."""
    return Codes(name, np.concatenate([[UNKNOWN], codes]).astype(np.int32), size)


def bags_of(
    name: str, items: NDArray[np.integer], codes: NDArray[np.integer], num_items: int, size: int
) -> Bags:
    """Return the feature of the items 1..V, from pairs of an item and a code that it has, in any
    order; a code that an item has twice counts once.
    """
    without = np.setdiff1d(np.arange(num_items + 1), items)
    owners = np.concatenate([items, without]).astype(np.int64)
    pairs = np.unique(owners * size + np.concatenate([codes, np.full(len(without), UNKNOWN)]))
    counts = np.bincount(pairs // size, minlength=num_items + 1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Bags(name, offsets, (pairs % size).astype(np.int32), size)


def numbers_of(name: str, values: NDArray[np.floating]) -> Numbers:
    """Return the feature of the items 1..V that have these numbers (not finite: unknown)."""
    values = np.concatenate([[np.nan], values]).astype(np.float64)
    known = np.isfinite(values)
    told = values[known]
    mean = float(told.mean()) if len(told) else 0.0
    std = float(told.std()) if len(told) and told.min() < told.max() else 0.0
    made = np.where(known & (std > 0), values - mean, 0) / (std or 1.0)
    return Numbers(name, made.astype(np.float32), known, mean, std or 1.0)


def vectors_of(name: str, values: NDArray[np.floating]) -> Vectors:
    """Return the feature of the items 1..V that have these vectors, [V, n] (zeros: unknown)."""
    zeros = np.zeros((1, values.shape[1]), np.float32)
    return Vectors(name, np.concatenate([zeros, values.astype(np.float32)]))


def _digest(kind: str, name: str, size: int, *arrays: NDArray[np.generic]) -> str:
    digest = hashlib.sha256(f"{kind}\0{name}\0{size}".encode())
    for array in arrays:
        digest.update(f"\0{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
