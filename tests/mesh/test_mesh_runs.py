"""Runs on a mesh: the same bits however often they are stopped; another mesh goes on."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.commands import check_refusal, check_same_end, run_small, stopping_at, train
from reprise.checkpoints import store
from reprise.runs.folder import RunFolder
from reprise.training import estimate

pytestmark = pytest.mark.mesh


def test_run_on_mesh_is_bitwise_equal_however_it_is_stopped(
    on_four: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    for stop in (6, 11):
        outcome, *_ = run_small(small_data, tmp_path, stopping_at(stop), devices=4)
        assert (outcome.exit_code, outcome.progress.step) == (143, stop)
    outcome, recorder, folder = run_small(small_data, tmp_path, devices=4)
    assert "mesh_changed" not in recorder.keys
    check_same_end(folder, on_four)


def test_run_on_mesh_without_room_for_copies_ends_in_the_same_bytes(
    on_four: RunFolder, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "available_memory", lambda: 0)
    run_small(small_data, tmp_path, stopping_at(6), devices=4)
    _, recorder, folder = run_small(small_data, tmp_path, devices=4)
    assert "saves_wait" in recorder.keys
    check_same_end(folder, on_four)


def test_averages_on_mesh_are_those_of_one_device_however_it_is_stopped(
    small_data: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"average_decay": 0.8, "item_features": "all", "test_iter": 8}
    ended = []
    for name, devices in (("one", 1), ("four", 4)):
        _, recorder, folder = run_small(small_data, tmp_path / name, devices=devices, **asked)
        ended.append((store.load(store.scan(folder.checkpoints)[-1]).arrays, recorder.lines))
    (one, lines), (four, of_four) = ended
    assert set(one) == set(four)
    compared = [name for name in one if name.startswith("average.") and "heads_bias" not in name]
    assert "average.rows" in compared  # but no bias of a softmax, which has no gradient
    for name in compared:
        assert np.linalg.norm(four[name] - one[name]) < 1e-5 * np.linalg.norm(one[name])
    for line, of_mesh in zip(lines, of_four, strict=True):  # it is the averages that are rated
        assert of_mesh == pytest.approx(line, rel=1e-4)

    run_small(small_data, tmp_path / "stopped", stopping_at(11), devices=4, **asked)
    *_, again = run_small(small_data, tmp_path / "stopped", devices=4, **asked)
    check_same_end(again, folder)
    outcome, *_ = run_small(small_data, tmp_path / "stopped", devices=2, max_steps=24, **asked)
    assert outcome.progress.step == 24


def test_run_goes_on_with_the_same_rows_on_another_mesh(small_data: Path, tmp_path: Path) -> None:
    run_small(small_data, tmp_path, max_steps=7)
    for devices, steps, before in ((4, 11, "1 of 4"), (2, 15, "4"), (1, 20, "2 of 4")):
        outcome, recorder, folder = run_small(
            small_data, tmp_path, devices=devices, max_steps=steps
        )
        assert outcome.progress.step == steps
        assert recorder.said["mesh_changed"]["before"] == before
    assert len(folder.metrics.read_text().splitlines()) == 5


def test_model_of_a_mesh_gives_the_lists_of_one_device(
    on_four: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    # A finished run is measured by its stored rows, on whatever devices.
    copied, results = tmp_path / on_four.path.name, []
    for devices in (4, 1):
        shutil.copytree(on_four.path, copied)
        outcome, *_ = run_small(small_data, tmp_path, devices=devices)
        results.append(outcome.results)
        shutil.rmtree(copied)
    assert results[0] is not None
    assert results[0] == results[1]


def test_damage_in_one_share_sets_the_whole_checkpoint_aside(
    on_four: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    folder = RunFolder(Path(shutil.copytree(on_four.path, tmp_path / on_four.path.name)))
    share = folder.checkpoints / "ckpt-20" / "row_steps.3-of-4.npy"
    share.write_bytes(share.read_bytes()[:-1] + b"x")
    outcome, recorder, _ = run_small(small_data, tmp_path, devices=4)
    assert outcome.exit_code == 0
    assert "row_steps.3-of-4.npy" in str(recorder.said["quarantined"]["reason"])
    check_same_end(folder, on_four)


def test_train_refuses_devices_that_are_not_there(small_data: Path, tmp_path: Path) -> None:
    check_refusal(train(small_data, tmp_path, "--devices", 0), 2, "--devices")
    check_refusal(train(small_data, tmp_path, "--devices", 8), 9, "8", "4")
