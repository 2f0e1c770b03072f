"""A run with item features: bound to those that it uses, which it keeps beside its checkpoints."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from helpers.builders_data import draft_of
from helpers.builders_features import NAMES, described, random_features
from helpers.checkpoints import harm_file, no_warning
from helpers.commands import Recorder, run_small, small_config, stopping_at
from reprise.data.dataset import open_dataset
from reprise.data.draft import write_dataset
from reprise.data.features import Feature, codes_of
from reprise.errors import ConfigMismatchError, DataError, UsageError
from reprise.retrieval.vectors import retriever_of
from reprise.runs.folder import RunFolder, find_checkpoint, load_checkpoint
from reprise.runs.manage import archive
from reprise.runs.stored import load
from reprise.serving import tower
from reprise.training.setup import make_task, up_to_date
from reprise.training.state import restore

WITH: dict[str, Any] = {"model": "DNN", "item_features": "genres,brand,text", "id_dropout": 0.3}


@pytest.fixture(scope="module")
def run(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run stopped between evaluations; only to be looked at."""
    path = tmp_path_factory.mktemp("runs")
    _, _, folder = run_small(small_data, path, stopping_at(6), max_steps=10, **WITH)
    return folder


@pytest.fixture
def own_run(run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the run, to be changed."""
    return RunFolder(Path(shutil.copytree(run.path, tmp_path / "runs" / run.path.name)))


def prepared_again(data: Path, target: Path, **changed: Feature) -> Path:
    """Write the small data into a folder, with these features changed or added."""
    dataset = open_dataset(data / "small")
    features = {**random_features(np.random.default_rng(1), dataset.num_items), **changed}
    assert {name: features[name].digest for name in NAMES if name not in changed} == {
        name: one.digest for name, one in dataset.features.items() if name not in changed
    }
    draft = draft_of(dataset.splits, np.asarray(dataset.item_category))
    (target / "small").mkdir(parents=True)
    write_dataset(replace(draft, features=described(features)), target / "small", "small")
    return target


def test_load_answers_with_the_features_without_the_data(run: RunFolder, small_data: Path) -> None:
    """To the bit what training evaluates, with pending updates applied."""
    loaded = load(run.path, "latest", no_warning)
    task = make_task(loaded.config, open_dataset(small_data / "small"))
    snapshot = load_checkpoint(find_checkpoint(run.path, "latest", no_warning))
    state = up_to_date(task, restore(snapshot))
    trained = retriever_of(task.model, loaded.config.scoring, state.arrays, task.features)
    for one, other in (
        (loaded.retriever.item_vectors(), trained.item_vectors()),
        (loaded.retriever.history_vectors(), trained.history_vectors()),
        (
            loaded.retriever.interests(task.test.history[:4], task.test.lengths[:4]),
            trained.interests(task.test.history[:4], task.test.lengths[:4]),
        ),
    ):
        assert_array_equal(one, other)
    plain = retriever_of(task.model, loaded.config.scoring, state.arrays)
    assert (plain.item_vectors()[1:] != trained.item_vectors()[1:]).any(axis=1).all()
    assert not trained.item_vectors()[0].any()


def test_run_keeps_the_features_that_it_uses_alone(run: RunFolder, small_data: Path) -> None:
    listed = json.loads((run.features / "features.json").read_text())
    assert [one["plain"]["name"] for one in listed] == ["brand", "genres", "text"]
    identity = find_checkpoint(run.path, "latest", no_warning).identity
    known = open_dataset(small_data / "small").features
    assert identity["features"] == {n: known[n].digest for n in ("brand", "genres", "text")}
    assert identity["item_features"] == "brand,genres,text"


def test_archive_includes_the_features(run: RunFolder, tmp_path: Path) -> None:
    packed = tmp_path / "run.tar"
    archive.export(run, packed, no_warning)
    there = archive.import_(packed, tmp_path / "there")
    found, expected = (load(one.path, "latest", no_warning).retriever for one in (there, run))
    assert_array_equal(found.item_vectors(), expected.item_vectors())


def test_tower_has_the_features_in_its_table(run: RunFolder, tmp_path: Path) -> None:
    told = tower.write(load(run.path, "latest", no_warning), tmp_path)
    assert told["check"]["largest_difference"] <= tower.TOLERANCE


@pytest.mark.parametrize("name", ["features.json", "0.codes.npy", "MANIFEST.json"])
def test_resume_rebuilds_damaged_features_that_load_refuses(
    name: str, own_run: RunFolder, small_data: Path
) -> None:
    harm_file(own_run.features / name, "flip")
    with pytest.raises(DataError, match="to rebuild it"):
        load(own_run.path, "latest", no_warning)
    runs = own_run.path.parent
    _, recorder, _ = run_small(small_data, runs, stopping_at(7), max_steps=10, **WITH)
    assert "items_damaged" in recorder.keys
    load(own_run.path, "latest", no_warning)


def test_load_takes_missing_features_from_the_data(own_run: RunFolder, small_data: Path) -> None:
    expected = load(own_run.path, "latest", no_warning).retriever.item_vectors()
    shutil.rmtree(own_run.features)
    with pytest.raises(DataError, match="not in"):
        load(own_run.path, "latest", no_warning)
    found = load(own_run.path, "latest", no_warning, lambda name: small_data / name)
    assert_array_equal(found.retriever.item_vectors(), expected)


def test_resume_refuses_other_features_of_those_it_uses(
    own_run: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    other = codes_of("brand", np.arange(40) % 3, 6)
    data = prepared_again(small_data, tmp_path / "data", brand=other)
    with pytest.raises(ConfigMismatchError, match="trained on: brand") as refused:
        run_small(data, own_run.path.parent, max_steps=10, **WITH)
    assert refused.value.exit_code == 4
    shutil.rmtree(own_run.features)
    with pytest.raises(DataError, match="not in"):
        load(own_run.path, "latest", no_warning, lambda name: data / name)


def test_resume_does_not_care_for_features_that_it_does_not_use(
    own_run: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    data = prepared_again(
        small_data,
        tmp_path / "data",
        price=codes_of("price", np.arange(40) % 3, 3),
        more=codes_of("more", np.arange(40) % 3, 3),
    )
    outcome, _, _ = run_small(data, own_run.path.parent, Recorder(), max_steps=10, **WITH)
    assert outcome.progress.step == 10


def test_all_features_are_those_that_the_data_had_when_the_run_began(
    small_data: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"model": "DNN", "item_features": "all", "max_steps": 10}
    _, recorder, folder = run_small(small_data, tmp_path / "runs", stopping_at(2), **asked)
    known = open_dataset(small_data / "small").features
    shares = {name: sum(known[name].known[1:]) / len(known[name].known[1:]) for name in NAMES}
    told = ", ".join(f"{name} ({100 * shares[name]:.1f}%)" for name in sorted(NAMES))
    assert recorder.said["features_used"] == {"features": told}
    identity = find_checkpoint(folder.path, "latest", no_warning).identity
    assert identity["item_features"] == "brand,genres,price,text"
    more = codes_of("more", np.arange(40) % 3, 3)
    data = prepared_again(small_data, tmp_path / "data", more=more)
    with pytest.raises(ConfigMismatchError, match="brand,genres,more,price,text"):
        run_small(data, tmp_path / "runs", **asked)
    asked["item_features"] = identity["item_features"]
    outcome, _, _ = run_small(data, tmp_path / "runs", stopping_at(3), **asked)
    assert outcome.progress.step == 3


def test_make_task_refuses_features_that_the_data_has_not(small_data: Path, tmp_path: Path) -> None:
    data = open_dataset(small_data / "small")
    with pytest.raises(UsageError, match=r"no item feature 'brnad'.*brand.*It has: brand, genres"):
        make_task(small_config(item_features="price,brnad"), data)
    plain = draft_of(data.splits, np.asarray(data.item_category))
    (tmp_path / "plain").mkdir()
    write_dataset(plain, tmp_path / "plain", "plain")
    for asked in ("all", "brand"):
        with pytest.raises(UsageError, match="has no item features"):
            make_task(small_config(item_features=asked), open_dataset(tmp_path / "plain"))
