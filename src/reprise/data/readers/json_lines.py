"""JSON lines: one record per line. Fields are those of all lines. Every value of the fields in
question is read as text, independent of the others, so that 5, 5.5 and "5b" can be in one field.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from reprise.data.readers.columns import ROW
from reprise.data.readers.texts import lines_of, unreadable
from reprise.errors import DataError
from reprise.text.messages import Phrase

_SAMPLE = 100  # lines, whose fields are known before the others are looked at
_BATCH = 100_000
_DEEPEST = 8  # of lists in lists
_NESTED = float("inf")
_MOST_NAMES = 1000  # of fields, that a pattern is made of
# Fields by name: how deep their values' lists are, _NESTED of records, None where all are null.
_Depths: TypeAlias = dict[str, float | None]
_GOOD = {"user": Phrase("good_id"), "item": Phrase("good_id"), "time": Phrase("good_time")}


def fields_of(path: Path) -> dict[str, pl.DataType]:
    """Return the fields that any record has, in the order they come, with the types to read them
    as: text, or lists of text, as deep as they are in the first records that have any. Fields with
    nested records there are left out. Raise DataError where a first line is no record.
    """
    try:
        stat = path.stat()
        depths = _fields(path, (stat.st_size, stat.st_mtime_ns, stat.st_ino))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    return {name: _text(int(depth or 0)) for name, depth in depths.items() if depth != _NESTED}


@lru_cache(maxsize=4096)
def _fields(path: Path, stamp: tuple[int, ...]) -> _Depths:
    first = lines_of(path).head(_SAMPLE).select("line", "text").collect().rows()
    if not first:
        raise DataError("no_interactions", path=path)
    depths: _Depths = {}
    for line, text in first:
        for name, value in _record(path, line, text).items():
            known = [one for one in (depths.get(name), _depth(value)) if one is not None]
            depths[name] = max(known, default=None)
    for text in _others(path, depths):
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            continue  # a line that is no record is named when it is read
        for name, value in record.items() if isinstance(record, dict) else ():
            if depths.get(name) is None:
                depths[name] = _depth(value)
    return depths


def _others(path: Path, depths: _Depths) -> Iterator[str]:
    """Yield the lines, in order, that may have fields which are not in `depths`; those that whoever
    iterates puts there are known soon.
    """
    waiting: deque[Future[list[str]]] = deque()
    threads = pl.thread_pool_size()
    batches = lines_of(path).collect_batches(chunk_size=_BATCH, maintain_order=True)
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append(pool.submit(_unlike, batch["text"], _pattern(depths)))
            if len(waiting) > threads:
                yield from waiting.popleft().result()
        for left in waiting:
            yield from left.result()


def _unlike(lines: pl.Series, pattern: str | None) -> list[str]:
    found = lines if pattern is None else lines.filter(~lines.str.contains(pattern))
    return found.to_list()


def _pattern(depths: _Depths) -> str | None:
    """Return a regular expression of lines that have the fields of `depths` alone: ten times as
    fast as to read them. None where these are too many.
    """
    if len(depths) > _MOST_NAMES:
        return None

    def several(one: str) -> str:
        return rf"\s*(?:{one}(?:\s*,\s*{one})*)?\s*"

    text = r'"(?:[^"\\]|\\.)*"'
    value = scalar = rf'(?:{text}|[^"\s,{{}}\[\]]+)'
    for _ in range(2):  # what is deeper is read
        pair = rf"{text}\s*:\s*{value}"
        value = rf"(?:{scalar}|\[{several(value)}\]|\{{{several(pair)}\}})"
    pairs = []
    for fits, empty in ((value, False), ("null", True)):
        names = [name for name, depth in depths.items() if (depth is None) == empty]
        ways = {json.dumps(name, ensure_ascii=plain) for name in names for plain in (True, False)}
        if ways:
            pairs.append(rf"(?:{'|'.join(map(re.escape, sorted(ways)))})\s*:\s*{fits}")
    record = several(rf"(?:{'|'.join(pairs)})")
    return rf"^\s*\{{{record}\}}\s*$"


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


def _depth(value: object, most: int = _DEEPEST) -> float | None:
    """Return the depth of nested lists in a value, None of null; _NESTED for records or unlimited
    depth.
    """
    if isinstance(value, dict):
        return _NESTED
    if isinstance(value, list):
        if not most:
            return _NESTED
        return 1 + max((_depth(one, most - 1) or 0 for one in value), default=0)
    return None if value is None else 0


def _text(depth: int) -> pl.DataType:
    return pl.List(_text(depth - 1)) if depth else pl.String()
