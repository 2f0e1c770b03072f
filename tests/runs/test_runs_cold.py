"""Baselines for items that are not in training, against loops."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reprise
from helpers.builders_data import draft_of, split_of
from helpers.builders_features import described
from helpers.commands import reprise as command
from helpers.commands import run_small
from helpers.report_pages import embedded, make_page
from reprise.cli.main import cli
from reprise.data.dataset import Dataset
from reprise.data.draft import write_dataset
from reprise.data.features import Feature, Vectors, bags_of, numbers_of, vectors_of
from reprise.evaluation.cold import COLD
from reprise.runs.baselines import measure_baselines
from reprise.runs.cold import lists_of_cold

ITEMS = 40
User = tuple[list[int], list[int]]  # history, targets


def world(
    folder: Path, seed: int, features: bool = True, name: str = "cold"
) -> tuple[Dataset, list[set[int]]]:
    """A data set with a third of the items not in training, and the categories of each item."""
    rng = np.random.default_rng(seed)
    every = np.arange(1, ITEMS + 1)
    pools = {"train": every[rng.random(ITEMS) > 1 / 3], "valid": every, "test": every}
    splits = {
        split: split_of(
            [rng.choice(pool, rng.integers(8, 13), replace=False).tolist() for _ in range(20)]
        )
        for split, pool in pools.items()
    }
    tags = [set(rng.integers(1, 6, rng.integers(0, 3)).tolist()) for _ in range(ITEMS)]
    owners = np.array([item for item, own in enumerate(tags, start=1) for _ in own])
    codes = np.array([code for own in tags for code in sorted(own)])
    made: dict[str, Feature] = {
        "number": numbers_of("number", rng.normal(size=ITEMS)),
        "tags": bags_of("tags", owners, codes, ITEMS, 6),
        "first": vectors_of("first", rng.normal(size=(ITEMS, 3))),
        "second": vectors_of("second", rng.normal(size=(ITEMS, 4))),
    }
    category = np.append(-1, rng.integers(-1, 3, ITEMS)).astype(np.int32)
    draft = replace(draft_of(splits, category), features=described(made if features else {}))
    (folder / name).mkdir(parents=True)
    write_dataset(draft, folder / name, name)
    of_item = tags if features else [{int(own)} - {-1} for own in category[1:]]
    return reprise.open_dataset(name, folder), [set(), *of_item]


def users_of(data: Dataset, split: str) -> list[User]:
    """Users, of whose items the last fifth is to be found."""
    own = data.splits[split]
    lists = [own.items[first:last].tolist() for first, last in pairwise(own.offsets)]
    known = [int(len(items) * 0.8) for items in lists]
    return [(items[:some], items[some:]) for items, some in zip(lists, known, strict=True)]


def cold_of(data: Dataset) -> set[int]:
    return {*range(1, ITEMS + 1)} - {*data.splits["train"].items.tolist()}


def recall_of_cold(
    lists: Sequence[Sequence[int]], users: Sequence[User], cold: set[int], cutoff: int
) -> float:
    wanted = [{*targets} & cold for _, targets in users]
    found = [
        len({*row[:cutoff]} & own) / len(own) for row, own in zip(lists, wanted, strict=True) if own
    ]
    return sum(found) / len(found)


def cosines_of(data: Dataset, name: str) -> Callable[[int, int], float]:
    feature = data.feature(name)
    assert isinstance(feature, Vectors)
    vectors = feature.values.astype(np.float64)

    def cosine(one: int, other: int) -> float:
        a, b = vectors[one], vectors[other]
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    return cosine


def scores_of(
    history: Sequence[int], cold: set[int], pair: Callable[[int, int], float]
) -> dict[int, float]:
    left = cold - {*history}
    return {item: sum(pair(item, other) for other in history) for item in left}


def check_best(row: Sequence[int], scores: dict[int, float]) -> None:
    """Check that a list has the best items; equal ones may stand in any order."""
    best = sorted(scores.values(), reverse=True)[: len(row)]
    listed = [item for item in row if item]
    assert len({*listed}) == len(listed) == len(best)
    assert [scores[item] for item in listed] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize(("seed", "features"), [(1, True), (2, True), (1, False)])
def test_cold_items_of_a_category_are_listed_by_what_histories_have(
    tmp_path: Path, seed: int, features: bool
) -> None:
    data, categories = world(tmp_path, seed, features)
    valid, test = (data.evaluation_users(split, 1) for split in ("valid", "test"))
    users, cold = users_of(data, "test"), cold_of(data)
    counts = Counter(item for history, _ in users for item in history)

    def pair(item: int, other: int) -> float:
        both = len(categories[item] & categories[other])
        alike = both / len(categories[item]) / len(categories[other]) if both else 0.0
        return alike * (counts[item] + 1)

    made = lists_of_cold(COLD[0], data, valid, test, 2, 6)
    assert made.settings == {"feature": "tags" if features else "category"}
    for (history, _), row in zip(users, made.ids.tolist(), strict=True):
        check_best(row, scores_of(history, cold, pair))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cold_items_are_listed_by_the_vectors_best_on_valid(tmp_path: Path, seed: int) -> None:
    data, _ = world(tmp_path, seed)
    valid, test = (data.evaluation_users(split, 1) for split in ("valid", "test"))
    cold, on_valid = cold_of(data), {}
    for name in ("first", "second"):
        lists = []
        for history, _ in users_of(data, "valid"):
            scores = scores_of(history, cold, cosines_of(data, name))
            lists.append(sorted(scores, key=lambda item, scores=scores: -scores[item]))  # type: ignore[misc]
        on_valid[name] = recall_of_cold(lists, users_of(data, "valid"), cold, 2)
    made = lists_of_cold(COLD[1], data, valid, test, 2, 6)
    name = str(made.settings["feature"])
    assert made.valid_recall == pytest.approx(max(on_valid.values())) == on_valid[name]
    for (history, _), row in zip(users_of(data, "test"), made.ids.tolist(), strict=True):
        check_best(row, scores_of(history, cold, cosines_of(data, name)))


def test_baselines_tell_the_recall_of_cold_targets(tmp_path: Path) -> None:
    data, _ = world(tmp_path, 1)
    where = ("--data-dir", tmp_path, "--runs-dir", tmp_path / "runs", "--cutoffs", "2,6")
    done = command("baselines", "cold", *where, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["baselines"]
    assert [*found] == ["popular", "rules", "knn", "ease", "ridge", "category", "nearest"]
    users, cold = users_of(data, "test"), cold_of(data)
    valid, test = (data.evaluation_users(split, 1) for split in ("valid", "test"))
    for baseline in COLD:
        own = found[baseline.name]
        made = lists_of_cold(baseline, data, valid, test, 50, 6)
        assert own["settings"] == made.settings
        assert own["valid_cold_recall@50"] == made.valid_recall
        for n in (2, 6):
            expected = recall_of_cold(made.ids.tolist(), users, cold, n)
            assert own["groups"]["coldness"]["cold"][f"recall@{n}"] == pytest.approx(expected)
            assert own["groups"]["coldness"]["warm"][f"recall@{n}"] == 0
    shown = command("baselines", "cold", *where, "--only", "popular,nearest").stdout
    assert "Recall@6, cold targets" in shown
    assert f"{found['nearest']['groups']['coldness']['cold']['recall@6']:.4f}" in shown
    assert "feature " in shown


def test_baselines_of_cold_items_need_them(small_data: Path, tmp_path: Path) -> None:
    said: list[tuple[str, Any]] = []

    def say(key: str, **values: Any) -> None:
        said.append((key, values))

    data = reprise.open_dataset("small", small_data)
    facts = measure_baselines(data, "test", (5,), ("popular", "nearest"), say)
    assert facts["left_out"] == {"nearest": "cold"}
    assert said == [("baselines_without_cold", {"names": "nearest", "split": "test"})]
    assert "coldness" not in facts["baselines"]["popular"]["groups"]
    untold, _ = world(tmp_path, 1, features=False)
    facts = measure_baselines(untold, "test", (5,), ("category", "nearest"), say)
    assert (*facts["baselines"],) == ("category",)
    assert facts["left_out"] == {"nearest": "cold"}
    cold = cold_of(untold)
    said.clear()
    facts = measure_baselines(untold, "test", (5, 30), ("category",), say)
    assert said == [("baselines_of_all_cold", {"cutoffs": "30", "items": len(cold)})]
    said.clear()
    facts = measure_baselines(untold, "test", (30, 31), None, say)
    assert "category" not in facts["baselines"]
    assert "cold" not in facts["left_out"].values()


def test_cold_items_of_equal_counts_are_not_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Their numbers may be by interactions that are held out."""
    data, _ = world(tmp_path, 1)
    test = data.evaluation_users("test", 1)
    nobody = replace(test, past=replace(test.past, lengths=np.zeros_like(test.past.lengths)))
    made = lists_of_cold(COLD[0], data, nobody, nobody, 5, 6)
    first = made.ids[0].tolist()
    assert {*first} <= cold_of(data)
    assert first != sorted(first)


