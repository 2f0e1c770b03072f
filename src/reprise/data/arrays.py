"""`.npy` files, written a part at a time."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array, of one dimension at least, to a `.npy` file."""
    save_parts(path, len(array), [array])


def save_parts(path: Path, rows: int, parts: Iterable[NDArray[Any]]) -> tuple[int, ...]:
    """Write the `rows` rows that some parts hold, one after the other, as `np.save` would write
    them in one; return their shape. There is a part.

    By `write`, as the disk can only refuse that: it refuses a mapped page by SIGBUS.
    """
    shape: tuple[int, ...] = ()
    with open(path, "wb") as file:
        for part in map(np.ascontiguousarray, parts):
            if not shape:
                shape = (rows, *part.shape[1:])
                header = np.lib.format.header_data_from_array_1_0(part) | {"shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(part.data)
    return shape
