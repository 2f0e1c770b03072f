"""Survey of a run's folder: its state and progress, without changing anything."""

import errno
import fcntl
import json
import os
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from helpers.checkpoints import IDENTITY, harm_file, names, rated, save_all
from helpers.commands import small_config
from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint
from reprise.errors import CheckpointError, UsageError
from reprise.runs.folder import RunFolder, locked, record_events
from reprise.runs.lock import writer_of
from reprise.runs.loop import is_finished
from reprise.runs.manage import survey
from reprise.runs.manage.compare import compare
from reprise.runs.manage.survey import Stored
from reprise.text.messages import Messages
from reprise.training.state import Best, Progress

RATED = {5: 0.3, 10: 0.1, 15: 0.2}  # the best and the newest two: all three stay stored


def record(folder: RunFolder, **config: Any) -> None:
    """Give a run its run.json."""
    usual = {"name": "mine", "dataset": "small", "test_iter": 5, "max_steps": 20, "patience": 9}
    event = {"event": "created", "from": None, "step": 0, "branch": 0}
    record_events(folder, IDENTITY, usual | {"top_n": 50} | config, {}, [event])


def state(folder: RunFolder) -> str:
    return survey.survey(folder).state


def tree(folder: Path) -> dict[str, Any]:
    """Every file and folder with its content and times."""
    return {
        str(path): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in [folder, *folder.rglob("*")]
    }


def test_survey_states_follow_from_what_is_stored(folder: RunFolder) -> None:
    record(folder)
    assert state(folder) == "interrupted"  # stopped before its first checkpoint
    save_all(folder, rated(RATED))
    assert state(folder) == "interrupted"
    record(folder, max_steps=15)
    assert state(folder) == "finished"
    with locked(folder):
        assert state(folder) == "running"
        assert survey.survey(folder).pid == str(os.getpid())
    assert state(folder) == "finished"
    for name in names(folder):
        (folder.checkpoints / name / "MANIFEST.json").unlink()
    assert state(folder) == "damaged"
    assert len(survey.survey(folder).stored) == 3


def test_survey_end_is_where_the_loop_ends(folder: RunFolder) -> None:
    config = small_config(max_steps=8, patience=2, test_iter=4)
    found = survey.survey(folder)
    seen = set()
    for step, evaluated, trials in product((3, 4, 8, 9), (0, 4, 8), (0, 2, 3)):
        progress = Progress(
            0.1, step, evaluated_step=evaluated, evaluations_without_improvement=trials
        )
        stored = Stored(folder.path, 0, Checkpoint(folder.path, progress, {}, {}, 8))
        at = replace(found, stored=(stored,), record={"config": vars(config)})
        assert (at.state != "interrupted") == is_finished(progress, config), progress
        seen.add(at.state)
    assert seen == {"interrupted", "finished", "stopped early"}


def test_survey_changes_nothing(twelve_steps: RunFolder) -> None:
    (latest := twelve_steps.checkpoints / "ckpt-12" / "rows.npy").touch()
    harm_file(latest, "flip")
    (twelve_steps.checkpoints / ".draft-1-ckpt-16").mkdir()
    before = tree(twelve_steps.path)
    for thorough in (False, True):
        found = survey.survey(twelve_steps, thorough)
        json.dumps(survey.details(found), allow_nan=False)
        compare([found, found])
    assert tree(twelve_steps.path) == before


def test_survey_checks_sizes_or_thoroughly_every_byte(folder: RunFolder) -> None:
    save_all(folder, rated(RATED))
    record(folder)
    harm_file(folder.checkpoints / "ckpt-15" / "rows.npy", "flip")
    glance, thorough = survey.survey(folder), survey.survey(folder, thorough=True)
    assert (glance.progress.step, thorough.progress.step) == (15, 10)
    (damaged,) = [entry for entry in survey.details(thorough)["checkpoints"] if entry["damage"]]
    assert "rows.npy: SHA-256" in damaged["damage"]
    assert not damaged["latest"]
    harm_file(folder.checkpoints / "ckpt-15" / "rows.npy", "cut")
    assert survey.survey(folder).progress.step == 10
    harm_file(folder.checkpoints / "ckpt-5" / "MANIFEST.json", "delete")
    found = survey.survey(folder)
    assert survey.summary(found)["damaged_checkpoints"] == 2
    assert found.best_lost
    assert found.best is not None
    assert found.best.path.name == "ckpt-10"


def test_survey_counts_only_stored_log_lines_unless_one_is_being_written(
    twelve_steps: RunFolder,
) -> None:
    last = json.loads(twelve_steps.metrics.read_text().splitlines()[-1])
    ahead = last | {"step": 16, "best_recall@10": 0.9, "best_step": 16}
    with twelve_steps.metrics.open("a") as log:
        log.write(json.dumps(ahead) + "\n" + json.dumps(ahead)[:50])
    found = survey.survey(twelve_steps)
    assert (found.progress.step, len(found.evaluations)) == (12, 3)
    with locked(twelve_steps):
        found = survey.survey(twelve_steps)
        assert (found.progress.step, len(found.evaluations)) == (16, 4)
        assert found.progress.best == Best(0.9, 16, 0)
        assert not found.best_lost


