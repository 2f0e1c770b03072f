"""Selecting rows by event and by rating: rows are counted, unknown values refused by name."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data.test_data_taken import made_of, prepared, refusal, sequences, source_of
from reprise.data.prepare import read_source
from reprise.data.readers.recognise import asked_of

HEADER = ["user_id", "item_id", "timestamp", "event_type", "rating"]
KINDS = ["view", "view", "cart", "purchase", ""]


def random_rows(seed: int) -> list[tuple[str, str, int, str, float]]:
    """Rows of users, items, distinct times, events and ratings."""
    rng = random.Random(seed)
    return [
        (
            f"u{rng.randint(0, 9)}",
            f"i{rng.randint(0, 9)}",
            1_600_000_000 + place,
            rng.choice(KINDS),
            rng.choice([1, 2, 3.5, 4, 5]),
        )
        for place in range(200)
    ]


def write(path: Path, rows: list[Any], kind: str) -> Path:
    frame = pl.DataFrame(rows, HEADER, orient="row")
    if kind == "csv":
        frame.write_csv(path.with_suffix(".csv"))
    elif kind == "parquet":
        frame.with_columns(pl.col("event_type").replace("", None)).write_parquet(
            path.with_suffix(".parquet")
        )
    elif kind == "jsonl":
        frame.write_ndjson(path.with_suffix(".jsonl"))
    else:
        named = [f"{name}:token" for name in HEADER]
        frame.rename(dict(zip(HEADER, named, strict=True))).write_csv(
            path.with_suffix(".inter"), separator="\t", quote_style="never"
        )
    return path.with_suffix(f".{kind}")


def users_slowly(rows: list[Any], events: list[str], least: float) -> dict[str, list[str]]:
    """Each user's items of these events and ratings, of users with three at least."""
    found: dict[str, list[str]] = {}
    for user, item, _, event, rating in rows:
        if event in events and rating >= least:
            found.setdefault(user, []).append(item)
    return {user: items for user, items in found.items() if len(items) > 2}


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "inter"])
@pytest.mark.parametrize("least", [None, 3.5])
def test_prepare_takes_rows_by_event_and_rating_and_counts_the_others(
    tmp_path: Path, kind: str, least: float | None
) -> None:
    rows = random_rows(len(kind))
    path = write(tmp_path / "x", rows, kind)
    data = prepared(path, events="view, purchase", min_rating=least)
    expected = users_slowly(rows, ["view", "purchase"], least or 0)
    assert sequences(data) == expected
    often = Counter(event for *_, event, _ in rows)
    taken = source_of(data)["taken"]
    assert taken["events"]["column"].startswith("event_type")
    assert dict(taken["events"]["taken"]) == {one: often[one] for one in ("view", "purchase")}
    assert dict(taken["events"]["left"]) == {"cart": often["cart"], None: often[""]}
    assert taken["rows"] == len(rows)
    assert taken["left_out"] == {}
    if least is not None:
        below = [row for row in rows if row[3] in ("view", "purchase") and row[4] < least]
        assert taken["ratings"]["below"] == len(below)
        assert taken["ratings"]["least"] == least


def test_prepare_counts_every_event_if_none_is_requested(tmp_path: Path) -> None:
    rows = random_rows(1)
    path = write(tmp_path / "x", rows, "csv")
    data = prepared(path, event_col="event_type")
    assert sequences(data) == users_slowly(rows, KINDS, 0)
    often = Counter(event or None for *_, event, _ in rows)
    assert dict(source_of(data)["taken"]["events"]["taken"]) == dict(often)
    said = made_of(path, "--event-col", "event_type", "--overwrite").stdout
    assert f"Events (column event_type): view {often['view']}, " in said
    assert f"other or none {often[None]}" in said
    said = made_of(path, "--overwrite").stdout
    assert "Column event_type looks like events" in said
    assert "--event-col event_type --events LIST" in said
    options = ("--events", "cart,view", "--min-rating", "4", "--overwrite")
    done = made_of(path, *options)
    assert f"Events not used: purchase {often['purchase']}, other or none {often[None]}\n" in (
        done.stdout
    )
    below = sum(event in ("cart", "view") and rating < 4 for *_, event, rating in rows)
    assert f"Ratings below 4 (column rating): {below} rows not used\n" in done.stdout
    done = made_of(path, "--events", "cart,view", "--overwrite", "--min-rating", "nan")
    assert (done.returncode, "min-rating = nan" in done.stderr) == (2, True)


def test_prepare_accepts_missing_ids_and_ratings_in_rows_of_other_events(tmp_path: Path) -> None:
    rows = random_rows(2)
    bad = [("u1", None, 1_600_000_300, "search", None), (None, "i1", None, "search", None)]
    path = write(tmp_path / "x", [*rows, *bad], "csv")
    data = prepared(path, events=["view", "cart"], min_rating=1)
    assert sequences(data) == users_slowly(rows, ["view", "cart"], 0)


