"""Loading a stored model: without a trainer, and without its data."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from helpers.builders_data import draft_of
from helpers.checkpoints import harm_file, no_warning
from helpers.commands import ENVIRONMENT, Recorder, run_small, stopping_at
from reprise.data.dataset import open_dataset
from reprise.data.draft import write_dataset
from reprise.errors import ConfigMismatchError, DataError
from reprise.evaluation.evaluate import evaluate
from reprise.models import features
from reprise.retrieval.vectors import retriever_of
from reprise.runs.evaluation import evaluate_run
from reprise.runs.folder import RunFolder, find_checkpoint, load_checkpoint
from reprise.runs.manage import archive
from reprise.runs.stored import load
from reprise.training.setup import make_task, up_to_date
from reprise.training.state import restore

LOADING = """
import sys
from pathlib import Path
from reprise.runs.manage import archive
from reprise.runs.stored import load
model = load(Path(sys.argv[1]), "best", lambda key, **values: None)
model.retriever.item_vectors()
print(*sorted(name for name in sys.modules if name.startswith("reprise.training.")))
print(*sorted({"polars", "scipy", "plotly"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def alone(undisturbed: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The undisturbed run, where its data are not."""
    path = tmp_path_factory.mktemp("elsewhere") / "run"
    return RunFolder(Path(shutil.copytree(undisturbed.path, path)))


@pytest.fixture
def own_data(small_data: Path, tmp_path: Path) -> Path:
    """A copy of the small data, to be changed."""
    return Path(shutil.copytree(small_data, tmp_path / "own"))


def relabel(folder: Path, name: str = "x") -> None:
    """Write the data set's arrays anew, with other ids of its items."""
    dataset = open_dataset(folder)
    draft = draft_of(dataset.splits, np.asarray(dataset.item_category))
    other = pl.Series([f"{name}{n}" for n in range(dataset.num_items)])
    shutil.rmtree(folder)
    folder.mkdir()
    write_dataset(type(draft)(**{**vars(draft), "raw_items": other}), folder, "small")


def test_load_builds_no_trainer_and_reads_no_table(alone: RunFolder) -> None:
    command = [sys.executable, "-c", LOADING, str(alone.path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    training, tables = done.stdout.split("\n")[:2]
    assert training.split() == ["reprise.training.item_table", "reprise.training.state"]
    assert tables == ""


@pytest.mark.parametrize("which", ["best", "latest"])
@pytest.mark.parametrize(
    "changes", [{}, {"temperature": 0.1, "embeddings": "untied"}, {"item_features": "all"}]
)
def test_load_returns_the_model_that_training_evaluates(
    small_data: Path,
    tmp_path: Path,
    which: Any,
    changes: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the bit; the latest state is between evaluations, with pending updates."""
    monkeypatch.setattr(features, "_MOST_DENSE", 3)  # so that those of features are pending, too
    _, _, folder = run_small(small_data, tmp_path, stopping_at(14), **changes)
    loaded = load(folder.path, which, no_warning, lambda name: small_data / name)
    task = make_task(loaded.config, loaded.dataset)
    state = up_to_date(
        task, restore(load_checkpoint(find_checkpoint(folder.path, which, no_warning)))
    )
    trained = retriever_of(task.model, loaded.config.scoring, state.arrays, task.features)
    assert_array_equal(loaded.retriever.item_vectors(), trained.item_vectors())
    users = task.test
    found, expected = (
        evaluate(retriever, users, (5, 10)) for retriever in (loaded.retriever, trained)
    )
    assert_array_equal(found.ids, expected.ids)
    assert found.metrics == expected.metrics


def test_load_knows_the_items_without_the_data(alone: RunFolder, small_data: Path) -> None:
    model = load(alone.path, "best", no_warning)
    assert model.num_items == 40
    about = model.items
    assert about["item"].to_list() == list(range(1, 41))
    assert about["raw_id"].to_list() == [f"i{n}" for n in range(1, 41)]
    category = open_dataset(small_data / "small").item_category
    assert_array_equal(about["category_code"].to_numpy(), category[1:])


@pytest.mark.parametrize("name", ["items.parquet", "item_category.npy", "MANIFEST.json"])
def test_resume_rebuilds_a_damaged_item_file_that_load_refuses(
    name: str, undisturbed: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    folder = RunFolder(Path(shutil.copytree(undisturbed.path, tmp_path / undisturbed.path.name)))
    harm_file(folder.items / name, "flip")
    with pytest.raises(DataError, match="to rebuild it"):
        _ = load(folder.path, "best", no_warning).items
    _, recorder, _ = run_small(small_data, tmp_path)
    assert "items_damaged" in recorder.keys
    assert len(load(folder.path, "best", no_warning).items) == 40


def test_load_takes_items_of_an_older_run_from_the_data_until_it_resumes(
    undisturbed: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    folder = RunFolder(Path(shutil.copytree(undisturbed.path, tmp_path / undisturbed.path.name)))
    shutil.rmtree(folder.items)
    with pytest.raises(DataError, match="by an older version"):
        _ = load(folder.path, "best", no_warning).items
    beside = load(folder.path, "best", no_warning, lambda name: small_data / name)
    run_small(small_data, tmp_path)
    kept = load(folder.path, "best", no_warning)
    assert kept.items.equals(beside.items)


def test_load_refuses_a_relabelled_data_set(own_data: Path, tmp_path: Path) -> None:
    """Its arrays, and so its fingerprint, are the same: every answer would name wrong items."""
    _, _, folder = run_small(own_data, tmp_path / "runs", max_steps=4)
    before = open_dataset(own_data / "small")
    relabel(own_data / "small")
    assert open_dataset(own_data / "small").fingerprint == before.fingerprint
    with pytest.raises(ConfigMismatchError, match="have changed since") as refused:
        run_small(own_data, tmp_path / "runs", max_steps=8)
    assert refused.value.exit_code == 4
    with pytest.raises(ConfigMismatchError, match="have changed since"):
        evaluate_run(folder.path, lambda name: own_data / name, "test", "best", no_warning)
    assert load(folder.path, "best", no_warning).items["raw_id"][0] == "i1"


def test_load_accepts_the_same_data_prepared_again(own_data: Path, tmp_path: Path) -> None:
    """Whatever bytes Parquet holds it in; and so is a folder of a version that kept no digests."""
    run_small(own_data, tmp_path / "runs", max_steps=4)
    folder = own_data / "small"
    pl.read_parquet(folder / "items.parquet").write_parquet(
        folder / "items.parquet", compression="uncompressed"
    )
    with pytest.raises(DataError, match=r"differs from meta\.json"):
        run_small(own_data, tmp_path / "runs", max_steps=8)
    meta = json.loads((folder / "meta.json").read_text())
    del meta["digests"]
    (folder / "meta.json").write_text(json.dumps(meta))
    outcome, _, _ = run_small(own_data, tmp_path / "runs", max_steps=8)
    assert outcome.progress.step == 8


def test_resume_adds_the_items_to_a_run_without_raw_ids(
    own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reprise.training import setup

    real = setup.make_task
    with monkeypatch.context() as patch:

        def without(*arguments: Any) -> Any:
            task = real(*arguments)
            del task.identity["item_ids"]
            return task

        patch.setattr("reprise.runs.session.make_task", without)
        _, _, folder = run_small(own_data, tmp_path / "runs", max_steps=4)
    run_small(own_data, tmp_path / "runs", Recorder(), max_steps=8)
    assert "item_ids" in find_checkpoint(folder.path, "latest", no_warning).identity


def test_archive_includes_the_items(undisturbed: RunFolder, tmp_path: Path) -> None:
    packed = tmp_path / "run.tar"
    archive.export(undisturbed, packed, no_warning)
    there = archive.import_(packed, tmp_path / "there")
    expected = load(undisturbed.path, "best", no_warning).items
    assert load(there.path, "best", no_warning).items.equals(expected)
