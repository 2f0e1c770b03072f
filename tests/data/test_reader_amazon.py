"""Amazon's reviews, and metadata of their items."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.sources import check, random_events, refusal
from reprise.data.prepare import read_source

AMAZON: dict[str, tuple[dict[str, str], str, list[Any]]] = {
    # of a year: names of the fields, the time's unit as digits behind seconds, the categories
    "2014": ({"user": "reviewerID", "item": "asin", "time": "unixReviewTime"}, "", [["A", "B"]]),
    "2018": ({"user": "reviewerID", "item": "asin", "time": "unixReviewTime"}, "", ["A", "B"]),
    "2023": ({"user": "user_id", "item": "parent_asin", "time": "timestamp"}, "000", ["A", "B"]),
}


@pytest.mark.parametrize("year", AMAZON)
def test_amazon_reads_reviews_of_every_year(tmp_path: Path, year: str) -> None:
    names, unit, categories = AMAZON[year]
    events = random_events(8)
    reviews = [
        {
            "overall": 5.0,
            names["user"]: user,
            names["item"]: item,
            "helpful": [0, 1],
            "images": [{"large": "x"}],
            names["time"]: int(f"{int(time)}{unit}"),
        }
        | ({"asin": "another"} if year == "2023" else {})
        for user, item, time in events
    ]
    path = tmp_path / "Books.jsonl.gz"
    lines = "".join(json.dumps(review) + "\n" for review in reviews)
    path.write_bytes(gzip.compress(lines.encode()))
    field = "category" if year == "2018" else "categories"
    about = [
        {names["item"]: f"物{n}", "title": f"It's {n}", "price": 3, field: categories}
        for n in range(12)
    ]
    dump: Callable[[Any], str] = repr if year == "2014" else json.dumps
    (tmp_path / "meta_Books.jsonl").write_text("".join(dump(one) + "\n" for one in about))
    for source in (path, tmp_path):
        draft = read_source(source)
        check(draft, events)
        assert draft.about_items is not None
        assert draft.about_items["category"].unique().to_list() == ["B"]
        titles = {f"It's {raw.removeprefix('物')}" for raw in draft.raw_items}
        assert set(draft.about_items["title"]) == titles


def write_amazon(folder: Path, *about: str) -> Path:
    """A folder of 30 users' reviews of items 0..9, and metadata of these lines."""
    reviews = [{"reviewerID": f"{n % 30}", "asin": f"{n // 30}", "time": n} for n in range(300)]
    (folder / "x.jsonl").write_text("".join(json.dumps(one) + "\n" for one in reviews))
    (folder / "meta_x.jsonl").write_text("".join(f"{line}\n" for line in about))
    return folder


@pytest.mark.parametrize("in_front", [(), ("",), ("\ufeff",)], ids=["", "blank", "mark"])
@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ("[['A', 'B'], ['C']]", "B"),
        ("['A', 'Books']", "Books"),
        ("'Books'", "Books"),
        ("[[7, 8]]", "8"),
        ("[]", None),
        ("[[]]", None),
        ("None", None),
    ],
)
def test_amazon_reads_categories_of_any_shape(
    categories: str, expected: str | None, in_front: tuple[str, ...], tmp_path: Path
) -> None:
    """One item that lacks them, or whose asin is a number, does not cost the others theirs."""
    about = f"{{'asin': 3, 'categories': {categories}}}"
    other = "{'asin': '0', 'categories': [['Z']]}"
    draft = read_source(write_amazon(tmp_path, *in_front, other, "", about))
    assert draft.about_items is not None
    found = dict(zip(draft.raw_items, draft.about_items["category"], strict=True))
    assert (found["0"], found["3"], found["1"]) == ("Z", expected, None)


@pytest.mark.parametrize(
    "line",
    [
        "['asin']",
        "3",
        "{'asin': ['1']}",
        "{'title': 'a'}",
        "{'asin': '1', 'title': {}}",
        "{'asin': '1', 'categories': [[{}]]}",
        "{'asin': '1'",
        "{'asin': f()}",
        "{[]: 1}",
        "[" * 5000 + "]" * 5000,
    ],
    ids=lambda line: line[:20],
)
def test_amazon_names_a_line_that_is_no_item(line: str, tmp_path: Path) -> None:
    folder = write_amazon(tmp_path, "{'asin': '0'}", line)
    assert "meta_x.jsonl, line 2: expected a record with a string 'asin'" in refusal(folder)
