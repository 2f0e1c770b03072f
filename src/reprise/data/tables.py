"""Tables of interactions or items: delimited text, Parquet or JSON lines, compressed or not.

Columns are found by the names that data sets of the field give them, or named by the user; columns
of text without a header are named by their place, from 1.
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

from reprise.data.formats import unreadable
from reprise.data.interactions import Part
from reprise.errors import DataError, Phrase, UsageError

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
# By what the field calls them, the likeliest first; compared without case and punctuation.
_NAMES = {
    "user": "user userid uid reviewerid visitorid customerid memberid",
    "item": "item itemid iid movieid productid parentasin asin articleid bookid trackid songid "
    "items",
    "time": "timestamp time ts unixreviewtime datetime eventtime date timestamps times",
    "category": "category categoryid cate cateid icategory genre genres class categories",
    "title": "title itemtitle movietitle",
    "behaviour": "",  # told by its place alone
}
_SHOWN = 20  # columns that an error lists
_NEEDED = ("user", "item", "time")
# What a text's numbers can be parsed as at once: it is the same if one is written as 07.
_NUMBERS: dict[str, type[pl.DataType]] = {"time": pl.Int64, "category": pl.UInt32}


class Columns(NamedTuple):
    """The names of a table's columns, or None: to be found."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    category: str | None = None
    title: str | None = None
    behaviour: str | None = None

    @property
    def by_place(self) -> bool:
        """Whether columns are named by their place: the table has no header."""
        given = [name for name in self if name is not None]
        return bool(given) and all(name.isdigit() for name in given)


def kind(path: Path) -> str | None:
    """Return what kind of table a file is by its name: parquet, lines or text; None: of none."""
    suffix = Path(path.stem).suffix if path.suffix in _PACKED else path.suffix
    return _KINDS.get(suffix.lower())


def scan(path: Path, columns: Columns, needed: Sequence[str] = _NEEDED) -> Part:
    """Return the columns of `Columns` that the table has, under these names, as text or as stored,
    and line, the number of the row or line (from 1). DataError where one `needed` is not there.

    A column of lists of items makes a row a user (what an engine has aggregated): times are lists
    as long, or where there are none, the places in the list.
    """
    try:
        table = _scan(path, columns)
        schema = table.collect_schema()
    except pl.exceptions.NoDataError as error:
        raise DataError("no_interactions", path=path) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _refusal(path, columns, error) from error
    names = [name for name in schema.names() if name != "line"]
    found = {what: _find(path, names, what, given) for what, given in columns._asdict().items()}
    item = found["item"]
    listed = item is not None and isinstance(schema[item], pl.List)
    missing = [what for what in needed if found[what] is None]
    if missing and not (listed and missing == ["time"]):
        raise DataError("no_column", path=path, what=missing[0], columns=_some(names))
    named = {what: name for what, name in found.items() if name is not None}
    kept = [pl.col(name).alias(what) for what, name in named.items()]
    rows, numbers = table.select("line", *kept), None
    if listed:
        rows = _a_row_an_item(rows, timed="time" in named)
    elif kind(path) == "text":
        given = {named[what]: dtype for what, dtype in _NUMBERS.items() if what in named}
        numbers = _scan(path, columns, given).select("line", *kept)
        # Blank lines say nothing.
        rows = rows.filter(~pl.all_horizontal(pl.col(what).is_null() for what in needed))
    return Part(path, rows, lambda error: _refusal(path, columns, error), numbers=numbers)


def read(path: Path, needed: Sequence[str]) -> pl.DataFrame:
    """Read a table of items, whose columns have their usual names, as `scan` would."""
    part = scan(path, Columns(), needed)
    try:
        frame = part.rows.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise part.refuse(error) from error
    if frame.is_empty():
        raise DataError("no_interactions", path=path)
    return frame


def _a_row_an_item(rows: pl.LazyFrame, timed: bool) -> pl.LazyFrame:
    if not timed:
        rows = rows.with_columns(time=pl.int_ranges(pl.col("item").list.len()))
    return rows.filter(pl.col("item").list.len() > 0).explode("item", "time")


