"""Preparing: RecBole files by ComiRec's protocol, all or nothing, and finding data by name."""

import csv
import errno
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from helpers.builders_data import (
    ROWS,
    Event,
    item_lists,
    read_comirec_slowly,
    recbole_slowly,
    users_of,
    write_comirec,
    write_inter,
)
from helpers.commands import reprise
from helpers.drafts import left_draft, living_draft
from reprise.data import draft as drafting
from reprise.data import prepare as preparing
from reprise.data.dataset import SPLITS, open_dataset
from reprise.data.draft import Draft, write_dataset
from reprise.data.prepare import locate, prepare, publish, read_source
from reprise.data.statistics import totals
from reprise.errors import DataError, WriteError
from reprise.runs.manage.datasets import found_in


def random_events(seed: int) -> list[Event]:
    """Skewed items and users, so that some fall below five; few times, so that many tie."""
    rng = random.Random(seed)
    users = [f"u{n}" for n in range(rng.randint(12, 40))]
    items = [f"i{n}" for n in range(rng.randint(5, 40))]
    weights = [1 / n for n in range(1, len(items) + 1)]
    return [
        (user, item, float(rng.randint(0, 9)))
        for user, item in zip(
            rng.choices(users, [1 + n % 7 for n in range(len(users))], k=400),
            rng.choices(items, weights, k=400),
            strict=True,
        )
    ]


# ComiRec's protocol on RecBole files


@pytest.mark.parametrize("seed", range(25))
def test_read_source_splits_recbole_by_the_protocol(tmp_path: Path, seed: int) -> None:
    events = random_events(seed)
    raw_items, users = recbole_slowly(events)
    draft = read_source(write_inter(tmp_path / "x.inter", events))
    assert draft.raw_items.to_list() == raw_items
    assert draft.item_category.tolist() == [-1] * (len(raw_items) + 1)
    for split in SPLITS:
        assert dict(users_of(draft, split)) == dict(users[split])


@pytest.mark.parametrize("seed", range(5))
def test_read_source_shuffles_the_users_of_recbole(tmp_path: Path, seed: int) -> None:
    # As the original writes them to its files: the same dataset comes out either way.
    events = random_events(seed)
    draft = read_source(write_inter(tmp_path / "x.inter", events))
    for split, users in recbole_slowly(events)[1].items():
        assert draft.raw_users[split].to_list() == [user for user, _ in users]


def test_fingerprint_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    events = [event for seed in range(50) for event in random_events(seed)]
    source = write_inter(tmp_path / "x.inter", events)
    made = set()
    for threads in ("1", "2", "7"):
        given = ("prepare", source, "--name", threads, "--data-dir", tmp_path)
        done = reprise(*given, own_process=True, POLARS_MAX_THREADS=threads)
        assert done.returncode == 0, done.stderr
        made.add(open_dataset(tmp_path / threads).fingerprint)
    assert len(made) == 1


def test_filter_makes_one_pass_items_first(tmp_path: Path) -> None:
    # "rare" is dropped and with it "poor"; the interactions of "poor" with "d" still counted,
    # so that "d" stays although only four of its interactions are left.
    events = [(f"u{n}", item, float(n)) for n in range(10) for item in "abcef"]
    events += [(f"u{n}", "d", float(n)) for n in range(4)]
    events += [("poor", item, 1.0) for item in ["d", "a", "b", "c", "rare"]]
    draft = read_source(write_inter(tmp_path / "x.inter", events))
    assert draft.raw_items.to_list() == ["a", "b", "c", "e", "f", "d"]
    names = [user for split in SPLITS for user in draft.raw_users[split]]
    assert sorted(names) == [f"u{n}" for n in range(10)]
    assert sum(items.count(6) for s in SPLITS for items in item_lists(draft.splits[s])) == 4


def test_read_source_orders_recbole_by_time_and_ties_as_in_the_file(tmp_path: Path) -> None:
    history = [("c", 2.0), ("b", 1.0), ("d", 2.0), ("a", 0.5), ("b", 2.0)]
    events = [(f"u{n}", item, time) for n in range(10) for item, time in history]
    draft = read_source(write_inter(tmp_path / "x.inter", events))
    number = {raw: n for n, raw in enumerate(draft.raw_items, start=1)}
    expected = [number[item] for item in "abcdb"]
    assert [items for s in SPLITS for items in item_lists(draft.splits[s])] == [expected] * 10


