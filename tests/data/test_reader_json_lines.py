"""JSON lines: values of mixed types, and errors that name the first bad line."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.effort import examples
from reprise.data.readers import json_lines
from reprise.data.readers.json_lines import fields_of
from reprise.data.readers.recognise import asked_of, read
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


@pytest.mark.parametrize("before", [100, 100_000, 250_000])
def test_fields_of_are_those_of_all_lines(tmp_path: Path, before: int) -> None:
    lines = ['{"user": 1, "item": 2, "sent": null}'] * before
    late = {"user": 1, "item": 2, "sent": [3], "shelf": "x", "\u00e9": 1, "deep": {"shelf2": 1}}
    path = write(tmp_path / "x.jsonl", *lines, late, {"shelf": [1]}, "{", lines[0])
    lists = pl.List(TEXT)
    found = fields_of(path)
    assert found == dict.fromkeys(("user", "item", "shelf", "\u00e9"), TEXT) | {"sent": lists}


def test_json_lines_take_and_show_a_field_that_comes_late(tmp_path: Path) -> None:
    late = {"user": 1, "item": 2, "brand": "x", "sent": 5}
    path = write(tmp_path / "x.jsonl", *[{"user": 1, "item": 2}] * 100, *[late] * 200)
    with pytest.raises(DataError, match="the columns are user, item, brand, sent"):
        read(path, "table")
    asked = asked_of(time_col="sent", drop_invalid=True)
    found = read(path, "table", asked)
    assert found.frame["time"].to_list() == [5] * 200
    assert found.taken["useful"] == [{"column": "brand", "what": "category"}]


_TEXTS = st.sampled_from(["a", ":", '"', "\\", "{", "}", ",", '\\"', "null", "1", "\u00e9", " "])
_NAMES = st.lists(_TEXTS, max_size=3).map("".join)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)


def _nesting(value: object) -> float | None:
    """Return what is read of a value: lists of a depth, no record, nothing of null."""
    if isinstance(value, list):
        return 1 + max((_nesting(one) or 0 for one in value), default=0)
    return float("inf") if isinstance(value, dict) else None if value is None else 0


@examples(50)
@given(st.lists(st.dictionaries(_NAMES, _VALUES, max_size=4), min_size=1, max_size=12), st.data())
def test_fields_of_equal_those_that_pythons_json_finds(
    records: list[dict[str, Any]], data: st.DataObject
) -> None:
    known: dict[str, float | None] = {}
    first = data.draw(st.integers(1, len(records)), label="lines whose fields count together")
    for place, record in enumerate(records):
        for name, value in record.items():
            depths = [d for d in (known.get(name), _nesting(value)) if d is not None]
            known[name] = (
                (max(depths, default=None) if place < first else depths[0]) if depths else None
            )
    gaps = data.draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :  ")]))
    plain = data.draw(st.booleans())
    lines = [json.dumps(one, separators=gaps, ensure_ascii=plain) for one in records]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "_SAMPLE", first)
        path = write(Path(folder) / "x.jsonl", *lines)
        found = fields_of(path)
    depth = {name: str(dtype).count("List") for name, dtype in found.items()}
    assert list(depth.items()) == [
        (name, value or 0) for name, value in known.items() if value != float("inf")
    ]


def test_json_lines_read_one_row_per_user(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.jsonl",
        {"user": 1, "items": [5, "b"], "times": [1, 2.5]},
        {"user": 2, "items": [], "times": []},
        {"user": 3, "items": ["c"], "times": [7]},
    )
    frame = read(path, "table").frame.select(pl.col("user", "item").cast(pl.String), "time")
    assert frame.rows() == [("1", "5", 1.0), ("1", "b", 2.5), ("3", "c", 7.0)]
