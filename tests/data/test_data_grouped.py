"""The worked example of docs/data.md: DuckDB groups a log, and `prepare` reads the result."""

import random
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from reprise.data.dataset import SPLITS, Dataset, open_dataset
from reprise.data.prepare import prepare

DOCS = Path(__file__).parents[2] / "docs"
ITEMS = [f"i{n}" for n in range(30)]


def log_rows(seed: int) -> list[tuple[str, str, str, int]]:
    """Return user, item, event and time: of each user no two at one time; some items are rare."""
    rng = random.Random(seed)
    rows = [
        (f"u{n % 60:02}", rng.choice(ITEMS), rng.choice(["view", "view", "buy"]), 1000 + n)
        for n in range(1500)
    ]
    rows += [("u01", f"rare{n}", "view", 5000 + n) for n in range(4)]
    rng.shuffle(rows)
    return rows


def grouped_slowly(rows: list[tuple[str, str, str, int]]) -> dict[str, list[str]]:
    """Return each user's viewed items by time: items with 5 views, users with 5 of these."""
    views = [(user, item, time) for user, item, event, time in rows if event == "view"]
    counts = Counter(item for _, item, _ in views)
    users: dict[str, list[str]] = {}
    for user, item, _ in sorted(views, key=lambda view: view[2]):
        if counts[item] >= 5:
            users.setdefault(user, []).append(item)
    return {user: items for user, items in users.items() if len(items) >= 5}


def users_of(dataset: Dataset) -> dict[str, list[str]]:
    names = dataset.about_items()["raw_id"].to_list()
    found = {}
    for split in SPLITS:
        own = dataset.splits[split]
        for place, user in enumerate(dataset.raw_users(split).to_list()):
            items = own.items[own.offsets[place] : own.offsets[place + 1]]
            found[user] = [names[item - 1] for item in items]
    return found


@pytest.mark.parametrize("page", ["data.md", "zh/data.md"])
def test_prepare_reads_what_duckdb_grouped_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(tmp_path)
    rows = log_rows(1)
    for number in range(3):
        part = tmp_path / "logs" / f"day={number}" / "part.parquet"
        part.parent.mkdir(parents=True)
        columns = ["user_id", "item_id", "event", "event_time"]
        pl.DataFrame(rows[number::3], columns, orient="row").write_parquet(part)
    blocks = (DOCS / page).read_text().split("\n\n")
    query = next(block for block in blocks if block.startswith("    COPY ("))
    assert "'s3://logs/" in query
    duckdb.sql(query.replace("s3://logs/", "logs/"))
    dataset = open_dataset(prepare(tmp_path / "users", "views", tmp_path / "data"))
    assert users_of(dataset) == grouped_slowly(rows)
    on_disk = prepare(tmp_path / "users", "disk", tmp_path / "data", max_memory="2GB")
    assert open_dataset(on_disk).fingerprint == dataset.fingerprint