def test_read_source_takes_a_folder_with_one_inter_file(tmp_path: Path) -> None:
    events = random_events(0)
    write_inter(tmp_path / "x.inter", events)
    assert read_source(tmp_path).raw_items.to_list() == recbole_slowly(events)[0]


# All or nothing


def test_prepare_stores_what_the_source_holds(tmp_path: Path) -> None:
    source = write_comirec(tmp_path / "source")
    (source / "x_item_cate.txt").write_text("1,3\n4,0\n")
    folder = prepare(source, "mine", tmp_path / "new" / "data")
    assert folder == tmp_path / "new" / "data" / "mine"
    dataset = open_dataset(folder)
    assert (dataset.name, dataset.num_items) == ("mine", 4)
    assert dataset.item_category.tolist() == [-1, 3, -1, -1, 0]
    users = pl.read_parquet(folder / "users.parquet")
    for split in SPLITS:
        expected = read_comirec_slowly(ROWS[split])
        assert item_lists(dataset.splits[split]) == [items for _, items in expected]
        of_split = users.filter(pl.col("split") == split)
        assert of_split.select("user", "raw_id").rows() == [
            (row, name) for row, (name, _) in enumerate(expected)
        ]
    items = pl.read_parquet(folder / "items.parquet")
    assert items.rows() == [(n, str(n)) for n in range(1, 5)]


def test_prepare_records_source_and_counts(tmp_path: Path) -> None:
    source = write_comirec(tmp_path / "source")
    (source / "x_item_cate.txt").write_text("1,3\n2,3\n4,0\n")
    meta = json.loads((prepare(source, "mine", tmp_path) / "meta.json").read_text())
    assert meta["source"]["format"] == "comirec"
    assert meta["source"]["path"] == str(source)
    assert meta["num_categories"] == 2
    assert meta["users"] == {"train": 1, "valid": 1, "test": 1}
    assert meta["interactions"] == {"train": 3, "valid": 2, "test": 2}


@pytest.mark.parametrize("content", [None, "kept"])
def test_prepare_refuses_an_existing_folder_and_keeps_it(
    tmp_path: Path, content: str | None
) -> None:
    source = write_comirec(tmp_path / "source")
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "file").write_text(content)
    with pytest.raises(DataError) as caught:
        prepare(source, "mine", folder.parent)
    assert caught.value.key == "dataset_exists"
    assert str(folder) in str(caught.value)
    assert [file.read_text() for file in folder.iterdir()] == [content] * (content is not None)
    assert list(folder.parent.iterdir()) == [folder]


def stopping(failure: BaseException) -> Callable[[Draft, Path, str], None]:
    """A `write_dataset` that stops half-way."""

    def write(draft: Draft, folder: Path, name: str) -> None:
        (folder / "train").mkdir()
        (folder / "train" / "items.npy").write_bytes(b"half")
        raise failure

    return write


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (RuntimeError("a bug"), RuntimeError),
        (OSError(errno.ENOSPC, "No space left on device"), WriteError),
    ],
    ids=["interrupted", "failed", "disk full"],
)
def test_prepare_stopped_half_way_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    expected: type[BaseException],
) -> None:
    source, data = write_comirec(tmp_path / "source"), tmp_path / "data"
    with monkeypatch.context() as patch:
        patch.setattr(drafting, "write_dataset", stopping(failure))
        with pytest.raises(expected):
            prepare(source, "mine", data)
    assert list(data.iterdir()) == []
    assert open_dataset(prepare(source, "mine", data)).num_items == 4


def test_prepare_of_a_bad_source_leaves_nothing(tmp_path: Path) -> None:
    source, data = write_comirec(tmp_path / "source"), tmp_path / "data"
    (source / "x_test.txt").write_text("bad\n")
    with pytest.raises(DataError):
        prepare(source, "mine", data)
    assert not (data / "mine").exists()


