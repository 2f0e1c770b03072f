"""Read ids of a delimited text as numbers, with a proof that each is written in the usual way.

A parser of whole numbers takes 7, 07, +7 and a blank before 7 for the same, and these are four ids.
All but the first are longer than the number's digits. So the bytes of a column, which the look at
the whole text has counted, are those of its numbers' digits only if all are written in the usual
way and what is no number is empty.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.readers import delimited
from reprise.data.readers.delimited import Layout
from reprise.data.readers.format import Numbers

# Titles are texts, and so is what is compared with texts.
_IDS = ("user", "item", "category")


def as_numbers(
    path: Path,
    layout: Layout,
    named: Mapping[str, str],
    chosen: Callable[[pl.LazyFrame], pl.LazyFrame],
    names: Collection[str],
) -> Numbers:
    """Return the rows of a plain text with columns parsed as numbers: the time, and ids where the
    bytes of their columns are known. named: its columns by what they are of; chosen: selects and
    renames them; names: which are wanted as numbers.
    """
    lengths = {
        what: length
        for what in _IDS
        if what in names and what in named
        for length in [layout.bytes_of(named[what])]
        if length is not None
    }
    types: dict[str, type[pl.DataType]] = {named[what]: pl.UInt32 for what in lengths}
    if "time" in names and "time" in named and named["time"] not in types:
        types[named["time"]] = pl.Int64
    digits: dict[str, list[int]] = {what: [] for what in lengths}

    def add(rows: pl.DataFrame) -> pl.DataFrame:
        for what in lengths:
            own = num_digits(rows[what].drop_nulls().to_numpy())
            digits[what].append(own)  # which several threads may do
        return rows

    rows = chosen(delimited.scan(path, layout, types))
    if lengths:
        rows = rows.map_batches(
            add, predicate_pushdown=False, slice_pushdown=False, streamable=True, schema=None
        )
    return Numbers(rows, lambda: {what for what in lengths if sum(digits[what]) != lengths[what]})


def num_digits(numbers: NDArray[Any]) -> int:
    """Return how many digits unsigned numbers have, all together."""
    if not len(numbers):
        return 0
    total, power, most = len(numbers), 10, int(numbers.max())
    while power <= most:
        total += int(np.count_nonzero(numbers >= numbers.dtype.type(power)))
        power *= 10
    return total
