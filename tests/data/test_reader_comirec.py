"""ComiRec's text files: reading them, and refusing bad ones with file and line."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.builders_data import (
    ROWS,
    Row,
    read_comirec_slowly,
    users_of,
    write_comirec,
)
from helpers.commands import reprise
from helpers.sources import refused
from reprise.data.dataset import SPLITS
from reprise.data.prepare import read_source

# Few users, items and orders, so that users come back after others and orders tie.
rows_of_a_file = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 20), st.integers(-3, 6)), min_size=1, max_size=30
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A whole ComiRec folder with items 1..4."""
    return write_comirec(tmp_path / "source")


@settings(max_examples=60, deadline=None)
@given(
    rows=st.fixed_dictionaries(dict.fromkeys(SPLITS, rows_of_a_file)),
    line_end=st.sampled_from(["\n", "\r\n", "\n\n", "\r\n \r\n"]),
    cut=st.booleans(),
)
def test_comirec_reads_files_as_the_original_does(
    rows: dict[str, list[Row]], line_end: str, cut: bool
) -> None:
    with TemporaryDirectory() as name:
        folder = write_comirec(Path(name), rows, line_end=line_end)
        if cut:  # no line end after the last line
            for path in folder.iterdir():
                path.write_bytes(path.read_bytes().removesuffix(line_end.encode()))
        draft = read_source(folder)
    for split in SPLITS:
        assert users_of(draft, split) == read_comirec_slowly(rows[split])
    largest = max(item for lines in rows.values() for _, item, _ in lines)
    assert draft.raw_items.to_list() == [str(n) for n in range(1, largest + 1)]
    assert draft.item_category.tolist() == [-1] * (largest + 1)


def test_comirec_allows_blanks_around_fields(source: Path) -> None:
    (source / "x_valid.txt").write_text(" 1 , 2 ,0\n\t1,\t4,1 \n")
    assert users_of(read_source(source), "valid") == read_comirec_slowly(ROWS["valid"])


def test_comirec_categories_are_minus_one_if_unknown(source: Path) -> None:
    # Item 9 was filtered out of the interactions: its category is not needed.
    (source / "x_item_cate.txt").write_bytes(b"2,5\r\n9,1\r\n\r\n4,0")
    assert read_source(source).item_category.tolist() == [-1, -1, 5, -1, 0]


@pytest.mark.parametrize("category", [2**31, 2**40, -(2**31) - 1])
def test_comirec_refuses_a_category_out_of_range(source: Path, category: int) -> None:
    # It must not come out as another category, wrapped around.
    (source / "x_item_cate.txt").write_text(f"2,5\n1,{category}\n")
    assert "x_item_cate.txt, line 2" in str(refused(source))


def test_comirec_item_map_gives_raw_ids_and_the_catalogue(source: Path) -> None:
    # In any order; raw ids may hold commas; item 5 is in no split.
    (source / "x_item_map.txt").write_text("e,5\nb,2\na,1\nc, C,3\nd,4\n")
    draft = read_source(source)
    assert draft.raw_items.to_list() == ["a", "b", "c, C", "d", "e"]
    assert len(draft.item_category) == 6


@pytest.mark.parametrize("line", ["1,2", "1,2,3,4", "1,x,3", "1;2;3", "1.5,2,3", ",2,3", "1,-2,3"])
@pytest.mark.parametrize("split", SPLITS)
def test_comirec_names_a_malformed_line(source: Path, split: str, line: str) -> None:
    path = source / f"x_{split}.txt"
    path.write_text(f"0,1,0\n\n{line}\n0,bad,1\n")  # blank lines count, the first bad one is named
    error = refused(source)
    assert error.key == "bad_line"
    assert f"{path}, line 3: " in str(error)
    assert repr(line) in str(error)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("x_item_cate.txt", "2"),
        ("x_item_cate.txt", "2,"),
        ("x_item_cate.txt", "b,2"),
        ("x_item_map.txt", "2"),
        ("x_item_map.txt", "2,b"),
    ],
)
def test_comirec_names_a_malformed_line_of_a_side_file(source: Path, name: str, line: str) -> None:
    (source / name).write_text(f"1,1\n{line}\n")
    error = refused(source)
    assert error.key == "bad_line"
    assert f"{source / name}, line 2: " in str(error)


