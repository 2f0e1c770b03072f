"""Rows on disk, for a source larger than memory: a `Store` of memory-mapped files.

A column is a file of numbers, written while the source is read; the code that scans columns in
memory scans these, too. To sort rows, they are first divided by user into portions that fit into
memory. Arrays with one entry per user or item, and dictionaries of ids, stay in memory.
"""

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import DTypeLike, NDArray

from reprise.data.ordering import Codes, Mask, blocks, chunks_of, counts_of, size_of
from reprise.data.rows import Rows
from reprise.data.sequences import Sequences
from reprise.data.splits import Users
from reprise.data.store import ASIDE, NEEDED, TOLD, Held, Portion
from reprise.errors import DataError, WriteError
from reprise.text.messages import Say, unsaid

# Codes are used as array indices if the largest is below _ALLOWANCE, or if at least one in _SPARSE
# numbers below it occurs; otherwise they are renumbered.
_SPARSE, _ALLOWANCE = 4, 1 << 24
_NOT_TOLD = -1  # a missing category or title
_MOST_PORTIONS = 200  # each is an open file
# Bytes per row of a portion while it is sorted; per code, over all arrays indexed by code; per kept
# user or item, for what is built after the rows are divided.
_SORTED, _OF_CODE, _OF_ID = 96, 48, 64
_SORTED_TARGET = 48  # more, where the rows have targets
_SPARE = 300_000_000  # bytes for blocks, and for the sorting threads beside the portion
_PORTION = 1_000_000, 1 << 25  # rows: minimum, maximum
# Maximum bytes per row on disk: the columns (twice, for a k-core), the portions and the items and
# times of three splits; and for each further column.
_ON_DISK = 80
_ON_DISK_MORE = {"category": 16, "title": 16, "target": 8}
_APART = (*TOLD, "target")  # columns that stay in their files
_GB = 10**9
_OWN = 2**28  # bytes that the program has allocated when it starts to read


