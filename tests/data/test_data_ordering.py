"""What a dataset does not depend on: threads, batches, and how a table is spread over its parts."""

import random
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_data import Event, recbole_slowly, users_of
from helpers.commands import reprise
from helpers.effort import examples
from reprise.data import ordering
from reprise.data.dataset import SPLITS, fingerprint_of, open_dataset
from reprise.data.draft import Draft
from reprise.data.prepare import prepare, read_source
from reprise.data.readers import interactions

PROTOCOLS = ("comirec", "leave-one-out", "time-split")


def random_events(seed: int) -> list[Event]:
    """Many ties: of times, of popularity, of categories."""
    rng = random.Random(seed)
    return [
        (f"u{rng.randint(1, 25)}", f"i{rng.randint(1, 12)}", float(rng.randint(0, 29)))
        for _ in range(400)
    ]


def table(events: list[Event], numbers: bool) -> pl.DataFrame:
    """With a category a row, which is not always the same of an item."""
    rows = [
        (user[1:] if numbers else user, item[1:] if numbers else item, int(time), f"c{n % 3}")
        for n, (user, item, time) in enumerate(events)
    ]
    frame = pl.DataFrame(rows, ["user", "item", "time", "category"], orient="row")
    return frame.cast({"user": pl.Int64, "item": pl.Int64}) if numbers else frame


def spread(frame: pl.DataFrame, folder: Path, rng: random.Random, end: str) -> Path:
    """Rows in any order, in parts of any size, of any names."""
    folder.mkdir()
    rows = frame.sample(fraction=1, shuffle=True, seed=rng.randint(0, 10**9))
    count = rng.randint(2, 5)
    bounds = [0, *sorted(rng.sample(range(1, len(rows)), count - 1)), len(rows)]
    for first, last in pairwise(bounds):
        part = rows[first:last]
        path = folder / f"{rng.randint(0, 10**9):09}-part{end}"
        if end == ".parquet":
            part.write_parquet(path)
        else:
            part.write_csv(path)
    return folder


def fingerprint(draft: Draft) -> str:
    return fingerprint_of(draft.splits, draft.item_category, draft.evaluation, draft.known)


@examples(6)
@given(seed=st.integers(0, 10**6), numbers=st.booleans(), end=st.sampled_from([".parquet", ".csv"]))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_read_source_gives_the_same_however_rows_are_spread_over_parts(
    seed: int, numbers: bool, end: str, protocol: str
) -> None:
    frame, rng = table(random_events(seed), numbers), random.Random(seed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        made = {
            fingerprint(read_source(spread(frame, folder / f"s{n}", rng, end), protocol))
            for n in range(3)
        }
    assert len(made) == 1


@pytest.mark.parametrize("seed", range(5))
def test_read_source_orders_equals_of_unordered_parts_by_id(tmp_path: Path, seed: int) -> None:
    events = random_events(seed)
    source = spread(table(events, numbers=False), tmp_path / "s", random.Random(seed), ".csv")
    draft = read_source(source)
    raw_items, users = recbole_slowly(events, ordered=False)
    assert draft.raw_items.to_list() == raw_items
    for split in SPLITS:
        assert users_of(draft, split) == users[split]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_prepare_does_not_depend_on_batch_and_block_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    table(random_events(1), numbers=False).write_csv(tmp_path / "x.csv")
    made = set()
    for number, (batch, block, share) in enumerate(
        [(10**6, 1 << 18, 1 << 21), (7, 3, 5), (64, 100, 1)]
    ):
        monkeypatch.setattr(interactions, "_BATCH", batch)
        monkeypatch.setattr(ordering, "_BLOCK", block)
        monkeypatch.setattr(ordering, "_SORTED_BLOCK", share)
        folder = prepare(tmp_path / "x.csv", f"x{number}", tmp_path, protocol)
        made.add(open_dataset(folder).fingerprint)
    assert len(made) == 1


def test_prepare_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    events = [event for seed in range(30) for event in random_events(seed)]
    source = spread(table(events, numbers=False), tmp_path / "s", random.Random(0), ".parquet")
    made = set()
    for threads in ("1", "5"):
        given_data = ("prepare", source, "--name", threads, "--data-dir", tmp_path)
        done = reprise(*given_data, own_process=True, POLARS_MAX_THREADS=threads)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # no progress where there is no terminal
        made.add(open_dataset(tmp_path / threads).fingerprint)
    assert len(made) == 1


# Arranging


@examples(80)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(1, 5)), min_size=1, max_size=60
    ),
    kind=st.sampled_from(["small", "huge", "broken"]),
    tied=st.booleans(),
)
def test_in_order_sorts_rows_by_user_then_time(
    rows: list[tuple[int, int, int]], kind: str, tied: bool
) -> None:
    """Whole numbers that fit into one sort key with the users', those that do not, and others."""
    ranks, times, items = (np.array(column) for column in zip(*rows, strict=True))
    if kind == "huge":
        times = times * (2**62 // 6)
    elif kind == "broken":
        times = times / 7
    by_item = items.astype(np.int32)
    ties = (lambda rows: [by_item[rows]]) if tied else None
    offsets, order = ordering.in_order(ranks.astype(np.int32), times, 5, ties)
    expected = sorted(
        range(len(rows)), key=lambda n: (ranks[n], times[n], items[n] if tied else 0, n)
    )
    assert order.tolist() == expected
    assert offsets.tolist() == np.searchsorted(np.sort(ranks), np.arange(6)).tolist()


@examples(40)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30))
def test_codes_of_sparse_ids_are_distinct_and_small(numbers: list[int]) -> None:
    column = pl.Series(numbers, dtype=pl.UInt32)
    codes = np.concatenate(ordering.codes_of(column)).tolist()
    pairs = set(zip(numbers, codes, strict=True))
    assert len(pairs) == len(set(numbers)) == len(set(codes))
    assert max(codes) < 2_000_000


@examples(200)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
        max_size=12,
    ),
    st.sampled_from([np.int64, np.float64]),
)
def test_sorted_orders_rows_by_keys_of_any_sign(
    rows: list[tuple[int, int]], dtype: type[np.generic]
) -> None:
    keys = [np.array([row[0] for row in rows], np.int32), np.array([row[1] for row in rows], dtype)]
    expected = sorted(range(len(rows)), key=lambda row: [key[row].item() for key in keys])
    assert ordering._sorted(keys).tolist() == expected