@pytest.mark.parametrize("content", ["", "\n \r\n"])
@pytest.mark.parametrize("split", SPLITS)
def test_comirec_names_an_empty_split(source: Path, split: str, content: str) -> None:
    path = source / f"x_{split}.txt"
    path.write_text(content)
    error = refused(source)
    assert error.key == "empty_split"
    assert str(path) in str(error)


@pytest.mark.parametrize("item", [0, 2**31 - 1, 2**40])
@pytest.mark.parametrize("split", SPLITS)
def test_comirec_names_an_impossible_item_id(source: Path, split: str, item: int) -> None:
    path = source / f"x_{split}.txt"
    path.write_text(f"0,1,0\n0,{item},1\n")
    error = refused(source)
    assert error.key == "item_out_of_range"
    assert f"{path}, line 2: item id {item} " in str(error)


def test_comirec_names_an_id_too_large_for_any_integer(source: Path) -> None:
    (source / "x_train.txt").write_text(f"0,1,0\n0,{2**70},1\n")
    assert "x_train.txt, line 2" in str(refused(source))


def test_comirec_refuses_a_sparse_catalogue(source: Path) -> None:
    # An id of a million among four items is no popularity rank; V rows would be made for it.
    (source / "x_test.txt").write_text("2,1,0\n2,1000000,1\n")
    error = refused(source)
    assert error.key == "item_out_of_range"
    assert "x_test.txt, line 2: item id 1000000 " in str(error)


@pytest.mark.parametrize("split", SPLITS)
def test_comirec_names_an_item_missing_from_the_item_map(source: Path, split: str) -> None:
    (source / "x_item_map.txt").write_text("a,1\nb,2\nc,3\nd,4\n")
    path = source / f"x_{split}.txt"
    path.write_text("0,1,0\n0,5,1\n")
    error = refused(source)
    assert error.key == "item_out_of_range"
    assert f"{path}, line 2: item id 5 is outside the catalogue 1..4" in str(error)


@pytest.mark.parametrize(
    ("content", "line"),
    [("a,1\nb,2\nc,2\nd,3\n", 3), ("a,1\nb,2\nc,4\nd,5\n", 3), ("a,0\nb,1\nc,2\nd,3\n", 1)],
    ids=["twice", "gap", "from zero"],
)
def test_comirec_item_map_ids_must_be_ranks(source: Path, content: str, line: int) -> None:
    path = source / "x_item_map.txt"
    path.write_text(content)
    error = refused(source)
    assert error.key == "item_map_ids"
    assert f"{path}, line {line}: " in str(error)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_comirec_names_a_missing_split_file(source: Path, split: str) -> None:
    path = source / f"x_{split}.txt"
    path.unlink()
    error = refused(source)
    assert error.key == "file_missing"
    assert str(path) in str(error)


def test_comirec_names_two_train_files(source: Path) -> None:
    write_comirec(source, prefix="y")
    error = refused(source)
    assert error.key == "several_train_files"
    assert str(source) in str(error)
    assert "x_train.txt" in str(error)
    assert "y_train.txt" in str(error)


def test_comirec_names_a_file_that_is_not_text(source: Path) -> None:
    path = source / "x_train.txt"
    path.write_bytes(b"0,1,0\n\xff\xfe\x00\n")
    error = refused(source)
    assert error.key == "unreadable"
    assert str(path) in str(error)


def test_prepare_says_which_files_of_comirec_it_read(source: Path, tmp_path: Path) -> None:
    (source / "x_item_cate.txt").write_text("1,0\n")
    (source / "x_cate_map.txt").write_text("a,0\n")
    read = ["x_train.txt", "x_valid.txt", "x_test.txt", "x_item_cate.txt"]
    draft = read_source(source)
    assert draft.source["taken"]["files"] == read
    done = reprise("prepare", source, "--name", "n", "--data-dir", tmp_path / "data")
    assert f"Read: {', '.join(read)}\n" in done.stdout
    assert "Files not read: 1 others (x_cate_map.txt)\n" in done.stdout