def test_prepare_refuses_events_and_ratings_that_do_not_occur(tmp_path: Path) -> None:
    rows = random_rows(3)
    path = write(tmp_path / "x", rows, "csv")
    said = refusal(path, events="view,purchas")
    assert "--events purchas: no row of" in said
    assert "'purchase'?" in said
    assert "view, " in said
    assert "--target-events buy" in refusal(path, target_events="buy")
    assert "--target-events cart" in refusal(path, target_events="cart", events="view")
    assert "--event-col event" in refusal(path, event_col="event")
    assert "the highest is 5" in refusal(path, min_rating=6)
    assert "Missing: --min-rating" in refusal(path, rating_col="rating")
    assert "Missing: --events" in refusal(path, events=" ,")
    plain = tmp_path / "y.csv"
    pl.DataFrame(rows, HEADER, orient="row").drop("event_type", "rating").write_csv(plain)
    assert "no event column found" in refusal(plain, events="view")
    assert "no rating column found" in refusal(plain, min_rating=3)


def test_prepare_asks_which_of_several_event_columns_to_use(tmp_path: Path) -> None:
    frame = pl.DataFrame(random_rows(4), HEADER, orient="row")
    both = frame.with_columns(action=pl.col("event_type"))
    both.write_csv(tmp_path / "x.csv")
    assert "several columns could be the event" in refusal(tmp_path / "x.csv", events="view")
    (tmp_path / "parts").mkdir()
    frame.write_csv(tmp_path / "parts" / "a.csv")
    frame.rename({"event_type": "action"}).write_csv(tmp_path / "parts" / "b.csv")
    assert "The event column is event_type in" in refusal(tmp_path / "parts", events="view")
    lists = frame.group_by("user_id").agg(pl.all())
    lists.write_parquet(tmp_path / "lists.parquet")
    assert "a list of items per row" in refusal(tmp_path / "lists.parquet", events="view")


def test_prepare_refuses_an_event_column_with_too_many_values(tmp_path: Path) -> None:
    frame = pl.DataFrame(random_rows(5) * 6, HEADER, orient="row")
    path = tmp_path / "x.csv"
    frame.with_columns(session=pl.int_range(pl.len())).write_csv(path)
    assert "1200 different values" in refusal(path, event_col="session")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_prepare_refuses_or_drops_missing_ratings(tmp_path: Path, kind: str) -> None:
    rows = random_rows(6)
    holes = [(*row[:4], None if place in (7, 50) else row[4]) for place, row in enumerate(rows)]
    path = write(tmp_path / "x", holes, kind)
    said = refusal(path, min_rating=3.5)
    assert f"row {9 if kind == 'csv' else 8}: no rating in column rating. 2 of 200 rows" in said
    data = prepared(path, min_rating=3.5, drop_invalid=True)
    kept: list[Any] = [row for row in holes if row[4] is not None]
    assert sequences(data) == users_slowly(kept, KINDS, 3.5)
    taken = source_of(data)["taken"]
    assert taken["left_out"] == {"rating": 2}
    assert taken["rows"] == 200
    assert taken["ratings"]["below"] == sum(row[4] < 3.5 for row in kept)


def test_prepare_refuses_ratings_that_are_not_numbers(tmp_path: Path) -> None:
    rows: list[Any] = random_rows(7)
    texts = [(*row[:4], "4 stars" if place == 9 else str(row[4])) for place, row in enumerate(rows)]
    path = write(tmp_path / "x", texts, "csv")
    for drop in (False, True):
        said = refusal(path, min_rating=3, drop_invalid=drop)
        assert "row 11: the rating in column rating is '4 stars', which is no number" in said
        assert "1 of 200 rows" in said
    other = [(*row[:4], "-" if place == 9 else str(row[4])) for place, row in enumerate(rows)]
    path = write(tmp_path / "y", other, "csv")
    data = prepared(path, min_rating=3, drop_invalid=True, null_values="-")
    assert source_of(data)["taken"]["left_out"] == {"rating": 1}


def test_prepare_filters_movielens_by_rating(tmp_path: Path) -> None:
    rows = random_rows(8)
    text = "\n".join(f"{u[1:]}::{i[1:]}::{rating:g}::{time}" for u, i, time, _, rating in rows)
    (tmp_path / "ratings.dat").write_text(text)
    data = prepared(tmp_path / "ratings.dat", min_rating=4)
    expected = users_slowly(rows, KINDS, 4)
    assert sequences(data) == {
        user[1:]: [item[1:] for item in items] for user, items in expected.items()
    }
    assert "--events does not apply" in refusal(tmp_path / "ratings.dat", events="view")
    (tmp_path / "ratings.dat").write_text(text + "\n1::2")
    assert "line 201" in refusal(tmp_path / "ratings.dat", min_rating=4)


def test_prepare_takes_taobao_behaviours_as_events(tmp_path: Path) -> None:
    rows = random_rows(9)
    path = tmp_path / "UserBehavior.csv"
    lines = [f"{u},{i},7,{event or 'fav'},{time}" for u, i, time, event, _ in rows]
    path.write_text("\n".join(lines))
    drafts = [
        read_source(path, "leave-one-out", 1, asked_of(**asked))  # type: ignore[arg-type]
        for asked in ({"behaviours": "view,cart"}, {"events": "view,cart"})
    ]
    assert drafts[0].splits["test"].items.tolist() == drafts[1].splits["test"].items.tolist()
    assert "Give only one of --events, --behaviours" in refusal(path, events="a", behaviours="b")
    assert "--behaviours pv" not in refusal(path, behaviours="buy")
    assert "--events pv: no row" in refusal(path)
    assert "--min-rating does not apply" in refusal(path, min_rating=3)
    text = tmp_path / "s.txt"
    text.write_text("1 2 3 4\n2 3 4 5\n")
    assert "--events does not apply to the format sequences" in refusal(text, events="view")
