"""Open .npy files with validated headers; write them in chunks."""

import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.errors import ContentError
from reprise.runtime import bus
from reprise.text.messages import Phrase

MAPPED_FROM = 2**28  # bytes
# What NumPy lets through of a file that is none of its own: a damaged header is parsed as Python.
_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)


def open_array(path: Path) -> NDArray[Any]:
    """Open the array of a `.npy` file, read-only: read where it is smaller than MAPPED_FROM, else
    mapped; ContentError, which names the file, where it holds anything else, OSError where the
    system refuses it.

    A file that is cut short under a mapping ends the process, see `runtime.bus`.
    """
    try:
        # Mapped first: a damaged shape is held against the file's size, not asked of memory.
        with np.errstate(over="raise"):
            mapped = np.lib.format.open_memmap(path, mode="r")
        if mapped.nbytes >= MAPPED_FROM:
            bus.mapped(path, path.stat().st_size)
            return mapped
        with path.open("rb") as file:
            file.seek(mapped.offset)
            read = np.fromfile(file, mapped.dtype, mapped.size)
        if read.size != mapped.size:
            raise ValueError(Phrase("unexpected_content"))
        read = read.reshape(mapped.shape, order="F" if np.isfortran(mapped) else "C")
        read.flags.writeable = False
        return read
    except _DAMAGE as error:
        reason = str(error) or Phrase("unexpected_content")
        raise ContentError("file_reason", name=path.name, reason=reason) from error


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