def test_prepare_clears_the_temporary_folder_of_a_killed_one(tmp_path: Path) -> None:
    source, data = write_comirec(tmp_path / "source"), tmp_path / "data"
    data.mkdir()
    draft = left_draft(data, "mine")
    (draft / "meta.json").write_text("{}")
    assert open_dataset(prepare(source, "mine", data)).num_items == 4
    assert list(data.iterdir()) == [data / "mine"]


def test_prepare_keeps_the_temporary_folder_of_a_running_one(tmp_path: Path) -> None:
    source, data = write_comirec(tmp_path / "source"), tmp_path / "data"
    data.mkdir()
    with living_draft(data, "mine") as draft:
        prepare(source, "mine", data)
        assert draft.is_dir()


# Finding data by name


def forbidden(draft: Draft, name: str, folder: Path) -> Path:
    raise AssertionError(f"{folder} is prepared again")


@pytest.mark.parametrize("source", ["mine_data", "elsewhere"])
def test_locate_finds_a_prepared_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    # With ComiRec's files beside it, or without.
    folder = prepare(write_comirec(tmp_path / source, prefix="mine"), "mine", tmp_path)
    monkeypatch.setattr(preparing, "publish", forbidden)
    assert locate(tmp_path, "mine") == folder


@pytest.mark.parametrize(("place", "prepared"), [("mine_data", "mine"), ("mine", "mine_prepared")])
def test_locate_prepares_comirec_files_on_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, prepared: str
) -> None:
    write_comirec(tmp_path / place, prefix="mine")
    folder = locate(tmp_path, "mine")
    assert folder == tmp_path / prepared
    dataset = open_dataset(folder)
    assert (dataset.name, dataset.num_items) == ("mine", 4)
    assert item_lists(dataset.splits["valid"]) == [[2, 4]]
    monkeypatch.setattr(preparing, "publish", forbidden)
    assert locate(tmp_path, "mine") == folder


def test_locate_twice_at_once_returns_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two runs started together: the other one publishes while this one still writes.
    source = write_comirec(tmp_path / "mine_data", prefix="mine")

    def write_second(draft: Draft, folder: Path, name: str) -> None:
        monkeypatch.setattr(drafting, "write_dataset", write_dataset)
        publish(read_source(source), name, tmp_path / name)
        write_dataset(draft, folder, name)

    monkeypatch.setattr(drafting, "write_dataset", write_second)
    folder = locate(tmp_path, "mine")
    assert folder == tmp_path / "mine"
    assert open_dataset(folder).num_items == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine_data"]


def test_locate_names_data_that_does_not_exist(tmp_path: Path) -> None:
    write_comirec(tmp_path / "mine_data", prefix="other")
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError) as caught:
        locate(tmp_path, "mine")
    assert caught.value.key == "dataset_not_found"
    assert "'mine'" in str(caught.value)
    assert str(tmp_path / "mine_data" / "mine_train.txt") in str(caught.value)


# Real data, where it is at hand


@pytest.fixture(scope="module")
def real_data() -> Path:
    folder = Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data is not part of the project")
    return folder


def test_prepare_of_movielens_1m_in_comirec_files(real_data: Path, tmp_path: Path) -> None:
    folder = prepare(real_data / "ml-1m", "ml-1m", tmp_path)
    dataset = open_dataset(folder)
    assert [len(dataset.splits[split].lengths) for split in SPLITS] == [4832, 604, 604]
    assert dataset.num_items == 3416
    assert sum(len(dataset.splits[split].items) for split in SPLITS) == 999_611
    lines = (real_data / "ml-1m" / "ml-1m_test.txt").read_text().splitlines()
    rows = [(int(user), int(item), int(order)) for user, item, order in csv.reader(lines)]
    expected = [items for _, items in read_comirec_slowly(rows)]
    assert item_lists(dataset.splits["test"]) == expected


