"""Runs by name: which run a name selects, which settings are stored, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers.checkpoints import no_warning
from helpers.commands import (
    QUICK,
    check_refusal,
    inspect_json,
    reprise,
    run_small,
    small_config,
    state_digest,
    stopping_at,
    train,
)
from reprise.checkpoints import store
from reprise.config.load import make_config
from reprise.errors import CheckpointError, DataError, UsageError
from reprise.runs.folder import RunFolder, read_record
from reprise.runs.naming import Named, called, for_resuming, for_training, label_of
from reprise.runs.where import data_for_new, data_of, hint, locator

GIVEN: dict[str, Any] = {"dataset": "small", "name": "t"}


def remake(folder: RunFolder, **config: Any) -> RunFolder:
    """Change what run.json tells of a run."""
    record = json.loads(folder.record.read_text())
    record["config"] |= config
    folder.record.write_text(json.dumps(record))
    return folder


@pytest.fixture
def runs(twelve_steps: RunFolder) -> Path:
    """A folder of runs with one, "t", in an older version's folder."""
    return twelve_steps.path.parent


@pytest.fixture
def twelve_steps(twelve_steps: RunFolder) -> RunFolder:
    """That run."""
    older = small_config().run_name
    return RunFolder(twelve_steps.path.rename(twelve_steps.path.with_name(older)))


def test_train_takes_settings_that_are_not_given_from_the_named_run(
    runs: Path, twelve_steps: RunFolder
) -> None:
    named = for_training({**GIVEN, "max_steps": 20}, runs)
    assert named.folder == twelve_steps
    assert named.known is not None
    assert named.config == small_config(max_steps=20)
    assert for_training({"name": "t"}, runs).config == small_config(max_steps=12)
    assert for_resuming("t", {}, runs) == Named(
        small_config(max_steps=12), twelve_steps, named.known
    )
    assert for_resuming(twelve_steps.path.name, {"patience": 3}, runs).config.patience == 3
    with pytest.raises(CheckpointError, match="Did you mean 't'"):
        for_resuming("tt", {}, runs)
    with pytest.raises(UsageError, match="--dataset"):
        for_training({"name": "other"}, runs)
    with pytest.raises(UsageError, match="--name"):
        for_training({"dataset": "small"}, runs)


def test_train_new_gives_a_folder_without_settings_and_the_next_free_name(
    runs: Path, twelve_steps: RunFolder
) -> None:
    asked = {**GIVEN, "maxlen": 7}
    made = for_training(asked, runs, new=True)
    assert (made.config.name, made.taken, made.known) == ("t-2", "t", None)
    assert made.folder.path == runs / "small_t-2"
    assert made.config == make_config({**asked, "name": "t-2"})  # nothing is taken from "t"
    remake(RunFolder(Path(shutil.copytree(twelve_steps.path, runs / "second"))), name="t-2")
    assert for_training(asked, runs, new=True).config.name == "t-3"
    other = for_training({**GIVEN, "name": "u"}, runs, new=True)
    assert (other.config.name, other.taken, other.folder.path) == ("u", None, runs / "small_u")


def test_train_leaves_the_folder_of_another_run_alone(runs: Path, twelve_steps: RunFolder) -> None:
    twelve_steps.path.rename(runs / "a_b_c")
    remake(RunFolder(runs / "a_b_c"), dataset="a", name="b_c")
    with_identity = json.loads((runs / "a_b_c" / "run.json").read_text())
    with_identity["identity"]["dataset"] = "a"
    (runs / "a_b_c" / "run.json").write_text(json.dumps(with_identity))
    assert for_training({"dataset": "a_b", "name": "c"}, runs).folder.path == runs / "a_b_c-2"
    assert for_training({"dataset": "a", "name": "b_c"}, runs).folder.path == runs / "a_b_c"
    (runs / "x_y" / "checkpoints").mkdir(parents=True)  # killed before it wrote anything
    assert for_training({"dataset": "x", "name": "y"}, runs).folder.path == runs / "x_y"


def test_naming_selects_among_older_runs_by_their_settings(
    runs: Path, twelve_steps: RunFolder
) -> None:
    second = RunFolder(runs / twelve_steps.path.name.replace("lr0.01", "lr0.02"))
    shutil.copytree(twelve_steps.path, second.path)
    record = json.loads(second.record.read_text())
    record["identity"]["learning_rate"] = record["config"]["learning_rate"] = 0.02
    second.record.write_text(json.dumps(record))
    assert called(runs, "small", "t") == [twelve_steps, second]
    for rate, folder in ((0.01, twelve_steps), (0.02, second)):
        assert for_training({**GIVEN, "learning_rate": rate}, runs).folder == folder
    for given in ({}, {"learning_rate": 0.03}):
        with pytest.raises(UsageError, match="Several runs"):
            for_training({**GIVEN, **given}, runs)
    assert label_of(second, "t") == second.path.name
    shutil.rmtree(twelve_steps.path)
    assert label_of(second, "t") == "t"


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("{")])
def test_naming_finds_a_run_without_record_by_its_folder(
    runs: Path, twelve_steps: RunFolder, harm: Any
) -> None:
    harm(twelve_steps.record)
    asked = {**GIVEN, "max_steps": 20}
    assert for_training(asked, runs).folder == twelve_steps
    assert for_training(asked, runs).config == small_config()
    with pytest.raises(UsageError, match="--steps, --patience"):
        for_resuming(twelve_steps.path.name, {}, runs)
    given = {"max_steps": 20, "patience": 50}
    resumed = for_resuming(twelve_steps.path.name, given, runs)
    assert resumed.config == small_config()
    today = RunFolder(twelve_steps.path.rename(runs / "small_t"))
    assert for_training(asked, runs).folder == today
    for path in store.names(today.checkpoints):
        shutil.rmtree(path)
    if today.record.exists():  # nothing is left of it but the folder
        assert for_training(asked, runs).folder == today


