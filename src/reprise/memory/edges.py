"""The edges of a memory: from each item to those that follow it, and how much they do."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Edges:
    """Edges between items in CSR form: item i has those at offsets[i - 1]:offsets[i].

    offsets [V+1] int64; to [E] int32, the items they lead to, ascending, from 1; value [E] float32,
    in (0, 1], the greatest of an item 1.
    """

    offsets: NDArray[np.int64]
    to: NDArray[np.int32]
    value: NDArray[np.float32]

    @property
    def num_items(self) -> int:
        """Items of the catalogue, V."""
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """The bytes of all."""
        return self.offsets.nbytes + self.to.nbytes + self.value.nbytes

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all."""
        digest = hashlib.sha256()
        for array in (self.offsets, self.to, self.value):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{little.dtype.str} {array.shape}\n".encode())
            digest.update(little.data)
        return digest.hexdigest()

    @cached_property
    def matrix(self) -> Any:
        """The values as a matrix [V, V], by item number - 1."""
        from scipy import sparse  # which takes time to import

        shape = (self.num_items, self.num_items)
        return sparse.csr_array((self.value, self.to - np.int32(1), self.offsets), shape=shape)
