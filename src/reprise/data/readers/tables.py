"""Tables of interactions or items: delimited text, Parquet, Arrow (Feather) or JSON lines.

Columns are found by the names that data sets of the field give them, or named by the user; columns
of text without a header are named by their place, from 1.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import polars as pl

from reprise.data.readers import clocks, delimited, foreign, json_lines
from reprise.data.readers.clocks import Finest
from reprise.data.readers.columns import (
    NEEDED,
    ON_REQUEST,
    ROLES,
    ROW,
    UNNAMED,
    USUAL,
    Columns,
    could_be_time,
    find,
    no_column,
)
from reprise.data.readers.delimited import Layout
from reprise.data.readers.dialect import UNTOLD, Dialect
from reprise.data.readers.format import NULLS, Part
from reprise.data.readers.numbers import as_numbers
from reprise.data.readers.texts import unreadable
from reprise.errors import DataError, UsageError

# A table, and the columns that the names of its folders tell.
Source: TypeAlias = tuple[Path, Mapping[str, str | None]]
PACKED = (".gz", ".zst")
_KINDS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "lines",
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".dat": "text",
}
_SCANNED: Mapping[str, Callable[..., pl.LazyFrame]] = {
    "parquet": pl.scan_parquet,
    "arrow": pl.scan_ipc,
}
# A part without a suffix, as Hadoop and Hive name it.
_NAKED = re.compile(r"(part-([mr]-)?\d+|\d{6}_\d+(_copy_\d+)?)")
_PARQUET = b"PAR1"  # how it begins
_FIRST = 10_000  # rows


def kind(path: Path) -> str | None:
    """Return what kind of table a file is by its name: parquet, arrow, lines or text; None: of
    none. What Hive and Hadoop write has no suffix: its first bytes tell.
    """
    name = path.stem if path.suffix in PACKED else path.name
    suffix = Path(name).suffix
    if not suffix and _NAKED.fullmatch(name):
        return _naked_kind(path)
    return _KINDS.get(suffix.lower())


def _naked_kind(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            is_parquet = file.read(len(_PARQUET)) == _PARQUET
        return "parquet" if is_parquet else None if foreign.is_of_another_kind(path) else "text"
    except OSError:
        return None


def names_of(path: Path, dialect: Dialect = UNTOLD) -> list[str]:
    """Return the names of a table's columns, told by its header."""
    return list(_schema(path, UNNAMED, dialect)[0])


def is_empty(path: Path) -> bool:
    """Whether a table that is a text has nothing in it, not even a header."""
    return kind(path) not in _SCANNED and not opening(path)


def scan(
    path: Path,
    columns: Columns,
    needed: Sequence[str] = NEEDED,
    dialect: Dialect = UNTOLD,
    partition: Mapping[str, str | None] = MappingProxyType({}),
    usual: Mapping[str, str] = USUAL,
    finest: Finest | None = None,
) -> Part:
    """Return the columns of `Columns` that the table has, under these names, as text or as stored,
    and line, the number of the row or line (from 1). DataError where one `needed` is not there.

    A column of lists of items makes a row a user (what an engine has aggregated): times are lists
    as long, or where there are none, the places in the list. partition: columns that the names of
    the table's folders tell, and their value in all its rows. finest: the time, of several columns.
    """
    schema, layout = _opened(path, columns, dialect, partition)
    named = find(path, list(schema), columns, usual)
    if finest is not None and finest.column in schema:
        named["time"] = finest.column
    types = {name: schema[name] for name in named.values()}
    listed = "item" in named and isinstance(types[named["item"]], pl.List | pl.Array)
    missing = [what for what in (*needed, *columns.sought) if what not in named]
    if missing and not (listed and missing == ["time"]):
        raise no_column(path, missing, list(schema), [*named.values()])
    if listed and (told_by := [what for what in ON_REQUEST if what in named]):
        raise DataError("choice_of_lists", path=path, role=ROLES[told_by[0]], item=named["item"])
    told = _told(schema, named, columns, partition, layout, finest)
    part = _part(path, named, types, partition, layout)._replace(told=told)
    return _a_row_an_item(part, named, types) if listed else part


