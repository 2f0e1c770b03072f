"""Convert ids to text, the same for every format: the numbers 5 and 5.0 become "5"; text loses its
surrounding white space and otherwise stays as it is.
"""

from decimal import Decimal

import numpy as np
import polars as pl

# What Polars strips, Unicode's white space. Python's str.strip() also strips \x1c to \x1f.
_BLANKS = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


def spelled(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return a column of ids of any type that is not nested as text; null if missing."""
    if dtype.is_float():  # pandas stores integers as floats if one is missing
        whole = pl.when(column == column.floor()).then(column.cast(pl.Int64, strict=False))
        known = pl.when(column.is_not_nan()).then(column)
        return pl.coalesce(whole.cast(pl.String), known.cast(pl.String))
    text = column.cast(pl.String).str.strip_chars()
    return text.str.replace(r"\.0+$", "") if dtype.is_decimal() else text


def spelled_series(ids: pl.Series) -> pl.Series:
    """Return ids as text; null if missing."""
    return ids.to_frame("id").select(spelled(pl.col("id"), ids.dtype)).to_series()


def spelled_one(raw_id: object) -> str | None:
    """Return an id as text; None if missing."""
    if isinstance(raw_id, float | np.floating | Decimal):
        text: str | None = spelled_series(pl.Series([raw_id]))[0]
        return text
    return None if raw_id is None else str(raw_id).strip(_BLANKS)
