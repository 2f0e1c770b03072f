"""Recommend to the users of a file, as many as there are, in little memory.

In: Parquet, Arrow, CSV or JSON lines with a row per user: a column `history` (or `raw_ids`,
`items`) of raw item ids, oldest first, and optionally `user`, `times` (a list or a text of as many
times) and `request_time`. A history is a list or a text (`ids_in`). Out: Parquet or CSV with the
rows of `Recommender.recommend`, or JSON lines with an answer per user.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from reprise import durable
from reprise.data.files import require_file
from reprise.data.ids import spelled_one, spelled_series
from reprise.data.readers import tables
from reprise.data.readers.columns import UNNAMED, find, plain, some
from reprise.data.readers.format import Part
from reprise.data.sequences import Sequences
from reprise.errors import DataError, UsageError
from reprise.retrieval.ranking import NO_ITEM, Ranking
from reprise.retrieval.vectors import CHUNK
from reprise.serving.lists import Answer, Query, answers, rankings
from reprise.serving.recommender import Counts, Recommender
from reprise.serving.times import TIMES, When, known_ones, whens_of
from reprise.text.shown import shown_in_csv

HISTORIES = ("history", "raw_ids", "items")  # names of the column, the surest first
_ROWS = 4096  # users read at a time
_ANSWERS = 1024  # users written at a time


class Source(NamedTuple):
    """A file of histories: its rows, with line, item, and where it has them user, times and
    request_time, what makes an error of a failure to read it, and how many rows it has (0:
    unknown).
    """

    path: Path
    part: Part
    has: frozenset[str]

    @property
    def named(self) -> bool:
        """Whether the users are named."""
        return "user" in self.has

    @property
    def size(self) -> int:
        """Number of rows; 0 where nobody has counted them."""
        return self.part.size


def open_histories(path: Path) -> Source:
    """Open a file of histories; DataError where it has no column of them."""
    require_file(path)
    names = tables.names_of(path)
    by_plain = {plain(name): name for name in names[::-1]}
    column = next((by_plain[one] for one in map(plain, HISTORIES) if one in by_plain), None)
    if column is None:
        raise DataError("histories_no_column", path=path, columns=some(names))
    named = {"item": column}
    named |= {one: by_plain[plain(one)] for one in TIMES if plain(one) in by_plain}
    others = [name for name in names if name not in named.values()]
    user = find(path, others, UNNAMED).get("user")
    named |= {} if user is None else {"user": user}
    part = tables.scan_rows(path, named)
    kind = part.rows.collect_schema()["item"]
    inner = kind.inner if isinstance(kind, pl.List | pl.Array) else None
    # Of integers called `items`, nobody can tell whether they are raw ids or item numbers.
    if plain(column) == "items" and inner is not None and inner.is_integer():
        raise DataError("histories_numbers", path=path, column=column)
    if kind != pl.String and (inner is None or inner.is_nested()):
        raise DataError("histories_no_lists", path=path, column=column, kind=kind)
    return Source(path, part, frozenset(named) - {"item"})


def write_lists(
    model: Recommender,
    source: Source,
    query: Query,
    output: Path,
    progress: Callable[[int], None] = lambda users: None,
    writes: bool = True,
) -> Counts:
    """Write the answers to a query about each history of a file, atomically; return what was read.

    progress: called with the number of users whose lists are written. writes: False in a process
    that takes part in the search, and leaves the writing to another one.
    """
    counts, waiting = Counts(), deque[str | None]()  # users who are read and not yet written
    read = _histories(model, source, waiting, counts)

    def users(size: int) -> list[str | None] | None:
        return [waiting.popleft() for _ in range(size)] if source.named else None

    def frames() -> Iterator[pl.DataFrame]:
        done = 0
        for size, frame in _tables(model, query, read):
            if (own := users(size)) is not None:
                names = pl.Series("user", own, pl.String)
                frame.insert_column(1, names.gather(frame["history"] - done))
            yield frame
            done += size
            progress(done)

    def lines() -> Iterator[dict[str, Any]]:
        done = 0
        for part in _answered(model, query, read):
            own = users(len(part))
            for place, answer in enumerate(part):
                user = {} if own is None else {"user": own[place]}
                yield {"history": done + place, **user, **model.catalogue.as_json(answer)}
            done += len(part)
            progress(done)

    def write(draft: Path) -> None:
        if output.suffix == ".jsonl":
            _write_lines(draft, lines())
        else:
            (_write_csv if output.suffix == ".csv" else _write_parquet)(draft, frames())

    if not writes:
        for _ in lines() if output.suffix == ".jsonl" else frames():
            pass
        return counts
    durable.make_folder(output.absolute().parent)
    durable.publish_file(output, write)
    return counts


class _Read(NamedTuple):
    """Histories of known items, of at most CHUNK users, how many items of each are unknown, and
    their times.
    """

    histories: Sequences
    unknown: NDArray[np.int64]
    whens: list[When]


def _tables(
    model: Recommender, query: Query, read: Iterator[_Read]
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield lists as `Recommender.recommend` returns them, and of how many users they are."""
    done, catalogue = 0, model.catalogue
    if query.explain:
        for part in _answered(model, query, read):
            yield len(part), catalogue.as_frame(part, done, explain=True)
            done += len(part)
        return
    found = rankings(model.model, query, ((one.histories, one.whens) for one in read))
    while (parts := list(islice(found, _ANSWERS // CHUNK))) or not done:
        empty = Ranking(*(np.zeros((0, 1), kind) for kind in (np.int64, np.float32, np.int32)))
        ranking = Ranking(*map(np.concatenate, zip(*parts, strict=True))) if parts else empty
        yield len(ranking.ids), catalogue.as_frame_of(ranking, done)
        if not parts:
            return
        done += len(ranking.ids)


def _answered(model: Recommender, query: Query, read: Iterator[_Read]) -> Iterator[list[Answer]]:
    """Yield the answers to a query about each history, at least one part, which may be empty."""
    queries = (
        replace(query, history=own, unknown=int(unknown), when=when)
        for histories, of_users, whens in read
        for own, unknown, when in zip(
            np.split(histories.items, histories.offsets[1:-1]), of_users, whens, strict=True
        )
    )
    found = answers(model.model, queries)
    yield list(islice(found, _ANSWERS))
    while part := list(islice(found, _ANSWERS)):
        yield part


def _write_parquet(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    first = next(frames)
    source = register_io_source(lambda *_: chain([first], frames), schema=first.schema)
    source.sink_parquet(path, compression="zstd")


def _write_csv(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    with path.open("xb") as file:
        for place, frame in enumerate(frames):
            frame.select(map(_csv_column, frame)).write_csv(file, include_header=place == 0)


def _csv_column(column: pl.Series) -> pl.Series:
    """Return a column as CSV holds it: lists as JSON, and no text of an item that is a formula."""
    if column.dtype == pl.List:
        texts = [json.dumps(one.to_list(), ensure_ascii=False) for one in column]
        return pl.Series(column.name, texts, pl.String)
    return column.map_elements(shown_in_csv, pl.String) if column.name == "title" else column


def _write_lines(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    with path.open("x", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


OUTPUTS = (".parquet", ".csv", ".jsonl")


def check_output(path: Path, overwrite: bool) -> None:
    """Raise UsageError unless lists can be written to a path."""
    if path.suffix not in OUTPUTS:
        raise UsageError(
            "bad_value", option="output", value=str(path), expected=" | ".join(OUTPUTS)
        )
    if path.exists() and not overwrite:
        raise UsageError("output_exists", path=path)


def ids_in(text: str) -> list[Any]:
    """Return the ids in a text: separated by blanks, or a JSON list of them."""
    if not text.lstrip().startswith("["):
        return text.split()
    try:
        ids = json.loads(text)
    except ValueError:
        return text.split()
    return ids if isinstance(ids, list) else text.split()


def _histories(
    model: Recommender, source: Source, waiting: deque[str | None], counts: Counts
) -> Iterator[_Read]:
    """Yield the histories of the rows, and note their users."""
    for frame in _frames(source):
        of_users, ids = _flat(frame["item"])
        lengths, numbers = np.array(of_users, np.int64), model.catalogue.numbers(ids)
        waiting.extend(frame["user"] if source.named else [])
        before = np.concatenate([[0], np.cumsum(numbers != NO_ITEM)])
        offsets = before[np.concatenate([[0], np.cumsum(lengths)])]
        known = numbers[numbers != NO_ITEM]
        unknown = lengths - np.diff(offsets)
        masks = np.split(numbers != NO_ITEM, np.cumsum(lengths)[:-1])
        whens = [
            known_ones(when, mask)
            for when, mask in zip(_whens(source, frame, of_users), masks, strict=True)
        ]
        for when in whens:
            counts.add_when(model.model, when)
        counts.histories += len(lengths)
        counts.items += len(numbers)
        counts.unknown += int(unknown.sum())
        counts.empty += int((np.diff(offsets) == 0).sum())
        for start in range(0, len(lengths), CHUNK):
            own = offsets[start : start + CHUNK + 1]
            histories = Sequences(own - own[0], known[own[0] : own[-1]])
            some = slice(start, start + CHUNK)
            yield _Read(histories, unknown[some], whens[some])


def _whens(source: Source, frame: pl.DataFrame, lengths: list[int]) -> Iterator[When]:
    """Return the times of each row, see `whens_of`."""
    nothing: list[Any] = [None] * len(frame)
    times = _times_of(frame["times"]) if "times" in source.has else nothing
    asked = frame["request_time"].to_list() if "request_time" in source.has else nothing
    requests = (None if request == "" else request for request in asked)
    return whens_of(source.path, frame["line"], times, requests, lengths)


def _times_of(column: pl.Series) -> Iterator[Any]:
    """Yield the times of each row, None where it has none."""
    for own in column:
        if isinstance(own, str):
            yield ids_in(own) or None
        else:
            yield None if own is None else list(own)


def _frames(source: Source) -> Iterator[pl.DataFrame]:
    """Yield the rows in frames of item and user, whose ids are text."""
    rows = source.part.rows
    try:
        for frame in rows.collect_batches(chunk_size=_ROWS, maintain_order=True):
            if source.named:
                frame = frame.with_columns(user=spelled_series(frame["user"]))
            yield from frame.iter_slices(_ROWS)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise source.part.refuse(error) from error


def _flat(lists: pl.Series) -> tuple[list[int], list[str | None]]:
    """Return the lengths of histories, and their ids as text, one after another."""
    if lists.dtype == pl.String:
        own = [[] if text is None else ids_in(text) for text in lists]
        return [len(one) for one in own], [spelled_one(raw_id) for one in own for raw_id in one]
    lengths = lists.list.len().fill_null(0)
    flat = spelled_series(lists.filter(lengths > 0).explode())
    return lengths.to_list(), flat.to_list()