def scan_all(
    sources: Sequence[Source],
    columns: Columns,
    dialect: Dialect = UNTOLD,
    usual: Mapping[str, str] = USUAL,
    nulls: Sequence[str] = NULLS,
) -> list[Part]:
    """Scan the parts of a table. Their times are in one column: where several could be the time,
    the finest, with which the others agree; UsageError or DataError where there is none. nulls:
    texts that are no values.
    """
    several: dict[tuple[str, ...], list[Part]] = {}
    finest: dict[Path, Finest] = {}
    for path, partition in sources:
        schema, layout = _opened(path, columns, dialect, partition)
        times = could_be_time(list(schema), columns, usual)
        if len(times) > 1:
            named = {name: name for name in times}
            part = _part(path, named, {name: schema[name] for name in times}, partition, layout)
            several.setdefault(tuple(times), []).append(part)
    for names, parts in several.items():
        found = clocks.finest(parts, names, nulls)
        finest |= {part.path: found for part in parts}
    parts = [
        scan(path, columns, NEEDED, dialect, partition, usual, finest.get(path))
        for path, partition in sources
    ]
    _refuse_other_times(parts)
    return parts


def scan_rows(path: Path, named: Mapping[str, str], dialect: Dialect = UNTOLD) -> Part:
    """Return columns of a table, each under another name, as text or as stored, and line; a row
    stays a row. named: the columns by their new names.
    """
    schema, layout = _schema(path, UNNAMED._replace(item=named["item"]), dialect)
    return _part(path, named, {name: schema[name] for name in named.values()}, {}, layout)


def _refuse_other_times(parts: Sequence[Part]) -> None:
    """Raise DataError where parts have their times in columns of several names: they may mean
    several things.
    """
    found: dict[str, Path] = {}
    for part in parts:
        time = part.told["columns"].get("time")
        if time is not None:
            found.setdefault(time["column"], part.path)
    if len(found) > 1:
        (first, here), (second, there) = list(found.items())[:2]
        raise DataError("other_times", first=here, column=first, second=there, other=second)


def _part(
    path: Path,
    named: Mapping[str, str],
    types: Mapping[str, pl.DataType],
    partition: Mapping[str, str | None],
    layout: Layout | None,
) -> Part:
    """Return columns of a table by what they are called, as text or as stored, and line."""
    stored = {name: dtype for name, dtype in types.items() if name not in partition}

    def refuse(error: Exception) -> DataError:
        return _refusal(path, stored, named, layout, error)

    def chosen(table: pl.LazyFrame) -> pl.LazyFrame:
        kept = [
            _lists(pl.col(name), types[name]).alias(what)
            if name in stored
            else pl.lit(partition[name], pl.String).alias(what)
            for what, name in named.items()
        ]
        return table.select(pl.col(ROW).alias("line"), *kept)

    if layout is not None:
        text = delimited.scan(path, layout)
        rows, first = chosen(text), chosen(text.head(_FIRST))
        if not layout.plain:
            return Part(path, rows, refuse, first=first)
        kept = {what: name for what, name in named.items() if name in stored}
        numbers = partial(as_numbers, path, layout, kept, chosen)
        size = max(layout.last - layout.first + (not layout.header), 0)
        return Part(path, rows, refuse, numbers=numbers, first=first, size=size)
    if kind(path) == "lines":
        return Part(path, chosen(json_lines.scan(path, stored)), refuse)
    rows = _scanned(path)
    return Part(path, chosen(rows), refuse, first=chosen(rows.head(_FIRST)), size=_num_rows(path))


def read(
    path: Path, needed: Sequence[str], columns: Columns = UNNAMED, dialect: Dialect = UNTOLD
) -> pl.DataFrame:
    """Read a table of items as `scan` would, mostly by the columns' usual names."""
    part = scan(path, columns, needed, dialect)
    try:
        frame = part.rows.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise part.refuse(error) from error
    if frame.is_empty():
        raise DataError("no_interactions", path=path)
    return frame


