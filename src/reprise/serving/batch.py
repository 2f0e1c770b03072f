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
from polars.io.plugins import register_io_source

from reprise import durable
from reprise.data.files import require_file
from reprise.data.ids import spelled_one, spelled_series
from reprise.data.readers import tables
from reprise.data.readers.columns import UNNAMED, find, plain, some
from reprise.data.readers.format import Part
from reprise.errors import DataError, UsageError
from reprise.retrieval.ranking import NO_ITEM
from reprise.serving.catalogue import Catalogue
from reprise.serving.lists import Answer, Query, answers
from reprise.serving.recommender import Counts, Recommender
from reprise.serving.times import When, known_ones, when_of
from reprise.text.messages import Phrase
from reprise.text.shown import shown_in_csv

HISTORIES = ("history", "raw_ids", "items")  # names of the column, the surest first
TIMES = ("times", "request_time")  # names of the columns of times
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
) -> Counts:
    """Write the answers to a query about each history of a file, atomically; return what was read.

    progress: called with the number of users whose lists are written.
    """
    counts, waiting = Counts(), deque[str | None]()  # users who are read and not yet written
    queries = _queries(model, source, query, waiting, counts)
    answered = answers(model.model, queries)

    def parts() -> Iterator[_Part]:
        first = 0
        while (some := list(islice(answered, _ANSWERS))) or not first:
            users = [waiting.popleft() for _ in some] if source.named else None
            yield _Part(first, users, some)
            if not some:
                return
            first += len(some)
            progress(first)

    write = _WRITERS[output.suffix]
    durable.make_folder(output.absolute().parent)
    durable.publish_file(
        output, lambda draft: write(draft, parts(), model.catalogue, query.explain)
    )
    return counts


class _Part(NamedTuple):
    """Answers to write, numbered from `first`, and their users, where the file has them."""

    first: int
    users: list[str | None] | None
    answers: list[Answer]


def _frames_of(
    parts: Iterator[_Part], catalogue: Catalogue, explain: bool
) -> Iterator[pl.DataFrame]:
    """Yield answers as `Recommender.recommend` returns them, with the user beside the history."""
    for part in parts:
        frame = catalogue.as_frame(part.answers, part.first, explain)
        if part.users is not None:
            users = pl.Series("user", part.users, pl.String)
            frame.insert_column(1, users.gather(frame["history"] - part.first))
        yield frame


def _write_parquet(path: Path, parts: Iterator[_Part], catalogue: Catalogue, explain: bool) -> None:
    frames = _frames_of(parts, catalogue, explain)
    first = next(frames)
    source = register_io_source(lambda *_: chain([first], frames), schema=first.schema)
    source.sink_parquet(path, compression="zstd")


def _write_csv(path: Path, parts: Iterator[_Part], catalogue: Catalogue, explain: bool) -> None:
    frames = _frames_of(parts, catalogue, explain)
    with path.open("xb") as file:
        for place, frame in enumerate(frames):
            frame.select(map(_csv_column, frame)).write_csv(file, include_header=place == 0)


def _csv_column(column: pl.Series) -> pl.Series:
    """Return a column as CSV holds it: lists as JSON, and no text of an item that is a formula."""
    if column.dtype == pl.List:
        texts = [json.dumps(one.to_list(), ensure_ascii=False) for one in column]
        return pl.Series(column.name, texts, pl.String)
    return column.map_elements(shown_in_csv, pl.String) if column.name == "title" else column


def _write_lines(path: Path, parts: Iterator[_Part], catalogue: Catalogue, explain: bool) -> None:
    with path.open("x", encoding="utf-8") as file:
        for part in parts:
            for place, answer in enumerate(part.answers):
                user = {} if part.users is None else {"user": part.users[place]}
                line = {"history": part.first + place, **user, **catalogue.as_json(answer)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


_WRITERS = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_lines}
OUTPUTS = tuple(_WRITERS)


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


def _queries(
    model: Recommender,
    source: Source,
    query: Query,
    waiting: deque[str | None],
    counts: Counts,
) -> Iterator[Query]:
    """Yield a query for each row, and note its user."""
    for frame in _frames(source):
        lengths, ids = _flat(frame["item"])
        numbers = model.catalogue.numbers(ids)
        waiting.extend(frame["user"] if source.named else [])
        histories = np.split(numbers, np.cumsum(lengths)[:-1])
        for own, when in zip(histories, _whens(source, frame, lengths), strict=True):
            known = own != NO_ITEM
            unknown = len(own) - int(known.sum())
            one = replace(query, history=own[known], unknown=unknown, when=known_ones(when, known))
            counts.add(model.model, one)
            yield one


def _whens(source: Source, frame: pl.DataFrame, lengths: list[int]) -> Iterator[When]:
    """Yield the times of each row; DataError for what is wrong with them, and where."""
    nothing: list[Any] = [None] * len(frame)
    times = _times_of(frame["times"]) if "times" in source.has else nothing
    asked = frame["request_time"].to_list() if "request_time" in source.has else nothing
    for line, own, request, size in zip(frame["line"], times, asked, lengths, strict=True):
        try:
            yield when_of(own, request if request != "" else None, size)
        except UsageError as error:
            reason = Phrase(error.key, **error.values)
            raise DataError(
                "histories_times", path=source.path, line=line, reason=reason
            ) from error


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
