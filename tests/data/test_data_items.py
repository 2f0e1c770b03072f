"""Schema 2: times, features, cold items and what the filter left out, against the source's rows."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pytest

from reprise import api
from reprise.data.dataset import SPLITS, Dataset, open_dataset
from reprise.data.features import Bags, Codes, Numbers, Vectors
from reprise.errors import ContentError, DataError, UsageError

Row: TypeAlias = tuple[str, str, int]  # user, item, time
PROTOCOLS = ("comirec", "leave-one-out", "time-split")
START = 1_600_000_000  # seconds


def rows_of(seed: int, count: int = 600) -> list[Row]:
    """Return interactions; some items and users have too few to be kept."""
    rng = random.Random(seed)
    items = [f"i{n:02}" for n in range(40)]
    weights = [1 / n for n in range(1, 41)]
    return [
        (f"u{rng.randint(1, 45)}", item, START + rng.randint(0, 10**6))
        for item in rng.choices(items, weights, k=count)
    ]


def frame_of(rows: list[Row]) -> pl.DataFrame:
    """Return rows as a table."""
    return pl.DataFrame(rows, ["user", "item", "time"], orient="row")


def make(rows: list[Row] | pl.DataFrame, folder: Path, name: str = "x", **asked: Any) -> Dataset:
    """Prepare rows."""
    frame = rows if isinstance(rows, pl.DataFrame) else frame_of(rows)
    return api.prepare(frame, name, data_dir=folder, **asked)


def told(dataset: Dataset, split: str) -> list[Row]:
    """Return a split's interactions in raw ids, times in nanoseconds, user by user."""
    own, raw = dataset.splits[split], dataset.about_items()["raw_id"].to_list()
    users = np.repeat(np.arange(len(own.lengths)), own.lengths)
    names = dataset.raw_users(split).to_list()
    assert own.times is not None
    columns = users.tolist(), own.items.tolist(), own.times.tolist()
    return [(names[u], raw[i - 1], time) for u, i, time in zip(*columns, strict=True)]


# Times


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("memory", [None, "2GB"])
def test_prepare_keeps_each_interactions_time(
    tmp_path: Path, protocol: str, memory: str | None
) -> None:
    rows = rows_of(1)
    frame_of(rows).write_parquet(tmp_path / "x.parquet")
    made = api.prepare(
        tmp_path / "x.parquet", "x", data_dir=tmp_path, protocol=protocol, max_memory=memory
    )
    source = Counter((user, item, time * 10**9) for user, item, time in rows)
    for split in SPLITS:
        found = told(made, split)
        assert not Counter(found) - source
        own = made.splits[split]
        assert own.times is not None
        rising = np.diff(own.times) >= 0
        rising[own.offsets[1:-1] - 1] = True
        assert rising.all()
    whole = made.whole_sequences()
    assert whole.times is not None
    assert len(whole.times) == len(whole.items)
    if protocol == "comirec":  # each row that is kept is in one split
        kept = Counter(row for split in SPLITS for row in told(made, split))
        users, items = {u for u, _, _ in kept}, {i for _, i, _ in kept}
        assert kept == Counter({r: n for r, n in source.items() if r[0] in users and r[1] in items})


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_evaluation_users_have_times_beside_their_history(
    tmp_path: Path, protocol: str, split: str
) -> None:
    made = make(rows_of(2), tmp_path, protocol=protocol)
    users = made.evaluation_users(split, 4)
    evaluated, given = made.evaluated(split)
    own = made.splits[split]
    assert users.times is not None
    assert users.last_known_time is not None
    assert users.held_out_time is not None
    assert own.times is not None
    for row, (user, known) in enumerate(zip(evaluated, given, strict=True)):
        times = own.times[own.offsets[user] : own.offsets[user + 1]]
        last = times[max(known - 4, 0) : known]
        assert users.times[row].tolist() == [*last, *[0] * (4 - len(last))]
        assert users.last_known_time[row] == last[-1]
        assert users.held_out_time[row] == times[known]
    some = users.sample(3, seed=5)
    assert some.times is not None
    assert some.held_out_time is not None
    places = [users.times.tolist().index(own.tolist()) for own in some.times]
    assert len(places) == 3
    np.testing.assert_array_equal(some.held_out_time, users.held_out_time[places])


