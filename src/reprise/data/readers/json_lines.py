"""JSON lines: one record per line. Fields are those of the first lines; fields of usual names, and
those named by the user, may first appear in any line. Every value of the fields in question is read
as text, independent of the others, so that 5, 5.5 and "5b" can be in one field.
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from reprise.data.readers.columns import ROW, USUAL, plain
from reprise.data.readers.texts import lines_of, unreadable
from reprise.errors import DataError
from reprise.text.messages import Phrase

_SAMPLE = 100  # lines, of which each may lack some fields
_BATCH = 100_000
_DEEPEST = 8  # of lists in lists
_NESTED = float("inf")
_GOOD = {"user": Phrase("good_id"), "item": Phrase("good_id"), "time": Phrase("good_time")}


def fields_of(path: Path, named: Collection[str] = ()) -> dict[str, pl.DataType]:
    """Return the fields of the first records, and those `named` or of usual names in any record,
    with the types to read them as: text, or lists of text. Fields with nested records are left out.
    Raise DataError for the first line that is not a record.
    """
    try:
        first = lines_of(path).head(_SAMPLE).select("line", "text").collect().rows()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    if not first:
        raise DataError("no_interactions", path=path)
    depths: dict[str, float] = {}
    for line, text in first:
        for name, value in _record(path, line, text).items():
            depths[name] = max(depths.get(name, 0), _depth(value))
    for name, value in _later(path, depths, named).items():
        depths[name] = _depth(value)
    return {name: _text(int(depth)) for name, depth in depths.items() if depth != _NESTED}


def _later(path: Path, known: Collection[str], named: Collection[str]) -> dict[str, Any]:
    """Return fields that first appear after the first records, with a value of each: Spark omits
    fields that are null.
    """
    words = [
        word
        for word in sorted({word for usual in USUAL.values() for word in usual.split()})
        if not any(plain(name) == word for name in known)
    ]
    # A name in any case and with any signs between its letters, as `columns.find` takes it.
    signs = r"[^a-zA-Z0-9\"]*"
    likely = [signs.join(f"[{sign}{sign.upper()}]" for sign in word) for word in words]
    given = [re.escape(json.dumps(name, ensure_ascii=False)[1:-1]) for name in named]
    unknown = [name for name, real in zip(given, named, strict=True) if real not in known]
    pattern = "|".join([f"{signs}(?:{'|'.join(likely)}){signs}", *unknown])
    field = rf'"({pattern})"\s*:'
    lines = lines_of(path).filter(pl.col("text").str.contains(field))
    found: dict[str, Any] = {}
    try:
        for batch in lines.collect_batches(chunk_size=_BATCH, maintain_order=True):
            names = set(batch["text"].str.extract_all(field).explode().drop_nulls())
            for name in {json.loads(text.rpartition(":")[0]) for text in names} - {*known, *found}:
                own = batch["text"].str.json_path_match(f"$[{json.dumps(name)}]")
                text = batch["text"].filter(own.is_not_null()).head(1)
                if len(text):
                    found[name] = json.loads(text[0])[name]
    except (pl.exceptions.PolarsError, OSError, ValueError):
        pass  # a line that is no record is named when it is read
    return found


def scan(path: Path, types: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Scan fields of the records, with the line number in the column ROW."""
    record = pl.col("text").str.json_decode(pl.Struct(types)).alias("record")
    fields = [pl.col("record").struct.field(name) for name in types]
    return lines_of(path).select("line", record).select(pl.col("line").alias(ROW), *fields)


def refusal(
    path: Path, types: Mapping[str, pl.DataType], named: Mapping[str, str], error: Exception
) -> DataError:
    """Return the error for a failed scan, which names the first bad line and its field. named: the
    role of each field.
    """
    try:
        for batch in lines_of(path).collect_batches(chunk_size=_BATCH, maintain_order=True):
            if not _are_records(batch["text"], types):
                line, text = _first_bad(batch, types)
                return _refused(path, line, text, types, named)
    except (pl.exceptions.PolarsError, OSError):
        pass  # what it is that cannot be read, `error` tells
    return unreadable(path, error)


def _refused(
    path: Path, line: int, text: str, types: Mapping[str, pl.DataType], named: Mapping[str, str]
) -> DataError:
    try:
        record = _record(path, line, text)
    except DataError as error:
        return error
    for name, dtype in types.items():
        if name in record and not _are_records(pl.Series([text]), {name: dtype}):
            value = json.dumps(record[name], ensure_ascii=False)[:80]
            expected = _GOOD.get(named[name], Phrase("good_text_or_number"))
            return DataError(
                "bad_value_in_row",
                path=path,
                line=line,
                column=named[name],
                value=value,
                expected=expected,
            )
    return _no_record(path, line, text)


def _first_bad(batch: pl.DataFrame, types: Mapping[str, pl.DataType]) -> tuple[int, str]:
    """Return the first line that is not a record of these types; there must be one."""
    low, high = 0, len(batch)  # good until low, not good until high
    while high - low > 1:
        middle = (low + high) // 2
        if _are_records(batch["text"][low:middle], types):
            low = middle
        else:
            high = middle
    return batch["line"][low], batch["text"][low]


def _are_records(lines: pl.Series, types: Mapping[str, pl.DataType]) -> bool:
    try:
        lines.str.json_decode(pl.Struct(types))
    except pl.exceptions.PolarsError:
        return False
    return True


def _record(path: Path, line: int, text: str) -> dict[str, Any]:
    try:
        record = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _no_record(path, line, text) from error
    if not isinstance(record, dict):
        raise _no_record(path, line, text)
    return record


def _refuse(constant: str) -> None:
    """Raise ValueError for NaN and infinities, which Python accepts, but JSON does not."""
    raise ValueError(constant)


def _no_record(path: Path, line: int, text: str) -> DataError:
    expected = Phrase("good_json")
    return DataError("bad_line", path=path, line=line, text=text[:80], expected=expected)


def _depth(value: object, most: int = _DEEPEST) -> float:
    """Return the depth of nested lists in a value; _NESTED for records or unlimited depth."""
    if isinstance(value, dict):
        return _NESTED
    if isinstance(value, list):
        if not most:
            return _NESTED
        return 1 + max((_depth(one, most - 1) for one in value), default=0)
    return 0


def _text(depth: int) -> pl.DataType:
    return pl.List(_text(depth - 1)) if depth else pl.String()
