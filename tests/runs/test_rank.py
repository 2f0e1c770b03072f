"""Popularity is the data set's rank, wherever it is asked for, and not an item's number."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.checkpoints import no_warning
from helpers.commands import run_small
from reprise import api
from reprise.data import item_files
from reprise.data.dataset import open_dataset
from reprise.data.npy import save_array
from reprise.errors import ConfigMismatchError
from reprise.runs.stored import load


@pytest.fixture
def reversed_rank(small_data: Path, tmp_path: Path) -> Path:
    """The data set "small", whose last item is the most popular."""
    folder = Path(shutil.copytree(small_data / "small", tmp_path / "data" / "small"))
    rank = np.append(0, np.arange(40, 0, -1)).astype(np.int32)
    save_array(folder / "items" / "rank.npy", rank)
    meta = json.loads((folder / "meta.json").read_text())
    meta["digests"]["rank"] = item_files.digest_of(rank)
    (folder / "meta.json").write_text(json.dumps(meta))
    return tmp_path / "data"


@pytest.mark.filterwarnings("ignore::reprise.serving.recommender.EmptyHistoryWarning")
def test_popular_items_and_most_pop_follow_the_rank(reversed_rank: Path, tmp_path: Path) -> None:
    data = open_dataset(reversed_rank / "small")
    assert not data.is_numbered_by_rank
    run = api.train(
        data,
        name="popular",
        runs_dir=tmp_path / "runs",
        model="MostPop",
        steps=1,
        batch_size=8,
        top_n=10,
    )
    shutil.rmtree(reversed_rank)  # a run does not need its data
    recommender = api.load(run)
    numbers = data.num_items - 1 - np.arange(5)
    raw = [recommender.item_ids[number] for number in numbers]
    for history in ([], [recommender.item_ids[7]]):  # popular items, and the model's own
        found = recommender.recommend([history], 5)
        assert found["item_id"].to_list() == raw, history


def test_run_is_bound_to_a_rank_that_is_not_the_number(
    small_data: Path, reversed_rank: Path, tmp_path: Path
) -> None:
    assert open_dataset(reversed_rank / "small").fingerprint == (
        open_dataset(small_data / "small").fingerprint
    )
    for name, own, other in (
        ("numbered", small_data, reversed_rank),
        ("ranked", reversed_rank, small_data),
    ):
        _, _, folder = run_small(own, tmp_path / name, max_steps=2)
        assert run_small(own, tmp_path / name, max_steps=2)[0].exit_code == 0
        stored = load(folder.path, "best", no_warning, other.joinpath)
        assert ("rank" in stored.checkpoint.identity) == (name == "ranked")
        with pytest.raises(ConfigMismatchError, match="ranks by popularity"):
            run_small(other, tmp_path / name, max_steps=3)
        with pytest.raises(ConfigMismatchError, match="ranks by popularity"):
            _ = stored.dataset
