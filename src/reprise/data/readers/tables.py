"""Tables of interactions or items: delimited text, Parquet or JSON lines, compressed or not.

Columns are found by the names that data sets of the field give them, or named by the user; columns
of text without a header are named by their place, from 1.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import polars as pl

from reprise.data.readers import json_lines
from reprise.data.readers.columns import NEEDED, ROW, UNNAMED, Columns, find, some
from reprise.data.readers.format import Part
from reprise.data.readers.texts import lines_of, unreadable
from reprise.errors import DataError
from reprise.text.messages import Phrase

_PACKED = (".gz", ".zst")
_KINDS = {
    ".parquet": "parquet",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "lines",
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".dat": "text",
}
_DELIMITERS = ("\t", ",", ";", "|")
# What a text's times can be parsed as at once: 07 is 7, as it is of no id and no category.
_NUMBERS: dict[str, type[pl.DataType]] = {"time": pl.Int64}


def kind(path: Path) -> str | None:
    """Return what kind of table a file is by its name: parquet, lines or text; None: of none."""
    suffix = Path(path.stem).suffix if path.suffix in _PACKED else path.suffix
    return _KINDS.get(suffix.lower())


def names_of(path: Path) -> list[str]:
    """Return the names of a table's columns, told by its header."""
    return list(_schema(path, UNNAMED))


def scan(path: Path, columns: Columns, needed: Sequence[str] = NEEDED) -> Part:
    """Return the columns of `Columns` that the table has, under these names, as text or as stored,
    and line, the number of the row or line (from 1). DataError where one `needed` is not there.

    A column of lists of items makes a row a user (what an engine has aggregated): times are lists
    as long, or where there are none, the places in the list.
    """
    schema = _schema(path, columns)
    named = find(path, list(schema), columns)
    types = {name: schema[name] for name in named.values()}
    listed = "item" in named and isinstance(types[named["item"]], pl.List | pl.Array)
    missing = [what for what in needed if what not in named]
    if missing and not (listed and missing == ["time"]):
        raise DataError("no_column", path=path, what=missing[0], columns=some(list(schema)))

    def refuse(error: Exception) -> DataError:
        return _refusal(path, types, named, error)

    def chosen(table: pl.LazyFrame) -> pl.LazyFrame:
        kept = [_lists(pl.col(name), types[name]).alias(what) for what, name in named.items()]
        return table.select(pl.col(ROW).alias("line"), *kept)

    if kind(path) == "lines":
        rows = chosen(json_lines.scan(path, types))
    else:
        rows = chosen(_scan(path, columns))
    if listed:
        return _a_row_an_item(Part(path, rows, refuse), named, types)
    if kind(path) != "text":
        return Part(path, rows, refuse)
    given = {named[what]: dtype for what, dtype in _NUMBERS.items() if what in named}
    numbers = chosen(_scan(path, columns, given))
    # Blank lines say nothing.
    rows = rows.filter(~pl.all_horizontal(pl.col(what).is_null() for what in needed))
    return Part(path, rows, refuse, numbers=numbers)


def read(path: Path, needed: Sequence[str], columns: Columns = UNNAMED) -> pl.DataFrame:
    """Read a table of items as `scan` would, mostly by the columns' usual names."""
    part = scan(path, columns, needed)
    try:
        frame = part.rows.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise part.refuse(error) from error
    if frame.is_empty():
        raise DataError("no_interactions", path=path)
    return frame


