"""Rows on disk, for a source larger than memory: a `Store` of memory-mapped files.

A column is a file of numbers, written as it is read, and looked at by the same code as one in
memory, from its begin to its end. What must be sorted is parted by users first, into portions that
memory does hold. What has an entry a user or an item, dictionaries of ids too, stays in memory.
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
from reprise.data.store import NEEDED, TOLD, Held, Portion
from reprise.errors import DataError, WriteError
from reprise.text.messages import Say, unsaid

_SPARSE, _ALLOWANCE = 4, 1 << 24  # numbers a value that occurs, that arrays over all numbers hold
_NOT_TOLD = -1
_MOST_PORTIONS = 200  # files that are open at once
# Bytes: of a row while its portion is sorted; of a code, in all arrays of an entry a code; of a
# user or item that is kept, in what is made of them once the rows are parted.
_SORTED, _OF_CODE, _OF_ID = 64, 48, 64
_SORTED_TARGET = 48  # of a row, more, where not all are to be found
_SPARE = 300_000_000  # for blocks, and what the threads that sort need beside the portion
_PORTION = 1_000_000, 1 << 25  # rows: at least, at most
# Bytes of a row on disk, at most: columns (again where a core is taken of them), portions, items of
# three splits; and of what else it tells.
_ON_DISK = 56
_ON_DISK_MORE = {"category": 16, "title": 16, "target": 8}
_APART = (*TOLD, "target")  # columns that stay in their files
_GB = 10**9
_OWN = 2**28  # bytes that the program allocates before it reads


class Spill:
    """Holds rows as files in an empty folder, with a given number of bytes of memory."""

    def __init__(self, folder: Path, memory: int, say: Say = unsaid) -> None:
        self._folder, self._memory, self._say = folder, memory, say
        # What else the process holds, such as a notebook's frames, is not of this preparation.
        self._before = max(0, _allocated() - _OWN)
        self._made = 0
        # By column: the file, and an empty column of its type, which keeps the dictionary.
        self._files: dict[str, tuple[Path, pl.Series]] = {}

    # Holding

    def expect(self, rows: int, columns: Collection[str]) -> None:
        """Say what will be used; WriteError where the disk has not as much."""
        free = shutil.disk_usage(self._folder).free
        needed = rows * (_ON_DISK + sum(_ON_DISK_MORE.get(name, 0) for name in columns))
        folder = self._folder.parent.parent
        facts = {"folder": folder, "disk": _in_gb(needed), "free": _in_gb(free)}
        if needed > free:
            raise WriteError("disk_too_small", rows=f"{rows:,}", **facts)
        key = "spill_plan" if rows else "spill_plan_unknown"
        self._say(key, rows=f"{rows:,}", memory=_in_gb(self._memory), **facts)

    def hold(self, batches: Iterable[pl.DataFrame]) -> Held:
        """Write batches; rows without a user, an item or a time are left out."""
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
        """Write the column anew."""
        numbers = (block.astype(np.int64) for _, block in blocks(chunks_of(frame[name])))
        self._write(name, pl.Series(name, [], dtype), numbers)
        return self._frame()

    def filtered(self, frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        """Write all columns anew."""
        for name, (path, empty) in list(self._files.items()):
            numbers = self._mapped(path, _dtype(empty))
            self._write(name, empty, (numbers[own][kept] for own, kept in rows.masks()))
        return self._frame()

    def codes(self, column: pl.Series) -> Codes:
        """Return the numbers themselves, or where they are far apart, their places among those that
        occur.
        """
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

    # What rows tell

    def targets(self, frame: pl.DataFrame) -> Sequence[Mask] | None:
        """Return the column, mapped."""
        if "target" not in self._files:
            return None
        return [self._mapped(self._files["target"][0], np.bool_)]

    def told(self, frame: pl.DataFrame) -> list[str]:
        """Return the columns that the files are of."""
        return [name for name in TOLD if name in self._files]

    def first_told(
        self, frame: pl.DataFrame, items: Codes, rows: NDArray[np.int64], size: int
    ) -> pl.DataFrame:
        """Look at all rows, from the last to the first."""
        asked = items[0][rows]  # of one file
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
        """Look at all rows, for the place of what they tell among all that is told, sorted."""
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
        """Part the rows into files, in one pass, and read these one after another."""
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
        """Write the items; what has an entry a user is joined in memory."""
        files: dict[str, Path] = {}
        targets: dict[str, Path] = {}
        parts: dict[str, list[Users]] = {}
        lengths: dict[str, list[NDArray[np.int64]]] = {}
        for portion in splits:
            for split, users in portion.items():
                if split not in files:
                    files[split], parts[split], lengths[split] = self._new(split), [], []
                own = users.sequences
                _append(files[split], [own.items])
                if own.targets is not None:
                    _append(targets.setdefault(split, self._new(f"{split}-targets")), [own.targets])
                empty = Sequences(np.zeros(1, np.int64), np.zeros(0, np.int32))
                parts[split].append(Users(users.raw_ids, empty, users.known))
                lengths[split].append(own.lengths)
        return {
            split: Users(
                pl.concat([part.raw_ids for part in own]),
                Sequences(
                    np.append(0, np.cumsum(np.concatenate(lengths[split]))),
                    self._mapped(files[split], np.int32),
                    self._mapped(targets[split], np.bool_) if split in targets else None,
                ),
                _joined_known([part.known for part in own]),
            )
            for split, own in parts.items()
        }

    # Memory

    def _rows_of_portion(self, ids: int, rows: int, a_row: int) -> int:
        """Return how many rows a portion may have, of so many bytes while they are sorted;
        DataError where memory does not suffice.
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
        """Write a column's numbers in the place of those it has."""
        path = self._new(name)
        _append(path, numbers)
        self._files[name][0].unlink()
        self._files[name] = path, empty

    def _frame(self) -> pl.DataFrame:
        """Return the columns but those of _APART."""
        return pl.DataFrame([self._series(name) for name in self._files if name not in _APART])

    def _series(self, name: str) -> pl.Series:
        path, empty = self._files[name]
        numbers = pl.Series(name, self._mapped(path, _dtype(empty)))
        return numbers.cat.to(empty.dtype) if isinstance(empty.dtype, pl.Categorical) else numbers

    def _column(self, name: str) -> NDArray[np.int64]:
        """Return what the rows tell, as numbers; _NOT_TOLD where nothing."""
        return self._mapped(self._files[name][0], np.int64)

    def _values(self, name: str, codes: NDArray[np.int64]) -> pl.Series:
        """Return what numbers of a column stand for."""
        empty = self._files[name][1]
        numbers = pl.Series(name, codes).replace(_NOT_TOLD, None).cast(pl.UInt32)
        return numbers.cat.to(empty.dtype) if isinstance(empty.dtype, pl.Categorical) else numbers

    @staticmethod
    def _mapped(path: Path, dtype: DTypeLike) -> NDArray[Any]:
        """Return a file's numbers, which are not copied."""
        if not path.exists() or not path.stat().st_size:  # an empty file cannot be mapped
            return np.zeros(0, dtype)
        return np.memmap(path, dtype, "r")


class _Occurring:
    """Which of the numbers below `size` occur: a bit each, and how many do before every 64."""

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
        """Return the places of numbers among those that occur."""
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
    """Return what the numbers of a column of a type are stored as."""
    if empty.name in TOLD:
        return np.int64
    stored: DTypeLike = empty.to_physical().to_numpy().dtype
    return stored


def _numbers(column: pl.Series) -> NDArray[Any]:
    """Return a column as numbers, as they are stored."""
    physical = column.to_physical()
    if column.name in TOLD:
        physical = physical.cast(pl.Int64).fill_null(_NOT_TOLD)
    return np.ascontiguousarray(physical.to_numpy())


def _joined_known(parts: list[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def _allocated() -> int:
    """Return the bytes that this process has allocated, without those of files, which the system
    takes back when it needs them; 0 where it does not say.
    """
    try:
        _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
