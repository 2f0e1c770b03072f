"""Rows of a database by a query: the same data set as from a table of these rows."""

import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from reprise.data.dataset import stored_fingerprint
from reprise.data.prepare import prepare, read_source
from reprise.data.readers import database
from reprise.data.readers.recognise import asked_of
from reprise.errors import RepriseError

RNG = random.Random(4)
EVENTS = [
    (RNG.randint(1, 9), RNG.randint(1, 9), 1_600_000_000 + n, f"name {n}") for n in range(200)
]
QUERY = "SELECT user_id, item_id, timestamp FROM clicks ORDER BY timestamp"
COLUMNS = ["user_id", "item_id", "timestamp"]


def sqlite_of(path: Path, rows: list[Any], columns: str = "user_id, item_id, timestamp") -> Path:
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute(f"CREATE TABLE clicks ({columns})")
        marks = ", ".join("?" * len(rows[0]))
        opened.executemany(f"INSERT INTO clicks VALUES ({marks})", rows)
    return path


def duckdb_of(path: Path, rows: list[Any]) -> Path:
    duckdb = pytest.importorskip("duckdb", reason="needs the extra database")
    with duckdb.connect(str(path)) as opened:
        opened.execute("CREATE TABLE clicks (user_id INT, item_id INT, timestamp BIGINT)")
        opened.executemany("INSERT INTO clicks VALUES (?, ?, ?)", [list(row) for row in rows])
    return path


def refused(source: Any, query: str | None = QUERY) -> RepriseError:
    with pytest.raises(RepriseError) as raised:
        read_source(source, query=query)
    return raised.value


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
@pytest.mark.parametrize("max_memory", [None, "1GB"])
def test_prepare_of_a_query_makes_the_data_set_of_its_rows(
    tmp_path: Path, kind: str, max_memory: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BATCH", 7)
    rows = [row[:3] for row in EVENTS]
    make = sqlite_of if kind == "sqlite" else duckdb_of
    path = make(tmp_path / f"shop.{kind}", rows)
    pl.DataFrame(rows, COLUMNS, orient="row").write_parquet(tmp_path / "x.parquet")
    expected = prepare(tmp_path / "x.parquet", "x", tmp_path)
    made = prepare(path, "y", tmp_path, max_memory=max_memory, query=f"{QUERY} -- the end;")
    assert stored_fingerprint(made) == stored_fingerprint(expected)
    source = read_source(path, query=QUERY).source
    assert source["query"] == QUERY
    assert source["path"] == str(path)
    assert source["taken"]["files"] == [f"shop.{kind}.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *sorted([path.name, "x", "x.parquet", "y"])
    ]


@pytest.mark.parametrize("address", ["sqlite:{}", "sqlite://{}", "sqlite:///{}"])
def test_queried_takes_the_address_of_a_file(tmp_path: Path, address: str) -> None:
    path = sqlite_of(tmp_path / "shop.db", [row[:3] for row in EVENTS])
    for source in (address.format(path), Path(address.format(path)), [address.format(path)]):
        assert read_source(source, query=QUERY).source["path"] == str(path)


def test_queried_keeps_types_and_writes_mixed_ones_as_ids_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's values have types of their own; batches differ in them, too."""
    monkeypatch.setattr(database, "_BATCH", 2)
    rows = [
        (1, 1, 1, "a", None, 2**53 + 1, None, 1),
        (2, 2.5, 2, None, None, 0.5, None, "01"),
        (3, 3, "x", "b", None, 1, None, 2.0),
        (4, 4, 4.0, "é", None, 1, 7, None),
        (5, None, 5, "", None, 1, 8, 3),
    ]
    path = sqlite_of(tmp_path / "x.db", rows, "a, b, c, d, e, f, g, h")
    with database.queried(path, "SELECT * FROM clicks", lambda *_: None) as found:
        frame = pl.read_parquet(found.paths[0])
    assert frame.to_dict(as_series=False) == {
        "a": [1, 2, 3, 4, 5],
        "b": ["1", "2.5", "3", "4", None],
        "c": ["1", "2", "x", "4", "5"],
        "d": ["a", None, "b", "é", ""],
        "e": [None] * 5,
        "f": [str(2**53 + 1), "0.5", "1", "1", "1"],
        "g": [None, None, None, 7, 8],
        "h": ["1", "01", "2", None, "3"],
    }
    assert not found.paths[0].exists()


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("SELECT user_id FROM orders", "query_failed"),
        ("DELETE FROM clicks", "query_failed"),
        ("SELECT 1; SELECT 2", "query_failed"),
        ("CREATE TEMP TABLE x (y)", "query_without_rows"),
        ("", "query_without_rows"),
        ("SELECT user_id, item_id AS user_id FROM clicks", "query_column_twice"),
        ("SELECT user_id, x'00ff' AS item_id, timestamp FROM clicks", "query_type"),
        ("SELECT * FROM clicks WHERE user_id < 0", "no_interactions"),
        ("SELECT user_id, item_id FROM clicks", "no_column"),
        ("SELECT user_id, NULL AS item_id, timestamp FROM clicks", "bad_values_in_rows"),
    ],
)
def test_queried_refuses_by_naming_the_database(tmp_path: Path, query: str, key: str) -> None:
    path = sqlite_of(tmp_path / "shop.db", [row[:3] for row in EVENTS])
    error = refused(path, query)
    assert (error.key, error.values["path"]) == (key, path)
    with closing(sqlite3.connect(path)) as opened:
        assert opened.execute("SELECT count(*) FROM clicks").fetchone() == (len(EVENTS),)


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("SELECT user_id FROM orders", "query_failed"),
        ("DELETE FROM clicks", "query_without_rows"),
        ("SELECT 1; DELETE FROM clicks", "query_without_rows"),
        ("SELECT user_id, item_id AS user_id FROM clicks", "query_column_twice"),
        ("SELECT user_id::HUGEINT AS user_id FROM clicks", "query_type"),
        ("SELECT '\\x00'::BLOB AS user_id FROM clicks", "query_type"),
        ("SELECT uuid() AS user_id FROM clicks", "query_type"),
        ("SELECT user_id, item_id FROM clicks", "no_column"),
    ],
)
def test_queried_refuses_by_naming_the_duckdb_file(tmp_path: Path, query: str, key: str) -> None:
    path = duckdb_of(tmp_path / "shop.duckdb", [row[:3] for row in EVENTS])
    error = refused(path, query)
    assert (error.key, error.values["path"]) == (key, path)


