"""The store: what is saved comes back bit for bit, damage is found, latest and best are derived."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import rewrite_state
from reprise import files
from reprise.errors import CheckpointError, ConfigMismatchError, WriteError
from reprise.runs import run, store
from reprise.runs.run import RunFolder
from reprise.training.state import Best, Progress, Snapshot

IDENTITY = {"model": "ComiRec-DR", "seed": 19}


def snapshot(step: int, metric: float | None = None, best: Best | None = None) -> Snapshot:
    """A small state; with `metric`, one that was rated at its step."""
    rng = np.random.default_rng(step)
    arrays: dict[str, Any] = {
        "rows": rng.standard_normal((40, 12)).astype(np.float32),
        "params.w": rng.standard_normal((3, 4, 4)).astype(np.float32),
        "loss_sum": np.array(rng.random(), np.float32),
    }
    progress = Progress(
        learning_rate=0.005,
        step=step,
        evaluated_step=step if metric is not None else 0,
        metric=metric,
        best=best,
        evaluations=(f'{{"step": {step}}}',),
    )
    return Snapshot(arrays, progress)


def rated(metrics: dict[int, float]) -> list[Snapshot]:
    """States rated at each step, each knowing the best so far (the first on ties)."""
    snapshots: list[Snapshot] = []
    best: Best | None = None
    for step, metric in metrics.items():
        if best is None or metric > best.metric:
            best = Best(metric, step, 0)
        snapshots.append(snapshot(step, metric, best))
    return snapshots


def warnings_into(said: list[str]) -> Callable[..., None]:
    return lambda key, **values: said.append(key)


def fail(path: Path, reason: str) -> None:
    raise AssertionError(f"{path}: {reason}")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    files.make_folder(tmp_path / "run" / "checkpoints")
    return RunFolder(tmp_path / "run")


def save_all(folder: RunFolder, snapshots: list[Snapshot]) -> None:
    for one in snapshots:
        store.save(folder.checkpoints, one, IDENTITY)


def names(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in folder.checkpoints.glob("ckpt-*"))


def test_what_is_saved_comes_back_bit_for_bit(folder: RunFolder) -> None:
    saved = snapshot(7, 0.25, Best(0.25, 7, 0))
    path = store.save(folder.checkpoints, saved, IDENTITY)
    checkpoint = store.read(path)
    loaded = store.load(checkpoint)
    assert loaded.digest() == saved.digest()
    assert loaded.progress == saved.progress
    assert checkpoint.identity == IDENTITY
    for name, array in saved.arrays.items():
        assert loaded.arrays[name].tobytes() == array.tobytes()
        assert np.array_equal(np.load(path / f"{name}.npy"), array)  # plain NumPy reads them too


def test_the_newest_two_and_the_best_stay(folder: RunFolder) -> None:
    """Scenarios 12, 13: the best is never evicted, and the latest can always be resumed."""
    save_all(folder, rated({1: 0.1, 2: 0.5, 3: 0.4, 4: 0.5, 5: 0.3}))
    assert names(folder) == ["ckpt-2", "ckpt-4", "ckpt-5"]
    best = store.best_of(store.scan(folder.checkpoints, fail))
    assert best is not None
    assert best.path.name == "ckpt-2"


def test_the_same_state_is_stored_once_and_no_name_is_written_twice(folder: RunFolder) -> None:
    plain = snapshot(4)
    path = store.save(folder.checkpoints, plain, IDENTITY)
    assert store.save(folder.checkpoints, plain, IDENTITY) == path
    known = Snapshot(plain.arrays, replace(plain.progress, best=Best(0.5, 4, 0), metric=0.5))
    assert store.save(folder.checkpoints, known, IDENTITY).name == "ckpt-4.1"
    assert store.scan(folder.checkpoints, fail)[-1].progress.metric == 0.5


@pytest.mark.parametrize("place", ["start", "middle", "end"])
@pytest.mark.parametrize("harm", ["flip", "cut", "zero", "delete"])
def test_any_damaged_file_sets_the_checkpoint_aside_and_the_one_before_is_used(
    folder: RunFolder, harm: str, place: str
) -> None:
    """Scenarios 20, 21, 26, 27."""
    save_all(folder, rated({1: 0.1, 2: 0.2}))
    for name in sorted(path.name for path in (folder.checkpoints / "ckpt-2").iterdir()):
        trial = RunFolder(folder.path.parent / f"trial-{name}")
        shutil.copytree(folder.path, trial.path)
        harm_file(trial.checkpoints / "ckpt-2" / name, harm, place)
        said: list[str] = []
        resumption = run.resume(trial, IDENTITY, "latest", warnings_into(said))
        assert resumption is not None, name
        assert resumption.snapshot.progress.step == 1, name
        assert said == ["quarantined"], name
        assert (trial.checkpoints / "quarantine" / "ckpt-2").is_dir()


def harm_file(path: Path, harm: str, place: str) -> None:
    content = bytearray(path.read_bytes())
    at = {"start": 0, "middle": len(content) // 2, "end": len(content) - 1}[place]
    if harm == "delete":
        path.unlink()
        return
    if harm == "flip":
        content[at] ^= 1
    elif harm == "cut":
        del content[at:]
    else:
        content[at : at + 512] = bytes(len(content[at : at + 512]))
    path.write_bytes(content)


def test_files_swapped_between_checkpoints_are_found(folder: RunFolder) -> None:
    save_all(folder, rated({1: 0.1, 2: 0.2}))
    one, two = folder.checkpoints / "ckpt-1", folder.checkpoints / "ckpt-2"
    content = (one / "rows.npy").read_bytes(), (two / "rows.npy").read_bytes()
    (one / "rows.npy").write_bytes(content[1])
    (two / "rows.npy").write_bytes(content[0])
    said: list[str] = []
    assert run.resume(folder, IDENTITY, "latest", warnings_into(said)) is None
    assert said == ["quarantined", "quarantined", "nothing_whole"]


def test_a_renamed_checkpoint_is_not_taken_for_another(folder: RunFolder) -> None:
    save_all(folder, rated({1: 0.1}))
    (folder.checkpoints / "ckpt-1").rename(folder.checkpoints / "ckpt-9")
    reasons: list[str] = []
    assert store.scan(folder.checkpoints, lambda path, reason: reasons.append(reason)) == []
    assert reasons == ["holds step 1"]


def test_a_lost_best_is_said_its_metric_kept_and_the_next_best_used(folder: RunFolder) -> None:
    save_all(folder, rated({1: 0.2, 2: 0.5, 3: 0.3, 4: 0.4}))
    shutil.rmtree(folder.checkpoints / "ckpt-2")
    said: list[str] = []
    resumption = run.resume(folder, IDENTITY, "best", warnings_into(said))
    assert resumption is not None
    assert said == ["best_lost"]
    assert resumption.checkpoint.path.name == "ckpt-4"
    assert resumption.snapshot.progress.best == Best(0.5, 2, 0)


@pytest.mark.parametrize("source", ["latest", "best"])
def test_a_damaged_best_is_found_on_every_start(folder: RunFolder, source: run.Source) -> None:
    save_all(folder, rated({1: 0.2, 2: 0.5, 3: 0.3, 4: 0.4}))
    harm_file(folder.checkpoints / "ckpt-2" / "rows.npy", "flip", "middle")
    said: list[str] = []
    resumption = run.resume(folder, IDENTITY, source, warnings_into(said))
    assert resumption is not None
    assert said == ["quarantined", "best_lost"]
    assert resumption.snapshot.progress.step == 4
    assert names(folder) == ["ckpt-3", "ckpt-4"]


def test_a_checkpoint_of_another_run_is_set_aside(folder: RunFolder) -> None:
    save_all(folder, rated({1: 0.1}))
    store.save(folder.checkpoints, snapshot(9), IDENTITY | {"seed": 20})
    said: list[str] = []
    resumption = run.resume(folder, IDENTITY, "latest", warnings_into(said))
    assert resumption is not None
    assert (resumption.snapshot.progress.step, said) == (1, ["quarantined"])


@pytest.mark.parametrize("content", ["[]", "null", '{"identity": [1]}', "{", '{"events": 5}'])
def test_run_json_is_no_authority_over_the_checkpoints(folder: RunFolder, content: str) -> None:
    save_all(folder, rated({1: 0.1}))
    folder.record.write_text(content)
    said: list[str] = []
    run.check_identity(folder, IDENTITY, warnings_into(said))
    assert said == ["record_damaged"]
    run.record_events(folder, IDENTITY, {}, {}, [{"event": "resumed"}])
    flipped = folder.record.read_text().replace('"seed": 19', '"seed": 18')
    folder.record.write_text(flipped)
    run.check_identity(folder, IDENTITY, warnings_into(said))
    with pytest.raises(ConfigMismatchError, match="seed: 19 -> 18"):
        run.check_identity(folder, IDENTITY | {"seed": 18}, warnings_into(said))


def test_what_cannot_be_read_is_not_taken_for_damaged(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(folder, rated({1: 0.1}))

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CheckpointError, match="Permission denied"):
        run.resume(folder, IDENTITY, "latest", warnings_into([]))
    assert names(folder) == ["ckpt-1"]


def test_a_moved_run_keeps_its_best(folder: RunFolder) -> None:
    """Scenario 10."""
    save_all(folder, rated({1: 0.2, 2: 0.1, 3: 0.1, 4: 0.1}))
    moved = RunFolder(folder.path.parent / "elsewhere")
    folder.path.rename(moved.path)
    resumption = run.resume(moved, IDENTITY, "best", warnings_into([]))
    assert resumption is not None
    assert resumption.snapshot.progress.step == 1


def test_drafts_and_trash_of_a_crash_are_ignored_and_swept(folder: RunFolder) -> None:
    """Scenario 17: a half-written or half-deleted checkpoint has no checkpoint's name."""
    save_all(folder, rated({1: 0.1}))
    for leftover in (".draft-1-ckpt-2", ".trash-ckpt-0"):
        shutil.copytree(folder.checkpoints / "ckpt-1", folder.checkpoints / leftover)
    assert [c.path.name for c in store.scan(folder.checkpoints, fail)] == ["ckpt-1"]
    with run.locked(folder):
        assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["ckpt-1"]


def test_a_write_that_fails_leaves_nothing_under_the_name(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenarios 14, 23, 30."""
    save_all(folder, rated({1: 0.1}))
    real, written = files.write_file, 0

    def full(path: Path, *chunks: bytes | memoryview) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise WriteError("write_refused", path=path, reason="No space left on device")
        real(path, *chunks)

    monkeypatch.setattr(files, "write_file", full)
    with pytest.raises(WriteError, match="No space left on device"):
        store.save(folder.checkpoints, snapshot(2), IDENTITY)
    assert [path.name for path in folder.checkpoints.iterdir()] == ["ckpt-1"]


def test_a_failed_deletion_does_not_stop_a_save(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 18."""

    def refuse(disk: files.Disk, path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(files.Disk, "delete_file", refuse)
    save_all(folder, rated({1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}))
    assert names(folder) == ["ckpt-3", "ckpt-4"]


def test_an_unknown_schema_is_not_guessed_at(folder: RunFolder) -> None:
    save_all(folder, rated({1: 0.1}))
    rewrite_state(folder.checkpoints / "ckpt-1", lambda state: state | {"schema": 99})
    with pytest.raises(store.DamagedCheckpointError, match="schema 99"):
        store.read(folder.checkpoints / "ckpt-1")
