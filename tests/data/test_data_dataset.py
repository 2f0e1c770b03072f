"""The dataset folder: damage is detected, and users are split into history and targets."""

import errno
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_data import item_lists, small_draft, split_of
from helpers.effort import examples
from reprise.data import dataset as data
from reprise.data.dataset import LAST, SHARE, SPLITS, Dataset, open_dataset
from reprise.data.prepare import publish
from reprise.data.sequences import EvaluationUsers, Sequences
from reprise.errors import DataError

ARRAYS = [
    *(f"{split}/{name}.npy" for split in SPLITS for name in ("offsets", "items")),
    "item_category.npy",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return publish(small_draft(), "small", tmp_path / "small")


def refusal(folder: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        open_dataset(folder)
    assert str(folder) in str(caught.value)
    return caught.value


def header(text: str) -> bytes:
    """A `.npy` file with such a header."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


def change_meta(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "meta.json"
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


# Opening


def test_open_dataset_returns_what_was_written(folder: Path) -> None:
    draft, dataset = small_draft(), open_dataset(folder)
    assert (dataset.name, dataset.num_items, dataset.folder) == ("small", 3, folder)
    assert dataset.item_category.tolist() == draft.item_category.tolist()
    assert dataset.meta["source"] == {"format": "test"}
    for split in SPLITS:
        assert item_lists(dataset.splits[split]) == item_lists(draft.splits[split])
        assert dataset.splits[split].lengths.tolist() == [3, 1, 2]


def test_fingerprint_depends_on_the_content_alone(tmp_path: Path) -> None:
    def fingerprint(name: str, **changes: Any) -> str:
        draft = replace(small_draft(), **changes)
        return open_dataset(publish(draft, name, tmp_path / name)).fingerprint

    original = fingerprint("a")
    assert fingerprint("b") == original
    swapped = split_of([(2, 1, 3), (2,), (3, 1)])
    cut_elsewhere = split_of([(1, 2), (3, 2), (3, 1)])
    splits = small_draft().splits
    assert fingerprint("c", splits={**splits, "test": swapped}) != original
    assert fingerprint("d", splits={**splits, "valid": cut_elsewhere}) != original
    assert fingerprint("e", item_category=np.array([-1, 0, 7, 7], np.int32)) != original


def test_fingerprint_depends_on_the_evaluation(tmp_path: Path) -> None:
    folders = {
        rule: publish(replace(small_draft(), evaluation=rule), "small", tmp_path / rule)
        for rule in (SHARE, LAST)
    }
    share, last = (open_dataset(folder) for folder in folders.values())
    assert (share.evaluation, last.evaluation) == (SHARE, LAST)
    assert share.fingerprint != last.fingerprint
    for array in ARRAYS:
        assert (share.folder / array).read_bytes() == (last.folder / array).read_bytes()
    # Runs are bound to it: what it has always been, stays.
    digest = hashlib.sha256()
    for array in ARRAYS:
        digest.update(np.load(share.folder / array).tobytes())
    assert share.fingerprint == digest.hexdigest()


def test_open_dataset_takes_an_older_folder_as_evaluated_by_share(folder: Path) -> None:
    expected = open_dataset(folder).fingerprint
    change_meta(folder, lambda meta: meta.pop("evaluation"))
    dataset = open_dataset(folder)
    assert (dataset.evaluation, dataset.fingerprint) == (SHARE, expected)
    assert dataset.evaluation_users("test", 5).target_items.tolist() == [3, 1]


def test_open_dataset_detects_a_changed_evaluation(tmp_path: Path) -> None:
    folder = publish(replace(small_draft(), evaluation=LAST), "small", tmp_path / "small")
    for change in (
        lambda meta: meta.update(evaluation=SHARE),
        lambda meta: meta.pop("evaluation"),
    ):
        change_meta(folder, change)
        error = refusal(folder)
        assert error.key == "dataset_damaged"
        assert "fingerprint" in str(error)


@pytest.mark.parametrize("rule", ["first", "", None, 0.8, ["last"], {"last": 1}])
def test_open_dataset_names_an_unknown_evaluation(folder: Path, rule: object) -> None:
    change_meta(folder, lambda meta: meta.update(evaluation=rule))
    error = refusal(folder)
    assert error.key == "dataset_evaluation"
    assert repr(rule) in str(error)
    assert "share-0.8 | last" in str(error)


@pytest.mark.parametrize("array", ARRAYS)
def test_open_dataset_detects_every_flipped_byte_that_matters(folder: Path, array: str) -> None:
    # In the data by the fingerprint; in the header unless it still says the same.
    path = folder / array
    content, original = path.read_bytes(), np.load(path)
    found = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        try:
            open_dataset(folder)
        except DataError:
            found += 1
        else:
            unharmed = np.load(path)
            assert unharmed.dtype == original.dtype
            assert np.array_equal(unharmed, original), f"byte {position}"
    assert found > 0.9 * len(content)


@pytest.mark.parametrize("array", ["train/items.npy", "item_category.npy"])
def test_open_dataset_names_a_fingerprint_that_does_not_match(folder: Path, array: str) -> None:
    path = folder / array
    content = bytearray(path.read_bytes())
    content[-4] ^= 3  # the last item 1 becomes 2, the last category -1 becomes -4
    path.write_bytes(content)
    error = refusal(folder)
    assert error.key == "dataset_damaged"
    assert "fingerprint" in str(error)


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_open_dataset_detects_a_truncated_array(folder: Path, array: str, kept: int) -> None:
    path = folder / array
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(folder).key == "dataset_damaged"


@pytest.mark.parametrize(
    "name", ["truth/item_interest.npy", "truth/valid_interests.npy", "users.parquet"]
)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(200), header("("), header("{1:")])
def test_dataset_detects_damage_in_files_it_reads_later(
    folder: Path, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    assert later_refusal(folder).key == "dataset_damaged"


@pytest.mark.parametrize("shape", [(4, 1), (), (3,)])
def test_dataset_detects_truth_of_another_shape(folder: Path, shape: tuple[int, ...]) -> None:
    np.save(folder / "truth" / "item_interest.npy", np.zeros(shape, np.int32))
    assert later_refusal(folder).key == "dataset_damaged"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (pl.DataFrame({"name": ["a"], "user": [1]}), "users.parquet: no column split, raw_id"),
        (pl.DataFrame({"split": [[1]], "user": [1], "raw_id": ["a"]}), "users.parquet"),
        (
            pl.DataFrame({"split": ["valid"], "user": [0], "raw_id": ["a"]}),
            "users.parquet: counts differ",
        ),
    ],
)
def test_dataset_detects_users_of_another_dataset(
    folder: Path, table: pl.DataFrame, told: str
) -> None:
    table.write_parquet(folder / "users.parquet")
    error = later_refusal(folder)
    assert error.key == "dataset_damaged"
    assert told in str(error)


def later_refusal(folder: Path) -> DataError:
    """The refusal of what opening does not look at."""
    dataset = open_dataset(folder)
    with pytest.raises(DataError) as caught:
        (dataset.truth("valid"), dataset.raw_users("valid"))
    return caught.value


@pytest.mark.parametrize("array", ARRAYS)
def test_open_dataset_detects_a_missing_array(folder: Path, array: str) -> None:
    (folder / array).unlink()
    assert refusal(folder).key == "dataset_damaged"


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04" + bytes(200),
        b"text\n" * 40,
        *(
            header(f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}}}")
            for shape in ("(10**9,)", "(10000000000000,)", f"({10**40},)", f"({2**62}, {2**62})")
        ),
        header("{'descr': (), 'fortran_order': False, 'shape': (1,)}"),
        header("{[]: 1}"),
        header("("),
    ],
)
def test_open_dataset_detects_a_file_that_is_no_array(folder: Path, content: bytes) -> None:
    (folder / "valid" / "items.npy").write_bytes(content)
    assert refusal(folder).key == "dataset_damaged"


@pytest.mark.parametrize(
    ("array", "content"),
    [
        ("train/items.npy", np.array([1, 2, 3, 2, 3, 1], np.int64)),
        ("train/items.npy", np.array([[1], [2], [3], [2], [3], [1]], np.int32)),
        ("train/offsets.npy", np.array([0, 3, 4, 6], np.int32)),
        ("train/offsets.npy", np.int64(6)),
        ("item_category.npy", np.array([-1, 0, 7, -1], np.int32).view(np.float32)),
        ("item_category.npy", np.array([[-1, 0], [7, -1]], np.int32)),
    ],
    ids=["int64 items", "2-d items", "int32 offsets", "scalar", "float categories", "2-d"],
)
def test_open_dataset_detects_arrays_of_another_type_or_shape(
    folder: Path, array: str, content: np.ndarray[Any, Any]
) -> None:
    # Bytes that agree with the fingerprint are not enough: they must also be read as meant.
    np.save(folder / array, content)
    assert refusal(folder).key == "dataset_damaged"


@pytest.mark.parametrize("offsets", [[1, 3, 4, 6], [0, 3, 4, 5], [0, 4, 3, 6], [0, 7, 7, 6]])
def test_open_dataset_detects_offsets_that_do_not_ascend(folder: Path, offsets: list[int]) -> None:
    np.save(folder / "valid" / "offsets.npy", np.array(offsets, np.int64))
    error = refusal(folder)
    assert error.key == "dataset_damaged"
    assert "valid: offsets" in str(error)


@pytest.mark.parametrize("item", [0, -1, 4, 2**31 - 1])
@pytest.mark.parametrize("split", SPLITS)
def test_open_dataset_names_an_item_outside_the_catalogue(
    folder: Path, split: str, item: int
) -> None:
    np.save(folder / split / "items.npy", np.array([1, 2, 3, 2, item, 1], np.int32))
    error = refusal(folder)
    assert error.key == "dataset_damaged"
    assert f"{split}: item id {item} at 4 is outside 1..3" in str(error)


@pytest.mark.parametrize("split", SPLITS)
def test_open_dataset_names_an_empty_split(folder: Path, split: str) -> None:
    np.save(folder / split / "offsets.npy", np.array([0], np.int64))
    np.save(folder / split / "items.npy", np.array([], np.int32))

    def change(meta: dict[str, Any]) -> None:
        meta["users"][split] = meta["interactions"][split] = 0

    change_meta(folder, change)
    error = refusal(folder)
    assert error.key == "empty_split"
    assert split in str(error)


# meta.json


def test_open_dataset_refuses_a_folder_without_meta_json(folder: Path) -> None:
    (folder / "meta.json").unlink()
    assert refusal(folder).key == "dataset_missing"
    assert refusal(folder / "nowhere").key == "dataset_missing"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"{}"])
def test_open_dataset_detects_a_broken_meta_json(folder: Path, content: bytes) -> None:
    (folder / "meta.json").write_bytes(content)
    error = refusal(folder)
    assert error.key == "dataset_damaged"
    assert "meta.json" in str(error)


@pytest.mark.parametrize("schema", [0, 3, "1", None])
def test_open_dataset_names_an_unknown_schema(folder: Path, schema: object) -> None:
    change_meta(folder, lambda meta: meta.update(schema=schema))
    error = refusal(folder)
    assert error.key == "dataset_schema"
    assert f"schema {schema}" in str(error)


@pytest.mark.parametrize("key", ["schema", "name", "num_items", "users", "interactions"])
def test_open_dataset_names_a_key_that_meta_json_lacks(folder: Path, key: str) -> None:
    change_meta(folder, lambda meta: meta.pop(key))
    error = refusal(folder)
    assert error.key == "dataset_damaged"
    assert key in str(error)


@pytest.mark.parametrize("count", ["users", "interactions"])
@pytest.mark.parametrize("split", SPLITS)
def test_open_dataset_detects_counts_that_differ(folder: Path, split: str, count: str) -> None:
    def change(meta: dict[str, Any]) -> None:
        meta[count][split] += 1

    change_meta(folder, change)
    error = refusal(folder)
    assert error.key == "dataset_damaged"
    assert f"{split}: counts" in str(error)


@pytest.mark.parametrize("num_items", [2, 4, 1000])
def test_open_dataset_detects_another_number_of_items(folder: Path, num_items: int) -> None:
    # A larger one too: the embedding table and item_category would no longer agree.
    change_meta(folder, lambda meta: meta.update(num_items=num_items))
    assert refusal(folder).key == "dataset_damaged"


@pytest.mark.parametrize(
    "change",
    [
        {"users": {}},
        {"users": None},
        {"interactions": [6, 6, 6]},
        {"interactions": {"train": 6, "valid": 6}},
        {"num_items": "3"},
        {"num_items": None},
    ],
    ids=str,
)
def test_open_dataset_detects_meta_values_of_another_type(
    folder: Path, change: dict[str, Any]
) -> None:
    change_meta(folder, lambda meta: meta.update(change))
    assert refusal(folder).key == "dataset_damaged"


# Histories and evaluation

some_users = st.lists(st.lists(st.integers(1, 99), max_size=12), min_size=1, max_size=8).filter(any)


def dataset_of(lists: list[list[int]]) -> Dataset:
    split = split_of(lists)
    return Dataset(
        "t", Path("t"), 99, "", dict.fromkeys(SPLITS, split), np.zeros(100, np.int32), {}
    )


@examples(150)
@given(lists=some_users, length=st.integers(1, 14), data=st.data())
def test_histories_are_the_last_items_before_a_position(
    lists: list[list[int]], length: int, data: st.DataObject
) -> None:
    users = data.draw(st.lists(st.integers(0, len(lists) - 1), min_size=1, max_size=10))
    positions = [data.draw(st.integers(0, len(lists[user]))) for user in users]
    history, known = split_of(lists).histories(np.array(users), np.array(positions), length)
    assert history.dtype == known.dtype == np.int32
    for user, position, row, count in zip(users, positions, history, known, strict=True):
        expected = lists[user][:position][-length:]
        assert row.tolist() == expected + [0] * (length - len(expected))
        assert count == len(expected)


@examples(150)
@given(
    lists=some_users.filter(lambda lists: any(len(items) >= 2 for items in lists)),
    length=st.integers(1, 14),
)
def test_evaluation_users_hold_out_the_last_fifth_of_each_user(
    lists: list[list[int]], length: int
) -> None:
    users = dataset_of(lists).evaluation_users("test", length)
    kept = [items for items in lists if len(items) >= 2]
    known = [items[: int(len(items) * 0.8)] for items in kept]
    targets = [items[int(len(items) * 0.8) :] for items in kept]
    expected = [items[-length:] for items in known]
    assert users.history.tolist() == [items + [0] * (length - len(items)) for items in expected]
    assert users.lengths.tolist() == [len(items) for items in expected]
    assert users.target_offsets.tolist() == np.cumsum([0, *map(len, targets)]).tolist()
    assert users.target_items.tolist() == [item for items in targets for item in items]
    assert users.history.dtype == users.lengths.dtype == users.target_items.dtype == np.int32
    assert users.target_offsets.dtype == np.int64
    assert users.past.lengths.tolist() == [len(items) for items in known]
    for first in (0, len(known) // 2):  # a stretch of users, and past the last one
        assert item_lists(users.past.of(first, first + 3)) == known[first : first + 3]


@examples(150)
@given(
    lists=some_users.filter(lambda lists: any(len(items) >= 2 for items in lists)),
    length=st.integers(1, 14),
)
def test_evaluation_users_by_last_hold_out_one_item_of_each_user(
    lists: list[list[int]], length: int
) -> None:
    users = replace(dataset_of(lists), evaluation=LAST).evaluation_users("test", length)
    kept = [items for items in lists if len(items) >= 2]
    expected = [items[:-1][-length:] for items in kept]
    assert users.history.tolist() == [items + [0] * (length - len(items)) for items in expected]
    assert users.lengths.tolist() == [len(items) for items in expected]
    assert users.target_offsets.tolist() == list(range(len(kept) + 1))
    assert users.target_items.tolist() == [items[-1] for items in kept]
    assert item_lists(users.past.of(0, len(kept))) == [items[:-1] for items in kept]


def test_evaluation_users_leave_out_users_with_one_item() -> None:
    users = dataset_of([[1], [2, 3], [4], []]).evaluation_users("valid", 5)
    assert users.history.tolist() == [[2, 0, 0, 0, 0]]
    assert users.target_items.tolist() == [3]


@examples(80)
@given(
    lists=some_users.filter(lambda lists: any(len(items) >= 2 for items in lists)),
    count=st.integers(1, 20),
    seed=st.integers(0, 9),
)
def test_sample_of_evaluation_users_is_an_unchanged_subset(
    lists: list[list[int]], count: int, seed: int
) -> None:
    users = dataset_of(lists).evaluation_users("valid", 4)
    every, some = described(users), described(users.sample(count, seed))
    assert len(some) == min(count, len(every))
    rest = iter(every)
    assert all(one in rest for one in some)  # in their order
    assert described(users.sample(count, seed)) == some


def described(users: EvaluationUsers) -> list[tuple[list[int], int, list[int], list[int]]]:
    """Return history, its length, targets and past of each user."""
    pasts = item_lists(users.past.of(0, len(users.lengths)))
    targets = item_lists(Sequences(users.target_offsets, users.target_items))
    rows = users.history.tolist(), users.lengths.tolist(), targets, pasts
    return list(zip(*rows, strict=True))


def test_sample_of_evaluation_users_depends_on_the_seed() -> None:
    users = dataset_of([[user, user + 1] for user in range(1, 60)]).evaluation_users("valid", 4)
    drawn = {tuple(users.sample(10, seed).target_items.tolist()) for seed in range(5)}
    assert len(drawn) == 5


def test_evaluation_users_refuse_a_split_without_any() -> None:
    with pytest.raises(DataError, match="The valid split is empty"):
        dataset_of([[1], [4]]).evaluation_users("valid", 5)


@pytest.mark.parametrize("rule", [SHARE, LAST])
def test_truth_is_aligned_with_the_evaluation_users(tmp_path: Path, rule: str) -> None:
    # The middle user has one item only and is left out of both.
    draft = replace(small_draft(), evaluation=rule)
    dataset = open_dataset(publish(draft, "small", tmp_path / "small"))
    truth = dataset.truth("valid")
    assert truth is not None
    assert len(dataset.evaluation_users("valid", 5).lengths) == 2
    assert truth.item_interest.tolist() == [-1, 0, 1, 0]
    assert truth.user_interests.tolist() == [[0, -1], [0, -1]]


def test_truth_is_none_if_it_is_not_stored(tmp_path: Path) -> None:
    publish(replace(small_draft(), truth={}), "small", tmp_path / "small")
    assert open_dataset(tmp_path / "small").truth("valid") is None


@pytest.mark.parametrize("name", ["meta.json", "train/items.npy"])
def test_open_dataset_distinguishes_unreadable_from_damaged(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: Path, *_: object, **__: object) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder / name))

    if name == "meta.json":
        monkeypatch.setattr(Path, "read_text", refuses)
    else:
        monkeypatch.setattr(data, "open_array", refuses)
    error = refusal(folder)
    assert error.exit_code == 3
    assert str(error).startswith(f"Cannot read {folder / name}: Permission denied. The file may be")
