"""One spelling of ids, wherever they are read: 5 and 5.0 are the same."""

from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.checkpoints import no_warning
from helpers.effort import examples
from reprise.data import ids
from reprise.data.dataset import Dataset, open_dataset
from reprise.data.prepare import prepare
from reprise.data.readers.recognise import asked_of
from reprise.runs.given import measure_lists
from reprise.runs.stored import StoredModel
from reprise.serving.histories import users_of_file
from reprise.serving.lists import Query
from reprise.serving.recommender import Recommender

TYPES = (pl.Int64, pl.UInt16, pl.Float64, pl.Float32, pl.Decimal(12, 2), pl.String, pl.Categorical)
ROWS = [(100 + user, 1 + (user + place) % 9, place) for user in range(12) for place in range(6)]
ITEMS = [str(item) for item in range(1, 10)]


def table(path: Path, kind: Any, columns: dict[str, list[int]], *plain: str) -> Path:
    """Whole numbers as ids of a type, the columns `plain` aside."""
    frame = pl.DataFrame(columns)
    own = [
        pl.col(name).cast(pl.String).cast(kind)
        if kind in (pl.String, pl.Categorical)
        else pl.col(name).cast(kind)
        for name in columns
        if name not in plain
    ]
    frame.with_columns(own).write_parquet(path)
    return path


def prepared(folder: Path, kind: Any = pl.Int64, about: Any = pl.Int64) -> Dataset:
    folder.mkdir(exist_ok=True)
    users, items, times = (list(column) for column in zip(*ROWS, strict=True))
    of_rows = {"user": users, "item": items, "time": times}
    source = table(folder / "x.parquet", kind, of_rows, "time")
    of_items = {"item": list(range(1, 10)), "category": [item % 3 for item in range(1, 10)]}
    table(folder / "x_meta.parquet", about, of_items, "category")
    made = prepare(source, "x", folder, "leave-one-out", 1, asked_of(), overwrite=True)
    return open_dataset(made)


@pytest.mark.parametrize("kind", TYPES)
def test_prepare_reads_the_same_ids_from_any_type(tmp_path: Path, kind: Any) -> None:
    expected = prepared(tmp_path / "a")
    for name, types in (("b", (kind, pl.Int64)), ("c", (pl.Int64, kind))):
        data = prepared(tmp_path / name, *types)
        assert data.meta["source"]["taken"]["items_told"] == len(ITEMS)
        assert data.fingerprint == expected.fingerprint
        assert data.item_ids_digest == expected.item_ids_digest
        assert data.raw_users("test").to_list() == expected.raw_users("test").to_list()


@pytest.mark.parametrize("kind", TYPES)
def test_measure_lists_accepts_ids_of_any_type(tmp_path: Path, kind: Any) -> None:
    data = prepared(tmp_path)
    lists = {"user": [100, 100, 105], "item": [1, 2, 3], "rank": [1, 2, 1]}
    long = table(tmp_path / "long.parquet", kind, lists, "rank")
    wide = tmp_path / "wide.parquet"
    by_user = pl.read_parquet(long).group_by("user", maintain_order=True)
    by_user.agg("item").rename({"item": "items"}).write_parquet(wide)
    for path in (long, wide):
        about = measure_lists(path, data, "test", lambda key, **_: None, (2,)).about
        assert about["unknown"] == {"users": 0, "items": 0, "repeated": 0, "none": 10}


@pytest.mark.parametrize("kind", TYPES)
def test_users_of_file_and_recommender_accept_ids_of_any_type(tmp_path: Path, kind: Any) -> None:
    data = prepared(tmp_path)
    numbers = {raw: number for number, raw in enumerate(data.about_items()["raw_id"], start=1)}
    config = SimpleNamespace(maxlen=5)
    items = data.about_items()
    retriever = SimpleNamespace(request_time=None, reads_times=False)
    facts = {"items": items, "num_items": 9, "config": config, "retriever": retriever}
    stored = cast(StoredModel, SimpleNamespace(**facts))
    flat = table(tmp_path / "f.parquet", kind, {"user": [100, 100, 105], "raw_ids": [7, 3, 9]})
    path = tmp_path / "h.parquet"
    pl.read_parquet(flat).group_by("user", maintain_order=True).agg("raw_ids").write_parquet(path)
    users = users_of_file(path, stored, no_warning)
    assert users.raw_ids is not None
    assert users.raw_ids.to_list() == ["100", "105"]
    expected = [[numbers["7"], numbers["3"]], [numbers["9"]]]
    past = users.histories.past.of(0, 2)
    assert np.split(past.items, past.offsets[1:-1])[0].tolist() == expected[0]
    own = pl.read_parquet(path)["raw_ids"].to_list()
    found = Recommender(stored).queries(own, Query(np.zeros(0, np.int32)))
    assert [one.history.tolist() for one in found] == expected
    assert not any(one.unknown for one in found)


@examples(200)
@example("\x1f")
@given(
    st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1e6, 1e6).map(round).map(float)
    | st.integers(-(10**9), 10**9).map(lambda number: Decimal(number) / 100)
    | st.text()
)
def test_spelled_one_equals_spelled_series(raw_id: Any) -> None:
    column = pl.Series([raw_id], dtype=pl.Int128 if isinstance(raw_id, int) else None)
    assert ids.spelled_one(raw_id) == ids.spelled_series(column)[0]
    if isinstance(raw_id, float) and raw_id == int(raw_id) and abs(raw_id) < 2**63:
        assert ids.spelled_one(raw_id) == str(int(raw_id))


def test_spelled_missing_ids_are_none() -> None:
    assert ids.spelled_one(None) is ids.spelled_one(float("nan")) is None
    assert ids.spelled_series(pl.Series([1.0, None, float("nan")])).to_list() == ["1", None, None]
