"""Data that changes while a run trains on it: detected, and nothing trained on it is stored."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import Recorder, run_small, state_digest
from reprise.checkpoints import store
from reprise.data import dataset as datasets
from reprise.data import npy
from reprise.data.dataset import open_dataset
from reprise.errors import DataError
from reprise.runs.folder import RunFolder


@pytest.fixture
def data(small_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_data, tmp_path / "data"))


def edit(path: Path) -> None:
    """Swap two items, without a trace in the file's size or times."""
    before = path.stat()
    items = np.load(path)
    place = int(np.flatnonzero(items != items[0])[0])
    items[[0, place]] = items[[place, 0]]
    with path.open("r+b") as file:
        file.seek(-items.nbytes, os.SEEK_END)
        file.write(items.tobytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def edit_and_touch(path: Path) -> None:
    edit(path)
    path.touch()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def remove(path: Path) -> None:
    path.unlink()


def at_step(stop: int, change: Callable[[], None]) -> Recorder:
    return Recorder(lambda step: change() if step == stop else None)


@pytest.mark.parametrize("change", [edit_and_touch, cut, remove])
def test_train_ends_at_the_evaluation_after_its_data_changed(
    data: Path, tmp_path: Path, undisturbed: RunFolder, change: Callable[[Path], None]
) -> None:
    runs = tmp_path / "runs"
    recorder = at_step(6, lambda: change(data / "small" / "train" / "items.npy"))
    with pytest.raises(DataError) as refusal:
        run_small(data, runs, recorder)
    assert (refusal.value.key, refusal.value.exit_code) == ("data_changed", 3)
    (folder,) = map(RunFolder, runs.iterdir())
    assert [path.name for path in store.names(folder.checkpoints)] == ["ckpt-4"]


def test_train_reports_changed_data_even_with_unchanged_size_and_times(
    data: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(DataError, match="has changed"):
        run_small(data, runs, at_step(6, lambda: edit(data / "small" / "train" / "items.npy")))
    (folder,) = map(RunFolder, runs.iterdir())
    assert store.scan(folder.checkpoints)


def test_train_accepts_files_rewritten_with_the_same_content(
    data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    def write_anew() -> None:
        path = data / "small" / "train" / "items.npy"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)

    _, _, folder = run_small(data, tmp_path / "runs", at_step(6, write_anew))
    assert state_digest(folder) == state_digest(undisturbed)


def test_open_dataset_maps_large_arrays_and_detects_truncation(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = open_dataset(data / "small")
    assert not isinstance(small.splits["train"].items, np.memmap)
    for module in (npy, datasets):
        monkeypatch.setattr(module, "MAPPED_FROM", 1)
    mapped = open_dataset(data / "small")
    assert isinstance(mapped.splits["train"].items, np.memmap)
    np.testing.assert_array_equal(mapped.splits["train"].items, small.splits["train"].items)
    mapped.refuse_short()
    cut(data / "small" / "train" / "items.npy")
    for check in (mapped.refuse_short, mapped.refuse_changed):
        with pytest.raises(DataError, match="has changed"):
            check()
