"""RecBole's `.inter` and `.item`: reading them, and refusing bad ones with file and line."""

from pathlib import Path

import numpy as np
import pytest

from helpers.builders_data import (
    INTER_HEADER,
    write_inter,
)
from helpers.sources import check, random_events, refused
from reprise.data.prepare import read_source
from reprise.data.readers.columns import UNNAMED
from reprise.data.readers.format import NOTHING_ASKED
from reprise.data.readers.interactions import collect
from reprise.data.readers.recbole import scan_inter
from reprise.errors import RepriseError


def test_recbole_reads_categories_and_titles_of_items(tmp_path: Path) -> None:
    events = random_events(5)
    write_inter(tmp_path / "x.inter", events)
    (tmp_path / "x.item").write_text(
        "item_id:token\tmovie_title:token_seq\tclass:token_seq\n物1\tUp and away\tDrama War\n"
    )
    draft = read_source(tmp_path)
    check(draft, events)
    row = draft.raw_items.to_list().index("物1")
    assert draft.about_items is not None
    assert draft.about_items.row(row, named=True) == {"title": "Up and away", "category": "Drama"}
    assert draft.item_category[row + 1] == 0
    assert (np.delete(draft.item_category, row + 1) == -1).all()


def test_recbole_names_columns_of_items_that_look_useful(tmp_path: Path) -> None:
    write_inter(tmp_path / "x.inter", random_events(5))
    (tmp_path / "x.item").write_text("item_id:token\tprice:float\tclass:token_seq\tx:token\n")
    with (tmp_path / "x.item").open("a") as file:
        file.writelines(f"{item}\t1\ta b\tx\n" for _, item, _ in random_events(5))
    useful = read_source(tmp_path).source["taken"]["useful"]
    assert [one["column"] for one in useful] == ["price:float"]


def inter_refusal(path: Path, content: str) -> RepriseError:
    path.write_bytes(content.encode())
    error = refused(path)
    assert str(path) in str(error)
    return error


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\n\n"])
def test_scan_inter_finds_columns_by_name(tmp_path: Path, line_end: str) -> None:
    path = tmp_path / "x.inter"
    header = "rating:float\ttimestamp:float\titem_id:token\tuser_id:token"
    lines = [header, "5\t10\ti, 1\tu 1", "\t1.5e3\ti2\t007"]
    path.write_bytes(line_end.join(lines).encode())
    second = 3 if line_end == "\n\n" else 2
    (part,) = scan_inter([path], UNNAMED, NOTHING_ASKED)
    assert part.rows.select("user", "item", "time", "line").collect().rows() == [
        ("u 1", "i, 1", "10", second),
        ("007", "i2", "1.5e3", 2 * second - 1),
    ]
    assert collect([part]).frame["time"].to_list() == [10.0, 1500.0]


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("user_id:token\titem_id:token", "time"),
        ("user:token\titem_id:token\ttimestamp:float", "user"),
        ("user_id:token,item_id:token,timestamp:float", "item, time"),
        ("1\t2\t3", "user, item, time"),
    ],
)
def test_recbole_names_missing_columns(tmp_path: Path, header: str, missing: str) -> None:
    error = inter_refusal(tmp_path / "x.inter", f"{header}\n")
    assert error.key == "no_column"
    assert [str(role) for role in error.values["roles"]] == missing.split(", ")
    assert f"no {missing} column" in str(error)
    words = {"user": "用户", "item": "物品", "time": "时间"}
    assert "、".join(words[role] for role in missing.split(", ")) in error.said_in("zh")


@pytest.mark.parametrize("line", ["u\ti", "u\ti\t1\t2", "u"])
def test_recbole_names_a_line_with_other_fields(tmp_path: Path, line: str) -> None:
    error = inter_refusal(tmp_path / "x.inter", f"{INTER_HEADER}\nu\ti\t1\n\n{line}\nu\t\t\n")
    assert error.key == "bad_line"
    assert "line 4: expected as many fields as line 1, separated by '\\t'" in str(error)
    assert repr(line) in str(error)


@pytest.mark.parametrize(
    ("line", "column", "value"),
    [
        *(
            (f"u\ti\t{time}", "time", time)
            for time in ("nan", "inf", "", "x", "-3", "-0.5", "1e300")
        ),
        ("\ti\t1", "user", ""),
        ("u\t\t1", "item", ""),
    ],
)
def test_recbole_names_a_bad_value_with_its_row(
    tmp_path: Path, line: str, column: str, value: str
) -> None:
    error = inter_refusal(tmp_path / "x.inter", f"{INTER_HEADER}\nu\ti\t1\n\n{line}\n")
    assert error.key == "bad_values_in_rows"
    assert f"row 4: the {column} is {value!r}; expected" in str(error)
    assert "Fix or remove the row." in str(error)


@pytest.mark.parametrize("line_end", ["", "\n", "\r\n\r\n"])
def test_recbole_names_a_file_without_interactions(tmp_path: Path, line_end: str) -> None:
    error = inter_refusal(tmp_path / "x.inter", INTER_HEADER + line_end)
    assert error.key == "no_interactions"


def test_recbole_names_a_split_that_too_few_users_leave_empty(tmp_path: Path) -> None:
    # Five users of five items each: int(5 * 0.8) and int(5 * 0.9) leave nobody for valid.
    lines = [f"u{user}\ti{item}\t{item}" for user in range(5) for item in range(5)]
    error = inter_refusal(tmp_path / "x.inter", "\n".join([INTER_HEADER, *lines]))
    assert error.key == "empty_split"
    assert error.values["split"] == "valid"