def test_queried_refuses_what_is_not_one_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sqlite_of(tmp_path / "shop.db", [row[:3] for row in EVENTS])
    (tmp_path / "x.csv").write_text("user,item,time\n1,2,3\n")
    (tmp_path / "x.duckdb").write_bytes(bytes(8) + b"DUCK" + bytes(8))
    assert refused([path, path]).key == "query_of_several"
    assert refused(tmp_path / "x.csv").key == "query_of_no_database"
    assert refused(tmp_path / "none.db").key == "source_missing"
    monkeypatch.setitem(sys.modules, "duckdb", None)
    error = refused(tmp_path / "x.duckdb")
    assert (error.key, error.values["extra"]) == ("extra_missing", "database")


@pytest.mark.parametrize("query", [None, QUERY])
@pytest.mark.parametrize("address", ["postgres://me:secret@host/shop", "mysql+pymysql://host/shop"])
def test_given_refuses_a_server_without_showing_the_password(
    address: str, query: str | None
) -> None:
    for source in (address, Path(address)):
        error = refused(source, query)
        assert (error.key, error.values) == (
            "database_server",
            {"scheme": address.partition(":")[0]},
        )


def test_refusal_of_a_database_names_a_query_that_works(tmp_path: Path) -> None:
    path = sqlite_of(tmp_path / "shop.db", [row[:3] for row in EVENTS])
    for source in (path, tmp_path):
        error = refused(source, None)
        assert (error.key, error.values) == ("database_file", {"path": path, "table": "clicks"})
    assert read_source(path, query="SELECT user_id, item_id, timestamp FROM clicks").raw_items.len()


def test_columns_of_a_query_are_named_as_those_of_a_table(tmp_path: Path) -> None:
    path = sqlite_of(tmp_path / "shop.db", [row[:3] for row in EVENTS], "a, b, c")
    asked = asked_of(user_col="a", item_col="b", time_col="c")
    draft = read_source(path, asked=asked, query="SELECT * FROM clicks")
    assert draft.source["read"]["interactions"] == len(EVENTS)
