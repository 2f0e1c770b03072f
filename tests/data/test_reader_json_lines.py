"""JSON lines: values of mixed types, and errors that name the first bad line."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from reprise.data.readers.json_lines import fields_of
from reprise.data.readers.recognise import read
from reprise.errors import DataError

TEXT = pl.String()


def write(path: Path, *records: object) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    path.write_text("\n".join([*lines, ""]))
    return path


def record(user: object = "u", item: object = "i", time: object = 1) -> dict[str, Any]:
    return {"user": user, "item": item, "time": time}


def column(path: Path, name: str) -> list[Any]:
    values = read(path, "table").frame[name]
    return (values if name == "time" else values.cast(pl.String)).to_list()


@pytest.mark.parametrize("before", [1, 200])
def test_json_lines_read_ids_as_text_whatever_the_first_is(tmp_path: Path, before: int) -> None:
    ids = [0, "a1", 10**25, 10**25 + 1, "07", 7, 2**64, -1, "é"]
    records = [record(0)] * before + [record(one) for one in ids]
    path = write(tmp_path / "x.jsonl", *records)
    assert column(path, "user") == ["0"] * before + [str(one) for one in ids]


def test_json_lines_read_whole_numbers_as_one_id_in_any_spelling(tmp_path: Path) -> None:
    """As a column of Pandas has them, where one was missing."""
    path = write(tmp_path / "x.jsonl", record(5), record(5.0), '{"user":5e0,"item":1,"time":2}')
    assert column(path, "user") == ["5", "5", "5"]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1600000000, 1600000001.5], [1.6e9, 1600000001.5]),
        ([1600000000.0, 1600000001], [1600000000, 1600000001]),
        (["1600000000", 1600000001], [1600000000, 1600000001]),
        ([1, 2**62 + 1], [1, 2**62 + 1]),
    ],
)
def test_json_lines_widen_times_to_a_common_type(
    tmp_path: Path, times: list[Any], expected: list[Any]
) -> None:
    path = write(tmp_path / "x.jsonl", *(record(time=time) for time in times))
    assert column(path, "time") == expected


def test_json_lines_ignore_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    one = json.dumps(record())
    path.write_bytes(f"\ufeff\r\n  \n{one}\r\n\n{one}\n\n".encode())
    assert len(read(path, "table").frame) == 2
    path.write_bytes(f"\ufeff{one}\n\n{json.dumps(record(''))}\n".encode())
    with pytest.raises(DataError, match=r"x\.jsonl, row 3: the user is ''"):
        read(path, "table")
    path.write_bytes(b"\n \n")
    with pytest.raises(DataError, match="no interactions"):
        read(path, "table")


@pytest.mark.parametrize("before", [0, 1, 99, 100, 250])
@pytest.mark.parametrize(
    "broken", ['{"user": "u", "it', "user,item", "[1, 2]", '"x"', "7", '{"user": NaN}', "{} {}"]
)
def test_json_lines_name_a_broken_line(tmp_path: Path, before: int, broken: str) -> None:
    good = [json.dumps(record()), ""] * before
    path = write(tmp_path / "x.jsonl", *good, broken, record(), broken)
    with pytest.raises(DataError) as caught:
        read(path, "table")
    said = str(caught.value)
    assert f"{path}, line {2 * before + 1}: expected a JSON object, found {broken!r}" in said


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (record([1, 2]), "row 151: the user is '[1, 2]'; expected an id"),
        (record(item={"a": 1}), "row 151: the item is '{\"a\": 1}'; expected an id"),
        (record(time=[3]), "row 151: the time is '[3]'; expected a time"),
        (record(time=None), "row 151: the time is ''; expected a time"),
        (record() | {"title": ["x"]}, "the title is '[\"x\"]'; expected a string or a number"),
    ],
)
def test_json_lines_name_an_invalid_value(tmp_path: Path, bad: dict[str, Any], said: str) -> None:
    good = record() | {"title": "x"}
    path = write(tmp_path / "x.jsonl", *[good] * 150, bad, good)
    with pytest.raises(DataError) as caught:
        read(path, "table")
    assert said in str(caught.value)


def test_json_lines_accept_anything_in_fields_that_are_not_read(tmp_path: Path) -> None:
    others: list[Any] = [1, "x", [1], {"a": [{}]}, None, [[{}]]]
    path = write(tmp_path / "x.jsonl", *(record() | {"other": other} for other in others * 40))
    assert len(read(path, "table").frame) == 240


@pytest.mark.parametrize("depth", [9, 600, 900])
def test_json_lines_leave_out_fields_nested_too_deep(tmp_path: Path, depth: int) -> None:
    deep = f'{{"user": 1, "item": 2, "time": 3, "title": {"[" * depth}{"]" * depth}}}'
    frame = read(write(tmp_path / "x.jsonl", deep, record()), "table").frame
    assert frame.columns == ["user", "item", "time"]


@pytest.mark.parametrize("before", [0, 150])
def test_json_lines_name_a_line_nested_too_deep(tmp_path: Path, before: int) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    path = write(tmp_path / "x.jsonl", *[record()] * before, f'{{"user": {deep}}}')
    with pytest.raises(DataError, match=rf"line {before + 1}: expected a JSON object"):
        read(path, "table")


def test_fields_of_come_from_the_first_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.jsonl",
        {"a": None, "b": [], "c": 1, "d": {"x": 1}, "e": [{}]},
        {"a": 1, "b": [[1]], "c": [], "d": 1, "e": 1, "f": "x"},
    )
    lists = pl.List(TEXT)
    assert fields_of(path) == {"a": TEXT, "b": pl.List(lists), "c": lists, "f": TEXT}


def test_json_lines_read_one_row_per_user(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.jsonl",
        {"user": 1, "items": [5, "b"], "times": [1, 2.5]},
        {"user": 2, "items": [], "times": []},
        {"user": 3, "items": ["c"], "times": [7]},
    )
    frame = read(path, "table").frame.select(pl.col("user", "item").cast(pl.String), "time")
    assert frame.rows() == [("1", "5", 1.0), ("1", "b", 2.5), ("3", "c", 7.0)]
