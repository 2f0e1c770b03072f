"""Leave-one-out: the splits equal the loops, and training sees no held-out item."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_data import (
    ROWS,
    Event,
    Row,
    Users,
    item_lists,
    leave_one_out_slowly,
    read_comirec_slowly,
    recbole_slowly,
    split_of,
    users_of,
    write_comirec,
    write_inter,
)
from helpers.effort import examples
from reprise.data.dataset import LAST, SHARE, SPLITS, Dataset, open_dataset
from reprise.data.ordering import k_core
from reprise.data.prepare import prepare, read_source
from reprise.data.splits import Users as SplitUsers
from reprise.data.splits import leave_one_out
from reprise.data.statistics import totals
from reprise.errors import DataError, UsageError
from reprise.training.batches import make_sampler
from reprise.training.targets import TargetRule

LOO = "leave-one-out"


def random_rows(seed: int) -> dict[str, list[Row]]:
    """Users of 1 to 9 items, apart by file and their rows mixed; few orders, so that many tie."""
    rng = random.Random(seed)
    users = rng.sample(range(100), 12)
    parts = {"train": users[:7], "valid": users[7:10], "test": users[10:]}
    rows = {
        split: [
            (user, rng.randint(1, 20), rng.randint(0, 5))
            for user in own
            for _ in range(rng.randint(1, 9))
        ]
        for split, own in parts.items()
    }
    rows["test"] += [(users[-1], 5, 9)] * 3  # one at least who is evaluated
    for own in rows.values():
        rng.shuffle(own)
    return rows


def random_events(seed: int) -> list[Event]:
    """Skewed items, few times: some items and users fall below five, and many times tie."""
    rng = random.Random(seed)
    items = rng.choices(range(25), [1 / n for n in range(1, 26)], k=200)
    return [(f"u{rng.randint(1, 25)}", f"i{item}", float(rng.randint(0, 9))) for item in items]


# What the splits hold


@examples(150)
@given(
    lists=st.lists(st.lists(st.integers(1, 99), max_size=9), min_size=1, max_size=8).filter(
        lambda lists: any(len(items) >= 3 for items in lists)
    ),
    length=st.integers(1, 10),
)
def test_leave_one_out_holds_out_the_last_two_items(lists: list[list[int]], length: int) -> None:
    raw_ids = pl.Series([f"u{n}" for n in range(len(lists))])
    splits = leave_one_out(SplitUsers(raw_ids, split_of(lists)))
    expected = leave_one_out_slowly(list(zip(raw_ids.to_list(), lists, strict=True)))
    for split in SPLITS:
        own = splits[split]
        assert own.sequences.offsets.dtype == np.int64
        assert own.sequences.items.dtype == np.int32
        found = list(zip(own.raw_ids.to_list(), item_lists(own.sequences), strict=True))
        assert found == expected[split]
    sequences = {split: users.sequences for split, users in splits.items()}
    dataset = Dataset("t", Path("t"), 99, "", sequences, np.zeros(100, np.int32), {}, LAST)
    assert totals(dataset) == (len(lists), sum(map(len, lists)))
    evaluated = [items for items in lists if len(items) >= 3]
    for split, target in (("valid", -2), ("test", -1)):
        users = dataset.evaluation_users(split, length)
        histories = [items[:target] for items in evaluated]
        assert item_lists(users.past.of(0, len(evaluated))) == histories
        assert users.target_offsets.tolist() == list(range(len(evaluated) + 1))
        assert users.target_items.tolist() == [items[target] for items in evaluated]
        for row, known, history in zip(users.history, users.lengths, histories, strict=True):
            assert row[:known].tolist() == history[-length:]


@pytest.mark.parametrize("seed", range(15))
def test_leave_one_out_joins_the_users_of_a_comirec_folder(tmp_path: Path, seed: int) -> None:
    rows = random_rows(seed)
    draft = read_source(write_comirec(tmp_path / "source", rows), LOO)
    everyone = [user for split in SPLITS for user in read_comirec_slowly(rows[split])]
    expected = leave_one_out_slowly(everyone)
    for split in SPLITS:
        assert users_of(draft, split) == expected[split]
    # Item ids stay as they are.
    most = max(item for own in rows.values() for _, item, _ in own)
    assert draft.raw_items.to_list() == [str(n) for n in range(1, most + 1)]


@pytest.mark.parametrize("seed", range(15))
def test_leave_one_out_filters_and_numbers_a_recbole_file_as_usual(
    tmp_path: Path, seed: int
) -> None:
    events = random_events(seed)
    raw_items, parts = recbole_slowly(events)
    by_name = {user: items for users in parts.values() for user, items in users}
    first_seen = dict.fromkeys(user for user, _, _ in events)
    everyone: Users = [(user, by_name[user]) for user in first_seen if user in by_name]
    draft = read_source(write_inter(tmp_path / "x.inter", events), LOO)
    assert draft.raw_items.to_list() == raw_items
    expected = leave_one_out_slowly(everyone)
    for split in SPLITS:
        assert users_of(draft, split) == expected[split]


def test_leave_one_out_keeps_ties_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = {**ROWS, "test": [(2, 4, 7), (2, 1, 7), (2, 3, 7), (2, 2, 6)]}
    draft = read_source(write_comirec(tmp_path / "source", rows), LOO)
    assert users_of(draft, "test")[-1] == ("2", [2, 4, 1, 3])


def test_leave_one_out_never_trains_on_held_out_items(tmp_path: Path) -> None:
    # Each item is one user's, once: to see it at all is to see what is hidden.
    size = 8
    rows: dict[str, list[Row]] = {
        split: [(user, user * size + place + 1, place) for user in users for place in range(size)]
        for split, users in zip(SPLITS, (range(12), range(12, 16), range(16, 20)), strict=True)
    }
    dataset = open_dataset(prepare(write_comirec(tmp_path / "s", rows), "x", tmp_path, LOO))
    hidden = {user * size + place + 1 for user in range(20) for place in (size - 2, size - 1)}
    targets = [dataset.evaluation_users(split, 5).target_items for split in ("valid", "test")]
    assert set(np.concatenate(targets).tolist()) == hidden
    train = dataset.splits["train"]
    assert not hidden & set(train.items.tolist())
    sampler = make_sampler(train, dataset.num_items, 20, 5, 4, seed=1, rule=TargetRule(next_n=3))
    for step in range(50):
        batch = sampler.batch(0, step)
        used = np.concatenate(
            [batch.unique_rows[batch.history].ravel(), batch.unique_rows[batch.target].ravel()]
        )
        assert not hidden & set(used.tolist())


# The k-core


def k_core_slowly(events: list[Event], size: int) -> list[Event]:
    """Take out one user or item that has too few, until there is none."""
    while True:
        for place in (0, 1):
            count = Counter(event[place] for event in events)
            few = next((name for name, number in count.items() if number < size), None)
            if few is not None:
                events = [event for event in events if event[place] != few]
                break
        else:
            return events


@examples(150)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=60),
    size=st.integers(1, 5),
)
def test_k_core_equals_removing_users_and_items_one_by_one(
    pairs: list[tuple[int, int]], size: int
) -> None:
    events = [(f"u{user}", f"i{item}", float(time)) for time, (user, item) in enumerate(pairs)]
    codes = np.array(pairs, np.uint32).reshape(-1, 2)
    users, items = k_core([codes[:, 0]], [codes[:, 1]], size)
    kept = users[codes[:, 0]] & items[codes[:, 1]]
    assert [event for event, own in zip(events, kept, strict=True) if own] == k_core_slowly(
        events, size
    )


@pytest.mark.parametrize("seed", range(5))
def test_k_core_replaces_the_filter(tmp_path: Path, seed: int) -> None:
    events = random_events(seed) + random_events(seed + 50)
    core = k_core_slowly(events, 8)
    assert 0 < len(core) < len(events)
    path = write_inter(tmp_path / "x.inter", events)
    draft = read_source(path, core=8)
    raw_items, users = recbole_slowly(core)  # whose filter at 5 has nothing left to do
    assert draft.raw_items.to_list() == raw_items
    for split in SPLITS:
        assert users_of(draft, split) == users[split]
    assert draft.source["kept"] == {
        "users": len({user for user, _, _ in core}),
        "items": len(raw_items),
        "interactions": len(core),
    }
    assert draft.source["read"]["interactions"] == len(events)
    assert draft.source["protocol"].startswith("8-core, users 8:1:1")


def test_k_core_refuses_split_sources_and_impossible_sizes(tmp_path: Path) -> None:
    comirec = write_comirec(tmp_path / "source")
    inter = write_inter(tmp_path / "x.inter", random_events(0))
    for source, core, kind, key in (
        (comirec, 2, UsageError, "core_of_split"),
        (inter, 0, UsageError, "bad_value"),
        (inter, 500, DataError, "no_core"),
    ):
        with pytest.raises(kind) as caught:
            prepare(source, "x", tmp_path, core=core)
        assert caught.value.key == key
        assert not (tmp_path / "x").exists()


# What the folder says


def test_prepare_records_protocol_filter_and_split(tmp_path: Path) -> None:
    comirec = write_comirec(tmp_path / "source", random_rows(0))
    inter = write_inter(tmp_path / "x.inter", random_events(0))
    for source, protocol, rule, said in (
        (comirec, "comirec", SHARE, ["as split in the source"]),
        (comirec, LOO, LAST, ["three files together", "not filtered", LOO]),
        (inter, "comirec", SHARE, ["items >= 5, users >= 5", "8:1:1"]),
        (inter, LOO, LAST, ["items >= 5, users >= 5", LOO]),
    ):
        folder = prepare(source, f"{source.stem}-{protocol}", tmp_path / "data", protocol)
        meta = json.loads((folder / "meta.json").read_text())
        assert meta["evaluation"] == open_dataset(folder).evaluation == rule
        for part in said:
            assert part in meta["source"]["protocol"]


def test_totals_count_every_interaction_once_for_both_protocols(tmp_path: Path) -> None:
    for source in (
        write_comirec(tmp_path / "source", random_rows(3)),
        write_inter(tmp_path / "x.inter", random_events(3)),
    ):
        counted = {
            totals(open_dataset(prepare(source, f"{source.stem}-{protocol}", tmp_path, protocol)))
            for protocol in ("comirec", LOO)
        }
        assert len(counted) == 1


# What is refused


@pytest.mark.parametrize("protocol", ["loo", "", "leave_one_out", "ComiRec"])
def test_prepare_names_an_unknown_protocol(tmp_path: Path, protocol: str) -> None:
    source = write_comirec(tmp_path / "source")
    with pytest.raises(UsageError) as caught:
        prepare(source, "x", tmp_path, protocol)
    assert repr(protocol) in str(caught.value)
    assert "comirec | leave-one-out" in str(caught.value)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("changed", "row", "line", "other"),
    [
        ("valid", (0, 3, 9), 3, "train"),
        ("test", (0, 3, 9), 3, "train"),
        ("test", (1, 3, 9), 3, "valid"),
    ],
)
def test_leave_one_out_names_a_user_in_two_files(
    tmp_path: Path, changed: str, row: Row, line: int, other: str
) -> None:
    rows = {split: [*own, row] if split == changed else own for split, own in ROWS.items()}
    source = write_comirec(tmp_path / "source", rows)
    with pytest.raises(DataError) as caught:
        read_source(source, LOO)
    assert caught.value.key == "user_in_two_files"
    place = f"{source / f'x_{changed}.txt'}, line {line}: user {row[0]} is also in x_{other}.txt"
    assert place in str(caught.value)
    read_source(source)  # ComiRec's protocol never looks


def test_leave_one_out_refuses_data_without_users_of_three_items(tmp_path: Path) -> None:
    rows = {split: [own[0], own[1]] for split, own in ROWS.items()}
    with pytest.raises(DataError, match="The valid split is empty") as caught:
        read_source(write_comirec(tmp_path / "source", rows), LOO)
    assert caught.value.key == "empty_split"


@pytest.mark.parametrize("protocol", ["comirec", LOO])
def test_read_source_reports_a_filter_that_leaves_no_users(tmp_path: Path, protocol: str) -> None:
    path = write_inter(tmp_path / "x.inter", [("a", "b", 1.0)])
    with pytest.raises(DataError, match=r"the filter leaves no user\. Of 1 users and 1 items"):
        read_source(path, protocol)
