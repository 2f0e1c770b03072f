"""Scenarios 20-31: failing disks, damaged files, slow writers, lost files, two writers."""

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.checkpoints import harm_file, names, no_warning, stored
from helpers.commands import (
    QUICK,
    RUN,
    Recorder,
    check_refusal,
    check_same_end,
    reprise,
    run_small,
    small_disk,
    state_digest,
    stopping_at,
    train,
)
from reprise import durable
from reprise.checkpoints import store
from reprise.errors import CheckpointError, WriteError
from reprise.runs import loop
from reprise.runs.folder import RunFolder
from reprise.runs.manage.inspect import describe
from reprise.training import estimate
from reprise.training.setup import Task
from reprise.training.state import Snapshot, TrainState, take_snapshot

pytestmark = pytest.mark.users_bits


@pytest.mark.parametrize(
    ("name", "cut_to"), [("rows.npy", -1), ("state.json", 1), ("MANIFEST.json", 0)]
)
def test_store_falls_back_from_a_truncated_latest_to_the_one_before(
    small_data: Path,
    tmp_path: Path,
    twelve_steps: RunFolder,
    undisturbed: RunFolder,
    name: str,
    cut_to: int,
) -> None:
    """Scenario 20 (lightning#688): the run says so, goes back one save, ends in the same bytes."""
    folder = twelve_steps
    damaged = folder.checkpoints / "ckpt-12"
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[:cut_to])
    with pytest.raises(CheckpointError, match=name):
        describe(damaged, "latest", no_warning)
    _, recorder, _ = run_small(small_data, tmp_path)
    assert "quarantined" in recorder.keys
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress.step == 8
    assert (folder.checkpoints / "quarantine" / "ckpt-12" / name).read_bytes() == content[:cut_to]
    check_same_end(folder, undisturbed)


@pytest.mark.parametrize("missing", ["m.", "state.json", "MANIFEST.json", ""])
def test_store_does_not_choose_an_incomplete_newest(
    small_data: Path, tmp_path: Path, twelve_steps: RunFolder, undisturbed: RunFolder, missing: str
) -> None:
    """Scenario 21 (transformers#35782): a newest with a file missing, as a torn copy leaves it."""
    folder = twelve_steps
    for path in (folder.checkpoints / "ckpt-12").glob(f"{missing}*"):
        path.unlink()
    _, recorder, _ = run_small(small_data, tmp_path)
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress.step == 8
    assert "quarantined" in recorder.keys
    check_same_end(folder, undisturbed)


