"""The files of a folder that are read: parts, text files and metadata, but no hidden files."""

import json
from pathlib import Path

import polars as pl
import pytest

from helpers.builders_data import write_comirec
from reprise.data.prepare import read_source
from reprise.data.readers.format import NOTHING_ASKED, Asked
from reprise.data.readers.recognise import asked_of, read, recognise
from reprise.errors import DataError

CLICKS = "user,item,time,cat\n" + "".join(f"u{n},i{n % 3},{n},c{n % 3}\n" for n in range(9))
PACKING = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X \xff\xfe"  # as macOS writes beside files


def categories(source: Path, asked: Asked = NOTHING_ASKED) -> set[str]:
    """What is read as categories, of rows or of items."""
    found = read(source, "table", asked)
    frame = found.frame if found.items is None else found.items
    if "category" not in frame.columns:
        frame = found.frame
    if "category" not in frame.columns:
        return set()
    return set(frame["category"].cast(pl.String))


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    path = tmp_path / "clicks.csv"
    path.write_text(CLICKS)
    return path


@pytest.mark.parametrize("name", ["dataset-metadata.json", "metadata.json", "clicks_meta.csv"])
def test_read_ignores_files_beside_a_source_that_are_no_metadata(clicks: Path, name: str) -> None:
    (clicks.parent / name).write_text('{\n  "title": "Clicks",\n  "licenses": []\n}\n')
    assert read(clicks, "table").items is None


def test_read_ignores_a_description_in_a_folder(clicks: Path) -> None:
    about = clicks.parent / "dataset-metadata.json"
    about.write_text(json.dumps({"title": "Clicks", "keywords": ["a"]}, indent=2))
    assert recognise(clicks.parent) == "table"
    assert len(read(clicks.parent, "table").frame) == 9


def test_metadata_without_an_item_column_is_named(clicks: Path) -> None:
    (clicks.parent / "meta_clicks.csv").write_text("sku,category\ni1,A\n")
    with pytest.raises(DataError, match=r"meta_clicks\.csv: no item column found"):
        read(clicks.parent, "table")


@pytest.mark.parametrize("name", ["metal_sales", "metadatabase", "sales_metal", "x_meta_y"])
def test_read_takes_a_file_with_a_similar_name_as_a_part(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.csv").write_text(CLICKS)
    assert recognise(tmp_path) == "table"
    assert len(read(tmp_path, "table").frame) == 9


@pytest.mark.parametrize(
    "name", ["meta_clicks", "clicks_meta", "clicks.meta", "meta", "clicks_metadata", "meta_Books"]
)
@pytest.mark.parametrize("whole", [False, True])
def test_metadata_is_found_by_its_name(clicks: Path, name: str, whole: bool) -> None:
    (clicks.parent / f"{name}.csv").write_text("item,category,title\ni1,A,One\n")
    source = clicks.parent if whole else clicks
    assert categories(source) == {"A"}


def test_metadata_of_the_file_itself_is_read_among_several(clicks: Path) -> None:
    for name in ("clicks", "views"):
        (clicks.parent / f"meta_{name}.csv").write_text(f"item,category\ni1,{name}\n")
    assert categories(clicks) == {"clicks"}


def test_category_column_named_by_the_user_is_read_despite_metadata(clicks: Path) -> None:
    about = clicks.parent / "clicks_meta.csv"
    named = asked_of(category_col="cat")
    rows = {"c0", "c1", "c2"}
    about.write_text("item,title\ni1,One\n")  # no categories
    assert categories(clicks, named) == rows
    about.write_text("item,title,category\ni1,One,A\n")
    assert categories(clicks, named) == rows
    assert categories(clicks) == {"A"}
    about.write_text("item,title,kind\ni1,One,A\n")  # named by a column of its own
    assert categories(clicks, asked_of(category_col="kind")) == {"A"}


def test_read_source_joins_categories_of_rows_with_titles_of_metadata(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rows = [(f"u{n % 30}", f"i{n // 30}", n) for n in range(300)]
    lines = [f"{user},{item},{time},of {item}\n" for user, item, time in rows]
    path.write_text("user,item,time,category\n" + "".join(lines))
    about = [f"i{n},Title {n}\n" for n in range(10)]
    (tmp_path / "x_meta.csv").write_text("item,title\n" + "".join(about))
    draft = read_source(path)
    assert draft.about_items is not None
    for raw, row in zip(draft.raw_items, draft.about_items.rows(named=True), strict=True):
        assert row == {"category": f"of {raw}", "title": f"Title {raw[1:]}"}


def test_read_skips_hidden_files(clicks: Path) -> None:
    folder = clicks.parent
    (folder / "._clicks.csv").write_bytes(PACKING)
    (folder / "._meta_clicks.csv").write_bytes(PACKING)
    (folder / "._x.parquet").write_bytes(PACKING)
    assert len(read(folder, "table").frame) == 9
    below = folder / "all" / "part=1"
    below.mkdir(parents=True)
    clicks.rename(below / "a.csv")
    hidden = folder / "all" / ".ipynb_checkpoints"
    hidden.mkdir()
    (hidden / "a-checkpoint.csv").write_text(CLICKS)
    assert len(read(folder / "all", "table").frame) == 9


def test_recognise_ignores_hidden_files(tmp_path: Path) -> None:
    comirec = write_comirec(tmp_path / "comirec")
    (comirec / "._x_train.txt").write_bytes(PACKING)
    read_source(comirec)
    folder = tmp_path / "recbole"
    folder.mkdir()
    (folder / "x.inter").touch()
    (folder / "._x.inter").write_bytes(PACKING)
    assert recognise(folder) == "recbole"
    folder = tmp_path / "sequences"
    folder.mkdir()
    (folder / "x.txt").write_text("1 2 3\n")
    (folder / "._x.txt").write_bytes(PACKING)
    assert recognise(folder) == "sequences"
