"""Evaluation on another data set: renumbered items change nothing; unknown ones are counted."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from helpers.builders_data import draft_of, item_lists, split_of
from helpers.checkpoints import no_warning
from reprise.data.dataset import SPLITS, Dataset, open_dataset
from reprise.data.prepare import publish
from reprise.errors import DataError
from reprise.runs import results
from reprise.runs.evaluation import evaluation_facts, measure
from reprise.runs.folder import RunFolder
from reprise.runs.stored import StoredModel, load
from reprise.runs.transfer import measure_on
from reprise.text.messages import unsaid


@pytest.fixture
def stored(small_data: Path, undisturbed: RunFolder) -> StoredModel:
    return load(undisturbed.path, "best", no_warning, lambda name: small_data / name)


def renumbered(stored: StoredModel, folder: Path, lost: int = 0) -> Dataset:
    """Return the model's data set with other numbers for the same items, `lost` of which have ids
    that the model does not know.
    """
    own, rng = stored.dataset, np.random.default_rng(4)
    number = np.concatenate([[0], rng.permutation(own.num_items) + 1]).astype(np.int32)
    lists = {split: item_lists(own.splits[split]) for split in SPLITS}
    splits = {
        split: split_of([number[items].tolist() for items in all_of])
        for split, all_of in lists.items()
    }
    category: NDArray[np.int32] = np.empty(own.num_items + 1, np.int32)
    category[number] = own.item_category
    draft = draft_of(splits, category)
    raw_ids = own.about_items()["raw_id"].to_list()
    names = [""] * own.num_items
    for item, raw_id in enumerate(raw_ids, start=1):
        names[number[item] - 1] = f"new-{raw_id}" if item <= lost else raw_id
    publish(replace(draft, raw_items=pl.Series(names)), "other", folder / "other")
    return open_dataset(folder / "other")


def test_evaluate_on_renumbered_items_changes_nothing(stored: StoredModel, tmp_path: Path) -> None:
    other = renumbered(stored, tmp_path)
    facts = evaluation_facts(measure_on(stored, other, "test", no_warning), "test", None)
    assert facts.pop("dataset") == "other"
    assert facts.pop("dataset_fingerprint") == other.fingerprint
    assert set(facts.pop("unknown").values()) == {0}
    assert facts == evaluation_facts(measure(stored, "test"), "test", None)


def test_evaluate_on_another_data_set_does_not_replace_the_runs_results(
    stored: StoredModel, undisturbed: RunFolder, tmp_path: Path
) -> None:
    other = renumbered(stored, tmp_path, lost=3)
    facts = evaluation_facts(measure_on(stored, other, "test", unsaid), "test", None)
    run = RunFolder(Path(shutil.copytree(undisturbed.path, tmp_path / "run")))
    (run.path / results.FILE).unlink(missing_ok=True)
    checkpoint = load(run.path, "best", no_warning).checkpoint
    results.keep(checkpoint, [facts], no_warning)
    (entry,) = results.read(run.path).entries
    assert (entry["dataset"], entry["dataset_fingerprint"]) == ("other", other.fingerprint)
    assert results.read(run.path).of(checkpoint, "test") is None


@pytest.mark.parametrize("filter_seen", [False, True])
def test_evaluate_on_counts_unknown_items_as_misses(
    stored: StoredModel, tmp_path: Path, filter_seen: bool
) -> None:
    lost, said = 3, dict[str, Any]()  # the most popular ones
    other = renumbered(stored, tmp_path, lost)

    def say(key: str, **values: Any) -> None:
        said[key] = values

    found = measure_on(stored, other, "test", say, filter_seen=filter_seen, cutoffs=(10,))
    facts = evaluation_facts(found, "test", None)
    recalls, of_histories, of_targets = [], 0, 0
    for user, sequence in enumerate(item_lists(stored.dataset.splits["test"])):
        cut = int(0.8 * len(sequence))
        past, targets = sequence[:cut], sequence[cut:]
        of_histories += sum(item <= lost for item in past)
        of_targets += sum(item <= lost for item in targets)
        known = [item for item in past if item > lost]
        assert (
            found.users.history[user, : found.users.lengths[user]].tolist()
            == known[-stored.config.maxlen :]
        )
        listed = found.evaluation.ids[user].tolist()
        assert not (filter_seen and set(listed) & set(known))
        recalls.append(len({i for i in targets if i > lost} & set(listed)) / len(targets))
    assert facts["recall@10"] == pytest.approx(np.mean(recalls))
    counted = facts["unknown"]
    assert (counted["of_histories"], counted["of_targets"]) == (of_histories, of_targets)
    assert of_targets > 0
    assert said["on_unknown"]["of_targets"] == of_targets
    assert facts["catalogue_coverage@10"] <= 1


def test_evaluate_on_refuses_a_data_set_of_other_items(stored: StoredModel, tmp_path: Path) -> None:
    other = renumbered(stored, tmp_path, lost=stored.num_items)
    with pytest.raises(DataError, match="knows none of the items in the histories"):
        measure_on(stored, other, "test", no_warning)
