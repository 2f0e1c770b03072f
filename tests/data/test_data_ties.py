"""The order of a user's items with the same time: by a hash that is the same everywhere."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_data import write_comirec
from helpers.commands import reprise
from helpers.effort import examples
from helpers.oracles import tie_hash
from reprise.data import ties
from reprise.data.dataset import Dataset, open_dataset
from reprise.data.prepare import prepare
from reprise.data.readers.recognise import asked_of
from reprise.errors import UsageError

DAYS = ("2026-11-27", "2026-11-28")
Rows = Sequence[tuple[str, str, Any]]


@examples(100)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=12),
            st.text(max_size=12),
            st.integers(0, 2**63 - 1) | st.floats(0, 1e19, allow_subnormal=False),
        ),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([1, 3, 1 << 18]),
)
def test_tie_hashes_equal_plain_python(rows: Rows, block: int) -> None:
    before, ties._BLOCK = ties._BLOCK, block
    try:
        users, items = (
            ties.hashes_of(pl.Series([row[place] for row in rows], dtype=pl.String))
            for place in (0, 1)
        )
    finally:
        ties._BLOCK = before
    for n, (user, item, time) in enumerate(rows):
        found = ties.tie_hashes(users[n : n + 1], items[n : n + 1], np.array([time]))
        assert found.tolist() == [tie_hash(user, item, time)]


def test_tie_hashes_are_pinned() -> None:
    """Data sets of other machines and versions are in this order."""
    users, items = ties.hashes_of(pl.Series(["", "a"])), ties.hashes_of(pl.Series(["物", "7"]))
    assert users.tolist() == [0xCBF29CE484222325, 0xAF63DC4C8601EC8C]  # as FNV's authors publish
    times = np.array([0, 1_600_000_000])
    assert ties.tie_hashes(users, items, times).tolist() == PINNED


PINNED = [7047926809488345929, 5966152886515642570]


def parts(folder: Path, rows: Rows, count: int = 2) -> Path:
    folder.mkdir()
    for place in range(count):
        frame = pl.DataFrame(rows[place::count], ["user", "item", "time"], orient="row")
        frame.write_parquet(folder / f"{place}.parquet")
    return folder


def made(source: Path, **asked: Any) -> Dataset:
    told = asked_of(**asked)
    data = source.parent / "data"
    return open_dataset(prepare(source, "x", data, "leave-one-out", 1, told, overwrite=True))


def lists(data: Dataset) -> dict[str, list[str]]:
    raw = ["", *data.about_items()["raw_id"]]
    own = data.splits["test"]
    return {
        user: [raw[item] for item in own.items[own.offsets[n] : own.offsets[n + 1]]]
        for n, user in enumerate(data.raw_users("test"))
    }


ROWS = [(f"u{n % 7}", f"i{n * n % 11}", DAYS[n % 2]) for n in range(70)]


def test_ties_in_parts_are_ordered_by_hash_or_popularity(tmp_path: Path) -> None:
    source = parts(tmp_path / "s", ROWS)
    counts = pl.Series([item for _, item, _ in ROWS]).value_counts().rows()
    ranks = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    number = {item: place for place, (item, _) in enumerate(ranks)}
    micros = {day: int(np.datetime64(day, "us").astype(np.int64)) for day in DAYS}
    for rule in ("hash", "popularity"):
        data = made(source) if rule == "hash" else made(source, ties=rule)
        assert data.meta["source"]["ties"] == rule
        for user, items in lists(data).items():
            own = [
                (micros[day], tie_hash(user, item, micros[day]) if rule == "hash" else number[item])
                for name, item, day in ROWS
                if name == user
            ]
            met = [item for name, item, _ in ROWS if name == user]
            assert items == [item for _, item in sorted(zip(own, met, strict=True))]


def test_ties_in_one_file_keep_its_order(tmp_path: Path) -> None:
    source = parts(tmp_path / "s", ROWS, count=1)
    data = made(source)
    assert data.meta["source"]["ties"] == "order"
    for user, items in lists(data).items():
        own = [(day, item) for name, item, day in ROWS if name == user]
        assert items == [item for _, item in sorted(own, key=lambda pair: pair[0])]
    with pytest.raises(UsageError, match="has one, which decides"):
        made(source, ties="hash")


def test_ties_refuse_unknown_rules_and_formats_without_ties(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ties.*hash \| popularity"):
        made(parts(tmp_path / "s", ROWS), ties="file")
    with pytest.raises(UsageError, match="--ties does not apply to the format comirec"):
        made(write_comirec(tmp_path / "c"), ties="hash")


def test_ties_by_hash_favour_no_popular_item(tmp_path: Path) -> None:
    """Where all of a user's items are of one time, the last is any of them."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, 21)
    items = [rng.choice(20, 5, replace=False, p=weights / weights.sum()) for _ in range(400)]
    rows = [(f"u{user}", f"i{item}", 1) for user, own in enumerate(items) for item in own]
    source = parts(tmp_path / "s", rows)
    places = {}
    for rule in ("hash", "popularity"):
        last = [own[-1] for own in lists(made(source, ties=rule)).values()]
        raw = made(source, ties=rule).about_items()["raw_id"].to_list()
        of_all = np.mean([raw.index(item) for _, item, _ in rows])
        places[rule] = np.mean([raw.index(item) for item in last]) - of_all
    assert abs(places["hash"]) < 0.6 < 3 < places["popularity"]


def test_data_show_names_the_rule_for_ties(tmp_path: Path) -> None:
    data = made(parts(tmp_path / "s", ROWS))
    show = ("data", "show", "x", "--data-dir", tmp_path / "data", "--lang", "en")
    assert "Items of one time: by a hash of user, item and time" in reprise(*show).stdout
    meta = json.loads((data.folder / "meta.json").read_text())
    del meta["source"]["ties"]  # as older versions wrote it
    (data.folder / "meta.json").write_text(json.dumps(meta))
    assert "in parts without an order, the more popular first" in reprise(*show).stdout
