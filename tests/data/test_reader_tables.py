"""Malformed tables: the error names the bad row, and no good one."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from reprise.data.prepare import read_source
from reprise.data.readers.columns import Columns
from reprise.data.readers.format import Asked
from reprise.data.readers.recognise import asked_of, read
from reprise.errors import DataError


def csv(folder: Path, *lines: str, end: str = "\n", mark: str = "") -> Path:
    path = folder / "x.csv"
    path.write_bytes((mark + end.join([*lines, ""])).encode())
    return path


def refusal(path: Path, asked: Asked | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(path, "table", asked or Asked())
    return str(caught.value)


# Delimited text


def test_read_ignores_separators_within_quotes(tmp_path: Path) -> None:
    good = ['u,"A, B",1', 'u,"A ""x"", B",2', '"u\nv, w",i,3']
    path = csv(tmp_path, "user,item,time", *good, 'u,"C, D",4,9', "u,i,5,9,9")
    assert f"{path}, line 6: expected as many fields as line 1, separated by ','" in refusal(path)


@pytest.mark.parametrize("bad", ["u,i,1", "u,i,2,x,y"])
def test_read_names_the_first_row_with_other_fields(tmp_path: Path, bad: str) -> None:
    rows = ["u,i,1,x", bad, "u,i", "u,i,2,x,y"]
    path = csv(tmp_path, "", "user,item,time,title", *rows, mark="\ufeff")
    assert f"{path}, line 4: expected as many fields as line 2" in refusal(path)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("blank", [[""], ["", "", ""], ["  ", ""]])
@pytest.mark.parametrize("header", [True, False])
def test_read_skips_leading_blank_lines(
    tmp_path: Path, mark: str, end: str, blank: list[str], header: bool
) -> None:
    lines = [*blank, *(["user;item;time"] if header else []), "u;i;1", "", "u;j;2", "u;k;soon"]
    columns = Columns() if header else Columns("1", "2", "3")
    path = csv(tmp_path, *lines, end=end, mark=mark)
    assert f"row {len(lines)}: the time is 'soon'" in refusal(path, Asked(columns=columns))
    path = csv(tmp_path, *lines[:-1], end=end, mark=mark)
    frame = read(path, "table", Asked(columns=columns)).frame
    assert frame["time"].to_list() == [1, 2]
    assert frame["user"].cast(pl.String).to_list() == ["u", "u"]


def test_read_takes_pattern_characters_in_a_name_literally(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]*"
    folder.mkdir()
    assert len(read(csv(folder, "user,item,time", "u,i,1"), "table").frame) == 1


# Parquet


def users(folder: Path, **columns: Any) -> Path:
    path = folder / "x.parquet"
    pl.DataFrame({"user": ["u", "v"], **columns}).write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("times", "many"), [([[1, 2], [3, 4]], 2), ([[1, 2], []], 0), ([[1, 2], None], 0)]
)
def test_read_names_lists_of_different_lengths(tmp_path: Path, times: list[Any], many: int) -> None:
    path = users(tmp_path, items=[["a", "b"], ["c"]], times=times)
    said = f"{path}, row 2: the lists in columns items and times have 1 and {many} entries"
    assert said in refusal(path)


def test_read_names_a_single_time_beside_a_list_of_items(tmp_path: Path) -> None:
    path = users(tmp_path, items=[["a", "b"], ["c"]], ts=[1, 2])
    said = refusal(path)
    assert f"{path}: column items has a list of items per row, but column ts a single time." in said


def test_read_accepts_lists_of_fixed_length(tmp_path: Path) -> None:
    items = pl.Series([["a", "b"], ["c", "d"]], dtype=pl.Array(pl.String, 2))
    times = pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2))
    for path in (
        users(tmp_path, items=items, times=times),
        users(tmp_path, items=items, times=times.cast(pl.List(pl.Int64))),
    ):
        frame = read(path, "table").frame
        assert frame["item"].cast(pl.String).to_list() == ["a", "b", "c", "d"]
        assert frame["time"].to_list() == [1, 2, 3, 4]
    assert len(read(users(tmp_path, items=items), "table").frame) == 4


def test_read_names_a_file_that_is_not_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"user,item,time\n" * 20)
    assert f"{path}: cannot be read as Parquet: " in refusal(path)


# Categories


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    ("categories", "codes"),
    [
        (["7", "0", "12"], [7, 0, 12]),
        (["007", "7", "12"], [0, 2, 1]),  # their places among the names, sorted
        (["+7", "7", "12"], [0, 2, 1]),
        (["7", "x", "12"], [1, 2, 0]),
        (["7", "", "12"], [7, -1, 12]),
    ],
)
def test_read_source_compares_categories_as_written(
    tmp_path: Path, suffix: str, categories: list[str], codes: list[int]
) -> None:
    numbers = range(450)  # 3 items of 30 users, 5 times each
    frame = pl.DataFrame(
        {
            "user": [f"u{n % 30}" for n in numbers],
            "item": [f"i{n // 30 % 3}" for n in numbers],
            "time": list(numbers),
            "kind": [categories[n // 30 % 3] for n in numbers],
        }
    )
    path = tmp_path / f"x{suffix}"
    if suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_ndjson(path)
    draft = read_source(path, asked=asked_of(category_col="kind"))
    assert draft.about_items is not None
    told = dict(zip(draft.raw_items, draft.about_items["category"], strict=True))
    assert told == {f"i{n}": category or None for n, category in enumerate(categories)}
    made = dict(zip(draft.raw_items, draft.item_category[1:].tolist(), strict=True))
    assert made == {f"i{n}": code for n, code in enumerate(codes)}
