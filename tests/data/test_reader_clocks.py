"""Several possible time columns: the finest is taken if all agree, else the user is asked."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import reprise
from helpers.effort import examples
from reprise.data.readers.recognise import asked_of, read
from reprise.errors import RepriseError, UsageError

DAY, HOUR, MINUTE, SECOND = (10**9 * seconds for seconds in (86_400, 3_600, 60, 1))
MILLI, MICRO = 10**6, 10**3
CUTS = (DAY, HOUR, MINUTE, SECOND, *(10**digits for digits in range(8, -1, -1)))
Values = list[int | None]  # nanoseconds


def moment(time: int) -> datetime:
    return datetime.fromtimestamp(time // SECOND, UTC) + timedelta(microseconds=time % SECOND / 1e3)


def text(form: str, zone: str = "", hours: int = 0) -> Callable[[int], str]:
    return lambda time: (moment(time) + timedelta(hours=hours)).strftime(form) + zone


# By name of a column: the unit that a time is cut to, and ways to write it.
WRITTEN: dict[str, tuple[int, list[Callable[[int], Any]]]] = {
    "date": (
        DAY,
        [
            text("%Y-%m-%d"),
            lambda time: moment(time).date(),
            lambda time: int(text("%Y%m%d")(time)),
            lambda time: moment(time).replace(tzinfo=None),
        ],
    ),
    "ts": (SECOND, [lambda time: time // SECOND, lambda time: time / SECOND]),
    "datetime": (
        SECOND,
        [
            text("%Y-%m-%d %H:%M:%S"),
            text("%Y-%m-%dT%H:%M:%S", "Z"),
            text("%Y-%m-%d %H:%M:%S", "+02:00", 2),
        ],
    ),
    "time_ms": (MILLI, [lambda time: time // MILLI, lambda time: time / MILLI]),
    "eventtime": (MICRO, [lambda time: moment(time).replace(tzinfo=None)]),
}


def chosen_slowly(columns: dict[str, Values]) -> str | None:
    """The finest column where all others are it, cut to their unit; of equals the likeliest."""
    usual = ["timestamp", "time", "ts", "datetime", "eventtime", "date", "time_ms"]
    filled = {name: columns[name] for name in usual if name in columns and any(columns[name])}
    units = {
        name: next(cut for cut in CUTS if all(time is None or time % cut == 0 for time in values))
        for name, values in filled.items()
    }
    finest = min(filled, key=lambda name: units[name])
    for name, values in filled.items():
        for fine, coarse in zip(filled[finest], values, strict=True):
            if coarse is not None and (fine is None or fine // units[name] * units[name] != coarse):
                return None
    return finest


def write(frame: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_ndjson(path)


def taken(path: Path, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = read(path, "table", asked_of(**asked)).taken["columns"]["time"]
    return found


@st.composite
def tables(draw: st.DrawFn) -> tuple[pl.DataFrame, dict[str, Values]]:
    """Times in several columns, some of which are not the same moment."""
    steps = st.sampled_from((MICRO, MILLI, SECOND, MINUTE, DAY))
    step = draw(steps)
    first, last = 10**9 * SECOND // step, 2 * 10**9 * SECOND // step
    times = draw(st.lists(st.integers(first, last).map(lambda n: n * step), min_size=1, max_size=6))
    names = draw(st.lists(st.sampled_from(sorted(WRITTEN)), min_size=2, max_size=4, unique=True))
    columns: dict[str, Values] = {}
    series: list[pl.Series] = []
    for name in names:
        unit, ways = WRITTEN[name]
        values: Values = [time // unit * unit for time in times]
        if draw(st.integers(0, 5)) == 0:
            place = draw(st.integers(0, len(times) - 1))
            moved = draw(st.sampled_from([None, unit]))
            values[place] = None if moved is None else times[place] // unit * unit + moved
        write = draw(st.sampled_from(ways))
        columns[name] = values
        series.append(pl.Series(name, [None if time is None else write(time) for time in values]))
    rows = {"user": [f"u{n}" for n in range(len(times))], "item": [1] * len(times)}
    return pl.DataFrame(rows).with_columns(series), columns


@examples(60)
@given(made=tables(), end=st.sampled_from(["parquet", "csv", "jsonl"]))
def test_time_column_is_the_finest_if_all_agree(
    made: tuple[pl.DataFrame, dict[str, Values]], end: str
) -> None:
    frame, columns = made
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{end}"
        write(frame, path)
        expected = chosen_slowly(columns) if any(map(any, columns.values())) else None
        if expected is None or None in columns[expected]:
            with pytest.raises(RepriseError):
                taken(path)
        else:
            found = taken(path)
            assert found["column"] == expected
            assert found["by"] == "finest"
            assert set(found["others"]) == set(columns) - {expected}


ROWS = [(f"u{n % 3}", f"i{n // 3}", 1_600_000_000_000 + 60_000 * n) for n in range(18)]


def log(path: Path, shift: int = 0, rows: Sequence[tuple[str, str, int]] = ROWS) -> Path:
    """A KuaiRand log: a date as a number, in a zone some hours from UTC, and milliseconds."""
    lines = ["user_id,video_id,date,hourmin,time_ms"]
    for user, item, time in rows[::-1]:
        day = datetime.fromtimestamp(time / 1000 + 3600 * shift, UTC)
        lines.append(f"{user},{item},{day:%Y%m%d},{day:%H%M},{time}")
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([*lines, ""]))
    return path


def test_prepare_prints_which_of_several_time_columns_it_took(tmp_path: Path) -> None:
    path = log(tmp_path / "log.csv")
    own = ("--data-dir", tmp_path, "--item-col", "video_id", "--k-core", 1, "--lang", "en")
    done = reprise("prepare", path, "--name", "x", "--protocol", "leave-one-out", *own)
    assert "time = time_ms (the finest of several, agrees with date; change with" in done.stdout
    meta = json.loads((tmp_path / "x" / "meta.json").read_text())["source"]
    assert meta["taken"]["columns"]["time"] == {
        "column": "time_ms",
        "by": "finest",
        "others": ["date"],
    }
    assert meta["times"] == [ROWS[0][2], ROWS[-1][2]]
    assert meta["taken"]["unused"] == ["hourmin"]


def test_time_column_is_asked_for_if_a_local_date_is_another_day(tmp_path: Path) -> None:
    path = log(tmp_path / "log.csv", shift=12)
    with pytest.raises(UsageError) as caught:
        taken(path, item_col="video_id")
    first = "date = 20200914, time_ms = 1600001020000"
    assert f"row 2: several columns could be the time, and they differ: {first}." in str(
        caught.value
    )
    assert taken(path, item_col="video_id", time_col="date")["by"] == "named"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1_600_000_000, 1_600_000_060_000], ["2020-09-13", "2020-09-13"]),  # seconds, milliseconds
        ([1, 2], ["2020-09-13", "2020-09-14"]),  # a counter
        (["12:26:40", "12:27:40"], ["2020-09-13", "2020-09-13"]),  # of a day
        ([None, 1_600_000_060], ["2020-09-13", "2020-09-13"]),
        ([[1_600_000_000]], [["2020-09-13"]]),
    ],
)
def test_time_column_is_asked_for_if_columns_cannot_be_compared(
    tmp_path: Path, first: list[Any], second: list[Any]
) -> None:
    ids = list(range(len(first)))
    frame = pl.DataFrame({"user": ids, "item": ids, "time": first, "date": second})
    frame.write_parquet(tmp_path / "x.parquet")
    with pytest.raises(UsageError, match="several columns could be the time"):
        taken(tmp_path / "x.parquet")


def test_time_column_is_never_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item,timestamp,date\n1,2,NULL,2026-11-27\n1,3,,2026-11-28\n")
    assert taken(path)["column"] == "date"


def test_time_column_is_found_if_dates_are_missing_in_the_first_rows(tmp_path: Path) -> None:
    times = [f"{1_600_000_000 + n},{'' if n < 1_500 else '2020-09-13'}" for n in range(1_600)]
    lines = ["user,item,ts,date", *(f"{n},{n},{time}" for n, time in enumerate(times))]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    assert taken(tmp_path / "x.csv") == {"column": "ts", "by": "finest", "others": ["date"]}


def test_time_column_is_chosen_over_all_parts_together(tmp_path: Path) -> None:
    """Milliseconds of one part are whole seconds: alone it would not tell which is finer."""
    rows = [(user, item, time // 1000 * 1000) for user, item, time in ROWS]
    whole = pl.DataFrame(rows, ["user", "item", "time_ms"], orient="row")
    broken = whole.with_columns(pl.col("time_ms") + 1)
    (tmp_path / "s").mkdir()
    for name, part in (("a", whole), ("b", broken)):
        both = part.with_columns(ts=pl.col("time_ms") // 1000)
        both.write_parquet(tmp_path / "s" / f"{name}.parquet")
    assert taken(tmp_path / "s")["column"] == "time_ms"
    part.write_parquet(tmp_path / "s" / "c.parquet")  # milliseconds alone
    assert taken(tmp_path / "s")["column"] == "time_ms"
    both.drop("time_ms").write_parquet(tmp_path / "s" / "d.parquet")
    with pytest.raises(RepriseError, match=r"time_ms in .* but ts in "):
        taken(tmp_path / "s")


def test_time_column_may_have_a_partition_date_beside_it(tmp_path: Path) -> None:
    for day in (27, 28):
        folder = tmp_path / "s" / f"date=2026-11-{day}"
        folder.mkdir(parents=True)
        times = [datetime(2026, 11, day, hour, tzinfo=UTC) for hour in (3, 5)]
        frame = pl.DataFrame({"user": [1, 2], "item": [1, 2], "timestamp": times})
        frame.write_parquet(folder / "x.parquet")
    assert taken(tmp_path / "s") == {"column": "timestamp", "by": "finest", "others": ["date"]}


def test_metadata_may_have_several_time_columns(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user,item,time\n1,2,3\n")
    (tmp_path / "x_meta.csv").write_text("item,category,date,timestamp\n2,7,2026-11-27,5\n")
    about = read(tmp_path / "x.csv", "table").items
    assert about is not None
    assert about.select("item", "category").rows() == [("2", "7")]
    assert set(about.columns) == {"item", "category"}