def test_store_makes_a_name_visible_after_all_its_content_is_durable(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 22 (power loss under a pointer that moved too early): the name is the commit, and
    every file and the folder behind it were fsynced before, the parent folder after.
    """
    synced: set[tuple[int, int]] = set()
    committed: list[Path] = []
    fsync, rename = os.fsync, Path.rename

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(_identity(os.fstat(descriptor)))

    def checked(path: Path, target: Path) -> Path:
        if target.name.startswith("ckpt-"):
            unsynced = [p for p in [path, *path.iterdir()] if _identity(p.stat()) not in synced]
            assert unsynced == []
            assert len(list(path.iterdir())) > 5
            committed.append(target)
            synced.discard(_identity(target.parent.stat()))
        return rename(path, target)

    real_save = store.save

    def save(folder: Path, *rest: Any) -> Path:
        path = real_save(folder, *rest)
        assert _identity(folder.stat()) in synced
        return path

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "rename", checked)
    monkeypatch.setattr(store, "save", save)
    run_small(small_data, tmp_path)
    assert [path.name for path in committed] == [f"ckpt-{step}" for step in (4, 8, 12, 16, 20)]


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


@pytest.mark.parametrize("failing", ["write_file", "fsync", "rename"])
def test_background_save_that_fails_ends_the_run_and_is_not_listed(
    small_data: Path,
    tmp_path: Path,
    undisturbed: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    """Scenario 23 (Orbax 0.12.8): the cause is raised, exit code 7; what was before is whole."""
    _, _, folder = run_small(small_data, tmp_path, max_steps=8)
    owner: Any = {"write_file": durable, "fsync": os, "rename": Path}[failing]
    real = getattr(owner, failing)

    def fail_in_saver(*arguments: Any) -> Any:
        if threading.current_thread() is threading.main_thread():  # which appends the log
            return real(*arguments)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(owner, failing, fail_in_saver)
    recorder = Recorder()
    with pytest.raises(WriteError, match="Input/output error") as raised:
        run_small(small_data, tmp_path, recorder, max_steps=400)
    monkeypatch.undo()
    assert raised.value.exit_code == 7
    assert recorder.saved_steps == []
    assert stored(folder) == ["ckpt-4", "ckpt-8"]
    _, recorder, _ = run_small(small_data, tmp_path)
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress.step == 8
    check_same_end(folder, undisturbed)


@pytest.mark.parametrize("stop", [None, 9, 14])
def test_session_waits_at_its_end_for_the_save_in_progress(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int | None
) -> None:
    """Scenario 24 (Orbax 0.12.8): the last save is durable when the session returns."""
    real = store.save

    def slow(*arguments: Any) -> Path:
        time.sleep(0.2)
        return real(*arguments)

    monkeypatch.setattr(store, "save", slow)
    recorder = Recorder() if stop is None else stopping_at(stop)
    outcome, _, folder = run_small(small_data, tmp_path, recorder)
    last = 20 if stop is None else stop
    assert recorder.saved_steps[-1] == outcome.progress.step == last
    assert describe(folder.path, "latest", no_warning)["step"] == last


def test_background_save_survives_an_error_in_training(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 24 (Orbax 0.12.8): nor does leaving by an error."""
    begun = threading.Event()
    real = store.save

    def slow(*arguments: Any) -> Path:
        begun.set()
        time.sleep(0.2)
        return real(*arguments)

    def break_down(step: int) -> None:
        if step == 5:
            assert begun.wait(10)
            raise RuntimeError("out of luck")

    monkeypatch.setattr(store, "save", slow)
    with pytest.raises(RuntimeError, match="out of luck"):
        run_small(small_data, tmp_path, Recorder(break_down))
    monkeypatch.undo()
    _, recorder, _ = run_small(small_data, tmp_path)
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress.step == 4


def test_background_save_is_not_affected_by_later_steps(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: RunFolder
) -> None:
    """Scenario 25 (torchtitan#930): the writer starts when the arrays it was given have been
    donated to three more steps, and stores what they were.
    """
    digests: dict[int, str] = {}
    overtaken: list[int] = []
    stepped = {step: threading.Event() for step in range(1, 21)}
    save = store.save

    def noted(
        task: Task, state: TrainState, into: Snapshot | None = None, copied: bool = True
    ) -> Snapshot:
        assert copied
        snapshot = take_snapshot(state, into)
        digests[state.progress.step] = snapshot.digest()
        return snapshot

    def late(folder: Path, snapshot: Snapshot, *about: Any) -> Path:
        step = snapshot.progress.step
        if step < 20:
            assert stepped[step + 3].wait(30)
            overtaken.append(step)
        path = save(folder, snapshot, *about)
        assert store.load(store.read(path)).digest() == digests[step]
        return path

    monkeypatch.setattr(loop, "snapshot_of", noted)
    monkeypatch.setattr(store, "save", late)
    _, _, folder = run_small(small_data, tmp_path, Recorder(lambda step: stepped[step].set()))
    assert overtaken == [4, 8, 12, 16]
    check_same_end(folder, undisturbed)


def test_training_waits_for_saves_where_no_copy_of_the_state_fits(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: RunFolder
) -> None:
    """Each checkpoint is written from the state's own memory, and is durable before the next step;
    the run ends in the same bytes.
    """
    written: list[int] = []
    save = store.save

    def from_the_state(folder: Path, snapshot: Snapshot, *about: Any) -> Path:
        assert not any(array.flags.owndata for array in snapshot.arrays.values())
        written.append(snapshot.progress.step)
        return save(folder, snapshot, *about)

    def stepped(step: int) -> None:
        assert written == [saved for saved in (4, 8, 12, 16, 20) if saved < step]

    monkeypatch.setattr(estimate, "available_memory", lambda: 0)
    monkeypatch.setattr(store, "save", from_the_state)
    _, recorder, folder = run_small(small_data, tmp_path, Recorder(stepped))
    assert "saves_wait" in recorder.keys
    assert written[:5] == [4, 8, 12, 16, 20]
    check_same_end(folder, undisturbed)


def test_run_whose_best_is_damaged_meanwhile_is_measured_by_its_latest(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    best = store.best_of(store.scan(undisturbed.checkpoints))
    assert best is not None
    assert best.progress.step < 20
    path = tmp_path / undisturbed.path.name / "checkpoints" / best.path.name

    def harming(step: int) -> None:
        if step == 20:
            harm_file(path / "rows.npy", "flip")

    outcome, recorder, _ = run_small(small_data, tmp_path, Recorder(harming))
    assert recorder.said["damaged_ignored"]["path"] == path
    assert outcome.results is not None


@pytest.mark.parametrize("size", ["zero-length", "zero-filled"])
def test_store_detects_files_emptied_by_a_power_loss(
    small_data: Path, tmp_path: Path, twelve_steps: RunFolder, undisturbed: RunFolder, size: str
) -> None:
    """Scenario 26 (power loss): each file in turn, and all of them, of the right length or none."""
    folder = twelve_steps
    latest = folder.checkpoints / "ckpt-12"
    contents = {path.name: path.read_bytes() for path in latest.iterdir()}
    for names_hit in [*([name] for name in sorted(contents)), sorted(contents)]:
        for name in names_hit:
            length = len(contents[name]) if size == "zero-filled" else 0
            (latest / name).write_bytes(bytes(length))
        with pytest.raises(store.DamagedCheckpointError):
            store.load(store.read(latest))
        if names_hit != sorted(contents):
            for name in names_hit:
                (latest / name).write_bytes(contents[name])
    _, recorder, _ = run_small(small_data, tmp_path)
    assert "quarantined" in recorder.keys
    check_same_end(folder, undisturbed)


@pytest.mark.parametrize("which", ["latest", "best"])
def test_store_detects_a_bit_flip_when_resuming_from_either(
    small_data: Path,
    tmp_path: Path,
    scripted: Callable[[dict[int, float]], None],
    which: str,
) -> None:
    """Scenario 27 (torch.save, safetensors, Orbax): a flipped bit is never trained on, nor tested
    with: the best is verified on every start.
    """
    scripted({4: 0.5, 8: 0.3, 12: 0.4, 16: 0.2, 20: 0.1})
    _, _, folder = run_small(small_data, tmp_path, max_steps=12)
    harmed = folder.checkpoints / ("ckpt-12" if which == "latest" else "ckpt-4")
    harm_file(harmed / "rows.npy", "flip")
    outcome, recorder, _ = run_small(small_data, tmp_path)
    assert [key for key in recorder.keys if key in ("quarantined", "best_lost")] == (
        ["quarantined"] if which == "latest" else ["quarantined", "best_lost"]
    )
    best = outcome.progress.best
    assert best is not None
    assert (best.metric, best.step) == (0.5, 4)  # the metric is known, its weights or not


@pytest.mark.parametrize("harm", ["delete", "flip", "zero"])
def test_store_has_no_pointer_file_to_lose(
    small_data: Path, tmp_path: Path, twelve_steps: RunFolder, undisturbed: RunFolder, harm: str
) -> None:
    """Scenario 28 (tf.train.CheckpointManager): latest and best are derived from what is there, so
    with every other file of the run lost or garbled it resumes where it stood.
    """
    folder = twelve_steps
    others = [path for path in folder.path.iterdir() if path.is_file()]
    assert {path.name for path in others} >= {"run.json", "LOCK", "metrics.jsonl"}
    for path in others:
        harm_file(path, harm)
    for misleading in ("checkpoint", "latest", "best"):  # what others keep: it means nothing here
        (folder.checkpoints / misleading).write_text("ckpt-4")
    (folder.checkpoints / "latest_link").symlink_to("ckpt-4")
    _, recorder, _ = run_small(small_data, tmp_path)
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress.step == 12
    check_same_end(folder, undisturbed)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_resume_stops_at_an_unreadable_checkpoint_and_keeps_it(
    small_data: Path,
    tmp_path: Path,
    twelve_steps: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """Scenario 29 (a restore's exception taken for a fresh start): what the system refuses to read
    may be whole: exit code 6, nothing is moved, nothing trained.
    """
    folder = twelve_steps
    before = names(folder)
    real = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.parent.name == "ckpt-12" and path.name == "rows.npy":
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    recorder = Recorder()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(CheckpointError, match=os.strerror(number)) as raised:
            run_small(small_data, tmp_path, recorder)
    assert raised.value.exit_code == 6
    assert "training_begins" not in recorder.keys
    assert names(folder) == before
    assert not (folder.checkpoints / "quarantine").exists()
    _, recorder, _ = run_small(small_data, tmp_path)  # the disk is back
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress.step == 12


def test_resume_without_an_intact_checkpoint_reports_so_and_keeps_the_pieces(
    small_data: Path, tmp_path: Path, twelve_steps: RunFolder, undisturbed: RunFolder
) -> None:
    """Scenario 29 (a restore's exception taken for a fresh start): starting again from step 0 is
    said in so many words, on every start until a checkpoint holds, and nothing is deleted.
    """
    folder = twelve_steps

    def leave(step: int) -> None:
        raise KeyboardInterrupt

    damaged = names(folder)
    for name in damaged:
        harm_file(folder.checkpoints / name / "rows.npy", "flip")
    for _ in range(2):
        recorder = Recorder(leave)
        with pytest.raises(KeyboardInterrupt):
            run_small(small_data, tmp_path, recorder)
        assert recorder.resumption is None
        assert "nothing_whole" in recorder.keys
    _, recorder, _ = run_small(small_data, tmp_path)
    quarantine = folder.checkpoints / "quarantine"
    assert sorted(path.name for path in quarantine.iterdir()) == [*damaged, "metrics.jsonl"]
    check_same_end(folder, undisturbed)


def test_train_on_a_full_disk_loses_nothing_and_resumes(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    """Scenario 30 (disk full): the state before is whole, and there is no half file after it."""
    _, _, folder = run_small(small_data, tmp_path, max_steps=8)
    before = state_digest(folder)
    with small_disk(3000), pytest.raises(WriteError):  # the rows have 3936 bytes
        run_small(small_data, tmp_path)
    assert state_digest(folder) == before
    assert stored(folder) == ["ckpt-4", "ckpt-8"]
    run_small(small_data, tmp_path)
    check_same_end(folder, undisturbed)


def test_train_names_a_full_disk_and_an_unwritable_place(small_data: Path, tmp_path: Path) -> None:
    """Scenario 30 (disk full): the command says what could not be written; exit code 7."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    check_refusal(train(small_data, blocked / "runs", "--steps", 5), 7, "Cannot write")
    tiny_files = "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
    full = train(small_data, tmp_path / "full", "--steps", 10, before=tiny_files)
    check_refusal(full, 7, "Cannot write", "Fix this and run the same command again")
    assert "intact" not in full.stderr  # nothing was saved before
    assert stored(RunFolder(tmp_path / "full" / RUN)) == []


def test_lock_refuses_a_second_writer_and_leaves_the_run_undisturbed(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    """Scenario 31 (Orbax 0.12.8 has no writer lock): the second start names the first one's pid and
    changes nothing; reading is free.
    """
    refused: list[Any] = []

    def second(step: int) -> None:
        if step == 10:
            refused.append(
                reprise(
                    *("train", *QUICK, "--learning-rate", 0.01, "--test-iter", 4, "--top-n", 10),
                    *("--steps", 20, "--data-dir", small_data, "--runs-dir", tmp_path),
                    own_process=True,
                )
            )
            assert describe(folder.path, "latest", no_warning)["step"] == 8

    folder = RunFolder(tmp_path / RUN)
    _, _, trained = run_small(small_data, tmp_path, Recorder(second))
    assert trained == folder
    check_refusal(refused[0], 5, f"in use by process {os.getpid()}")
    check_same_end(folder, undisturbed)