def test_prepare_of_movielens_1m_from_ratings_has_the_same_users_and_sequences(
    real_data: Path, tmp_path: Path
) -> None:
    """The owner's ratings are not at hand: they are written from the split and its maps, the place
    in the sequence as the time, and the users in another order than the split's.
    """
    source, folder = real_data / "ml-1m", tmp_path / "ratings"
    raw = {
        what: dict(
            line.split(",")[::-1] for line in (source / f"ml-1m_{what}_map.txt").read_text().split()
        )
        for what in ("user", "item")
    }
    rows = [
        line.split(",")
        for split in SPLITS
        for line in (source / f"ml-1m_{split}.txt").read_text().split()
    ]
    rows.sort(key=lambda row: (int(raw["user"][row[0]]), int(row[2])))
    folder.mkdir()
    lines = [f"{raw['user'][user]}::{raw['item'][item]}::5::{order}" for user, item, order in rows]
    (folder / "ratings.dat").write_text("\n".join(lines))

    draft = read_source(folder)
    names = [None, *draft.raw_items.to_list()]
    found = {
        user: [names[item] for item in items]
        for split in SPLITS
        for user, items in users_of(draft, split)
    }
    expected: dict[str, list[str]] = {}
    for user, item, _ in rows:
        expected.setdefault(raw["user"][user], []).append(raw["item"][item])
    assert found == expected
    assert [len(draft.raw_users[split]) for split in SPLITS] == [4832, 604, 604]
    popular = [raw["item"][str(n)] for n in range(1, 3417)]
    assert set(draft.raw_items) == set(popular)
    count = Counter(item for items in expected.values() for item in items)
    assert [count[item] for item in draft.raw_items] == [count[item] for item in popular]


def test_prepare_of_movielens_1m_by_leave_one_out_has_sasrecs_counts(
    real_data: Path, tmp_path: Path
) -> None:
    dataset = open_dataset(prepare(real_data / "ml-1m", "ml-1m", tmp_path, "leave-one-out"))
    assert [len(dataset.splits[split].lengths) for split in SPLITS] == [6040] * 3
    assert (dataset.num_items, totals(dataset)) == (3416, (6040, 999_611))


def test_prepare_of_movielens_100k_in_recbole_files(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "ml-100k" / "ml-100k.inter"
    dataset = open_dataset(prepare(path, "ml-100k", tmp_path))
    assert [len(dataset.splits[split].lengths) for split in SPLITS] == [754, 94, 95]
    assert dataset.num_items == 1349
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    raw_items, users = recbole_slowly([(user, item, float(time)) for user, item, _, time in rows])
    items = pl.read_parquet(dataset.folder / "items.parquet")
    assert items["raw_id"].to_list() == raw_items
    for split in SPLITS:
        expected = [sequence for _, sequence in users[split]]
        assert sorted(item_lists(dataset.splits[split])) == sorted(expected)


# ---- replacing ----


def test_locate_and_prepare_restore_a_dataset_set_aside_before_a_kill(tmp_path: Path) -> None:
    """Killed between the two renames of --overwrite: nothing is under the name."""
    write_inter(tmp_path / "x.inter", [(f"u{n % 40}", f"i{n % 9}", float(n)) for n in range(2000)])
    folder = prepare(tmp_path / "x.inter", "x", tmp_path / "data")
    aside = folder.with_name(".aside-x")
    folder.rename(aside)
    assert found_in(folder.parent, tmp_path / "runs") == []
    assert locate(folder.parent, "x") == folder
    assert (folder / "meta.json").is_file()
    folder.rename(aside)
    with pytest.raises(DataError, match="already exists"):
        prepare(tmp_path / "x.inter", "x", tmp_path / "data")
    folder.rename(aside)
    prepare(tmp_path / "x.inter", "x", tmp_path / "data", overwrite=True)
    assert list(folder.parent.iterdir()) == [folder]


def test_prepare_of_a_few_users_succeeds_by_following_its_advice(tmp_path: Path) -> None:
    rows = [(f"u{user}", f"i{item}", float(item)) for user in range(3) for item in range(6)]
    path = write_inter(tmp_path / "x.inter", rows)
    with pytest.raises(DataError, match=r"leaves no user\. Of 3 users") as filtered:
        prepare(path, "x", tmp_path)
    assert "--k-core 1 keeps all" in str(filtered.value)
    with pytest.raises(DataError, match=r"only 3 are left.*--protocol leave-one-out"):
        prepare(path, "x", tmp_path, core=1)
    made = open_dataset(prepare(path, "x", tmp_path, "leave-one-out", core=1))
    assert sum(len(own.items) for own in made.splits.values()) == 3 * (4 + 5 + 6)