def test_resume_of_an_older_versions_run_ends_bitwise_the_same(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    """A run begun in a folder of the older scheme, whose run.json tells of no data folder."""
    _, _, begun = run_small(small_data, tmp_path / "runs", stopping_at(7))
    folder = RunFolder(begun.path.rename(tmp_path / "runs" / small_config().run_name))
    record = json.loads(folder.record.read_text())
    del record["data_folder"]
    folder.record.write_text(json.dumps(record))
    where = ("--runs-dir", tmp_path / "runs")
    check_refusal(reprise("resume", "t", *where, cwd=tmp_path), 3, "--data-dir DIR", "'small'")
    done = reprise("resume", "t", *where, "--data-dir", small_data)
    assert done.returncode == 0, done.stderr
    assert f"Run: {folder.path}" in done.stdout
    assert "Resumed at step 7" in done.stdout
    assert f"reprise resume t --runs-dir {tmp_path / 'runs'} --steps 40" in done.stdout
    assert state_digest(folder) == state_digest(undisturbed)
    assert folder.metrics.read_bytes() == undisturbed.metrics.read_bytes()
    assert list((tmp_path / "runs").iterdir()) == [folder.path]


def test_train_and_resume_in_a_shell_keep_to_one_run(small_data: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    done = train(small_data, runs, "--steps", 5, "--learning-rate", 0.5)
    assert done.returncode == 0, done.stderr
    folder = runs / "small_t"
    before = inspect_json(folder)["state_digest"]
    refused = train(small_data, runs, "--steps", 10, "--learning-rate", 0.25)
    check_refusal(refused, 4, "  learning_rate: 0.5 -> 0.25\n", "--new")
    assert refused.stderr.count(" -> ") == 2  # the heading and the one difference
    assert inspect_json(folder)["state_digest"] == before

    new = train(small_data, runs, "--steps", 5, "--learning-rate", 0.25, "--new")
    assert "The name t is taken: the new run is named t-2." in new.stdout, new.stderr
    assert f"reprise resume t-2 --runs-dir {runs} --steps 10" in new.stdout
    assert sorted(path.name for path in runs.iterdir()) == ["small_t", "small_t-2"]

    on = reprise("resume", "t", "--runs-dir", runs, "--steps", 10, "--lang", "en")
    assert on.returncode == 0, on.stderr  # the data is found by the run's own hint
    assert (inspect_json(folder)["step"], inspect_json(runs / "small_t-2")["step"]) == (10, 5)
    shown = reprise("runs", "show", "t", "--runs-dir", runs)
    assert f"To continue training: reprise resume t --runs-dir {runs} --steps 20" in shown.stdout
    again = reprise("train", *QUICK, "--data-dir", small_data, "--runs-dir", runs)
    assert "Already finished at step 10 of 10" in again.stdout, again.stderr
    for command in (["evaluate", "t"], ["inspect", "t"], ["config", "show", "t"]):
        assert reprise(*command, "--runs-dir", runs, cwd=tmp_path).returncode == 0


def test_data_hint_is_relative_within_a_project(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "project" / "runs" / "x")
    assert hint(run, tmp_path / "project" / "data" / "small") == "../../data/small"
    assert hint(run, tmp_path / "elsewhere" / "small") == str(tmp_path / "elsewhere" / "small")


def test_data_of_a_run_is_found_by_its_content(
    small_data: Path, demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    shutil.copytree(small_data, project / "data")
    _, _, folder = run_small(project / "data", project / "runs", max_steps=4)
    moved = RunFolder(tmp_path / "moved" / "runs" / folder.path.name)
    project.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    data = Path("moved/data/small")
    assert data_of(moved, "small", None) == data  # moved along with the run
    assert locator(next(moved.checkpoints.glob("ckpt-*")), None)("small") == data
    for asked in (small_data, small_data / "none"):
        if asked.is_dir():
            assert data_of(moved, "small", asked) == small_data / "small"
        else:
            with pytest.raises(DataError, match="--data-dir DIR"):
                data_of(moved, "small", asked)

    with pytest.raises(DataError, match=r"add --data-dir moved/data"):
        data_for_new("small", None, moved.path.parent)
    with pytest.raises(DataError, match="reprise prepare"):
        data_for_new("nowhere", None, moved.path.parent)

    shutil.copytree(small_data, tmp_path / "data")
    shutil.rmtree(data)
    assert data_of(moved, "small", None) == Path("data/small")
    shutil.copytree(demo_data / "demo", data)  # other content where it was
    assert data_of(moved, "small", None) == Path("data/small")
    shutil.rmtree(tmp_path / "data")
    assert data_of(moved, "small", None) == data  # which the caller refuses
    shutil.rmtree(data)
    with pytest.raises(DataError, match="neither in its old place, moved/data/small, nor in data"):
        data_of(moved, "small", None)
    assert read_record(moved, no_warning)["data_folder"] == "../../data/small"
