"""Ids of texts read as numbers: the same as read as texts, whatever they are written like."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.effort import examples
from reprise.data.readers import choice, delimited, numbers, tables
from reprise.data.readers.columns import UNNAMED
from reprise.data.readers.dialect import Dialect
from reprise.data.readers.format import Asked, Found, Part
from reprise.data.readers.interactions import collect
from reprise.errors import DataError, UsageError

HEADER = "user_id,item_id,timestamp,category"
# Written in the usual way, and in others that a parser of numbers may take for the same.
_USUAL = st.integers(0, 2**32 - 1).map(str)
_ODD = st.sampled_from(
    "007|+7| 7|7 |-0|00|7.0|1e3|7_0|4294967296|4294967303|18446744073709551623|"
    '9999999999999999999999999|٣|a|0x7|NULL|"7"|-1'.split("|")
)
_IDS = st.one_of(_USUAL, _USUAL, _ODD)
_TIMES = st.one_of(st.integers(0, 2**40).map(str), st.sampled_from(["05", "+5", " 5", "1.5"]))
_CATEGORIES = st.one_of(_IDS, st.just(""))
_ROWS = st.lists(st.tuples(_IDS, _IDS, _TIMES, _CATEGORIES), min_size=1, max_size=6)


def texts_of(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    """Return rows of ids as texts, as they are whichever type they were read in."""
    return frame.select(pl.col("user", "item", "category").cast(pl.String), "time").rows()


def outcome(part: Part, asked: Asked) -> object:
    """Return what is read, or what is wrong."""
    try:
        return texts_of(collect([part], asked).frame)
    except DataError as error:
        return str(error)


@given(
    rows=_ROWS,
    many=st.integers(0, 3),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
@example([("007", "1", "5", "2"), ("1", "1", "5", "")], 0, "\r\n", False)
@examples(60)
def test_as_numbers_reads_what_reading_texts_reads(
    rows: list[tuple[str, ...]], many: int, end: str, last: bool
) -> None:
    # What the first rows are written like says nothing of those behind them.
    usual = [("1", "2", "3", "4")] * (2_000 if many == 3 else many)
    text = end.join([HEADER, *map(",".join, usual + rows)]) + (end if last else "")
    asked = Asked(null_values=("NULL",), drop_invalid=True)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        path.write_text(text, "utf-8", newline="")
        part = tables.scan(path, UNNAMED)
        assert outcome(part, asked) == outcome(part._replace(numbers=None), asked)


@given(
    rows=st.lists(st.tuples(*[st.sampled_from(["", "a", "é", "12", " x "])] * 3), min_size=1),
    header=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
    blank=st.sampled_from(["", "\n", "\n\n\n"]),
    block=st.sampled_from([3, 17, 1 << 20]),
)
@examples(100)
def test_look_counts_the_bytes_of_each_column(
    rows: list[tuple[str, ...]], header: bool, end: str, blank: str, block: int
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_BLOCK", block)
        delimited._look.cache_clear()
        path = Path(folder) / "x.csv"
        path.write_bytes((end.join(map(",".join, rows)) + end + blank).encode())
        layout = delimited.look(path, header, Dialect(",", ""))
        expected = [
            sum(len(field.encode()) for field in column)
            for column in zip(*rows[header:], strict=True)
        ]
        assert list(layout.lengths) == (expected or [0, 0, 0])


def test_num_digits_counts_as_texts_do() -> None:
    rng = random.Random(1)
    found = [
        0,
        9,
        10,
        99,
        100,
        2**32 - 1,
        *(rng.randrange(10 ** rng.randint(1, 9)) for _ in [0] * 50),
    ]
    assert numbers.num_digits(np.array(found, np.uint32)) == sum(len(str(one)) for one in found)
    assert numbers.num_digits(np.array([], np.uint32)) == 0


def test_as_numbers_reads_again_what_is_written_otherwise_behind_the_first_rows(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join([HEADER, *(["7,7,5,7"] * 20_000), "07,7,5,7", ""]), newline="")
    part = tables.scan(path, UNNAMED)
    assert part.numbers is not None
    read = part.numbers(("user", "item", "time", "category"))
    assert read.rows.collect(engine="streaming")["user"].dtype == pl.UInt32
    assert read.misread() == {"user"}
    frame = collect([part]).frame
    assert frame["user"].cast(pl.String).to_list()[-2:] == ["7", "07"]
    assert frame["item"].dtype == frame["category"].dtype == pl.UInt32


def test_null_values_with_digits_are_no_ids_and_no_times(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER}\n1,2,3,4\n0,2,3,0\n1,0,3,4\n1,2,0,4\n", newline="")
    found = collect([tables.scan(path, UNNAMED)], Asked(null_values=("0",), drop_invalid=True))
    assert texts_of(found.frame) == [("1", "2", "4", 3)]
    assert found.left_out == {"user": 1, "item": 1, "time": 1}


@pytest.mark.parametrize("target", [None, ("buy",)])
def test_choose_counts_events_while_rows_are_read(
    tmp_path: Path, target: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(2)
    events = rng.choices(["view", " view", "buy", "", "NULL", "cart"], k=5_000)
    lines = [f"{n % 7},{n % 5},{n},{event}" for n, event in enumerate(events)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["user,item,time,event", *lines, ""]), newline="")
    asked = Asked(
        columns=UNNAMED._replace(event="event"),
        events=("view", "buy"),
        target_events=target,
        null_values=("NULL",),
    )
    part = tables.scan(path, asked.columns)
    slowly = choice.choose(Found([part._replace(numbers=None)]), asked)
    expected = collect(slowly.parts, asked).frame.rows()
    grouped: list[int] = []
    monkeypatch.setattr(choice._Names, "grouped", lambda name: grouped.append(1))
    chosen = choice.choose(Found([part]), asked)
    assert collect(chosen.parts, asked).frame.rows() == expected
    assert chosen.told() == slowly.told()
    assert not grouped


def test_choose_counts_again_where_a_column_is_no_events(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    lines = [f"1,2,3,{n}" for n in range(12_000)]
    path.write_text("\n".join(["user,item,time,event", *lines, ""]), newline="")
    asked = Asked(columns=UNNAMED._replace(event="event"), events=("7",))
    chosen = choice.choose(Found([tables.scan(path, asked.columns)]), asked)
    assert len(collect(chosen.parts, asked).frame) == 1
    with pytest.raises(UsageError) as raised:
        chosen.told()
    assert raised.value.key == "not_events"