UNITS: dict[str, tuple[pl.Expr, int]] = {
    "seconds": (pl.col("time"), 10**9),
    "milliseconds": (pl.col("time") * 1000 + 7, 10**6),
    "microseconds": (pl.col("time") * 10**6 + 7, 10**3),
    "nanoseconds": (pl.col("time") * 10**9 + 7, 1),
    "dates": (pl.from_epoch(pl.col("time") * 10**6 + 7, time_unit="us"), 10**3),
    "broken seconds": (pl.col("time") + 0.25, 10**9),
}


@pytest.mark.parametrize("unit", UNITS)
def test_times_are_nanoseconds_whatever_the_source_has(tmp_path: Path, unit: str) -> None:
    column, factor = UNITS[unit]
    frame = frame_of(rows_of(3)).with_columns(column.alias("time"))
    physical = (
        frame["time"].to_physical().cast(pl.Float64 if unit == "broken seconds" else pl.Int64)
    )
    expected = {round(time * factor) for time in physical.to_list()}
    made = make(frame, tmp_path)
    assert {time for split in SPLITS for _, _, time in told(made, split)} <= expected
    assert made.meta["source"]["timed"] is True


@pytest.mark.parametrize("column", ["places", "far"])
def test_times_of_no_clock_are_not_kept(tmp_path: Path, column: str) -> None:
    time = {
        "places": pl.col("time") - START,
        "far": pl.col("time").cast(pl.String).str.replace(".*", "2500-01-01"),
    }[column]
    made = make(frame_of(rows_of(3)).with_columns(time=time), tmp_path)
    assert not made.has_times
    assert made.meta["source"]["timed"] is False
    users = made.evaluation_users("valid", 3)
    assert (users.times, users.held_out_time) == (None, None)


# What the filter left out