def test_survey_without_run_json_reads_the_checkpoints(twelve_steps: RunFolder) -> None:
    known = survey.survey(twelve_steps)
    assert (known.name, known.state) == ("t", "finished")
    twelve_steps.record.write_text("{")
    found = survey.survey(twelve_steps)
    assert found.name == survey.short_name(twelve_steps) == "t"  # of the folder's name
    assert survey.find(twelve_steps.path.parent, "t") == twelve_steps
    for checkpoint in twelve_steps.checkpoints.glob("ckpt-*"):
        (checkpoint / "state.json").write_text("{")
    assert survey.short_name(twelve_steps) == twelve_steps.path.name  # nothing else is known
    assert found.state == "interrupted"  # nobody knows the budget
    assert {**known.config, "name": found.name} == found.config | {
        key: known.config[key] for key in ("max_steps", "patience")
    }


def test_survey_skips_a_checkpoint_deleted_while_it_is_read(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(folder, rated({5: 0.1}))
    gone, names = folder.checkpoints / "ckpt-1", store.names
    monkeypatch.setattr(store, "names", lambda path: [gone, *names(path)])
    assert [entry.path.name for entry in survey.survey(folder).stored] == ["ckpt-5"]


def test_find_accepts_name_folder_and_path(tmp_path: Path) -> None:
    for name, short in (("a_x", "one"), ("b_x", "two"), ("c_x", "two")):
        (tmp_path / name).mkdir()
        record(RunFolder(tmp_path / name), name=short)
    (tmp_path / "no run").mkdir()
    (tmp_path / ".draft-1-d_x").mkdir()
    assert [folder.path.name for folder in survey.folders(tmp_path)] == ["a_x", "b_x", "c_x"]
    for asked in ("one", "a_x", str(tmp_path / "a_x")):
        assert survey.find(tmp_path, asked).path == tmp_path / "a_x"
    with pytest.raises(UsageError, match="b_x, c_x"):
        survey.find(tmp_path, "two")
    with pytest.raises(CheckpointError, match="mean 'one'"):
        survey.find(tmp_path, "onne")
    with pytest.raises(CheckpointError, match="No run at"):
        survey.find(tmp_path / "none", "one")


def test_survey_lists_other_runs_despite_an_unreadable_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        record(RunFolder(tmp_path / name), name=name)
    is_file = Path.is_file

    def refused(path: Path) -> bool:
        if path.parent.name == "a":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
    said: list[str] = []
    found = survey.folders(
        tmp_path, lambda key, **values: said.append(Messages("en").text(key, **values))
    )
    assert found == [RunFolder(tmp_path / "b")]
    assert said == [f"Cannot look into {tmp_path / 'a'}; skipped: Permission denied."]
    assert survey.find(tmp_path, "b") == RunFolder(tmp_path / "b")
    with pytest.raises(PermissionError):
        survey.find(tmp_path, "a")


def test_survey_of_the_lock_blocks_no_writer(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(folder):
        pass
    with folder.lock.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # as `writer_of` does, until the writer waits for it
        waits = "reprise.runs.lock.time.sleep"
        monkeypatch.setattr(waits, lambda seconds: fcntl.flock(lock, fcntl.LOCK_UN))
        with locked(folder):
            assert writer_of(folder.path) == str(os.getpid())
    assert writer_of(folder.path) is None
    folder.lock.unlink()
    assert writer_of(folder.path) is None
    assert not folder.lock.exists()


def line(step: int, branch: int) -> dict[str, Any]:
    return {"step": step, "branch": branch, "evaluations_without_improvement": 0}


def test_compare_lists_differences_and_metrics(
    undisturbed: RunFolder, twelve_steps: RunFolder
) -> None:
    facts = compare([survey.survey(undisturbed), survey.survey(twelve_steps)])
    assert facts["same_data"]
    assert facts["differences"] == {"max_steps": [20, 12]}
    assert facts["curve"]["metric"] == "recall@10"
    curve = {line["step"]: line["values"] for line in facts["curve"]["steps"]}
    assert sorted(curve) == [4, 8, 12, 16, 20]
    for step in (4, 8, 12):  # one trajectory
        assert curve[step][0] == curve[step][1] is not None
    assert curve[20][1] is None
    best = survey.summary(survey.survey(undisturbed))["best"]
    assert facts["metrics"]["recall@10"][0] == best["metric"] == curve[best["step"]][0]
    with pytest.raises(UsageError, match=r"recall@20 \| "):
        compare([survey.survey(undisturbed)], "recal@20")