class Spill:
    """A `Store` with files in an empty folder, which allocates at most `memory` bytes."""

    def __init__(self, folder: Path, memory: int, say: Say = unsaid) -> None:
        self._folder, self._memory, self._say = folder, memory, say
        # Memory that the process already holds, such as frames of a notebook, does not count.
        self._before = max(0, _allocated() - _OWN)
        self._made = 0
        # By column: its file, and an empty series with its type and dictionary of categories.
        self._files: dict[str, tuple[Path, pl.Series]] = {}

    # The whole frame

    def expect(self, rows: int, columns: Collection[str]) -> None:
        """Report the memory and disk to be used; WriteError if the disk is too small."""
        free = shutil.disk_usage(self._folder).free
        needed = rows * (_ON_DISK + sum(_ON_DISK_MORE.get(name, 0) for name in columns))
        folder = self._folder.parent.parent
        facts = {"folder": folder, "disk": _in_gb(needed), "free": _in_gb(free)}
        if needed > free:
            raise WriteError("disk_too_small", rows=f"{rows:,}", **facts)
        key = "spill_plan" if rows else "spill_plan_unknown"
        self._say(key, rows=f"{rows:,}", memory=_in_gb(self._memory), **facts)

    def hold(self, batches: Iterable[pl.DataFrame]) -> Held:
        """Write batches, without the rows that lack a user, an item or a time."""
        self._clear()
        rows = written = 0
        nulls: dict[str, int] = {}
        with ExitStack() as opened:
            files: dict[str, Any] = {}
            for batch in batches:
                for column in batch:
                    name = column.name
                    missing = column.null_count()
                    nulls[name] = nulls.get(name, rows) + missing
                    if name not in files:
                        path = self._new(name)
                        files[name] = opened.enter_context(path.open("wb"))
                        self._files[name] = path, column.clear()
                        files[name].write(np.full(written, _NOT_TOLD, np.int64).data)
                for name in files.keys() - set(batch.columns):
                    nulls[name] += len(batch)
                rows += len(batch)
                whole = batch.drop_nulls([name for name in NEEDED if name in batch.columns])
                written += len(whole)
                for name, file in files.items():
                    if name in whole.columns:
                        file.write(_numbers(whole[name]).data)
                    else:
                        file.write(np.full(len(whole), _NOT_TOLD, np.int64).data)
                self._refuse_too_much(0)
        return Held(self._frame(), rows, nulls)

    def cast(self, frame: pl.DataFrame, name: str, dtype: type[pl.Int64]) -> pl.DataFrame:
        """Rewrite the column."""
        numbers = (block.astype(np.int64) for _, block in blocks(chunks_of(frame[name])))
        self._write(name, pl.Series(name, [], dtype), numbers)
        return self._frame()

    def filtered(self, frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        """Rewrite all columns."""
        for name, (path, empty) in list(self._files.items()):
            numbers = self._mapped(path, _dtype(empty))
            self._write(name, empty, (numbers[own][kept] for own, kept in rows.masks()))
        return self._frame()

    def left(self, frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        """Write the rows to files of their own, in one pass."""
        names = [name for name in ASIDE if name in self._files]
        columns = [
            self._mapped(path, _dtype(empty))
            for path, empty in (self._files[name] for name in names)
        ]
        paths = [self._new(f"{name}-aside") for name in names]
        with ExitStack() as opened:
            files = [opened.enter_context(path.open("wb")) for path in paths]
            for own, kept in rows.masks():
                if not kept.all():
                    for file, column in zip(files, columns, strict=True):
                        file.write(column[own][~kept].data)
        return pl.DataFrame(
            [
                self._read(name, path, self._files[name][1])
                for name, path in zip(names, paths, strict=True)
            ]
        )

    def codes(self, column: pl.Series) -> Codes:
        """Return the column's numbers, or their ranks among those that occur if they are sparse."""
        codes = chunks_of(column if column.dtype == pl.UInt32 else column.to_physical())
        size = size_of(codes)
        if size <= _ALLOWANCE:
            self._refuse_too_much(_OF_CODE * size)
            return codes
        occurring = _Occurring(codes, size)
        if size <= _SPARSE * occurring.count:
            self._refuse_too_much(_OF_CODE * size)
            return codes
        self._refuse_too_much(_OF_CODE * occurring.count)
        path = self._new("codes")
        _append(path, (occurring.places(block) for _, block in blocks(codes)))
        return [self._mapped(path, np.uint32)]

    # Targets, categories and titles

    def targets(self, frame: pl.DataFrame) -> Sequence[Mask] | None:
        """Return the column of targets, memory-mapped."""
        if "target" not in self._files:
            return None
        return [self._mapped(self._files["target"][0], np.bool_)]

    def told(self, frame: pl.DataFrame) -> list[str]:
        """Return which of TOLD have a file."""
        return [name for name in TOLD if name in self._files]

    def first_told(
        self, frame: pl.DataFrame, items: Codes, rows: NDArray[np.int64], size: int
    ) -> pl.DataFrame:
        """Scan all rows backwards, so that the first value overwrites later ones."""
        asked = items[0][rows]  # the codes are one chunk, a file
        found = {}
        for name in self.told(frame):
            first = np.full(size, _NOT_TOLD, np.int64)
            for own, block in reversed(list(blocks(items))):
                told = self._column(name)[own]
                known = told >= 0
                first[block[known][::-1]] = told[known][::-1]
            found[name] = self._values(name, first[asked])
        return pl.DataFrame(found)

    def least_told(self, frame: pl.DataFrame, items: Codes) -> pl.DataFrame:
        """Scan all rows for the lowest rank of each item's value among all values, sorted."""
        size = size_of(items)
        first_row = np.full(size, -1, np.int64)
        for own, block in reversed(list(blocks(items))):
            first_row[block[::-1]] = np.arange(own.stop - 1, own.start - 1, -1)
        occurring = np.flatnonzero(first_row >= 0)
        found = {"item": frame["item"].gather(first_row[occurring]).cast(pl.String)}
        for name in self.told(frame):
            values = np.zeros(0, np.int64)
            for _, block in blocks([self._column(name)]):
                values = np.union1d(values, block)
            values = values[values >= 0]
            texts = self._values(name, values).cast(pl.String)
            by_text = texts.arg_sort().to_numpy()
            places = np.empty(len(values), np.int64)
            places[by_text] = np.arange(len(values))
            least = np.full(size, len(values), np.int64)
            for own, block in blocks(items):
                told = self._column(name)[own]
                known = told >= 0
                np.minimum.at(least, block[known], places[np.searchsorted(values, told[known])])
            chosen = np.append(by_text, -1)[least[occurring]]
            found[name] = texts.gather(pl.Series(chosen).replace(-1, None))
        return pl.DataFrame(found)

    # Portions

    def portions(
        self, rows: Rows, ranks: NDArray[np.int32], ids: NDArray[np.int32], total: int
    ) -> Iterator[Portion]:
        """Divide the rows into one file per portion, in one pass, and read file after file."""
        ends = np.zeros(total + 1, np.int64)
        counts = counts_of(rows.users, len(rows.active), rows.items, rows.popular)
        ends[ranks[rows.active] + 1] = counts[rows.active]
        ends = np.cumsum(ends)
        a_row = _SORTED + (0 if rows.targets is None else _SORTED_TARGET)
        most = self._rows_of_portion(total + int(ids.max()), int(ends[-1]), a_row)
        bounds = [0]
        while bounds[-1] < total:
            end = int(np.searchsorted(ends, ends[bounds[-1]] + most, side="right")) - 1
            bounds.append(max(end, bounds[-1] + 1))
        fields: list[tuple[str, Any]] = [("rank", "i4"), ("id", "i4")]
        fields.append(("time", rows.times[0].dtype))
        fields += [] if rows.targets is None else [("target", "?")]
        record = np.dtype(fields)
        paths = [self._new("portion") for _ in bounds[1:]]
        with ExitStack() as opened:
            files = [opened.enter_context(path.open("wb")) for path in paths]
            inner = np.array(bounds[1:-1], np.int32)
            for stretch in rows:
                records = np.empty(len(stretch.users), record)
                records["rank"], records["id"] = ranks[stretch.users], ids[stretch.items]
                records["time"] = stretch.times
                if stretch.targets is not None:
                    records["target"] = stretch.targets
                places = np.searchsorted(inner, records["rank"], side="right").astype(np.uint16)
                records = records[np.argsort(places, kind="stable")]
                parts = np.cumsum(np.bincount(places, minlength=len(files)))[:-1]
                for file, part in zip(files, np.split(records, parts), strict=True):
                    file.write(part.data)
        for first, end, path in zip(bounds, bounds[1:], paths, strict=False):
            records = np.fromfile(path, record)
            path.unlink()
            numbers = [np.ascontiguousarray(records[name]) for name, _ in fields]
            del records
            own = numbers[0] - np.int32(first)
            yield Portion(first, end - first, total, int(ends[-1]), own, *numbers[1:])

    def joined(self, splits: Iterable[Mapping[str, Users]]) -> dict[str, Users]:
        """Join the items in files, and arrays with one entry per user in memory."""
        files: dict[str, Path] = {}
        beside: dict[tuple[str, str], Path] = {}  # by split and array
        parts: dict[str, list[Users]] = {}
        lengths: dict[str, list[NDArray[np.int64]]] = {}
        for portion in splits:
            for split, users in portion.items():
                if split not in files:
                    files[split], parts[split], lengths[split] = self._new(split), [], []
                own = users.sequences
                _append(files[split], [own.items])
                for name, array in (("targets", own.targets), ("times", own.times)):
                    if array is not None:
                        path = beside.setdefault((split, name), self._new(f"{split}-{name}"))
                        _append(path, [array])
                empty = Sequences(np.zeros(1, np.int64), np.zeros(0, np.int32))
                parts[split].append(Users(users.raw_ids, empty, users.known))
                lengths[split].append(own.lengths)
        return {
            split: Users(
                pl.concat([part.raw_ids for part in own]),
                Sequences(
                    np.append(0, np.cumsum(np.concatenate(lengths[split]))),
                    self._mapped(files[split], np.int32),
                    self._beside(beside.get((split, "targets")), np.bool_),
                    self._beside(beside.get((split, "times")), np.int64),
                ),
                _joined_known([part.known for part in own]),
            )
            for split, own in parts.items()
        }

    # Memory

    def _rows_of_portion(self, ids: int, rows: int, a_row: int) -> int:
        """Return the maximum rows of a portion, of `a_row` bytes each while they are sorted;
        DataError if the memory does not suffice.
        """
        least = min(_PORTION[0], rows)
        self._refuse_too_much(_OF_ID * ids + a_row * least + _SPARE)
        free = self._memory - self._used() - _OF_ID * ids - _SPARE
        return max(min(free // a_row, _PORTION[1]), -(-rows // _MOST_PORTIONS))

    def _refuse_too_much(self, more: int) -> None:
        needed = self._used() + more
        if needed > self._memory:
            least = _in_gb(needed + _GB // 10)
            raise DataError("memory_too_small", limit=_in_gb(self._memory), least=least)

    def _used(self) -> int:
        return _allocated() - self._before

    # Files

    def _new(self, name: str) -> Path:
        self._made += 1
        return self._folder / f"{self._made}-{name}"

    def _clear(self) -> None:
        for path, _ in self._files.values():
            path.unlink(missing_ok=True)
        self._files.clear()

    def _write(self, name: str, empty: pl.Series, numbers: Iterable[NDArray[Any]]) -> None:
        """Replace a column by these numbers."""
        path = self._new(name)
        _append(path, numbers)
        self._files[name][0].unlink()
        self._files[name] = path, empty

    def _frame(self) -> pl.DataFrame:
        """Return the columns except _APART, memory-mapped."""
        return pl.DataFrame([self._series(name) for name in self._files if name not in _APART])

    def _series(self, name: str) -> pl.Series:
        return self._read(name, *self._files[name])

    def _read(self, name: str, path: Path, empty: pl.Series) -> pl.Series:
        numbers = pl.Series(name, self._mapped(path, _dtype(empty)))
        return numbers.cat.to(empty.dtype) if isinstance(empty.dtype, pl.Categorical) else numbers

    def _column(self, name: str) -> NDArray[np.int64]:
        """Return a column of TOLD as numbers [N], memory-mapped; _NOT_TOLD if missing."""
        return self._mapped(self._files[name][0], np.int64)

    def _values(self, name: str, codes: NDArray[np.int64]) -> pl.Series:
        """Return the values that numbers of a column of TOLD stand for."""
        empty = self._files[name][1]
        numbers = pl.Series(name, codes).replace(_NOT_TOLD, None).cast(pl.UInt32)
        return numbers.cat.to(empty.dtype) if isinstance(empty.dtype, pl.Categorical) else numbers

    def _beside(self, path: Path | None, dtype: DTypeLike) -> NDArray[Any] | None:
        return None if path is None else self._mapped(path, dtype)

    @staticmethod
    def _mapped(path: Path, dtype: DTypeLike) -> NDArray[Any]:
        """Return a file's numbers [N], memory-mapped."""
        if not path.exists() or not path.stat().st_size:  # an empty file cannot be mapped
            return np.zeros(0, dtype)
        return np.memmap(path, dtype, "r")


class _Occurring:
    """A set of numbers below `size`: one bit per number, and the count before every 64th."""

    def __init__(self, codes: Codes, size: int) -> None:
        bits = np.zeros(-(-size // 64) * 8, np.uint8)
        for _, block in blocks(codes):
            numbers = np.unique(block)
            place, bit = numbers >> 3, np.uint8(1) << (numbers & 7).astype(np.uint8)
            starts = np.flatnonzero(np.diff(place, prepend=np.uint32(2**32 - 1)))
            bits[place[starts]] |= np.bitwise_or.reduceat(bit, starts)
        self._words = bits.view(np.dtype("<u8"))
        counts = np.bitwise_count(self._words)
        self._before = np.cumsum(counts, dtype=np.uint32) - counts
        self.count = int(counts.sum(dtype=np.int64))

    def places(self, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return the rank of each number among those that occur."""
        word = numbers >> 6
        below = (np.uint64(1) << (numbers & 63).astype(np.uint64)) - np.uint64(1)
        places: NDArray[np.uint32] = self._before[word]
        places += np.bitwise_count(self._words[word] & below)
        return places


def _in_gb(size: int) -> str:
    return f"{size / _GB:.1f}"


def _append(path: Path, arrays: Iterable[NDArray[Any]]) -> None:
    with path.open("ab") as file:
        for array in arrays:
            file.write(np.ascontiguousarray(array).data)


def _dtype(empty: pl.Series) -> DTypeLike:
    """Return the type in which a column like this is stored."""
    if empty.name in TOLD:
        return np.int64
    stored: DTypeLike = empty.to_physical().to_numpy().dtype
    return stored


def _numbers(column: pl.Series) -> NDArray[Any]:
    """Return a column's numbers, in the type in which they are stored."""
    physical = column.to_physical()
    if column.name in TOLD:
        physical = physical.cast(pl.Int64).fill_null(_NOT_TOLD)
    return np.ascontiguousarray(physical.to_numpy())


def _joined_known(parts: list[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def _allocated() -> int:
    """Return the bytes that this process has allocated, without mapped files, which the system
    can reclaim; 0 on systems that do not report it.
    """
    try:
        _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
