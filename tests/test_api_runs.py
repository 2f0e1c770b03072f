"""Runs in the Python API: found by name, refused, started anew, and their results."""

from pathlib import Path
from typing import Any

import pytest

import reprise
from helpers.commands import Recorder, small_config
from helpers.commands import reprise as command
from reprise.config.schema import SETTINGS
from reprise.data.dataset import open_dataset
from reprise.errors import ConfigMismatchError
from reprise.runs.folder import RunFolder
from reprise.runs.session import Request, run_session


def train(data: Path, runs: Path, **changes: Any) -> Any:
    """Call `reprise.train` with the small run's settings."""
    config = small_config()
    given = {name: getattr(config, name) for name in SETTINGS if name not in ("dataset", "name")}
    asked = given | {"max_steps": 8} | changes
    return reprise.train(
        "small", name=asked.pop("name", "t"), runs_dir=runs, data_dir=data, **asked
    )


def test_train_continues_with_the_stored_settings(small_data: Path, tmp_path: Path) -> None:
    first = train(small_data, tmp_path)
    assert first.path == tmp_path / "small_t"
    data = open_dataset(small_data / "small")
    longer: Any = reprise.train(data, name="t", runs_dir=tmp_path, steps=12)
    assert longer.path == first.path
    assert longer.config["learning_rate"] == small_config().learning_rate
    assert longer.results["test"]["users"] == 20
    with pytest.raises(ConfigMismatchError, match=r"learning_rate: 0\.01 -> 0\.5"):
        reprise.train(data, name="t", runs_dir=tmp_path, learning_rate=0.5)
    other = train(small_data, tmp_path, learning_rate=0.5, max_steps=4, new=True)
    assert (other.name, other.path) == ("t-2", tmp_path / "small_t-2")


def test_evaluate_and_load_find_the_data_by_the_stored_hint(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(small_data, tmp_path)
    monkeypatch.chdir(tmp_path)
    facts = reprise.evaluate("t", cutoffs=(10,), runs_dir=tmp_path)
    assert facts["recall@10"] == run.results["test"]["recall@10"]
    assert reprise.load("t", runs_dir=tmp_path).item_ids is not None


def test_train_final_fit_trains_on_all_users(small_data: Path, tmp_path: Path) -> None:
    best = train(small_data, tmp_path).best["step"]
    fit = reprise.train("small", name="prod", final_fit="t", runs_dir=tmp_path)
    assert (fit.config["train_users"], fit.config["max_steps"]) == ("all", best)
    assert (fit.best, fit.results) == (None, {"valid": None, "test": None})


def test_comirec_keeps_its_folder_names(small_data: Path, tmp_path: Path) -> None:
    """And `reprise resume` goes on with what it made."""
    config = small_config(max_steps=4)
    older = RunFolder(tmp_path / config.run_name)
    run_session(Request(config, small_data / "small", older), Recorder())
    done = command("resume", "t", "--steps", 8, "--runs-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [config.run_name]