def test_evaluate_and_report_tell_warm_and_cold_targets_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, _ = world(tmp_path / "data", 1, name="small")
    _, _, folder = run_small(tmp_path / "data", tmp_path / "runs", model="DNN", max_steps=2)
    where = ("--data-dir", str(tmp_path / "data"))
    facts = reprise.evaluate(folder.path, cutoffs=10, data_dir=tmp_path / "data")
    found, cold = facts["groups"]["coldness"], cold_of(data)
    targets = [{*own} for _, own in users_of(data, "test")]
    assert found["cold"]["items"] == len(cold)
    assert found["cold"]["users"] == sum(bool(own & cold) for own in targets)
    assert found["warm"]["users"] == sum(bool(own - cold) for own in targets)
    assert not cli.main(
        ["evaluate", str(folder.path), "--cutoffs", "10", *where], standalone_mode=False
    )
    out = capsys.readouterr().out
    row = rf"Targets: cold, not in training \({len(cold)} items\) +{found['cold']['users']} +[01]\."
    assert re.search(row, out)
    page = make_page(tmp_path / "page.html", folder.path, *where)
    (bars,) = embedded(page, "figures")["groups-coldness"]["data"]
    assert bars["y"] == [found[name]["recall@10"] for name in ("warm", "cold")]
    assert "cold, not in training" in page