def first_lines(path: Path, count: int) -> list[str]:
    """Return the first lines of a text file, compressed or not."""
    try:
        return pl.scan_lines(path, n_rows=count).collect()["line"].to_list()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error


def delimiter(line: str) -> str:
    """Return what separates the fields of a line: the likeliest of a tab, comma, semicolon, bar."""
    return max(_DELIMITERS, key=line.count)


def _scan(
    path: Path, columns: Columns, numbers: Mapping[str, type[pl.DataType]] = MappingProxyType({})
) -> pl.LazyFrame:
    """Scan a table; of a text, all is text but for the columns of `numbers`, null where they are
    none.
    """
    if not path.is_file():
        raise DataError("file_missing", path=path)
    stored = kind(path)
    if stored == "parquet":
        return pl.scan_parquet(path, row_index_name="line", row_index_offset=1, glob=False)
    if stored == "lines":
        return _scan_json_lines(path)
    first = first_lines(path, 1)
    header = not columns.by_place

    def text(types: Mapping[str, type[pl.DataType]]) -> pl.LazyFrame:
        return pl.scan_csv(
            path,
            has_header=header,
            separator=delimiter(first[0]) if first else ",",
            infer_schema=False,  # everything else is text, and checked as such
            schema_overrides=types,
            ignore_errors=bool(types),
            row_index_name="line",
            row_index_offset=2 if header else 1,
            glob=False,
        )

    if header:
        return text(numbers)
    own = [name for name in text({}).collect_schema().names() if name != "line"]
    places = {name: str(place) for place, name in enumerate(own, start=1)}
    types = {name: numbers[place] for name, place in places.items() if place in numbers}
    return text(types).rename(places)


def _scan_json_lines(path: Path) -> pl.LazyFrame:
    """Scan JSON lines, the first of which tells the fields; those in question are read as text or
    as whole numbers, whatever other lines have in other fields.
    """
    first = first_lines(path, 1)
    try:
        record = json.loads(first[0]) if first else {}
        types = {
            name: _json_type(value) for name, value in record.items() if not isinstance(value, dict)
        }
    except (ValueError, AttributeError, RecursionError) as error:  # AttributeError: not an object
        raise DataError(
            "bad_line", path=path, line=1, text=first[0][:80], expected=Phrase("good_json")
        ) from error
    return pl.scan_ndjson(path, schema=types, row_index_name="line", row_index_offset=1)


def _json_type(value: object) -> pl.DataType:
    if isinstance(value, int) and not isinstance(value, bool):
        return pl.Int64()
    if isinstance(value, float):
        return pl.Float64()
    if isinstance(value, list):
        return pl.List(_json_type(value[0]) if value else pl.String())
    return pl.String()


def _some(names: Sequence[str]) -> str:
    """Return the names as an error lists them: a file that is no table may have thousands."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _find(path: Path, names: Sequence[str], what: str, given: str | None) -> str | None:
    """Return the name of the column for `what`: the one given, or the likeliest there is."""
    if given is not None:
        if given not in names:
            close = difflib.get_close_matches(given, names, n=1, cutoff=0.0)
            raise UsageError(
                "column_missing",
                option=f"{what}-col",
                column=given,
                path=path,
                columns=_some(names),
                suggestion=close[0] if close else "",
            )
        return given
    plain = {re.sub(r"[^a-z0-9]", "", name.split(":")[0].lower()): name for name in names[::-1]}
    return next((plain[name] for name in _NAMES[what].split() if name in plain), None)


def _refusal(path: Path, columns: Columns, error: Exception) -> DataError:
    """Return the error to show for what could not be read: the first line of another width, if
    that is it, else what the reader says.
    """
    if kind(path) == "text":
        try:
            lines = pl.scan_lines(path, name="text").with_row_index("line", offset=1)
            separator = delimiter(first_lines(path, 1)[0])
            width = pl.col("text").str.count_matches(separator, literal=True)
            odd = lines.filter(width != width.first()).head(1).collect()
        except (pl.exceptions.PolarsError, DataError):
            odd = pl.DataFrame()
        if len(odd):
            line, text = odd.select("line", "text").row(0)
            expected = Phrase("good_fields", separator=separator)
            return DataError("bad_line", path=path, line=line, text=text[:80], expected=expected)
    return unreadable(path, error)
