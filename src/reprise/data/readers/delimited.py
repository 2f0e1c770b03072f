"""Delimited text: detect separator, quotes and encoding, and read the rows.

Python's csv is what a text is measured by: quotes that do not begin a field are text, and a row
with more or fewer fields than the first one is refused. A pass over all bytes (`_survey`) tells
whether Polars, which takes any quote for the begin or the end of a quoted stretch, would read the
same rows. Where it would not, Python's csv reads them: slower, and right.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple

import numpy as np
import polars as pl
import zstandard
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from reprise.data.readers.columns import ROW
from reprise.data.readers.dialect import UNTOLD, Dialect
from reprise.data.readers.texts import unreadable
from reprise.errors import DataError
from reprise.text.messages import Phrase

UTF8 = "utf-8"
# Where several fit, the first counts: a bar mostly parts the genres inside a field.
_SEPARATORS = ("\x01", "\t", ",", ";", "|")
_ENOUGH = 3  # fields: of a user, an item and a time
_MOSTLY = 0.9  # of the lines that are looked at
_LOOKED_AT, _SAMPLE = 200, 1 << 20  # lines, bytes
_BLOCK = 1 << 18  # bytes, which stay in a core's cache
_TRIED = 1000  # line ends, for one that is in no quotes
_BATCH = 50_000  # rows
_UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError)
_NEWLINE, _RETURN = 10, 13
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Layout(NamedTuple):
    """How a text is written. names: of its columns, or their places; first: the line of the first
    row; header: whether that has the names; plain: whether Polars reads the rows that Python's csv
    does; last: the number of the last row, where it does; trailing: whether blank lines follow it.
    lengths: the bytes of each column's fields, all rows together, where no quotes are read; or ().
    """

    separator: str
    quote: str
    encoding: str
    names: tuple[str, ...]
    first: int
    header: bool
    plain: bool = False
    last: int = 0
    trailing: bool = False
    lengths: tuple[int, ...] = ()

    def bytes_of(self, name: str) -> int | None:
        """Return the bytes of a column's fields, all rows together; None where nobody knows."""
        return self.lengths[self.names.index(name)] if self.lengths else None


def look(path: Path, header: bool, dialect: Dialect = UNTOLD) -> Layout:
    """Look at a whole text; DataError names the first line that is no row of it."""
    try:
        stat = path.stat()
        return _look(path, header, dialect, (stat.st_size, stat.st_mtime_ns, stat.st_ino))
    except _UNREADABLE as error:
        raise unreadable(path, error) from error


def opening(path: Path) -> str:
    """Return the first line of a text that is not blank, or "" where there is none, whatever it is
    written in.
    """
    try:
        encoding = _marked(path) or UTF8
        return next((line for line in _lines(path, encoding, "replace") if line.strip()), "")
    except _UNREADABLE as error:
        raise unreadable(path, error) from error


def scan(
    path: Path, layout: Layout, numbers: Mapping[str, type[pl.DataType]] = MappingProxyType({})
) -> pl.LazyFrame:
    """Scan a text's columns as texts, or those of `numbers` as whole numbers of a type, null where
    they are none; and ROW, the number of the line, or of the row where rows have several lines.
    """
    types: dict[str, Any] = dict.fromkeys(layout.names, pl.String)
    if not layout.plain:
        rows = register_io_source(_source(path, layout), schema={ROW: pl.UInt32, **types})
        return rows.with_columns(
            pl.col(name).cast(dtype, strict=False) for name, dtype in numbers.items()
        )
    rows = pl.scan_csv(
        path,
        has_header=False,
        skip_lines=layout.first - 1 + layout.header,
        separator=layout.separator,
        quote_char=layout.quote or None,
        schema=types | dict(numbers),
        ignore_errors=bool(numbers),
        row_index_name=ROW,
        row_index_offset=layout.first + layout.header,
        glob=False,
    )
    return rows.filter(pl.col(ROW) <= layout.last) if layout.trailing else rows


