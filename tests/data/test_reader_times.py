"""Parsing times, and the errors for values that are no time or do not match their column."""

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

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
        ("2300-01-01", "2026-11-27 08:30:00.123456789", "expected dates of one precision"),
        ("2026-11-27 08:30:00.1234567891", "2026-11-27", "expected a time: a number >= 0, or a"),
        ("2026-11-27 08:30:00 CET", "2026-11-27", "expected a date whose zone is an offset"),
        ("2026-10-25 02:30 Europe/Berlin", "2026-11-27", "expected a moment that the clocks of Eu"),
        ("2026-03-29 02:30 Europe/Berlin", "2026-11-27", "expected a moment that the clocks of Eu"),
        ("2026-03-29 02:30 Europe/Nowhere", "2026-11-27", "expected a moment that the clocks of"),
    ],
)
def test_read_names_a_time_of_another_kind(tmp_path: Path, bad: str, good: str, said: str) -> None:
    path = tmp_path / "x.csv"
    rows = [f"u,i,{time}\n" for time in (good, good, good, bad, good)]
    path.write_text("user,item,time\n" + "".join(rows))
    assert f"{path}, row 5: the time is {bad!r}; {said}" in refusal(path)


FRACTIONS = [("", 0), (".5", 5 * 10**8), (".000000001", 1), (".123456789", 123_456_789)]
NANOS = int(datetime(2026, 11, 27, 8, 30, tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize("day", ["2026-11-27 ", "2026-11-27T"])
@pytest.mark.parametrize(
    ("clock", "more"),
    [
        (clock + fraction + zone, more)
        for fraction, more in FRACTIONS
        for clock, zone in [
            ("08:30:00", ""),
            ("08:30:00", "Z"),
            ("08:30:00", " UTC"),
            ("08:30:00", "Z[UTC]"),
            ("10:30:00", "+02"),
            ("10:30:00", " +0200"),
            ("10:30:00", "+02:00[Europe/Paris]"),
            ("03:00:00", "-05:30"),
            ("08:30:00", " +0000 UTC"),
            ("04:30:00", " -0400 EDT"),
        ]
    ]
    + [("08:30", 0), ("08:30Z", 0), ("10:30+02", 0), ("10:30 +02:00", 0)],
)
def test_read_gives_a_date_the_same_moment_in_any_spelling(
    tmp_path: Path, day: str, clock: str, more: int
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"user,item,time\nu,i,{day}{clock}\nu,j,2026-11-27\n")
    found = read(path, "table")
    assert found.unit is not None
    midnight = NANOS // (86_400 * 10**9) * 86_400 * 10**9
    nanos = [time * (10**9 // found.unit) for time in found.frame["time"]]
    assert nanos == [NANOS + more, midnight]
    assert found.unit == (10**9 if more % 1_000 else 10**6)


def test_read_gives_stored_times_of_any_type_the_same_moment(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 27, 8, 30)
    naive = pl.Series([moment])
    tokyo = naive.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    units = [naive.cast(pl.Datetime(unit)) for unit in ("ms", "us", "ns")]
    for place, column in enumerate([*units, tokyo, pl.Series(["2026-11-27T10:30:00+02"])]):
        frame = pl.DataFrame({"user": ["u"], "item": [place], "time": column})
        frame.write_parquet(tmp_path / f"{place}.parquet")
    found = read(tmp_path, "table")
    assert found.frame["time"].unique().to_list() == [NANOS // 1_000]
    assert found.unit == 10**6


@pytest.mark.parametrize("bad", [date(1969, 12, 31), datetime(1969, 12, 31, 5)])
def test_read_names_a_stored_date_before_1970(tmp_path: Path, bad: date) -> None:
    path = tmp_path / "x.parquet"
    times = [bad.replace(year=2026), bad]
    pl.DataFrame({"user": [1, 2], "item": [1, 2], "time": times}).write_parquet(path)
    said = refusal(path)
    assert f"{path}, row 2: the time is '{bad}" in said
    assert "expected a date no earlier than 1970-01-01" in said


@pytest.mark.parametrize("form", ["{} {}", "{}[{}]", "{}{}"])
@pytest.mark.parametrize("clock", ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"])
def test_read_takes_zones_by_their_places(tmp_path: Path, form: str, clock: str) -> None:
    """As Python's zoneinfo does, in summer and winter."""
    places = "Europe/Berlin", "America/Argentina/Ushuaia", "Asia/Kathmandu", "Etc/GMT+5"
    local = [
        datetime(2026, month, 25, 15, 30, tzinfo=ZoneInfo(place))
        for place in places
        for month in range(1, 13)
    ]
    times = [form.format(one.strftime(clock), one.tzinfo) for one in local]
    path = tmp_path / "x.csv"
    path.write_text("user,item,time\n" + "".join(f"u,i,{time}\n" for time in times))
    found = read(path, "table")
    assert found.frame["time"].to_list() == [int(one.timestamp()) * 10**6 for one in local]
    assert found.warnings == []


@pytest.mark.parametrize(
    "zoned", ["2026-11-27 08:30Z", "2026-11-27T08:30:00 +0200", "2026-11-27 08:30 Asia/Tokyo"]
)
def test_read_warns_of_dates_with_and_without_a_zone(tmp_path: Path, zoned: str) -> None:
    path = tmp_path / "x.csv"
    unzoned = ["2026-11-27", "2026-11-27 08:30", "2026-11-27T08:30:00.5", "2026-11-27 08:30:00"]
    path.write_text("user,item,time\n" + "".join(f"u,i,{t}\n" for t in [zoned] * 3 + unzoned))
    assert read(path, "table").warnings == [{"warning": "mixed_zones", "zoned": 3, "unzoned": 4}]


def test_read_warns_of_stored_times_with_and_without_a_zone(tmp_path: Path) -> None:
    times = pl.Series([datetime(2026, 11, 27)] * 3)
    for place, column in enumerate((times, times.dt.replace_time_zone("UTC"), times.dt.date())):
        frame = pl.DataFrame({"user": 1, "item": [1, 2, 3], "time": column})
        frame.write_parquet(tmp_path / f"{place}.parquet")
    warning = {"warning": "mixed_zones", "zoned": 3, "unzoned": 6}
    assert read(tmp_path, "table").warnings == [warning]
