"""Tables: the same interactions give the same result in every file format."""

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.sources import (
    WRITERS,
    Write,
    check,
    frame,
    random_events,
    rows_of,
    text,
    write_parts,
    write_recbole,
)
from reprise.cli.main import cli
from reprise.data.dataset import open_dataset
from reprise.data.prepare import prepare, read_source
from reprise.data.readers.columns import Columns
from reprise.data.readers.format import Asked
from reprise.data.readers.recognise import recognise
from reprise.errors import DataError, UsageError


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("seed", [0, 1])
def test_table_is_read_in_every_file_format(write: Write, seed: int, tmp_path: Path) -> None:
    events = random_events(seed)
    source = write(tmp_path, events)
    assert recognise(source) == "table"
    check(read_source(source), events, ordered=write is not write_parts)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1),
            st.sampled_from(["a", "β", "1", "01", "9223372036854775808", "x,y", 'q"', "- "]),
            st.integers(0, 2**40),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_table_accepts_any_text_as_an_id(rows: list[tuple[str, str, int]]) -> None:
    """Quoted where the format asks for it; ids are compared as they are written."""
    events = [(user, item.strip(), float(time)) for user, item, time in rows]
    with TemporaryDirectory() as name:
        path = Path(name) / "x.csv"
        frame(events).write_csv(path)
        assert rows_of(path) == events


def test_fingerprint_is_the_same_for_every_file_format(tmp_path: Path) -> None:
    events = random_events(3)
    made = set()
    for write in [*WRITERS, write_recbole]:
        if write is write_parts:  # whose order says nothing
            continue
        folder = tmp_path / write.__name__
        folder.mkdir()
        made.add(open_dataset(prepare(write(folder, events), "x", folder)).fingerprint)
    assert len(made) == 1


def test_table_columns_are_named_or_found(tmp_path: Path) -> None:
    events = random_events(4)
    path = tmp_path / "x.csv"
    path.write_bytes(text(events, "wer,was,wann", ","))
    named = Asked(columns=Columns("wer", "was", "wann"))
    check(read_source(path, asked=named), events)
    path.write_bytes(text(events, "", ","))
    check(read_source(path, asked=Asked(columns=Columns("1", "2", "3"))), events)
    path.write_bytes(text(events, "wer,was,wann", ","))
    with pytest.raises(
        DataError,
        match=r"no user, item, time column found; the columns are wer, was, wann",
    ):
        read_source(path)
    with pytest.raises(UsageError, match=r"--item-col wass: .* Did you mean 'was'"):
        read_source(path, asked=Asked(columns=Columns("wer", "wass", "wann")))
    wide = [f"c{number}" for number in range(1000)]
    path.write_text(f"{','.join(wide)}\n{','.join(wide)}\n")
    with pytest.raises(DataError, match=r"the columns are c0, c1, .*, c18, c19, \.\.\.\. Name it"):
        read_source(path)


def test_table_reads_dates_as_times(tmp_path: Path) -> None:
    days = ["2026-01-03", "2026-01-01", "2026-01-02", "2026-01-01 05:00:00", "2025-12-31T23:59:59"]
    path = tmp_path / "x.csv"
    path.write_text("user,item,date\n" + "".join(f"u,i{n},{day}\n" for n, day in enumerate(days)))
    times = [item for _, item, _ in sorted(rows_of(path), key=lambda row: row[2])]
    assert times == ["i4", "i1", "i3", "i2", "i0"]
    pl.read_csv(path, try_parse_dates=True).write_parquet(tmp_path / "x.parquet")
    rows_of(tmp_path / "x.parquet")


@pytest.mark.parametrize("timed", [True, False])
def test_table_reads_lists_aggregated_per_user(tmp_path: Path, timed: bool) -> None:
    """Lists of items, with lists of times or in order; in folders below, as engines part them."""
    events = random_events(13)
    lists: dict[str, list[tuple[int, str]]] = {}
    for user, item, time in events:
        lists.setdefault(user, []).append((int(time), item))
    ordered = {user: sorted(pairs, key=lambda pair: pair[0]) for user, pairs in lists.items()}
    users = pl.DataFrame(
        {
            "user_id": list(ordered),
            "items": [[item for _, item in pairs] for pairs in ordered.values()],
            "times": [[time for time, _ in pairs] for pairs in ordered.values()],
        }
    )
    folder = tmp_path / "users"
    for number, start in enumerate(range(0, len(users), 15)):
        part = folder / f"bucket={number}" / "data_0.parquet"
        part.parent.mkdir(parents=True)
        users[start : start + 15].drop([] if timed else ["times"]).write_parquet(part)
    (folder / "_SUCCESS").touch()
    expected = [
        (user, item, float(time if timed else place))
        for user, pairs in ordered.items()
        for place, (time, item) in enumerate(pairs)
    ]
    check(read_source(folder), expected, ordered=False)


def test_table_ignores_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    events = random_events(11)
    path = tmp_path / "x.csv"
    path.write_bytes(text(events, "user,item,time", ",", "\r\n") + b"\r\n\r\n")
    check(read_source(path), events)


def test_table_keeps_ids_of_64_bits_distinct(tmp_path: Path) -> None:
    events = [(str(2**63 - 1 - n % 3), str(2**64 + n % 7), float(n)) for n in range(300)]
    events += [(user.replace("9", "8"), item, time) for user, item, time in events]
    path = tmp_path / "x.csv"
    path.write_bytes(text(events, "user,item,time", ","))
    assert rows_of(path) == events
    numbers = pl.DataFrame(
        {"user": [2**63 - 1, 5, 2**63 - 2], "item": [-1, 1, 0], "time": [1, 2, 3]}
    )
    numbers.write_parquet(tmp_path / "x.parquet")
    assert [row[:2] for row in rows_of(tmp_path / "x.parquet")] == [
        (str(2**63 - 1), "-1"),
        ("5", "1"),
        (str(2**63 - 2), "0"),
    ]


def test_table_compares_ids_as_written(tmp_path: Path) -> None:
    """Also where all could be numbers but one."""
    for odd in ("01", "1.0", "+1", "x", "1e0"):
        events = [(f"{n % 5 + 1}", f"{n % 4}", float(n)) for n in range(2000)]
        events += [(odd, "1", 1.0)]
        path = tmp_path / "x.csv"
        path.write_bytes(text(events, "user,item,time", ","))
        assert rows_of(path) == events


def test_table_keeps_repeated_rows(tmp_path: Path) -> None:
    """A user meets an item again: a row repeated is no mistake."""
    events = random_events(2)
    path = tmp_path / "x.csv"
    path.write_bytes(text(events + events, "user,item,time", ","))
    check(read_source(path), events + events)


def test_prepare_prints_what_it_read(tmp_path: Path) -> None:
    events = random_events(1)
    path = tmp_path / "x.csv"
    path.write_bytes(text(events, "wer,was,time", ","))
    given = ["prepare", str(path), "--name", "x", "--data-dir", str(tmp_path / "data")]
    done = CliRunner().invoke(cli, [*given, "--user-col", "wer", "--item-col", "was"])
    assert done.exit_code == 0, done.output
    dataset = open_dataset(tmp_path / "data" / "x")
    assert dataset.meta["source"]["format"] == "table"
    failed = CliRunner().invoke(cli, [*given[:-1], str(tmp_path / "other"), "--user-col", "wer"])
    assert isinstance(failed.exception, DataError)
    assert not (tmp_path / "other" / "x").exists()