def _source(path: Path, layout: Layout) -> Any:
    """Return a source of batches of a text's rows, as Python's csv reads them."""

    def batches(
        columns: list[str] | None, predicate: pl.Expr | None, count: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        wanted = [ROW, *layout.names] if columns is None else columns
        places = {name: place for place, name in enumerate(layout.names)}
        rows = islice(_rows(path, layout), int(layout.header), None)
        rows = islice(rows, count)
        while batch := list(islice(rows, _BATCH)):
            frame = pl.DataFrame(
                {
                    name: pl.Series([line for line, _ in batch], dtype=pl.UInt32)
                    if name == ROW
                    else pl.Series([row[places[name]] or None for _, row in batch], dtype=pl.String)
                    for name in wanted
                }
            )
            yield frame if predicate is None else frame.filter(predicate)

    return batches


# What a text is written in


@lru_cache(maxsize=4096)
def _look(path: Path, header: bool, dialect: Dialect, stamp: tuple[int, ...]) -> Layout:
    encoding = dialect.encoding or _marked(path) or UTF8
    first, lines = _opening(path, encoding)
    if not lines:
        raise DataError("no_interactions", path=path)
    separator = dialect.separator or _separator(lines, dialect.quote)
    layout = Layout(separator, dialect.quote or "", encoding, (), first, header)
    if dialect.quote is None and separator != "\x01":
        layout = layout._replace(quote='"')
    survey = _survey(path, layout) if _is_utf8(encoding) else None
    layout = _fitting(path, layout, survey, dialect.quote is None)
    row, length = _first_row(lines, layout)
    places = map(str, range(1, len(row) + 1))
    names = _distinct(map(str.strip, row)) if header else tuple(places)
    # Polars is told to skip the header's line, and there must be rows behind it.
    plain = layout.plain and (length == 1 or not header) and layout.last >= first + header
    lengths = layout.lengths
    if header:
        lengths = tuple(
            whole - len(name.encode()) for whole, name in zip(lengths, row, strict=False)
        )
    return layout._replace(names=names, plain=plain, lengths=lengths)


def _fitting(path: Path, layout: Layout, survey: "_Survey | None", free: bool) -> Layout:
    """Return the layout with the quote that fits the text, where that is free; DataError where no
    reading has rows of one length.
    """
    bare = layout._replace(quote="")
    if survey is not None:
        if survey.even_lines and not (layout.quote and survey.quoting):
            return bare._replace(**survey.plainly(survey.lines), lengths=survey.lengths)
        sure = survey.clean and not (free and survey.doubtful)
        if layout.quote and survey.even_rows and sure:
            return layout._replace(**survey.plainly(survey.rows))
    try:
        for _ in _rows(path, layout, careful=free):
            pass
    except DataError:
        # A dump quotes nothing, its header least of all: every line has the fields of the first.
        if free and layout.quote and survey is not None and survey.even_lines and not survey.led:
            return bare._replace(**survey.plainly(survey.lines), lengths=survey.lengths)
        raise
    return layout


def _distinct(names: Iterator[str]) -> tuple[str, ...]:
    """Return names each of which is there once: of one that comes again, its first is meant."""
    found: dict[str, None] = {}
    for place, name in enumerate(names, start=1):
        found[name if name not in found else f"{name}\0{place}"] = None
    return tuple(found)


def _separator(lines: Sequence[str], quote: str | None) -> str:
    """Return what parts most lines into as many fields as the first one has."""

    def fit(separator: str) -> tuple[int, bool]:
        layout = Layout(separator, '"' if quote is None else quote, UTF8, (), 1, False)
        try:
            widths = [len(row) for row in _reader(iter(lines), layout) if row]
        except csv.Error:
            widths = [line.count(separator) + 1 for line in lines]
        share = widths.count(widths[0]) / len(widths)
        return min(widths[0], _ENOUGH), share >= _MOSTLY

    return max(_SEPARATORS, key=fit)


def _first_row(lines: Sequence[str], layout: Layout) -> tuple[list[str], int]:
    """Return the fields of the first row, and how many lines it has."""
    reader = _reader(iter(lines), layout)
    return next(reader, []), reader.line_num


def _reader(lines: Iterator[str], layout: Layout) -> Any:
    if not layout.quote:
        return csv.reader(lines, delimiter=layout.separator, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, delimiter=layout.separator, quotechar=layout.quote, strict=True)


# Rows as Python's csv reads them


def _rows(path: Path, layout: Layout, careful: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, and the line that each begins in; DataError names the
    first that has not as many fields as the first one, or whose quotes are not closed. careful:
    refuse quotes that have whole rows between them, too.
    """
    begun, width = 1, 0
    row_lines: list[str] = []  # of the row that is being read

    def each() -> Iterator[str]:
        for line in _lines(path, layout.encoding):
            row_lines.append(line)
            yield line

    reader = _reader(each(), layout)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise _bad_quotes(path, begun, row_lines, layout, error) from error
        if row is None:
            return
        if len(row) > 1 or any(map(str.strip, row_lines)):
            width = width or len(row)
            if len(row) != width:
                raise _bad_width(path, begun, row_lines[0], layout)
            if careful and len(row_lines) > 1 and _look_like_rows(row_lines, layout, width):
                raise _bad_quotes(path, begun, row_lines, layout, None)
            yield begun, row
        begun = reader.line_num + 1
        row_lines.clear()


def _look_like_rows(lines: Sequence[str], layout: Layout, width: int) -> bool:
    return all(line.count(layout.separator) + 1 == width for line in lines)


def _bad_width(path: Path, line: int, text: str, layout: Layout) -> DataError:
    expected = Phrase("good_fields", separator=layout.separator, line=layout.first)
    shown = text.rstrip("\r\n")[:80]
    return DataError("bad_line", path=path, line=line, text=shown, expected=expected)


def _bad_quotes(
    path: Path, line: int, lines: Sequence[str], layout: Layout, error: Exception | None
) -> DataError:
    text = lines[0].rstrip("\r\n") if lines else ""
    shown = text[:80]
    if "\r" in text and (not layout.quote or layout.quote not in text):
        return DataError("bad_return", path=path, line=line, text=shown)
    if not layout.quote:
        return DataError("unreadable", path=path, reason=f"{line}: {error}")
    return DataError("bad_quotes", path=path, line=line, text=shown, quote=layout.quote)


def _lines(path: Path, encoding: str, errors: str = "strict") -> Iterator[str]:
    """Yield a text's lines, which end where a line feed is."""
    with _opened(path) as file:
        number = 1
        try:
            if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
                with io.TextIOWrapper(file, encoding, errors, "\n") as lines:
                    for text in lines:
                        yield text
                        number += 1
                return
            for number, line in enumerate(file, start=1):
                line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                yield line.decode(encoding, errors)
        except UnicodeError as error:
            raise _bad_encoding(path, number, encoding) from error


def _bad_encoding(path: Path, line: int, encoding: str) -> DataError:
    return DataError("bad_encoding", path=path, line=line, encoding=encoding)


def _opening(path: Path, encoding: str) -> tuple[int, list[str]]:
    """Return the first line that is not blank, by its number, and it and the lines behind it."""
    found: list[str] = []
    first = size = 0
    for number, line in enumerate(_lines(path, encoding), start=1):
        if not found and not line.strip():
            continue
        first = first or number
        found.append(line)
        size += len(line)
        if len(found) == _LOOKED_AT or size > _SAMPLE:
            break
    return first, found


def _marked(path: Path) -> str | None:
    """Return the encoding that a mark at the front of a text tells."""
    with _opened(path) as file:
        return _MARKS.get(file.read(2))


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile | io.BufferedReader:
    """Open a file, or what is packed in it."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if magic == b"\x28\xb5\x2f\xfd":
        unpacked = zstandard.ZstdDecompressor().stream_reader(
            path.open("rb"), read_across_frames=True, closefd=True
        )
        return io.BufferedReader(unpacked)
    return path.open("rb")


# All bytes


class _Survey(NamedTuple):
    """What a text's bytes tell of its rows, by lines and by quotes.

    lines, rows: how many there are, blank ones at the end left out (`trailing`: there are such);
    even_lines, even_rows: whether all have as many fields; quoting: whether a quote begins a field;
    led: whether the first line has one; clean: whether every quote begins or ends a field, or is
    one of two; doubtful: whether quotes hold lines that look like rows; lengths: the bytes of each
    field, all lines together, where all have as many, or ().
    """

    lines: int
    rows: int
    even_lines: bool
    even_rows: bool
    quoting: bool
    led: bool
    clean: bool
    doubtful: bool
    trailing: bool
    lengths: tuple[int, ...]

    def plainly(self, rows: int) -> dict[str, Any]:
        """Return what a layout tells of a text of so many rows that Polars reads."""
        return {"plain": True, "last": rows, "trailing": self.trailing}


class _Counts(NamedTuple):
    """What a block tells: as a survey; least and most fields of a line and of a row."""

    lines: int
    rows: int
    line_fields: tuple[int, int]
    row_fields: tuple[int, int]
    quoting: bool = False
    clean: bool = True
    doubtful: bool = False
    returns: bool = False
    lengths: tuple[int, ...] = ()


def _survey(path: Path, layout: Layout) -> _Survey:
    """Look at every byte, on all cores."""
    separator, quote = layout.separator.encode(), layout.quote.encode()
    found: list[_Counts] = []
    led = b""
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        waiting: list[Future[_Counts]] = []
        blocks = _Blocks(path, quote)
        for block in blocks:
            led = led or block[: block.index(b"\n")]
            waiting.append(pool.submit(_count, block, separator[0], quote[0] if quote else None))
            if len(waiting) > 2 * pl.thread_pool_size():
                found.append(waiting.pop(0).result())
        found += [one.result() for one in waiting]

    def even(fields: Sequence[tuple[int, int]]) -> bool:
        return min(least for least, _ in fields) == max(most for _, most in fields)

    clean = blocks.cut_cleanly and all(one.clean for one in found)
    returns = blocks.lone_return or any(one.returns for one in found)
    return _Survey(
        lines=sum(one.lines for one in found),
        rows=sum(one.rows for one in found),
        even_lines=even([one.line_fields for one in found]) and not returns,
        even_rows=even([one.row_fields for one in found]),
        quoting=any(one.quoting for one in found),
        led=bool(quote) and quote in led,
        clean=clean and not blocks.lone_return,
        doubtful=any(one.doubtful for one in found),
        trailing=blocks.trailing,
        lengths=_added([one.lengths for one in found]),
    )


def _added(lengths: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the sums of the blocks' lengths; () where a block has none, or of other fields."""
    if len(set(map(len, lengths))) > 1:
        return ()
    return tuple(map(sum, zip(*lengths, strict=True)))


class _Blocks:
    """Blocks of whole rows of a text, each ended by a line feed: blank lines at the end are in
    none. DataError where they are not UTF-8.
    """

    def __init__(self, path: Path, quote: bytes) -> None:
        self.path, self.quote = path, quote
        self.cut_cleanly = True  # in no quotes
        self.lone_return = self.trailing = False

    def __iter__(self) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(UTF8)()
        kept = b""
        at_front = True
        with _opened(self.path) as file:
            while True:
                more = file.read(_BLOCK)
                if not (more and more.isascii() and not decoder.getstate()[0]):
                    self._check(decoder, more, file.tell() - len(more))
                whole = kept + (more.removeprefix(codecs.BOM_UTF8) if at_front else more)
                at_front = False
                end = len(whole) if not more else self._cut(whole)
                content = whole[:end].rstrip(b"\r\n")
                if not content:
                    kept = whole
                else:
                    kept = self._behind(whole[len(content) :])
                    yield content + b"\n"
                if not more:
                    self.trailing = bool(kept)
                    return

    def _check(self, decoder: codecs.IncrementalDecoder, more: bytes, start: int) -> None:
        try:
            decoder.decode(more, final=not more)
        except UnicodeDecodeError as error:
            left, line = start + error.start, 1
            with _opened(self.path) as file:
                while left > 0:
                    before = file.read(min(left, _BLOCK))
                    left, line = left - len(before), line + before.count(b"\n")
            raise _bad_encoding(self.path, line, UTF8) from error

    def _cut(self, whole: bytes) -> int:
        """Return where the last row ends, of a block that is not the last."""
        end = whole.rfind(b"\n")
        # To look for what is mostly not there is ten times as quick as to count it.
        quoted = self.quote and end > 0 and self.quote in whole
        quotes = whole.count(self.quote, 0, end) if quoted else 0
        place = end
        for _ in range(_TRIED):
            if place < 0 or not quotes % 2:
                return max(place, 0)
            before = whole.rfind(b"\n", 0, place)
            quotes -= whole.count(self.quote, max(before, 0), place)
            place = before
        self.cut_cleanly = False
        return max(end, 0)

    def _behind(self, rest: bytes) -> bytes:
        """Return what follows the end of a row's last line."""
        if rest.startswith(b"\r\n"):
            return rest[2:]
        self.lone_return |= rest.startswith(b"\r")
        return rest[1:]


def _count(block: bytes, separator: int, quote: int | None) -> _Counts:
    """Count the lines, rows and fields of a block of whole rows."""
    codes = np.frombuffer(block, np.uint8)
    lone = _lone_returns(block, codes)
    newlines = codes == _NEWLINE
    marked = (codes == separator) | newlines
    if quote is None or quote not in block:
        return _count_lines(block, newlines, np.flatnonzero(marked), len(lone) > 0)
    places = np.flatnonzero(marked | (codes == quote))
    kinds = codes[places]
    quotes = kinds == quote
    marks = ~quotes
    ends = kinds[marks] == _NEWLINE
    outside = np.cumsum(quotes)[marks] % 2 == 0
    fields = np.diff(np.flatnonzero(ends), prepend=-1)
    row_fields = np.diff(np.flatnonzero(ends[outside]), prepend=-1)
    places = places[quotes]
    before = np.where(places > 0, codes[places - 1], _NEWLINE)
    behind = codes[places[1::2] + 1]  # a block ends with a line feed
    quoting = (before == separator) | (before == _NEWLINE)
    opening = quoting[::2] | (before[::2] == quote)
    closing = (behind == separator) | (behind == quote)
    closing |= (behind == _NEWLINE) | (behind == _RETURN)
    lone_outside = np.searchsorted(places, lone) % 2 == 0
    clean = len(places) % 2 == 0 and opening.all() and closing.all() and not lone_outside.any()
    return _Counts(
        len(fields),
        len(row_fields),
        (int(fields.min()), int(fields.max())),
        (int(row_fields.min()), int(row_fields.max())) if len(row_fields) else (0, 0),
        bool(quoting.any()),
        bool(clean),
        bool(clean) and _are_doubtful(fields, outside[ends], row_fields),
        len(lone) > 0,
    )


def _count_lines(
    block: bytes, newlines: NDArray[np.bool_], marks: NDArray[np.int64], returns: bool
) -> _Counts:
    """Count the lines and fields of a block without quotes. newlines: which bytes end a line;
    marks: where fields end; returns: whether there are lone carriage returns.
    """
    lines = int(np.count_nonzero(newlines))
    width, rest = divmod(len(marks), lines)
    lengths: tuple[int, ...] = ()
    # With a line's end at each place of one, and no more ends than these, all lines are even.
    if not rest and newlines[marks[width - 1 :: width]].all():
        fields = width, width
        lengths = _lengths(marks, width)
        crs = block.count(b"\r") if b"\r" in block else 0
        lengths = (*lengths[:-1], lengths[-1] - crs)
    else:
        counts = np.diff(np.flatnonzero(newlines[marks]), prepend=-1)
        fields = int(counts.min()), int(counts.max())
    return _Counts(
        lines, lines, fields, fields, clean=not returns, returns=returns, lengths=lengths
    )


def _lengths(marks: NDArray[np.int64], width: int) -> tuple[int, ...]:
    """Return the bytes of each of `width` fields, all lines together. marks: where fields end."""
    ends = [int(marks[place::width].sum()) for place in range(width)]
    begins = [ends[-1] - int(marks[-1]) - 1, *ends[:-1]]  # one before the first byte
    lines = len(marks) // width
    return tuple(end - begin - lines for begin, end in zip(begins, ends, strict=True))


def _lone_returns(block: bytes, codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return where carriage returns are that no line feed follows."""
    if b"\r" not in block:
        return np.zeros(0, np.int64)
    returns = np.flatnonzero(codes[:-1] == _RETURN)
    lone: NDArray[np.int64] = returns[codes[returns + 1] != _NEWLINE]
    return lone


def _are_doubtful(
    fields: NDArray[np.int64], ends_row: NDArray[np.bool_], row_fields: NDArray[np.int64]
) -> bool:
    """Whether some row of several lines has in each as many fields as a row: its quotes, then, are
    perhaps none. fields, ends_row: of each line, whether a row ends with it.
    """
    if ends_row.all():
        return False
    starts = np.flatnonzero(np.concatenate([[True], ends_row[:-1]]))
    whole = np.logical_and.reduceat(fields == row_fields[0], starts)
    return bool((whole & (np.diff(starts, append=len(fields)) > 1)).any())