def _told(
    schema: Mapping[str, pl.DataType],
    named: Mapping[str, str],
    columns: Columns,
    partition: Mapping[str, str | None],
    layout: Layout | None,
    finest: Finest | None,
) -> dict[str, Any]:
    """Return what was taken of a table: its columns by what they are of, each with how it was
    chosen, those that are not used, and how its text is written.
    """

    def how(what: str, name: str) -> str:
        if what in columns.given:
            return "named"
        return "partition" if name in partition else "usual"

    taken: dict[str, Any] = {
        what: {"column": name, "by": how(what, name)} for what, name in named.items()
    }
    used = [*named.values()]
    if finest is not None:
        taken["time"] |= {"by": "finest", "others": list(finest.others)}
        used += finest.others
    told: dict[str, Any] = {
        "columns": taken,
        "unused": [name.partition("\0")[0] for name in schema if name not in used],
    }
    if layout is not None:
        told |= {
            "separator": layout.separator,
            "quote": layout.quote or "none",
            "encoding": layout.encoding,
        }
    return told


def _lists(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return a column whose lists may have any length, as those of one length are read too."""
    return column.arr.to_list() if isinstance(dtype, pl.Array) else column


def _a_row_an_item(part: Part, named: Mapping[str, str], types: Mapping[str, pl.DataType]) -> Part:
    """Return a part of a row a user as one of a row an item."""
    part = part._replace(size=0)  # nobody has counted the lists' entries
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
    return delimited.opening(path)


def _opened(
    path: Path, columns: Columns, dialect: Dialect, partition: Mapping[str, str | None]
) -> tuple[dict[str, pl.DataType], Layout | None]:
    """Return what `_schema` does, and the columns that the names of the folders tell."""
    schema, layout = _schema(path, columns, dialect)
    return schema | {name: pl.String() for name in partition if name not in schema}, layout


def _schema(
    path: Path, columns: Columns, dialect: Dialect
) -> tuple[dict[str, pl.DataType], Layout | None]:
    """Return a table's columns and their types, as they are scanned, and how a text is written."""
    if not path.is_file():
        raise DataError("file_missing", path=path)
    # An encoding may be told for the metadata alone.
    options = [option for option in dialect.given if option != "encoding"]
    if options and (kind(path) == "lines" or kind(path) in _SCANNED):
        raise UsageError("option_unused", option=options[0], layout=path.name, used="CSV, TSV")
    if kind(path) == "lines":
        return json_lines.fields_of(path), None
    if kind(path) not in _SCANNED:
        layout = delimited.look(path, not columns.by_place, dialect)
        return dict.fromkeys(layout.names, pl.String()), layout
    try:
        schema = _scanned(path).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _refusal(path, {}, {}, None, error) from error
    return {name: dtype for name, dtype in schema.items() if name != ROW}, None


def _scanned(path: Path) -> pl.LazyFrame:
    scan = _SCANNED[kind(path) or ""]
    return scan(path, row_index_name=ROW, row_index_offset=1, glob=False, hive_partitioning=False)


def _num_rows(path: Path) -> int:
    """Return how many rows a binary table says that it has; 0 where it cannot be read."""
    try:
        return int(_scanned(path).select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError):
        return 0


def _refusal(
    path: Path,
    types: Mapping[str, pl.DataType],
    named: Mapping[str, str],
    layout: Layout | None,
    error: Exception,
) -> DataError:
    """Return the error to show for what could not be read: the first line that is to blame, if one
    is, else what the reader says.
    """
    if layout is not None:
        return unreadable(path, error)  # its rows are as they should be
    if kind(path) == "lines":
        return json_lines.refusal(path, types, {name: what for what, name in named.items()}, error)
    if kind(path) == "arrow" and foreign.is_of_another_kind(path):
        return foreign.refusal(path)
    called = {"parquet": "Parquet", "arrow": "Arrow"}[kind(path) or ""]
    reason = str(error).partition("\n")[0]
    return DataError("unreadable_table", path=path, kind=called, reason=reason)
