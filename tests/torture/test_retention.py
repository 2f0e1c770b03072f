"""Scenarios 12-19: what is kept, what is deleted, and that other files are not touched."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.checkpoints import fail, names, no_warning, rated, save_all, stored
from helpers.commands import Recorder, run_small, state_digest, stopping_at
from reprise import durable
from reprise.checkpoints import store
from reprise.errors import WriteError
from reprise.runs.folder import RunFolder, locked
from reprise.runs.manage.inspect import describe
from reprise.training.state import Best

pytestmark = pytest.mark.users_bits

Script = Callable[[dict[int, float]], None]


def contents(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file under `folder`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_retention_never_deletes_the_best(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 12 (transformers#15089): ten worse evaluations and restarts later, it is there."""
    scripted({4: 0.5, **dict.fromkeys(range(8, 50, 4), 0.4)})
    for budget in (4, 12, 20, 44):
        _, _, folder = run_small(small_data, tmp_path, max_steps=budget)
        facts = describe(folder.path, "best", no_warning)
        assert (facts["step"], facts["is_best"], facts["metric"]) == (4, True, 0.5)
    assert names(folder) == ["ckpt-4", "ckpt-40", "ckpt-44"]


def test_retention_keeps_the_latest_beside_the_best(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 13 (savers that keep the best only): the latest can always be resumed."""
    scripted({4: 0.5, 8: 0.4, 12: 0.4, 16: 0.4, 20: 0.4})
    _, _, whole = run_small(small_data, tmp_path / "whole")
    run_small(small_data, tmp_path / "torn", stopping_at(18))
    _, recorder, folder = run_small(small_data, tmp_path / "torn")
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress.step == 18
    assert state_digest(folder) == state_digest(whole)


def test_retention_deletes_nothing_before_its_replacement_is_intact(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 14 (lightning#1150): at every deletion two newer checkpoints and the best hold."""
    deleted: list[str] = []
    real = durable.discard

    def discard(path: Path) -> None:
        whole = store.scan(path.parent, fail)
        for checkpoint in whole:
            store.load(checkpoint)
        assert len([c for c in whole if c.order > store.parse_name(path.name)]) >= 2
        best = store.best_of(whole)
        assert best is None or best.path != path
        deleted.append(path.name)
        real(path)

    monkeypatch.setattr(durable, "discard", discard)
    outcome, _, _ = run_small(small_data, tmp_path, max_steps=40)
    assert outcome.progress.step == 40
    assert len(deleted) == len(set(deleted)) >= 7


def test_retention_keeps_everything_when_a_write_fails(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 14 (lightning#1150): a save that fails half-way deletes nothing, leaves nothing."""
    one, two, three = rated({1: 0.1, 2: 0.2, 3: 0.3})
    save_all(folder, [one, two])
    before = contents(folder.path)
    real, written = durable.write_file, 0

    def full(path: Path, *chunks: bytes | memoryview) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise WriteError("write_refused", path=path, reason="No space left on device")
        real(path, *chunks)

    monkeypatch.setattr(durable, "write_file", full)
    with pytest.raises(WriteError, match="No space left on device"):
        save_all(folder, [three])
    assert contents(folder.path) == before
    assert names(folder) == sorted(path.name for path in folder.checkpoints.iterdir())


def test_retention_includes_checkpoints_of_earlier_starts(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 15 (lightning#18687): the rule is applied to what is there, whoever wrote it."""
    scripted({step: 0.5 if step == 8 else 0.1 for step in range(4, 60, 4)})
    for stop in (6, 9, 15, 38):
        _, _, folder = run_small(small_data, tmp_path, stopping_at(stop), max_steps=56)
        assert len(names(folder)) <= 3
        assert f"ckpt-{stop}" in names(folder)
        assert stop < 8 or "ckpt-8" in names(folder)
    run_small(small_data, tmp_path, max_steps=56)
    assert stored(folder) == ["ckpt-52", "ckpt-56", "ckpt-8"]


def test_retention_of_one_run_does_not_touch_another(small_data: Path, tmp_path: Path) -> None:
    """Scenario 16 (lightning#11379): nor do names that are prefixes of each other mix them up."""
    folders = {}
    for name in ("t", "t2", "t-b1"):
        _, _, folders[name] = run_small(small_data, tmp_path, name=name, max_steps=8)
    assert len({folder.path for folder in folders.values()}) == 3
    for name, folder in folders.items():
        others = {other: contents(f.path) for other, f in folders.items() if other != name}
        run_small(small_data, tmp_path, name=name, resume_from="best", max_steps=16)
        assert state_digest(folder)
        assert others == {other: contents(folders[other].path) for other in others}


def test_retention_leaves_other_files_alone(small_data: Path, tmp_path: Path) -> None:
    """Scenario 16 (lightning#11379): what a user put beside the checkpoints is not deleted."""
    _, _, folder = run_small(small_data, tmp_path, max_steps=8)
    mine = ["notes.txt", "checkpoints/ckpt-4-copy/x", "checkpoints/best/x", "checkpoints/my-ckpt-4"]
    for name in mine:
        path = folder.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    run_small(small_data, tmp_path, max_steps=40)
    assert [(folder.path / name).read_text() for name in mine] == ["mine"] * len(mine)


def test_retention_leaves_no_partial_checkpoint_under_a_checkpoints_name(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    """Scenario 17 (Orbax): what a crash leaves of a deletion is no candidate, and is swept."""
    _, _, folder = run_small(small_data, tmp_path / "torn", max_steps=8)
    for leftover in (".trash-ckpt-12", ".draft-1-ckpt-16"):  # newer than what is whole
        half = folder.checkpoints / leftover
        shutil.copytree(folder.checkpoints / "ckpt-8", half)
        (half / "rows.npy").unlink()
    assert [c.path.name for c in store.scan(folder.checkpoints, fail)][-1] == "ckpt-8"
    assert describe(folder.path, "latest", no_warning)["step"] == 8  # inspecting deletes nothing
    assert (folder.checkpoints / ".trash-ckpt-12").is_dir()
    _, recorder, _ = run_small(small_data, tmp_path / "torn")
    assert "quarantined" not in recorder.keys
    assert state_digest(folder) == state_digest(undisturbed)
    assert not list(folder.checkpoints.glob(".*"))


def test_retention_renames_before_it_deletes(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 17 (Orbax): when the first file goes, the checkpoint's name has gone already."""
    save_all(folder, rated({1: 0.1, 2: 0.2}))

    def killed(path: Path) -> None:
        assert path.name.startswith(".trash-")
        assert names(folder) == ["ckpt-2", "ckpt-3"]
        (path / "rows.npy").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(durable, "_delete", killed)
    with pytest.raises(KeyboardInterrupt):
        save_all(folder, rated({3: 0.3}))
    monkeypatch.undo()
    assert [c.path.name for c in store.scan(folder.checkpoints, fail)] == ["ckpt-2", "ckpt-3"]
    with locked(folder):
        assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["ckpt-2", "ckpt-3"]


@pytest.mark.parametrize("refused", ["rename", "deletion"])
def test_retention_survives_a_checkpoint_that_cannot_be_deleted(
    small_data: Path,
    tmp_path: Path,
    undisturbed: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
) -> None:
    """Scenario 18 (transformers#17265): a failed clean-up is no failure, now or on a restart."""
    rename, remove = Path.rename, os.unlink

    def refuse_rename(path: Path, target: Path) -> Path:
        if Path(target).name.startswith(".trash-"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return rename(path, target)

    def refuse_removal(path: Any, **keywords: Any) -> None:
        if str(path).endswith(".npy"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        remove(path, **keywords)

    with monkeypatch.context() as patch:
        if refused == "rename":
            patch.setattr(Path, "rename", refuse_rename)
        else:
            patch.setattr(os, "unlink", refuse_removal)
        run_small(small_data, tmp_path, max_steps=12)
        outcome, _, folder = run_small(small_data, tmp_path)
    assert (outcome.exit_code, outcome.progress.step) == (0, 20)
    assert state_digest(folder) == state_digest(undisturbed)
    if refused == "rename":
        assert len(names(folder)) == 5  # all stay under their names, and hold
        assert len(store.scan(folder.checkpoints, fail)) == 5
    # Once it can be deleted, it is.
    run_small(small_data, tmp_path, max_steps=24)
    assert not list(folder.checkpoints.glob(".*"))
    assert len(names(folder)) <= 3


def test_rewound_runs_save_under_new_names_and_are_resumable(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 19 (Orbax `save()` returning False): after a rewind every save takes place, is the
    latest, is resumed; and so after a second rewind, and a third from the branch's own best.
    """
    scripted({4: 0.5, 8: 0.4, 12: 0.3, 16: 0.2, 20: 0.1})
    _, _, folder = run_small(small_data, tmp_path, max_steps=20)

    _, recorder, _ = run_small(
        small_data, tmp_path, stopping_at(9), max_steps=24, resume_from="best"
    )
    assert recorder.saved_steps == [8, 9]
    latest = describe(folder.path, "latest", no_warning)
    assert (latest["branch"], latest["step"]) == (1, 9)  # though branch 0 went to step 20

    scripted({12: 0.6, 16: 0.3})
    outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=16)
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress.step == 9
    assert outcome.progress.best == Best(0.6, 12, 1)
    assert names(folder) == ["ckpt-12-b1", "ckpt-16-b1"]

    scripted({16: 0.1})
    outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=17, resume_from="best")
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress.step == 12
    assert (outcome.progress.branch, outcome.progress.best) == (2, Best(0.6, 12, 1))
    assert names(folder) == ["ckpt-12-b1", "ckpt-16-b2", "ckpt-17-b2"]
    steps = [line.split(",")[0] for line in folder.metrics.read_text().splitlines()]
    assert len(steps) == 5 + 1 + 2 + 1  # every evaluation of every branch


def test_rewind_stopped_before_its_first_step_is_kept(
    small_data: Path, tmp_path: Path, scripted: Script
) -> None:
    """Scenario 19 (Orbax `save()` returning False): the rewound state itself is saved anew."""
    scripted({4: 0.5, 8: 0.4, 12: 0.3})
    for name in ("stopped", "undisturbed"):
        _, _, folder = run_small(small_data, tmp_path, name=name, max_steps=8)
        if name == "stopped":
            recorder = StoppedAtOnce()
            run_small(small_data, tmp_path, recorder, name=name, max_steps=12, resume_from="best")
            latest = describe(folder.path, "latest", no_warning)
            assert (latest["branch"], latest["step"], latest["is_best"]) == (1, 4, False)
            best = describe(folder.path, "best", no_warning)
            assert (best["branch"], best["step"], best["is_best"]) == (0, 4, True)
            outcome, _, stopped = run_small(small_data, tmp_path, name=name, max_steps=12)
        else:
            outcome, _, _ = run_small(
                small_data, tmp_path, name=name, max_steps=12, resume_from="best"
            )
        assert outcome.progress.best == Best(0.5, 4, 0)
    assert state_digest(stopped) == state_digest(folder)


class StoppedAtOnce(Recorder):
    """Asks for a stop when the training is about to begin."""

    def training_begins(self, progress: Any) -> None:
        os.kill(os.getpid(), 15)
