"""Exported models: scored by the documented code, their vectors give the lists of `evaluate`."""

import hashlib
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import faiss
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from helpers.builders_data import draft_of, item_lists, split_of
from helpers.checkpoints import no_warning
from helpers.commands import small_disk
from helpers.pages import DOCS, fenced
from reprise.config.model import model_of
from reprise.data.dataset import LAST, SHARE, SPLITS, Dataset, open_dataset
from reprise.data.prepare import publish
from reprise.data.sequences import Sequences
from reprise.errors import CheckpointError, DataError, RepriseError, UsageError, WriteError
from reprise.evaluation.evaluate import evaluate
from reprise.models.scoring import REPEAT_BIAS
from reprise.retrieval.vectors import user_vectors
from reprise.runs.folder import RunFolder
from reprise.runs.stored import StoredModel, load
from reprise.serving import index
from reprise.serving.export import write
from reprise.serving.histories import EVERYONE, users_of_file, users_of_split

N = 10


def opened(folder: RunFolder, data: Path) -> StoredModel:
    return load(folder.path, "best", no_warning, lambda name: data / name)


@pytest.fixture(scope="module")
def plain(undisturbed: RunFolder, small_data: Path) -> StoredModel:
    return opened(undisturbed, small_data)


def switched(plain: StoredModel, worth: float) -> StoredModel:
    """The same model, by cosines, and with something that repeats are worth."""
    config = replace(plain.config, temperature=0.1, repeat_bias=True)
    params = {**plain.retriever.params, REPEAT_BIAS: jnp.float32(worth)}
    model, scoring = model_of(config), config.scoring
    retriever = replace(plain.retriever, model=model, scoring=scoring, params=params)
    return replace(plain, config=config, retriever=retriever)


def the_pages_code(monkeypatch: pytest.MonkeyPatch, where: Path) -> dict[str, Any]:
    """Run the blocks of docs/export.md, which read the folder "export", and return their names."""
    monkeypatch.chdir(where)
    faiss.omp_set_num_threads(1)  # its threads wait for each other, on cores that are in use
    names: dict[str, Any] = {}
    for block in fenced(DOCS / "export.md", "python"):
        exec(compile(block, "export.md", "exec"), names)
    return names