@pytest.mark.parametrize("asked", [{}, {"k_core": 6}, {"protocol": "leave-one-out"}])
def test_aside_has_the_rows_that_the_filter_left_out(tmp_path: Path, asked: dict[str, Any]) -> None:
    rows = rows_of(4)
    made = make(rows, tmp_path, **asked)
    aside = pl.read_parquet(tmp_path / "x" / "aside" / "*.parquet")
    left = Counter(aside.rows())
    # leave-one-out has each user's whole sequence in test, or, where it is short, in train.
    splits = SPLITS if "protocol" not in asked else ("test", "train")
    seen: set[str] = set()
    kept: Counter[Row] = Counter()
    for split in splits:
        found = [row for row in told(made, split) if row[0] not in seen or len(splits) == 3]
        kept += Counter((user, item, time // 10**9) for user, item, time in found)
        seen |= {user for user, _, _ in found}
    assert left
    assert left + kept == Counter(rows)
    assert made.meta["source"]["aside_rows"] == left.total()
    assert not (make(rows, tmp_path, "y", aside=False, **asked).folder / "aside").exists()


# Cold items


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cold_items_are_in_no_training_sequence(tmp_path: Path, protocol: str) -> None:
    rows = rows_of(5)
    warm = make(rows, tmp_path, "warm", protocol=protocol)
    made = make(rows, tmp_path, "cold", protocol=protocol, cold_items=0.3)
    assert warm.cold is None
    assert made.cold is not None
    raw = made.about_items()["raw_id"].to_list()
    cold = {raw[item - 1] for item in np.flatnonzero(made.cold)}
    assert 0 < len(cold) < len(raw)
    assert made.cold.tolist() == sorted(made.cold.tolist())  # they stand behind the others
    expected = [row for row in told(warm, "train") if row[1] not in cold]
    assert told(made, "train") == expected
    assert made.splits["train"].lengths.min() > 0
    for split in ("valid", "test"):
        assert told(made, split) == told(warm, split)
    assert made.training_counts[made.cold].sum() == 0
    taken = made.meta["source"]["cold"]
    assert taken["items"] == len(cold)
    assert taken["interactions"] == len(told(warm, "train")) - len(expected)
    # The draw is of the item alone: it stays cold in other data.
    other = make(rows_of(6), tmp_path, "other", protocol=protocol, cold_items=0.3)
    assert other.cold is not None
    ids = other.about_items()["raw_id"].to_list()
    again = {ids[item - 1] for item in np.flatnonzero(other.cold)}
    assert again & set(raw) == cold & set(ids)


def test_cold_items_are_about_the_share_asked_for() -> None:
    from reprise.data.cold import drawn

    ids = pl.Series([f"item-{n}" for n in range(20_000)])
    for share in (0.05, 0.3):
        assert drawn(ids, share).mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_cold_items_refuse_a_share_that_is_none(tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageError, match="above 0 and below 1"):
        make(rows_of(1), tmp_path, cold_items=share)


# Features

ITEMS = [f"i{n:02}" for n in range(50)]  # some of which are in no interaction
TABLE = pl.DataFrame(
    {
        "item_id": ITEMS,
        "brand": [[None, "b", " a ", "", "c"][n % 5] for n in range(50)],
        "genres": [["x", "y", "x"][: n % 4] or None for n in range(50)],
        "tags": ["|".join(["t", "s"][: n % 3]) for n in range(50)],
        "price": [None if n % 7 == 0 else n / 4 for n in range(50)],
        "year": [1990 + n % 6 for n in range(50)],
        "vector": [None if n % 9 == 0 else [n, 1.5, -n] for n in range(50)],
        "title": [f"title {n}" for n in range(50)],
    },
    schema_overrides={"vector": pl.List(pl.Float32)},
)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_features_are_what_the_table_has(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"items.{form}"
    named = "brand,tags:categories,price,year:category"
    if form == "csv":
        TABLE.drop("genres", "vector").write_csv(path)
    else:
        TABLE.write_parquet(path)
        named += ",genres,vector"
    made = make(rows_of(7), tmp_path, item_features=named, items=path)
    raw = made.about_items()["raw_id"].to_list()
    of = {row["item_id"]: row for row in TABLE.iter_rows(named=True)}
    assert list(made.features) == [one.partition(":")[0] for one in named.split(",")]
    for name, column in (("brand", "brand"), ("year", "year")):
        feature, words = made.features[name], made.features.vocabulary(name)
        assert isinstance(feature, Codes)
        assert words is not None
        assert words[0] is None
        found = [words[int(code)] for code in feature.codes[1:]]
        texts = [None if of[i][column] is None else str(of[i][column]).strip() for i in raw]
        assert found == [text or None for text in texts]
        counts = [found.count(word) for word in words[1:]]
        assert counts == sorted(counts, reverse=True)
        assert feature.size == len(words)
    bags = {"tags": lambda i: set(filter(None, of[i]["tags"].split("|")))}
    if form == "parquet":
        bags["genres"] = lambda i: set(of[i]["genres"] or ())
        vectors = made.features["vector"]
        assert isinstance(vectors, Vectors)
        expected = [of[i]["vector"] or [0, 0, 0] for i in raw]
        np.testing.assert_array_equal(vectors.values, [[0, 0, 0], *expected])
    for name, words_of in bags.items():
        bag, words = made.features[name], made.features.vocabulary(name)
        assert isinstance(bag, Bags)
        assert words is not None
        parts = np.split(bag.codes, bag.offsets[1:-1])[1:]
        assert [{words[int(c)] for c in part} - {None} for part in parts] == list(
            map(words_of, raw)
        )
    price = made.features["price"]
    assert isinstance(price, Numbers)
    known = [of[i]["price"] for i in raw if of[i]["price"] is not None]
    assert price.mean == pytest.approx(np.mean(known))
    assert price.std == pytest.approx(np.std(known))
    told = [of[i]["price"] for i in raw]
    standard = [0 if x is None else (x - np.mean(known)) / np.std(known) for x in told]
    np.testing.assert_allclose(price.values[1:], standard, atol=1e-5)
    coverage = made.features.told["price"]["coverage"]["items"]
    assert coverage == pytest.approx(len(known) / len(raw))


def test_features_all_takes_what_can_be_one(tmp_path: Path) -> None:
    TABLE.write_parquet(tmp_path / "items.parquet")
    made = make(rows_of(7), tmp_path, item_features="all", items=tmp_path / "items.parquet")
    kinds = {name: made.features[name].kind for name in made.features}
    assert kinds == {
        "brand": "codes",
        "genres": "bags",
        "tags": "codes",
        "price": "numbers",
        "year": "numbers",
        "vector": "vectors",
    }
    assert made.features_told["left_out"] == []


@pytest.mark.parametrize("form", [pl.Int64, pl.String, pl.Float64])
def test_features_of_whole_numbers_that_are_names_are_categories(
    tmp_path: Path, form: type[pl.DataType]
) -> None:
    items = TABLE["item_id"]
    names = ["i_category", "brand_id", "shopCode", "ID", "paid", "price", "code"]
    columns = {name: (pl.int_range(len(items), eager=True) % 3).cast(form) for name in names[:-1]}
    columns["code"] = pl.Series([0.5] * len(items))  # no name, whatever it is called
    frame = pl.DataFrame({"item_id": items, **columns})
    frame.write_parquet(tmp_path / "items.parquet")
    made = make(
        rows_of(7), tmp_path, item_features=",".join(names), items=tmp_path / "items.parquet"
    )
    kinds = {name: made.features[name].kind for name in made.features}
    assert kinds == dict(zip(names, ["codes"] * 4 + ["numbers"] * 3, strict=True))


def test_features_of_a_file_of_vectors_by_ids(tmp_path: Path) -> None:
    vectors = np.arange(150, dtype=np.float64).reshape(50, 3)
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "v.ids.txt").write_text("\n".join(ITEMS[::-1]) + "\n")
    made = make(rows_of(7), tmp_path, item_features=[f"text={tmp_path / 'v.npy'}"])
    raw = made.about_items()["raw_id"].to_list()
    feature = made.features["text"]
    assert isinstance(feature, Vectors)
    expected = [vectors[49 - ITEMS.index(item)] for item in raw]
    np.testing.assert_array_equal(feature.values[1:], np.array(expected, np.float32))


def test_features_of_the_source_itself(tmp_path: Path) -> None:
    rows = frame_of(rows_of(7)).with_columns(category=pl.col("item").str.slice(1, 1))
    made = make(rows, tmp_path, item_features="category")
    words = made.features.vocabulary("category")
    codes = made.features["category"]
    assert isinstance(codes, Codes)
    assert words is not None
    raw = made.about_items()["raw_id"].to_list()
    assert [words[int(code)] for code in codes.codes[1:]] == [item[1] for item in raw]


BAD: dict[str, tuple[str, str]] = {
    "no such column": ("brnd", "Did you mean 'brand'"),
    "no number": ("title:number", "'title 0', which is no number"),
    "no vector": ("brand:vector", "can be no such feature"),
    "lists of several lengths": ("ragged", "has 2 numbers for item"),
    "what is not finite": ("infinite", "no finite number"),
    "what can be none": ("nested", "can be no such feature"),
    "another kind": ("brand:colour", "no column brand:colour"),
    "a name twice": ("brand,brand:number", "each name once"),
    "no name": (",", "Missing: item_features"),
    "a file that is none": ("a=b.txt", "NAME=FILE.npy"),
    "an infinite number": ("endless", "has inf for item"),
    "several categories where one is asked for": ("genres:category", "genres:categories"),
}


@pytest.mark.parametrize("case", BAD)
def test_features_refuse(tmp_path: Path, case: str) -> None:
    asked, message = BAD[case]
    TABLE.with_columns(
        ragged=pl.when(pl.int_range(pl.len()) == 2).then(pl.lit([1.0, 2.0])).otherwise("vector"),
        infinite=pl.lit([1.0, float("inf")]),
        endless=pl.when(pl.int_range(pl.len()) == 2).then(float("inf")).otherwise(1.0),
        nested=pl.struct("year"),
    ).write_parquet(tmp_path / "items.parquet")
    with pytest.raises((DataError, UsageError), match=message):
        make(rows_of(7), tmp_path, item_features=asked, items=tmp_path / "items.parquet")
    assert not (tmp_path / "x").exists()


DIFFERING: dict[str, pl.Expr] = {
    "brand": pl.lit("another"),
    "price": pl.lit(1e6),
    "genres": pl.lit(["another", "genre"]),
    "vector": pl.lit([9.0, 9.0, 9.0]),
}


@pytest.mark.parametrize("name", DIFFERING)
def test_features_refuse_rows_of_one_item_that_differ(tmp_path: Path, name: str) -> None:
    path = tmp_path / "items.parquet"
    same = pl.concat([TABLE, TABLE.head(3)])
    other = same.with_columns(DIFFERING[name].cast(TABLE.schema[name]).alias(name))
    pl.concat([same, other.slice(2, 2)]).write_parquet(path)
    with pytest.raises(DataError, match=f"several rows are of item i02, and column {name}"):
        make(rows_of(7), tmp_path, item_features=name, items=path)
    # Rows that tell the same, or nothing, are one; so are those that differ in what is not asked.
    nothing = TABLE.tail(2).with_columns(pl.lit(None).cast(TABLE.schema[name]).alias(name))
    untitled = same.with_columns(title=pl.lit("another")).tail(3)
    pl.concat([nothing, same, untitled]).write_parquet(path)
    found = make(rows_of(7), tmp_path, item_features=name, items=path).features[name]
    TABLE.write_parquet(path)
    expected = make(rows_of(7), tmp_path, "y", item_features=name, items=path).features[name]
    assert found.digest == expected.digest


def test_features_of_a_file_refuse_two_vectors_of_one_item(tmp_path: Path) -> None:
    vectors = np.array([[1, 2], [3, 4], [1, 2]], np.float32)
    (tmp_path / "v.ids.txt").write_text("i01\ni02\ni01\n")
    np.save(tmp_path / "v.npy", vectors)
    made = make(rows_of(7), tmp_path, item_features=f"text={tmp_path / 'v.npy'}")
    assert made.features["text"].known.sum() == 2
    vectors[2, 0] = 9
    np.save(tmp_path / "v.npy", vectors)
    with pytest.raises(DataError, match="lines 1 and 3 are both of item i01"):
        make(rows_of(7), tmp_path, "y", item_features=f"text={tmp_path / 'v.npy'}")


def test_text_with_leading_zeros_is_a_category(tmp_path: Path) -> None:
    shops = pl.concat_str(pl.lit("0"), (pl.int_range(pl.len()) % 4).cast(pl.String))
    TABLE.select("item_id", shop=shops).write_csv(tmp_path / "items.csv")
    made = make(rows_of(7), tmp_path, item_features="shop", items=tmp_path / "items.csv")
    words = made.features.vocabulary("shop")
    assert words is not None
    assert set(words.drop_nulls()) == {"00", "01", "02", "03"}


@pytest.mark.parametrize("asked", ["brand", "all"])
def test_titles_of_the_table_are_taken_where_the_source_has_none(
    tmp_path: Path, asked: str
) -> None:
    TABLE.write_parquet(tmp_path / "items.parquet")
    more: dict[str, Any] = {"item_features": asked, "items": tmp_path / "items.parquet"}
    made = make(rows_of(7), tmp_path, **more)
    of = dict(TABLE.select("item_id", "title").iter_rows())
    about = made.about_items()
    assert about["title"].to_list() == [of[raw] for raw in about["raw_id"]]
    assert made.features_told["titles_from"] == {"column": "title", "file": "items.parquet"}
    assert "title" not in made.features_told["left_out"]
    titled = frame_of(rows_of(7)).with_columns(title=pl.lit("own"))
    own = make(titled, tmp_path, "y", **more)
    assert set(own.about_items()["title"]) == {"own"}
    assert "titles_from" not in own.features_told
    assert own.fingerprint == made.fingerprint


def test_features_are_found_by_what_the_interactions_call_items(tmp_path: Path) -> None:
    rows = frame_of(rows_of(7)).rename({"item": "sku"})
    TABLE.rename({"item_id": "sku"}).write_parquet(tmp_path / "items.parquet")
    TABLE.rename({"item_id": "code"}).write_parquet(tmp_path / "other.parquet")
    asked = {"item_col": "sku", "item_features": "brand"}
    made = make(rows, tmp_path, items=tmp_path / "items.parquet", **asked)
    feature, words = made.features["brand"], made.features.vocabulary("brand")
    assert isinstance(feature, Codes)
    assert words is not None
    brands = made.about_items().select("raw_id", brand=feature.codes[1:])
    found = {raw: words[code] for raw, code in brands.iter_rows()}
    of = dict(TABLE.select("item_id", "brand").iter_rows())
    assert found == {raw: (of[raw] or "").strip() or None for raw in found}
    with pytest.raises(DataError, match="Call it item_id, or as the interactions call theirs"):
        make(rows, tmp_path, "z", items=tmp_path / "other.parquet", **asked)


def test_features_refuse_a_table_of_other_items(tmp_path: Path) -> None:
    table = TABLE.select(pl.col("item_id") + "?", "brand")
    table.write_csv(tmp_path / "items.csv")
    with pytest.raises(DataError, match="matches none of the items"):
        make(rows_of(7), tmp_path, item_features="brand", items=tmp_path / "items.csv")


# The folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset with all that schema 2 can have."""
    folder = tmp_path_factory.mktemp("prepared")
    TABLE.write_parquet(folder / "items.parquet")
    asked: dict[str, Any] = {
        "item_features": "brand,genres,price,vector",
        "items": folder / "items.parquet",
    }
    return make(rows_of(8), folder, cold_items=0.2, **asked)


def copied(dataset: Dataset, folder: Path, **meta: Any) -> Path:
    """Copy a dataset, and change keys of its meta.json (None: left out)."""
    import shutil

    shutil.copytree(dataset.folder, folder / "copy")
    changed = {k: v for k, v in (dict(dataset.meta) | meta).items() if v is not None}
    (folder / "copy" / "meta.json").write_text(json.dumps(changed))
    return folder / "copy"


def test_fingerprint_is_of_neither_times_nor_features(tmp_path: Path) -> None:
    TABLE.write_parquet(tmp_path / "items.parquet")
    rows = rows_of(9)
    plain = make(rows, tmp_path, "plain")
    with_features = make(
        rows, tmp_path, "features", item_features="brand", items=tmp_path / "items.parquet"
    )
    later = make([(u, i, time + 5) for u, i, time in rows], tmp_path, "later")
    assert plain.fingerprint == with_features.fingerprint == later.fingerprint
    assert plain.times_digest == with_features.times_digest != later.times_digest


def test_rank_and_counts_of_fresh_data(prepared: Dataset) -> None:
    assert prepared.rank.dtype == np.int32
    assert prepared.rank.tolist() == list(range(prepared.num_items + 1))
    counted = Counter(prepared.splits["train"].items.tolist())
    expected = [counted[item] for item in range(prepared.num_items + 1)]
    assert prepared.training_counts.tolist() == expected


def test_open_dataset_opens_older_folders(prepared: Dataset, tmp_path: Path) -> None:
    digests = {key: prepared.meta["digests"][key] for key in ("item_ids", "items.parquet")}
    folder = copied(prepared, tmp_path, schema=1, digests=digests)
    for path in [*folder.rglob("times.npy"), *(folder / "items").rglob("*.npy")]:
        path.unlink()
    older = open_dataset(folder)
    assert older.fingerprint == prepared.fingerprint
    assert not older.has_times
    assert not older.features
    assert older.cold is None
    np.testing.assert_array_equal(older.rank, prepared.rank)
    np.testing.assert_array_equal(older.training_counts, prepared.training_counts)
    meta = json.loads((folder / "meta.json").read_text())
    del meta["digests"]
    (folder / "meta.json").write_text(json.dumps({**meta, "schema": 2}))
    assert open_dataset(folder).fingerprint == prepared.fingerprint


USED: dict[str, Callable[[Dataset], object]] = {
    "items/rank.npy": lambda data: data.rank,
    "items/counts.npy": lambda data: data.training_counts,
    "items/cold.npy": lambda data: data.cold,
    "items/features/0.codes.npy": lambda data: data.features["brand"],
    "items/features/1.offsets.npy": lambda data: data.features["genres"],
    "items/features/2.values.npy": lambda data: data.features["price"],
    "items/features/3.values.npy": lambda data: data.features["vector"],
    "items/features.json": lambda data: data.features["price"],
    "train/times.npy": lambda data: data.times_digest,
}


@pytest.mark.parametrize("name", USED)
def test_damage_is_found_where_it_is_used(prepared: Dataset, tmp_path: Path, name: str) -> None:
    folder = copied(prepared, tmp_path)
    path = folder / name
    content = bytearray(path.read_bytes())
    if path.suffix == ".json":
        content = bytearray(content.replace(b'"mean": ', b'"mean": 1'))
    else:
        content[-1] ^= 1
    path.write_bytes(content)
    damaged = open_dataset(folder)  # what does not use it does not care
    assert damaged.fingerprint == prepared.fingerprint
    with pytest.raises((DataError, ContentError), match=r"differs from meta\.json"):
        USED[name](damaged)
    for other, use in USED.items():
        if other != name and "json" not in name + other:
            use(damaged)


@pytest.mark.parametrize("name", ["train/times.npy", "items/rank.npy", "items/features.json"])
def test_a_missing_file_is_damage(prepared: Dataset, tmp_path: Path, name: str) -> None:
    folder = copied(prepared, tmp_path)
    (folder / name).unlink()
    with pytest.raises(DataError, match="copy"):
        USED[name](open_dataset(folder))


def test_features_of_a_recbole_table_are_of_its_types(tmp_path: Path) -> None:
    path = tmp_path / "shop.item"
    numbers = sorted({int(item[1:]) for _, item, _ in rows_of(7)})
    header = "item_id:token name:token_seq year:token genre:token_seq price:float vec:float_seq"
    lines = [
        f'i{n:02}\tThe {n}" screen\t{1990 + n % 3}\t{("a b", "b", "c a")[n % 3]}\t{n / 2}\t{n} 1.5'
        for n in numbers
    ]
    path.write_text("\n".join([header.replace(" ", "\t"), *lines, ""]))
    made = make(rows_of(7), tmp_path, item_features="all", items=path)
    kinds = {name: made.features[name].kind for name in made.features}
    assert kinds == {"year": "codes", "genre": "bags", "price": "numbers", "vec": "vectors"}
    assert made.features_told["left_out"] == ["name"]
    words = made.features.vocabulary("genre")
    assert words is not None
    assert set(words) == {None, "a", "b", "c"}
    only = make(rows_of(7), tmp_path / "other", item_features="genre", items=path)
    assert list(only.features) == ["genre"]
