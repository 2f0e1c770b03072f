"""Sources in every format, the expected results, and the refusals."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helpers.builders_data import Event, recbole_slowly, users_of, write_inter
from reprise.data.dataset import SPLITS
from reprise.data.draft import Draft
from reprise.data.prepare import read_source
from reprise.data.readers.format import NOTHING_ASKED, Asked
from reprise.data.readers.recognise import read
from reprise.errors import RepriseError

Write = Callable[[Path, Sequence[Event]], Path]


def random_events(seed: int, users: int = 40, items: int = 12) -> list[Event]:
    """Interactions of users come and gone, with ties in time and ids that are not ASCII."""
    rng = np.random.default_rng(seed)
    return [
        (f"ü{rng.integers(users)}", f"物{rng.integers(items)}", float(rng.integers(1, 30)))
        for _ in range(500)
    ]


def check(draft: Draft, events: Sequence[Event], ordered: bool = True) -> None:
    raw_items, users = recbole_slowly(events, ordered)
    assert draft.raw_items.to_list() == raw_items
    for split in SPLITS:
        assert users_of(draft, split) == users[split]


def text(events: Sequence[Event], header: str, separator: str, line_end: str = "\n") -> bytes:
    rows = [separator.join((user, item, str(int(time)))) for user, item, time in events]
    return line_end.join([*([header] if header else []), *rows, ""]).encode()


def frame(events: Sequence[Event]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "timestamp": [int(time) for _, _, time in events],
            "item_id": [item for _, item, _ in events],
            "user_id": [user for user, _, _ in events],
        }
    )


def rows_of(path: Path) -> list[Event]:
    """The interactions of a table, read."""
    text = pl.col("user", "item").cast(pl.String)
    return read(path, "table").frame.select(text, pl.col("time").cast(pl.Float64)).rows()


def write_csv(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text(events, "userId,movieId,timestamp", ",", "\r\n"))
    return path


def write_quoted_csv(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.csv"
    quoted = [(f'"{user}"', f'"{item}"', time) for user, item, time in events]
    path.write_bytes(text(quoted, '"user";"item";"time"', ";"))
    return path


def write_packed_tsv(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.tsv.gz"
    path.write_bytes(gzip.compress(text(events, "USER-ID\tItem Id\tTime", "\t")))
    return path


def write_zst(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.csv.zst"
    plain = pl.read_csv(text(events, "user,item,time", ","), infer_schema=False)
    plain.write_csv(path, compression="zstd", check_extension=False)
    return path


def write_parquet(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.parquet"
    frame(events).write_parquet(path)
    return path


def write_json_lines(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.jsonl"
    frame(events).write_ndjson(path)
    return path


def write_parts(folder: Path, events: Sequence[Event]) -> Path:
    parts = folder / "parts"
    parts.mkdir()
    for number, start in enumerate(range(0, len(events), 100)):
        frame(events[start : start + 100]).write_parquet(parts / f"part-{number:03}.parquet")
    return parts


def write_split_files(folder: Path, events: Sequence[Event]) -> Path:
    parts = folder / "parts"
    parts.mkdir()
    for name, start, end in (("train", 0, 300), ("dev", 300, 400), ("test", 400, None)):
        (parts / f"{name}.csv").write_bytes(text(events[start:end], "user_id,item_id,time", ","))
    return parts


def write_recbole(folder: Path, events: Sequence[Event]) -> Path:
    return write_inter(folder / "x.inter", events)


WRITERS: list[Write] = [
    write_csv,
    write_quoted_csv,
    write_packed_tsv,
    write_zst,
    write_parquet,
    write_json_lines,
    write_parts,
    write_split_files,
]


def refused(path: Path, asked: Asked = NOTHING_ASKED) -> RepriseError:
    """The error that reading a source ends in: a user's or its data's fault."""
    with pytest.raises(RepriseError) as caught:
        read_source(path, asked=asked)
    assert caught.value.exit_code in (2, 3)
    return caught.value


def refusal(path: Path, asked: Asked = NOTHING_ASKED) -> str:
    """What it says."""
    return str(refused(path, asked))


MARK = b"\xef\xbb\xbf"  # of the byte order, as some editors leave it at the front
