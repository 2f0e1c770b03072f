"""Prune: what it deletes, and that the run can always be resumed."""

from pathlib import Path

import pytest

from helpers.checkpoints import (
    IDENTITY,
    harm_file,
    names,
    no_warning,
    rated,
    rewrite_state,
    save_all,
)
from helpers.drafts import left_draft, living_draft
from reprise import durable
from reprise.checkpoints import store
from reprise.errors import RunInUseError, WriteError
from reprise.runs.folder import RunFolder, locked, resume
from reprise.runs.manage.prune import carry_out, plan, plan_beside
from reprise.text.messages import Phrase

RATED = {5: 0.3, 10: 0.1, 15: 0.2}


def test_prune_keeps_latest_and_best(folder: RunFolder) -> None:
    save_all(folder, rated(RATED))
    assert names(folder) == ["ckpt-10", "ckpt-15", "ckpt-5"]
    size = sum(file.stat().st_size for file in (folder.checkpoints / "ckpt-10").iterdir())
    removal = plan(folder)
    assert [path.name for path in removal.paths] == ["ckpt-10"]
    assert names(folder) == ["ckpt-10", "ckpt-15", "ckpt-5"]
    assert carry_out(removal) == removal.size + size == size
    assert names(folder) == ["ckpt-15", "ckpt-5"]
    assert plan(folder).paths == ()
    for source, step in (("latest", 15), ("best", 5)):
        resumed = resume(folder, IDENTITY, source, no_warning)  # type: ignore[arg-type]
        assert resumed is not None
        assert resumed.snapshot.progress.step == step


@pytest.mark.parametrize(
    ("harmed", "left"),
    [
        ("ckpt-15", ["ckpt-10", "ckpt-15", "ckpt-5"]),  # or nothing whole could be the latest
        ("ckpt-5", ["ckpt-15", "ckpt-5"]),  # the next best is the latest
    ],
)
def test_prune_does_not_rely_on_damaged_checkpoints(
    folder: RunFolder, harmed: str, left: list[str]
) -> None:
    save_all(folder, rated(RATED))
    harm_file(folder.checkpoints / harmed / "rows.npy", "flip")  # that only its digest tells
    carry_out(plan(folder))
    assert names(folder) == left


def test_prune_deletes_nothing_without_a_known_best_or_an_intact_checkpoint(
    folder: RunFolder,
) -> None:
    save_all(folder, rated(RATED))
    for name in names(folder):
        rewrite_state(folder.checkpoints / name, lambda state: state | {"schema": 1})
    assert plan(folder).paths == ()
    for name in names(folder):
        harm_file(folder.checkpoints / name / "rows.npy", "cut")
    assert plan(folder).paths == ()


def test_prune_deletes_leftovers_and_on_request_the_quarantine(folder: RunFolder) -> None:
    save_all(folder, rated({5: 0.3, 10: 0.1}))
    store.set_aside(
        folder.checkpoints / "ckpt-10", Phrase("not_removed"), lambda key, **values: None
    )
    for leftover in (
        left_draft(folder.path, "run") / "run.json",
        folder.checkpoints / ".trash-ckpt-1",
    ):
        leftover.write_bytes(b"12345")
    removal = plan(folder)
    assert (removal.size, len(removal.leftovers), removal.quarantine) == (10, 3, ())
    assert carry_out(removal) == 10
    assert not durable.leftovers(folder.path) + durable.leftovers(folder.checkpoints)
    assert (folder.checkpoints / "quarantine" / "ckpt-10").is_dir()
    carry_out(plan(folder, with_quarantine=True))
    assert [path.name for path in folder.checkpoints.iterdir()] == ["ckpt-5"]


def test_prune_refuses_a_running_run_and_checks_again_before_deleting(folder: RunFolder) -> None:
    save_all(folder, rated(RATED))
    planned = plan(folder)
    with locked(folder), pytest.raises(RunInUseError):
        carry_out(planned)
    harm_file(folder.checkpoints / "ckpt-15" / "rows.npy", "flip")
    assert carry_out(planned) == 0
    assert "ckpt-10" in names(folder)


def test_prune_reports_what_cannot_be_deleted(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(folder, rated(RATED))

    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(durable.disk, "rename", refuse)
    with pytest.raises(WriteError, match="ckpt-10"):
        carry_out(plan(folder))


def test_prune_finds_interrupted_imports_that_are_not_running(tmp_path: Path) -> None:
    dead = left_draft(tmp_path, "dead")
    with living_draft(tmp_path, "living") as living:
        removal = plan_beside(tmp_path)
        assert [path for path in removal.paths if path.is_dir()] == [dead]
        carry_out(removal)
        assert [path for path in tmp_path.iterdir() if path.is_dir()] == [living]
