"""Columns are those named or those with usual names; a name without effect is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.builders_data import write_comirec
from reprise.data.prepare import read_source
from reprise.data.readers.format import Asked
from reprise.data.readers.recognise import asked_of, read
from reprise.errors import DataError, RepriseError, UsageError

Write = Callable[[Path], Path]
ROWS = [(f"u{n % 3}", f"i{n % 4}", n) for n in range(12)]


def write_rows(path: Path, header: str, row: str, separator: str = "\n") -> Path:
    """Write ROWS, each as `row` has its parts."""
    lines = [header] if header else []
    lines += [row.format(user=user, item=item, time=time) for user, item, time in ROWS]
    path.write_text(separator.join([*lines, ""]))
    return path


def rows_of(path: Path, layout: str = "table", asked: Asked | None = None) -> list[tuple[str, ...]]:
    frame = read(path, layout, asked or Asked()).frame
    return [tuple(map(str, row)) for row in frame.select("user", "item", "time").rows()]


EXPECTED = [(user, item, str(time)) for user, item, time in ROWS]


def said(path: Path, asked: Asked) -> str:
    with pytest.raises(RepriseError) as caught:
        read_source(path, asked=asked)
    assert caught.value.exit_code in (2, 3)
    return str(caught.value)


def write_sequences(folder: Path) -> Path:
    path = folder / "x.txt"
    path.write_text("1 2 3\n2 3 4\n")
    return path


def write_dat(folder: Path) -> Path:
    return write_rows(folder / "ratings.dat", "", "{user}::{item}::5::{time}")


def write_taobao(folder: Path) -> Path:
    return write_rows(folder / "UserBehavior.csv", "", "{user},{item},1,pv,{time}")


def write_table(folder: Path) -> Path:
    return write_rows(folder / "x.csv", "user,item,time,kind", "{user},{item},{time},pv")


def write_recbole(folder: Path) -> Path:
    header = "a:token\tuser_id:token\titem_id:token\ttimestamp:float\tb:token"
    return write_rows(folder / "x.inter", header, "{item}\t{user}\t{item}\t{time}\t{user}")


@pytest.mark.parametrize(
    ("write", "layout"),
    [
        (write_sequences, "sequences"),
        (write_dat, "ratings.dat"),
        (write_taobao, "taobao"),
        (write_comirec, "comirec"),
    ],
)
@pytest.mark.parametrize("what", ["user", "item", "time", "category", "title"])
def test_columns_named_for_a_format_without_names_are_refused(
    tmp_path: Path, write: Write, layout: str, what: str
) -> None:
    source = write(tmp_path)
    named: dict[str, Any] = {f"{what}_col": "bogus"}
    asked = asked_of(**named)
    assert said(source, asked).startswith(f"--{what}-col does not apply to the format {layout}, ")


@pytest.mark.parametrize("write", [write_sequences, write_dat, write_comirec, write_table])
def test_behaviours_are_refused_for_formats_without_them(tmp_path: Path, write: Write) -> None:
    refused = said(write(tmp_path), asked_of(behaviours="buy"))
    assert refused.startswith("--behaviours does not apply to the format ")
    assert "taobao" in refused


def test_behaviours_may_have_blanks_around_them(tmp_path: Path) -> None:
    path = write_taobao(tmp_path)
    assert rows_of(path, "taobao", asked_of(behaviours=" pv ")) == EXPECTED


def test_columns_of_recbole_can_be_named(tmp_path: Path) -> None:
    path = write_recbole(tmp_path)
    assert rows_of(path, "recbole") == EXPECTED
    asked = asked_of(user_col="b", item_col="a")
    assert rows_of(path, "recbole", asked) == EXPECTED
    assert "--user-col bogus" in said(path, asked_of(user_col="bogus"))
    # What is said to be the users' is not the items' too.
    assert "no item column found; " in said(path, asked_of(user_col="item_id"))


def test_columns_of_recbole_items_can_be_named(tmp_path: Path) -> None:
    path = write_recbole(tmp_path)
    (tmp_path / "x.item").write_text("item_id:token\tkind:token\tclass:token\ni1\tA\tB\n")
    for asked, category in ((Asked(), "B"), (asked_of(category_col="kind"), "A")):
        items = read(path, "recbole", asked).items
        assert items is not None
        assert items["category"].to_list() == [category]
    assert "--category-col b: " in said(path, asked_of(category_col="b"))
    (tmp_path / "x.item").unlink()
    found = read(path, "recbole", asked_of(category_col="b"))
    assert found.frame["category"].cast(str).to_list() == [user for user, _, _ in ROWS]


def test_columns_of_movielens_movies_can_be_named(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "ratings.csv", "userId,movieId,when", "{user},{item},{time}")
    (tmp_path / "movies.csv").write_text("movieId,genres,mood\ni1,War,sad\n")
    asked = asked_of(time_col="when", category_col="mood")
    assert rows_of(path, "movielens", asked) == EXPECTED
    items = read(path, "movielens", asked).items
    assert items is not None
    assert items["category"].to_list() == ["sad"]


def test_columns_named_twice_are_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    refused = said(path, asked_of(user_col="item", item_col="item"))
    assert (
        refused
        == "--user-col and --item-col both name the column 'item'. Use a different column for each."
    )
    with pytest.raises(UsageError):
        read_source(path, asked=asked_of(item_col="2", time_col="2"))
    with pytest.raises(DataError, match=r"no item column found; "):
        read_source(path, asked=asked_of(user_col="item"))
    read(path, "table", asked_of(title_col="item", category_col="item"))  # a title may be the id


@pytest.mark.parametrize("name", ["line", "record", "text", "user", "odd"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_columns_may_have_any_name(tmp_path: Path, name: str, suffix: str) -> None:
    users, items, times = zip(*ROWS, strict=True)
    frame = pl.DataFrame({name: users, "item": items, "time": times})
    path = tmp_path / f"x{suffix}"
    if suffix == ".csv":
        frame.write_csv(path)
    elif suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path)
    assert rows_of(path, asked=asked_of(user_col=name)) == EXPECTED
