"""Matrix products whose columns are rounded alike, wherever they are and however many there are.

What a user is listed must not depend on who else is in the tile, but BLAS computes the columns at
a product's edges by other instructions than those within, which may round otherwise: OpenBLAS does
so at the first and the last eight columns on processors with AVX2. Which columns are alike is found
by trying, once per process and shape.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDEST = 256  # columns of a product: a megabyte of scores for 1,024 rows
_WIDTHS = (16, 32, 64, 96, 128, 192)
_MARGINS = (0, 8, 16, 32)
_ROWS, _TRIALS = 1024, 64  # of a shape: if any rounds otherwise, about one number in ten does

_Numbers = NDArray[np.float32]


class Layout(NamedTuple):
    """How columns are laid out: `margin` unused ones on both sides, and as many between as the
    least of `widths` that is enough. No widths: columns are not alike, wherever they are.
    """

    margin: int
    widths: tuple[int, ...]

    def width(self, columns: int) -> int:
        """Return the width for so many columns."""
        return next((width for width in self.widths if width >= columns), columns)


@cache
def layout(dim: int, rows: tuple[int, ...], widest: int = WIDEST) -> Layout:
    """Return the layout for products of as many rows as one of `rows` with columns of `dim`
    numbers.
    """
    for margin in _MARGINS:
        alike = {one for one in (*_WIDTHS, widest) if one <= widest}
        for left, right in _trials(dim, rows):
            expected = _product(left, right, margin, widest)[:, :1]
            for width in sorted(alike, reverse=True):
                if (_product(left, right, margin, width) != expected).any():
                    alike.remove(width)
            if widest not in alike:
                break
        else:
            return Layout(margin, tuple(sorted(alike)))
    return Layout(0, ())


def _product(left: _Numbers, right: _Numbers, margin: int, width: int) -> _Numbers:
    """Return the product [rows, width] with as many equal columns, and zeros around them."""
    columns = np.zeros((len(right), width + 2 * margin), np.float32)
    columns[:, margin : margin + width] = right[:, None]
    product: _Numbers = np.matmul(left, columns)
    return product[:, margin : margin + width]


def _trials(dim: int, rows: tuple[int, ...]) -> Iterator[tuple[_Numbers, _Numbers]]:
    """Yield random left sides [rows, dim] and columns [dim]."""
    rng = np.random.default_rng(0)
    for count in rows:
        for _ in range(min(_TRIALS, -(-_ROWS // count))):
            left = rng.standard_normal((count, dim), np.float32)
            yield left, rng.standard_normal(dim, np.float32)
