"""`reprise runs list`, `delete` and `rename`; `reprise data list` and `delete`."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from helpers.commands import inspect_json, run_small, small_config, state_digest
from reprise import durable
from reprise.cli.main import cli
from reprise.errors import DataError, RepriseError, RunInUseError, UsageError, WriteError
from reprise.runs.folder import RunFolder, locked
from reprise.runs.manage import remove
from reprise.runs.manage.survey import find, folders


@pytest.fixture
def runs(at_step_12: RunFolder, tmp_path: Path) -> Path:
    """A folder of runs with one, "t", in an older version's folder."""
    shutil.copytree(at_step_12.path, tmp_path / "runs" / small_config().run_name)
    return tmp_path / "runs"


def told(*arguments: object, typed: str = "") -> str:
    words = [str(argument) for argument in arguments]
    done = CliRunner().invoke(cli, words, input=typed, env={"REPRISE_LANG": "en"})
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def refused(kind: type[RepriseError], *arguments: object) -> str:
    words = [str(argument) for argument in arguments]
    done = CliRunner().invoke(cli, words, env={"REPRISE_LANG": "en"})
    assert type(done.exception) is kind, done.output
    return str(done.exception)


def test_runs_list_equals_runs(runs: Path) -> None:
    listed = told("runs", "list", "--runs-dir", runs)
    assert listed == told("runs", "--runs-dir", runs)
    assert json.loads(told("runs", "list", "--json", "--runs-dir", runs))[0]["name"] == "t"


def test_delete_asks_and_spares_a_running_run(runs: Path) -> None:
    folder = find(runs, "t")
    where = ("--runs-dir", runs)
    assert "Nothing was removed" in told("runs", "delete", "t", *where, typed="n\n")
    assert "--yes" in refused(UsageError, "runs", "delete", "t", *where)
    assert "--yes" in refused(UsageError, "runs", "delete", "t", "--json", *where)
    with locked(folder):
        refused(RunInUseError, "runs", "delete", "t", "--yes", *where)
    assert folder.record.is_file()
    assert f"Deleted {folder.path}" in told("runs", "delete", "t", "--yes", *where)
    assert list(runs.iterdir()) == []


def test_delete_reports_what_cannot_be_deleted(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(13, "denied")

    folder = find(runs, "t")
    monkeypatch.setattr(durable.disk, "rename", refuse)
    with pytest.raises(WriteError):
        remove.delete(folder)
    assert folder.record.is_file()


def test_rename_gives_the_run_another_name_and_folder(small_data: Path, runs: Path) -> None:
    before = state_digest(find(runs, "t"))
    where = ("--runs-dir", runs)
    assert f"Renamed t to better: {runs / 'small_better'}" in told(
        "runs", "rename", "t", "better", *where
    )
    assert [folder.path for folder in folders(runs)] == [runs / "small_better"]
    assert inspect_json(runs / "small_better")["state_digest"] == before
    run_small(small_data, runs, name="better", max_steps=20)  # goes on
    assert inspect_json(runs / "small_better")["step"] == 20
    run_small(small_data, runs, name="other", max_steps=4)
    assert "already has the name 'other'" in refused(
        UsageError, "runs", "rename", "better", "other", *where
    )
    refused(UsageError, "runs", "rename", "better", "a/b", *where)
    (runs / "small_free").mkdir()
    refused(UsageError, "runs", "rename", "better", "free", *where)
    shown = told("runs", "show", "better", *where)
    assert shown.count("renamed from") == 1
    assert "renamed from t to better" in shown
    with locked(find(runs, "better")):
        refused(RunInUseError, "runs", "rename", "better", "best", *where)


def test_rename_that_was_interrupted_leaves_a_run_of_the_new_name(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(path: Path, target: Path) -> None:
        raise KeyboardInterrupt

    folder = find(runs, "t")
    with monkeypatch.context() as patch:
        patch.setattr(durable, "move", cut)
        with pytest.raises(KeyboardInterrupt):
            remove.rename(folder, "better")
    assert find(runs, "better") == folder
    assert remove.rename(folder, "better").path == runs / "small_better"
    events = json.loads((runs / "small_better" / "run.json").read_text())["events"]
    assert [event["event"] for event in events].count("renamed") == 1


def test_data_list_and_delete_name_the_runs_of_a_data_set(
    small_data: Path, demo_data: Path, tmp_path: Path, runs: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(small_data, data)
    shutil.copytree(demo_data / "demo", data / "demo")
    (data / "raw").mkdir()
    where = ("--data-dir", data, "--runs-dir", runs)
    found: list[dict[str, Any]] = json.loads(told("data", "list", "--json", *where))
    assert [(one["name"], one["runs"]) for one in found] == [
        ("demo", []),
        ("small", [small_config().run_name]),
    ]
    assert found[1]["users"] == {"train": 60, "valid": 20, "test": 20}
    listed = told("data", "list", *where)
    assert "3000" in listed
    assert small_config().run_name in listed
    assert "No prepared datasets" in told("data", "list", "--data-dir", tmp_path / "none")

    asked = told("data", "delete", "small", *where, typed="n\n")
    assert f"need it to continue or to be evaluated: {small_config().run_name}" in asked
    assert "--yes" in refused(UsageError, "data", "delete", "small", *where)
    with locked(find(runs, "t")):
        refused(RunInUseError, "data", "delete", "small", "--yes", *where)
    assert (data / "small" / "meta.json").is_file()
    told("data", "delete", "small", "--yes", *where)
    assert not (data / "small").exists()
    assert "data list" in refused(DataError, "data", "delete", "small", "--yes", *where)
    assert (data / "demo" / "meta.json").is_file()
