"""A time that is none beside the others is told from one that is none at all."""

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from reprise.data.readers.recognise import read
from reprise.errors import DataError


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path, "table")
    return str(caught.value)


@pytest.mark.parametrize(
    ("bad", "good", "said"),
    [
        ("2026-11-27", "5", "expected a number >= 0, like the other rows"),
        ("2026-11-27T08:30:00Z", "5", "expected a number >= 0, like the other rows"),
        ("5", "2026-11-27", "expected a date, like the other rows"),
        ("5.5", "2026-11-27", "expected a date, like the other rows"),
        ("1969-12-31", "2026-11-27", "expected a date no earlier than 1970-01-01"),
        ("1969-12-31 23:59:59", "5", "expected a date no earlier than 1970-01-01"),
        ("-5", "2026-11-27", "expected a time: a number >= 0, or a date"),
        ("03/04/2026", "2026-11-27", "expected a time: a number >= 0, or a date"),
    ],
)
def test_a_time_of_another_kind_is_told_so(tmp_path: Path, bad: str, good: str, said: str) -> None:
    path = tmp_path / "x.csv"
    rows = [f"u,i,{time}\n" for time in (good, good, good, bad, good)]
    path.write_text("user,item,time\n" + "".join(rows))
    assert f"{path}, row 5: the time is {bad!r}; {said}" in refusal(path)


@pytest.mark.parametrize("bad", [date(1969, 12, 31), datetime(1969, 12, 31, 5)])
def test_a_stored_date_before_1970_is_told_so(tmp_path: Path, bad: date) -> None:
    path = tmp_path / "x.parquet"
    times = [bad.replace(year=2026), bad]
    pl.DataFrame({"user": [1, 2], "item": [1, 2], "time": times}).write_parquet(path)
    said = refusal(path)
    assert f"{path}, row 2: the time is '{bad}" in said
    assert "expected a date no earlier than 1970-01-01" in said