@pytest.mark.parametrize("worth", [None, 0.3, -0.3])
def test_export_scored_as_documented_gives_the_lists_of_evaluate(
    worth: float | None,
    plain: StoredModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = plain if worth is None else switched(plain, worth)
    tested = stored.dataset.evaluation_users("test", stored.config.maxlen)
    users = users_of_split(stored.dataset, "test", stored.config.maxlen, as_evaluated=True)
    made = write(stored, users, tmp_path / "export")
    assert (made.items, made.users) == (40, len(tested.lengths))

    found = evaluate(stored.retriever, tested, (N,))
    names = the_pages_code(monkeypatch, tmp_path)
    assert capsys.readouterr().out.startswith("['i")
    manifest = names["manifest"]
    assert manifest["repeat_worth"] == found.repeat_worth == pytest.approx(worth or 0)
    assert manifest["scores"] == ("inner product" if worth is None else "cosine")
    for user, expected in enumerate(found.ids.tolist()):
        assert names["recommend"](user, N) == expected
        assert names["recommend_by_index"](user, N) == expected


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_ids_written_by_parts_are_one_list(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_IDS_AT_ONCE", at_once)
    ids = ["a", '"', "\u00e9,", "[", "7", "\\"]
    index.write_ids(pl.Series(ids), tmp_path)
    text = (tmp_path / index.IDS_FILE).read_text(encoding="utf-8")
    assert text == json.dumps(ids, ensure_ascii=False, separators=(",", ":")) + "\n"


def test_export_folder_has_the_documented_content(plain: StoredModel, tmp_path: Path) -> None:
    users = users_of_split(plain.dataset, "test", 6, as_evaluated=False)
    write(plain, users, tmp_path / "new" / "export")
    folder = tmp_path / "new" / "export"
    manifest = json.loads((folder / "manifest.json").read_text())
    names = {path.name for path in folder.iterdir()}
    assert names == {*manifest["files"], "manifest.json"}
    for name, told in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert told == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    assert manifest["run"] == plain.checkpoint.path.parents[1].name
    assert manifest["step"] == plain.checkpoint.progress.step
    assert manifest["users"] == {
        "source": "test",
        "as_evaluated": False,
        "count": 20,
        "interests": 2,
    }
    about = pl.read_parquet(folder / "items.parquet")
    assert about["item"].to_list() == list(range(1, 41))
    assert about["raw_id"].to_list() == [f"i{n}" for n in range(1, 41)]
    assert_array_equal(about["category_code"].to_numpy(), plain.dataset.item_category[1:])
    of_users = pl.read_parquet(folder / "users.parquet")
    assert of_users["user"].to_list() == [f"u{n}" for n in range(20)]
    assert of_users["history"].to_list() == item_lists(plain.dataset.splits["test"])
    assert np.load(folder / "interests.npy").shape == (20, 2, 8)


def test_export_writes_items_alone(plain: StoredModel, tmp_path: Path) -> None:
    made = write(plain, None, tmp_path / "export")
    assert (made.users, made.interests) == (0, 0)
    names = {path.name for path in (tmp_path / "export").iterdir()}
    assert names == {"items.npy", "items.parquet", "item_ids.json", "manifest.json", "README.md"}


def test_export_histories_of_a_file_equal_those_of_the_split(
    plain: StoredModel, tmp_path: Path
) -> None:
    """A split's users, given by hand in each form, have the same vectors to the bit."""
    dataset = plain.dataset
    lists = item_lists(dataset.splits["valid"])
    raw = [[f"i{item}" for item in items] for items in lists]
    array = np.zeros((len(lists), max(map(len, lists)) + 1), np.int32)
    for row, items in zip(array, lists, strict=True):
        row[-len(items) :] = items  # padded in front: any place will do
    np.save(tmp_path / "numbers.npy", array)
    pl.DataFrame({"user": range(20), "items": lists}).write_parquet(tmp_path / "numbers.parquet")
    pl.DataFrame({"raw_ids": raw}).write_parquet(tmp_path / "own.parquet")

    expected = exported(plain, users_of_split(dataset, "valid", 6, False), tmp_path / "split")
    for name in ("numbers.npy", "numbers.parquet", "own.parquet"):
        users = users_of_file(tmp_path / name, plain, no_warning)
        found = exported(plain, users, tmp_path / f"{name}-export")
        assert found.tobytes() == expected.tobytes()
        assert item_lists(whole(users.histories.past)) == lists


def exported(stored: StoredModel, users: Any, folder: Path) -> NDArray[np.float32]:
    write(stored, users, folder)
    made: NDArray[np.float32] = np.load(folder / "interests.npy")
    return made


def whole(past: Any) -> Sequences:
    split: Sequences = past.of(0, len(past.lengths))
    return split


def test_export_drops_and_reports_unknown_items(plain: StoredModel, tmp_path: Path) -> None:
    rows = [["i3", "gone", "i1"], ["gone", "lost"], [], None]
    pl.DataFrame({"user": ["a", "b", "c", "d"], "raw_ids": rows}).write_parquet(tmp_path / "h")
    said: list[tuple[str, dict[str, Any]]] = []
    users = users_of_file(tmp_path / "h", plain, lambda key, **values: said.append((key, values)))
    assert said == [
        ("histories_unknown", {"path": tmp_path / "h", "unknown": 3, "items": 5}),
        ("histories_empty", {"path": tmp_path / "h", "users": 3}),
    ]
    made = exported(plain, users, tmp_path / "export")
    assert made[0].any()
    assert not made[1:].any()
    table = pl.read_parquet(tmp_path / "export" / "users.parquet")
    assert table["history"].to_list() == [[3, 1], [], [], []]
    assert table["user"].to_list() == ["a", "b", "c", "d"]


def write_bad(path: Path, name: str) -> Path:
    arrays = {
        "flat.npy": np.arange(3),
        "real.npy": np.ones((2, 2)),
        "high.npy": np.array([[1, 2], [40, 41]]),
        "huge.npy": np.array([[1, 2], [3, 2**40]]),
        "low.npy": np.array([[1, -1]]),
        "none.npy": np.zeros((2, 3), np.int64),
    }
    tables: dict[str, dict[str, Any]] = {
        "other.parquet": {"things": [[1]]},
        "single.parquet": {"items": [1, 2]},
        "texts.parquet": {"items": [["1"]]},
    }
    if name in arrays:
        np.save(path / name, arrays[name])
    elif name in tables:
        pl.DataFrame(tables[name]).write_parquet(path / name)
    elif name == "empty.npy":
        (path / name).touch()
    elif name == "archive.npy":
        with (path / name).open("wb") as file:
            np.savez(file, np.ones((2, 2), np.int64))
    elif name == "header.npy":
        (path / name).write_bytes(b"\x93NUMPY\x01\x00\x01\x00(" + bytes(64))
    elif name != "missing.npy":
        (path / name).write_text("no such thing")
    return path / name


@pytest.mark.parametrize(
    ("name", "key", "told"),
    [
        ("missing.npy", "source_missing", "missing.npy"),
        ("text.npy", "histories_unreadable", "text.npy"),
        ("empty.npy", "histories_unreadable", "empty.npy"),
        ("archive.npy", "histories_unreadable", "archive.npy"),
        ("header.npy", "histories_unreadable", "header.npy"),
        ("text.parquet", "histories_unreadable", "text.parquet"),
        ("flat.npy", "histories_unreadable", "[3]"),
        ("real.npy", "histories_unreadable", "float64"),
        ("other.parquet", "histories_unreadable", "things"),
        ("single.parquet", "histories_unreadable", "Int64"),
        ("texts.parquet", "histories_unreadable", "String"),
        ("high.npy", "histories_bad_item", "row 2: item 41 is outside the catalogue 1..40"),
        ("huge.npy", "histories_bad_item", f"row 2: item {2**40}"),
        ("low.npy", "histories_bad_item", "row 1: item -1"),
        ("none.npy", "no_interactions", "none.npy"),
    ],
)
def test_export_refuses_bad_histories_with_their_place(
    name: str, key: str, told: str, plain: StoredModel, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        users_of_file(write_bad(tmp_path, name), plain, no_warning)
    assert caught.value.key == key
    assert told in str(caught.value)


def test_export_finds_users_of_another_dataset(tmp_path: Path) -> None:
    users = {"train": {"a": [1, 2]}, "valid": {"b": [1, 2]}, "test": {"c": [1, 2]}}
    dataset = of_users(users, SHARE, tmp_path)
    pl.DataFrame({"name": ["a"]}).write_parquet(dataset.folder / "users.parquet")
    with refused(DataError, "dataset_damaged"):
        users_of_split(dataset, EVERYONE, 2, as_evaluated=False)


@pytest.mark.parametrize("evaluation", [SHARE, LAST])
def test_export_all_users_once_with_full_histories(evaluation: str, tmp_path: Path) -> None:
    """Of leave-one-out a user is in three splits, once with all his items."""
    dataset = of_users(
        {"train": {"a": [1, 2], "b": [3]}, "valid": {"a": [1, 2, 3]}, "test": {"a": [1, 2, 3, 4]}}
        if evaluation == LAST
        else {"train": {"a": [1, 2], "b": [3]}, "valid": {"c": [1, 2]}, "test": {"d": [4, 3, 1]}},
        evaluation,
        tmp_path,
    )
    users = users_of_split(dataset, EVERYONE, 2, as_evaluated=False)
    assert users.raw_ids is not None
    found = dict(zip(users.raw_ids.to_list(), item_lists(whole(users.histories.past)), strict=True))
    assert found == (
        {"a": [1, 2, 3, 4], "b": [3]}
        if evaluation == LAST
        else {"a": [1, 2], "b": [3], "c": [1, 2], "d": [4, 3, 1]}
    )
    seen = dict(zip(found, users.histories.history.tolist(), strict=True))
    assert seen["a"] == found["a"][-2:]
    assert seen["b"] == [3, 0]


def of_users(splits: dict[str, dict[str, list[int]]], evaluation: str, folder: Path) -> Dataset:
    draft = draft_of(
        {split: split_of(list(users.values())) for split, users in splits.items()},
        np.full(5, -1, np.int32),
    )
    raw = {split: pl.Series(list(splits[split])) for split in SPLITS}
    whole_draft = replace(draft, raw_users=raw, evaluation=evaluation)
    return open_dataset(publish(whole_draft, "d", folder / "d"))


@contextmanager
def refused(error: type[RepriseError], key: str) -> Iterator[None]:
    with pytest.raises(error) as caught:
        yield
    assert caught.value.key == key


def test_export_refuses_an_existing_folder(plain: StoredModel, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine").write_text("mine")
    with refused(UsageError, "export_exists"):
        write(plain, None, tmp_path / "export")
    assert (tmp_path / "export" / "mine").read_text() == "mine"


def test_export_refuses_non_finite_vectors(plain: StoredModel, tmp_path: Path) -> None:
    whole = plain.retriever
    for broken in (
        replace(whole, rows=whole.rows.at[5, 0].set(np.nan)),
        replace(whole, params={name: value * np.nan for name, value in whole.params.items()}),
    ):
        stored = replace(plain, retriever=broken)
        users = users_of_split(plain.dataset, "test", 6, as_evaluated=False)
        with refused(CheckpointError, "export_not_finite"):
            write(stored, users, tmp_path / "export")
        assert not list(tmp_path.iterdir())  # nothing is left half-made


@pytest.mark.parametrize("size", [600, 1000, 1450])  # less than interests, tables and items
def test_export_on_a_full_disk_leaves_nothing(
    size: int, plain: StoredModel, tmp_path: Path
) -> None:
    users = users_of_split(plain.dataset, "test", 6, as_evaluated=False)
    with small_disk(size), refused(WriteError, "write_refused_new"):
        write(plain, users, tmp_path / "export")
    assert not list(tmp_path.iterdir())


def test_export_reports_a_disk_that_fills_up_while_writing(
    plain: StoredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is when they come, not when the file is laid out, that the disk must have room."""
    np.save(tmp_path / "many.npy", np.full((5000, 1), 3))
    users = users_of_file(tmp_path / "many.npy", plain, no_warning)

    def then_full(*arguments: Any, **others: Any) -> Iterator[NDArray[np.float32]]:
        first, *left = user_vectors(*arguments, **others)
        yield first
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        yield from left

    monkeypatch.setattr("reprise.serving.export.user_vectors", then_full)
    with small_disk(resource.RLIM_INFINITY), refused(WriteError, "write_refused_new"):
        write(plain, users, tmp_path / "export")
    assert [path.name for path in tmp_path.iterdir()] == ["many.npy"]


def test_save_parts_writes_the_bytes_of_numpy(plain: StoredModel, tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.full((5000, 1), 3))
    users = users_of_file(tmp_path / "many.npy", plain, no_warning)
    write(plain, users, tmp_path / "export")  # in several parts
    for name in ("interests.npy", "items.npy"):
        expected = BytesIO()
        np.save(expected, np.load(tmp_path / "export" / name))
        assert (tmp_path / "export" / name).read_bytes() == expected.getvalue()
