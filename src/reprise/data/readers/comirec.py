"""ComiRec's files: `<x>_train.txt`, `<x>_valid.txt` and `<x>_test.txt`, and optionally
`<x>_item_cate.txt` and `<x>_item_map.txt`.

Every line is checked; errors name the first bad line with its file and number. Item ids are kept:
by the format, they are popularity ranks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.dataset import SPLITS
from reprise.data.readers.format import Format, FoundSplit
from reprise.data.readers.sources import matching
from reprise.data.readers.texts import lines_of
from reprise.errors import DataError
from reprise.text.messages import Phrase

_MAX_ITEMS = 2**31 - 2
# A catalogue with far more ids than items seen is not one of ranks 1..V.
_SPARSE_FACTOR, _SPARSE_ALLOWANCE = 10, 10_000


def recognises(path: Path) -> bool:
    """Recognise a folder by its training file."""
    return path.is_dir() and bool(matching(path, "*_train.txt"))


def read_split(folder: Path) -> FoundSplit:
    """Read a folder's files; raise DataError for the first bad line."""
    train_files = matching(folder, "*_train.txt")
    if len(train_files) != 1:
        raise DataError("several_train_files", path=folder, files=[f.name for f in train_files])
    prefix = train_files[0].name.removesuffix("_train.txt")
    paths = {split: folder / f"{prefix}_{split}.txt" for split in SPLITS}
    frames = {split: _interactions(path) for split, path in paths.items()}
    categories, item_map = (folder / f"{prefix}_item_{kind}.txt" for kind in ("cate", "map"))
    raw_items = _raw_items(item_map, paths, frames)
    category = _categories(categories, len(raw_items))
    about = [path for path in (categories, item_map) if path.is_file()]
    return FoundSplit(paths, frames, raw_items, category, about)


def _interactions(path: Path) -> pl.DataFrame:
    """Read `user,item,order` lines; columns user, item, time (Int64) and line (from 1)."""
    fields = {"user": _INTEGER, "item": _ID, "time": _INTEGER}
    frame = _read_fields(path, fields, expected="user,item,order")
    if frame.is_empty():
        raise DataError(
            "empty_split",
            split=path.stem.rpartition("_")[2],
            where=path,
            needs=Phrase("empty_stored"),
        )
    bad = frame.filter((pl.col("item") < 1) | (pl.col("item") > _MAX_ITEMS))
    if not bad.is_empty():
        line, item = bad.select("line", "item").row(0)
        raise DataError("item_out_of_range", path=path, line=line, item=item, most=_MAX_ITEMS)
    return frame


def _raw_items(
    path: Path, paths: Mapping[str, Path], frames: Mapping[str, pl.DataFrame]
) -> pl.Series:
    """Return the raw ids of items 1..V, from the map at `path` if it exists; raise DataError for
    interactions with ids outside the catalogue.
    """
    seen = pl.concat([frame["item"] for frame in frames.values()])
    if path.is_file():
        fields = {"raw_id": _TEXT, "item": _ID}
        item_map = _read_fields(path, fields, expected="raw_id,item").sort("item")
        num_items = len(item_map)
        wrong = item_map.filter(item_map["item"] != pl.int_range(1, num_items + 1, eager=True))
        if not wrong.is_empty():
            line = wrong["line"][0]
            raise DataError("item_map_ids", path=path, line=line, items=num_items)
        raw_items = item_map["raw_id"]
    else:
        num_items = int(seen.max())  # type: ignore[arg-type]
        if num_items > _SPARSE_FACTOR * seen.n_unique() + _SPARSE_ALLOWANCE:
            raise _beyond(paths, frames, _SPARSE_FACTOR * seen.n_unique() + _SPARSE_ALLOWANCE)
        raw_items = pl.int_range(1, num_items + 1, eager=True).cast(pl.String)
    if int(seen.max()) > num_items:  # type: ignore[arg-type]
        raise _beyond(paths, frames, num_items)
    return raw_items


def _beyond(paths: Mapping[str, Path], frames: Mapping[str, pl.DataFrame], most: int) -> DataError:
    """Return the error that names the first line with an id above `most`."""
    bad = {split: frame.filter(pl.col("item") > most) for split, frame in frames.items()}
    split = next(split for split, rows in bad.items() if len(rows))
    line, item = bad[split].select("line", "item").row(0)
    return DataError("item_out_of_range", path=paths[split], line=line, item=item, most=most)


def _categories(path: Path, num_items: int) -> NDArray[np.int32]:
    """Read `item,category` lines into category [V+1], -1 where unknown."""
    category = np.full(num_items + 1, -1, np.int32)
    if path.is_file():
        frame = _read_fields(path, {"item": _ID, "category": _SMALL}, expected="item,category")
        beyond = frame.filter((pl.col("item") > num_items) | (pl.col("item") < 1))
        # The original keeps categories of items that the filter dropped; they are not needed.
        frame = frame.filter(~pl.col("line").is_in(beyond["line"].implode()))
        category[frame["item"].to_numpy()] = frame["category"].to_numpy()
    return category


class _Field(NamedTuple):
    """The pattern of a field, and the type it is converted to."""

    pattern: str
    dtype: type[pl.DataType]


_INTEGER = _Field(r"-?\d+", pl.Int64)
_SMALL = _Field(r"-?\d+", pl.Int32)
_ID = _Field(r"\d+", pl.Int64)
_TEXT = _Field(r".*", pl.String)


def _read_fields(path: Path, fields: Mapping[str, _Field], expected: str) -> pl.DataFrame:
    """Read comma-separated lines of these fields, with their line numbers; raise DataError for the
    first line that does not match.
    """
    lines = _read_lines(path)
    pattern = "^" + ",".join(rf"\s*({field.pattern})\s*" for field in fields.values()) + "$"
    groups = lines["text"].str.extract_groups(pattern).struct.unnest()
    groups.columns = list(fields)
    frame = groups.select(
        pl.col(name).cast(field.dtype, strict=False) for name, field in fields.items()
    )
    good = frame.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    if not good.all():
        line, text = lines.filter(~good).select("line", "text").row(0)
        raise DataError("bad_line", path=path, line=line, text=text[:80], expected=expected)
    return frame.with_columns(lines["line"])


def _read_lines(path: Path) -> pl.DataFrame:
    """Return what `lines_of` scans."""
    if not path.is_file():
        raise DataError("file_missing", path=path)
    try:
        return lines_of(path).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError("unreadable", path=path, reason=error) from error


FORMAT = Format(recognises, read_split=read_split)