def _lists(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return a column whose lists may have any length, as those of one length are read too."""
    return column.arr.to_list() if isinstance(dtype, pl.Array) else column


def _a_row_an_item(part: Part, named: Mapping[str, str], types: Mapping[str, pl.DataType]) -> Part:
    """Return a part of a row a user as one of a row an item."""
    if "time" not in named:
        places = pl.int_ranges(pl.col("item").list.len())
        return part.changed(lambda rows: _exploded(rows.with_columns(time=places)))
    item, time = named["item"], named["time"]
    if not isinstance(types[time], pl.List | pl.Array):
        raise DataError("times_not_listed", path=part.path, item=item, time=time)

    def refuse(error: Exception) -> DataError:
        items, times = pl.col("item").list.len(), pl.col("time").list.len()
        uneven = part.rows.filter(items > 0, items.ne_missing(times))
        try:
            first = uneven.select("line", items, times).head(1).collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError):
            first = pl.DataFrame()
        if first.is_empty():
            return part.refuse(error)
        line, many, few = first.row(0)
        facts = {"line": line, "item": item, "items": many, "time": time, "times": few or 0}
        return DataError("lists_differ", path=part.path, **facts)

    return part._replace(rows=_exploded(part.rows), refuse=refuse)


def _exploded(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(pl.col("item").list.len() > 0).explode("item", "time")


def opening(path: Path) -> str:
    """Return the first line of a text that is not blank, or "" where there is none."""
    return _opening(path)[1]


def _opening(path: Path) -> tuple[int, str]:
    """Return the first line that is not blank, and its number."""
    try:
        first = lines_of(path).select("line", "text").head(1).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    return first.row(0) if len(first) else (1, "")


def delimiter(line: str) -> str:
    """Return what separates the fields of a line: the likeliest of a tab, comma, semicolon, bar."""
    return max(_DELIMITERS, key=line.count)


def _schema(path: Path, columns: Columns) -> dict[str, pl.DataType]:
    """Return a table's columns and their types, as they are scanned."""
    if not path.is_file():
        raise DataError("file_missing", path=path)
    if kind(path) == "lines":
        return json_lines.fields_of(path)
    try:
        schema = _scan(path, columns).collect_schema()
    except pl.exceptions.NoDataError as error:
        raise DataError("no_interactions", path=path) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _refusal(path, {}, {}, error) from error
    return {name: dtype for name, dtype in schema.items() if name != ROW}


def _scan(
    path: Path, columns: Columns, numbers: Mapping[str, type[pl.DataType]] = MappingProxyType({})
) -> pl.LazyFrame:
    """Scan a table that is not of JSON lines; of a text, all is text but for the columns of
    `numbers`, null where they are none.
    """
    if kind(path) == "parquet":
        return pl.scan_parquet(path, row_index_name=ROW, row_index_offset=1, glob=False)
    line, first = _opening(path)
    header = not columns.by_place

    def text(types: Mapping[str, type[pl.DataType]]) -> pl.LazyFrame:
        return pl.scan_csv(
            path,
            has_header=header,
            separator=delimiter(first),
            infer_schema=False,  # everything else is text, and checked as such
            schema_overrides=types,
            ignore_errors=bool(types),
            skip_lines=line - 1,
            row_index_name=ROW,
            row_index_offset=line + header,
            glob=False,
        )

    if header:
        return text(numbers)
    own = [name for name in text({}).collect_schema().names() if name != ROW]
    places = {name: str(place) for place, name in enumerate(own, start=1)}
    types = {name: numbers[place] for name, place in places.items() if place in numbers}
    return text(types).rename(places)


def _refusal(
    path: Path, types: Mapping[str, pl.DataType], named: Mapping[str, str], error: Exception
) -> DataError:
    """Return the error to show for what could not be read: the first line that is to blame, if one
    is, else what the reader says.
    """
    if kind(path) == "lines":
        return json_lines.refusal(path, types, {name: what for what, name in named.items()}, error)
    if kind(path) == "parquet":
        reason = str(error).partition("\n")[0]
        return DataError("unreadable_parquet", path=path, reason=reason)
    try:
        first, text = _opening(path)
        separator = delimiter(text)
        long = _first_long(path, separator)
    except (pl.exceptions.PolarsError, OSError, csv.Error, DataError):
        long = None
    if long is None:
        return unreadable(path, error)
    expected = Phrase("good_fields", separator=separator, line=first)
    return DataError("bad_line", path=path, line=long[0], text=long[1][:80], expected=expected)


def _first_long(path: Path, separator: str) -> tuple[int, str] | None:
    """Return the first row with more fields than the first one, and the line that it begins in.
    Separators and line ends in quotes are text.
    """
    begun = 1
    lines: dict[int, str] = {}  # of the row that is being read

    def each() -> Iterator[str]:
        batches = pl.scan_lines(path, glob=False).collect_batches(maintain_order=True)
        texts = (text for batch in batches for text in batch["line"])
        for number, text in enumerate(texts, start=1):
            lines[number] = text
            yield text.removeprefix("\ufeff") + "\n"

    width = 0
    rows = csv.reader(each(), delimiter=separator)
    for fields in rows:
        if not width and any(map(str.strip, fields)):  # the header, behind blank lines
            width = len(fields)
        if width and len(fields) > width:
            return begun, lines[begun]
        begun = rows.line_num + 1
        lines.clear()
    return None
