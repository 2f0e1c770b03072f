"""Bad tables: each refused with its file, its row, and the fix."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.sources import random_events, refusal, text, write_csv, write_parquet


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("u,,5", "the item is ''; expected an id"),
        (" ,i,5", "the user is ' '; expected an id"),
        ("u,i,", "the time is ''"),
        ("u,i,nan", "the time is 'nan'"),
        ("u,i,inf", "the time is 'inf'"),
        ("u,i,-3", "the time is '-3'"),
        ("u,i,1e300", "the time is '1e300'"),
        ("u,i,soon", "the time is 'soon'; expected a time: a number >= 0, or a date"),
    ],
)
def test_table_names_a_bad_value_with_its_row(tmp_path: Path, row: str, found: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"user,item,time\nu,i,1\n{row}\nu,,nan\n")
    said = refusal(path)
    assert f"{path}, row 3: {found}" in said
    assert "Fix or remove the row." in said


@pytest.mark.parametrize("good_rows", [0, 1, 1500])
@pytest.mark.parametrize("bad", [",,soon", "u,i,soon", "u,i,-1", "u,i,1.5.2", "u,i,2026-11-27"])
def test_table_names_a_bad_value_in_any_row(tmp_path: Path, good_rows: int, bad: str) -> None:
    """Among the rows that decide how columns are read, or behind them; blank lines are skipped."""
    path = tmp_path / "x.csv"
    path.write_text("user,item,time\n" + "u,i,1\n\n" * good_rows + f"{bad}\nu,i,1\nu,i,1\n")
    said = refusal(path)
    assert f"{path}, row {2 * good_rows + 2}: the " in said
    assert repr(bad.split(",")[0 if bad.startswith(",") else 2]) in said


@pytest.mark.parametrize("separator", [",", "\t"])
def test_table_names_a_row_that_is_cut_off(tmp_path: Path, separator: str) -> None:
    events = random_events(12)
    lines = text(events, separator.join(("user", "item", "time")), separator).decode().splitlines()
    lines[-1] = lines[-1].rpartition(separator)[0]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(lines))
    said = refusal(path)
    assert str(path) in said
    assert f" {len(lines)}: " in said


def test_parquet_with_missing_values_is_refused_with_the_row(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    good: dict[str, list[Any]] = {"user": [1.0, 2.0], "item": ["a", "b"], "time": [1.0, 2.0]}
    for column in good:
        bad = {**good, column: [good[column][0], None]}
        pl.DataFrame(bad).write_parquet(path)
        assert f"{path}, row 2: the {column} is ''" in refusal(path)
    for column in ("user", "time"):
        pl.DataFrame({**good, column: [1.0, float("nan")]}).write_parquet(path)
        assert f"{path}, row 2: the {column} is 'nan'" in refusal(path)


@pytest.mark.parametrize("row", ["u,i,1,9", "u,i", "u"])
def test_table_names_a_row_with_other_fields(tmp_path: Path, row: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"user,item,time\nu,i,1\n{row}\n")
    assert f"{path}, line 3: expected as many fields as line 1" in refusal(path)


def write_bytes(content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "x.csv").write_bytes(content)
        return folder / "x.csv"

    return write


def write_two_kinds(folder: Path) -> Path:
    (folder / "a.csv").write_text("user,item,time\nu,i,1\n")
    (folder / "b.jsonl").write_text("{}\n")
    return folder


def write_cut_json(folder: Path) -> Path:
    (folder / "x.jsonl").write_text('{"user": "u", "item": "i", "time": 1}\n{"user": "u", "it')
    return folder / "x.jsonl"


def write_no_json(folder: Path) -> Path:
    (folder / "x.jsonl").write_text("user,item,time\n")
    return folder / "x.jsonl"


def write_deep_json(folder: Path) -> Path:
    deep = "[" * 5000 + "]" * 5000
    (folder / "x.jsonl").write_text(f'{{"user": "u", "item": "i", "time": {deep}}}\n')
    return folder / "x.jsonl"


def write_json_list(folder: Path) -> Path:
    (folder / "x.jsonl").write_text("[1]\n")
    return folder / "x.jsonl"


def write_cut_gzip(folder: Path) -> Path:
    whole = gzip.compress(text(random_events(0), "user,item,time", ","))
    (folder / "x.csv.gz").write_bytes(whole[: len(whole) // 2])
    return folder / "x.csv.gz"


def write_cut_parquet(folder: Path) -> Path:
    path = write_parquet(folder, random_events(0))
    path.write_bytes(path.read_bytes()[:-20])
    return path


def write_lists_for_ids(folder: Path) -> Path:
    pl.DataFrame({"user": [[1]], "item": [1], "time": [1]}).write_parquet(folder / "x.parquet")
    return folder / "x.parquet"


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_bytes(b""), "x.csv"),
        (write_bytes(b"user,item,time\n"), "x.csv: no interactions."),
        (write_bytes(b"user,item,time\nu,\xff\xfe,1\n"), "x.csv, line 2: not valid utf-8"),
        (write_bytes(b"user item time\nu i 1\n"), "no user, item, time column found"),
        (write_bytes(b"user,item,time\nu,i,1\n"), "the filter leaves no user"),
        (write_two_kinds, "must have the same file type, found a.csv, b.jsonl"),
        (write_cut_json, "x.jsonl, line 2: expected a JSON object"),
        (write_no_json, "x.jsonl, line 1: expected a JSON object"),
        (write_json_list, "x.jsonl, line 1: expected a JSON object"),
        (write_deep_json, "x.jsonl, line 1: expected a JSON object"),
        (write_cut_gzip, "x.csv.gz"),
        (write_cut_parquet, "clicks.parquet: cannot be read"),
        (write_lists_for_ids, "row 1: the user is "),
    ],
)
def test_table_that_cannot_be_read_is_named(
    tmp_path: Path, write: Callable[[Path], Path], said: str
) -> None:
    assert said in refusal(write(tmp_path))


def test_table_without_read_permission_is_named(tmp_path: Path) -> None:
    """As one without rights to it is told: root, who may read anything, is told nothing."""
    path = write_csv(tmp_path, random_events(0))
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        assert str(path) in refusal(path)
    else:
        pytest.skip("this user may read everything")
