"""Readers of the input formats: ComiRec's text files and RecBole's atomic `.inter` files.

Each reader checks every line and names the first bad one with its file and number; what is scanned
is checked as it is collected.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from reprise.data.readers.columns import UNNAMED, Columns, find
from reprise.data.readers.interactions import Part
from reprise.errors import DataError

_MAX_ITEMS = 2**31 - 2
_INTER = {"user": "user_id", "item": "item_id", "time": "timestamp"}


class _Field(NamedTuple):
    """What a field of a line must look like, and the type it is read as."""

    pattern: str
    dtype: type[pl.DataType]


_INTEGER = _Field(r"-?\d+", pl.Int64)
_SMALL = _Field(r"-?\d+", pl.Int32)
_ID = _Field(r"\d+", pl.Int64)
_TEXT = _Field(r".*", pl.String)


def read_comirec_split(path: Path) -> pl.DataFrame:
    """Read `user,item,order` lines; columns user, item, time (Int64) and line (from 1)."""
    fields = {"user": _INTEGER, "item": _ID, "time": _INTEGER}
    frame = _read_fields(path, fields, expected="user,item,order")
    if frame.is_empty():
        raise DataError("empty_split", split=path.stem.rpartition("_")[2], where=path)
    bad = frame.filter((pl.col("item") < 1) | (pl.col("item") > _MAX_ITEMS))
    if not bad.is_empty():
        raise DataError(
            "item_out_of_range",
            path=path,
            line=bad["line"][0],
            item=bad["item"][0],
            most=_MAX_ITEMS,
        )
    return frame


def read_comirec_categories(path: Path) -> pl.DataFrame:
    """Read `item,category` lines; columns item (Int64), category (Int32) and line."""
    return _read_fields(path, {"item": _ID, "category": _SMALL}, expected="item,category")


def read_comirec_item_map(path: Path) -> pl.DataFrame:
    """Read `raw id,item` lines; columns raw_id (String), item (Int64) and line."""
    return _read_fields(path, {"raw_id": _TEXT, "item": _ID}, expected="raw_id,item")


def lines_of(path: Path) -> pl.LazyFrame:
    """Scan the lines of a text that are not blank: columns text and line (its number, from 1). The
    mark that Windows's editors leave at the front of a file is no part of its text.
    """
    text = pl.col("text").str.strip_chars_end("\r").str.strip_prefix("\ufeff")
    lines = pl.scan_lines(path, name="text", glob=False).with_row_index("line", offset=1)
    return lines.with_columns(text).filter(pl.col("text").str.strip_chars() != "")


def scan_inter(path: Path, columns: Columns = UNNAMED) -> Part:
    """Return the rows of a RecBole `.inter` file (tab separated, header `name:type`), its columns
    user_id, item_id and timestamp, or those named instead or besides, as written.
    """
    if not path.is_file():
        raise DataError("file_missing", path=path)
    whole = lines_of(path)
    try:
        first = whole.head(2).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    header = first["text"][0].split("\t") if len(first) else []
    names = [field.split(":")[0] for field in header]
    found = find(path, names, columns, _INTER)
    missing = [name for what, name in _INTER.items() if what not in found]
    if missing:
        raise DataError("inter_columns", path=path, missing=", ".join(missing), header=header)
    if len(first) < 2:
        raise DataError("no_interactions", path=path)
    places = {names.index(name): what for what, name in found.items()}
    body = whole.filter(pl.col("line") > first["line"][0])
    return scan_parted(path, body, "\t", [places.get(n, "") for n in range(len(names))], header)


def scan_parted(
    path: Path, lines: pl.LazyFrame, separator: str, fields: Sequence[str], shown: Sequence[str]
) -> Part:
    """Return lines (columns text and line) of fields parted by `separator`, unquoted: those that
    have a name. shown: what to call them where a line has more or fewer.
    """
    parts = pl.col("text").str.split(separator)
    whole = parts.list.len() == len(fields)
    named = [
        pl.when(whole).then(parts.list.get(place, null_on_oob=True)).alias(name)
        for place, name in enumerate(fields)
        if name
    ]
    rows = lines.select("line", *named, odd=pl.when(~whole).then("text"))
    return Part(
        path, rows, lambda error: unreadable(path, error), repr(separator)[1:-1].join(shown)
    )


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error that names a file and what its reader says of it."""
    return DataError("unreadable", path=path, reason=str(error).partition("\n")[0])


def _read_fields(path: Path, fields: dict[str, _Field], expected: str) -> pl.DataFrame:
    lines = _read_lines(path)
    pattern = "^" + ",".join(rf"\s*({field.pattern})\s*" for field in fields.values()) + "$"
    groups = lines["text"].str.extract_groups(pattern).struct.unnest()
    groups.columns = list(fields)
    frame = groups.select(
        pl.col(name).cast(field.dtype, strict=False) for name, field in fields.items()
    )
    good = frame.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    _refuse_first_bad(path, lines, good, expected)
    return frame.with_columns(lines["line"])


def _read_lines(path: Path) -> pl.DataFrame:
    """Return what `lines_of` scans."""
    if not path.is_file():
        raise DataError("file_missing", path=path)
    try:
        return lines_of(path).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError("unreadable", path=path, reason=error) from error


def _refuse_first_bad(path: Path, lines: pl.DataFrame, good: pl.Series, expected: str) -> None:
    if good.all():
        return
    line, text = lines.filter(~good).select("line", "text").row(0)
    raise DataError("bad_line", path=path, line=line, text=text[:80], expected=expected)
