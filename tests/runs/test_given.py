"""Lists of another system, against the run's own evaluation and by hand."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import reprise
from helpers import oracles
from helpers.builders_data import item_lists
from helpers.checkpoints import no_warning
from reprise.data.dataset import Dataset, open_dataset
from reprise.errors import DataError
from reprise.runs.evaluation import evaluate_run, evaluation_facts
from reprise.runs.folder import RunFolder
from reprise.runs.given import measure_lists

Said = list[tuple[str, Any]]


@pytest.fixture
def dataset(small_data: Path) -> Dataset:
    (folder,) = (path.parent for path in small_data.glob("*/meta.json"))
    return open_dataset(folder)


@pytest.fixture
def said() -> Said:
    return []


def measured(path: Path, dataset: Dataset, said: Said, *cutoffs: int) -> dict[str, Any]:
    def say(key: str, **values: Any) -> None:
        said.append((key, values.get("count")))

    return evaluation_facts(
        measure_lists(path, dataset, "test", say, cutoffs or None), "test", None
    )


def test_evaluate_lists_of_a_run_equals_evaluating_the_run(
    small_data: Path, undisturbed: RunFolder, dataset: Dataset, tmp_path: Path, said: Said
) -> None:
    of_run = evaluate_run(
        undisturbed.path, lambda name: small_data / name, "test", "best", no_warning
    )
    expected = evaluation_facts(of_run, "test", None)
    users, items = dataset.raw_users("test"), dataset.about_items()["raw_id"]
    lists = [[items[item - 1] for item in row if item] for row in of_run.evaluation.ids.tolist()]
    wide = pl.DataFrame({"user": users, "items": lists})
    places = pl.int_ranges(1, pl.col("items").list.len() + 1)
    long = wide.with_columns(rank=places).explode("items", "rank").rename({"items": "item_id"})
    wide.write_parquet(tmp_path / "wide.parquet")
    wide.write_ndjson(tmp_path / "wide.jsonl")
    long.sample(fraction=1, shuffle=True, seed=1).write_csv(tmp_path / "long.csv")
    scored = long.select("user", "item_id", score=1 / pl.col("rank"))
    scored.write_ndjson(tmp_path / "long.jsonl")
    scored.write_csv(tmp_path / "long.tsv", separator="\t")
    own = {"checkpoint", "step", "is_best", "seen_items", "lists", "unknown"}
    own |= {"dataset", "dataset_fingerprint"}
    for path in sorted(tmp_path.iterdir()):
        facts = measured(path, dataset, said, *of_run.cutoffs)
        assert facts["unknown"] == {"users": 0, "items": 0, "repeated": 0, "none": 0}
        assert (facts["checkpoint"], facts["lists"]) == (None, str(path))
        assert {key: value for key, value in facts.items() if key not in own} == {
            key: expected[key]
            for key in expected
            if key not in own and not key.startswith("interest")
        }
    assert {key for key, _ in said} <= {"lists_short"}


def test_evaluate_lists_counts_and_reports_unknown_ids(
    dataset: Dataset, tmp_path: Path, said: Said
) -> None:
    users, items = dataset.raw_users("test").to_list(), dataset.about_items()["raw_id"].to_list()
    lists = {
        users[0]: [items[3], "nowhere", items[0], items[3], items[1]],  # one unknown, one again
        users[2]: ["nowhere", "elsewhere"],
        "nobody": [items[0]],
    }
    path = tmp_path / "lists.jsonl"
    path.write_text("".join(json.dumps({"user": u, "items": i}) + "\n" for u, i in lists.items()))
    facts = measured(path, dataset, said, 2, 5)
    assert facts["unknown"] == {"users": 1, "items": 2, "repeated": 1, "none": len(users) - 2}
    assert facts["users"] == len(users)
    assert said == [
        ("lists_unknown_users", 1),
        ("lists_unknown_items", 2),
        ("lists_repeated", 1),
        ("lists_none", len(users) - 2),
        ("lists_short", None),
    ]
    sequence = item_lists(dataset.splits["test"])[0]
    targets = sequence[int(0.8 * len(sequence)) :]
    by_hand = oracles.metrics_at([4, -1, 1, 2], targets, 5)
    for name, value in by_hand.items():
        assert facts[f"{name}@5"] == pytest.approx(value / len(users))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("user,item\nu0,i1\n", "lists_no_order"),
        ("user,item,timestamp\nu0,i1,3\n", "lists_no_order"),
        ("user,score\nu0,3\n", "lists_no_column"),
        ("customer,sku,rank\nu0,i1,1\n", "lists_no_column"),
        ("user,item,rank\nu0,i1,first\n", "bad_value_in_row"),
        ("user,item,score\nu0,i1,NaN\n", "bad_value_in_row"),
        ("user,item,score\nu0,,1\n", "bad_value_in_row"),
        ("user,item,score\nnobody,i1,1\n", "lists_of_others"),
    ],
)
def test_evaluate_lists_refuses_unusable_files(
    dataset: Dataset, tmp_path: Path, said: Said, text: str, key: str
) -> None:
    path = tmp_path / "lists.csv"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        measured(path, dataset, said)
    assert refused.value.key == key
    assert str(path) in str(refused.value)


def test_evaluate_lists_ranks_equal_scores_by_item_id(
    dataset: Dataset, tmp_path: Path, said: Said
) -> None:
    user, items = dataset.raw_users("test")[0], dataset.about_items()["raw_id"].to_list()
    rows = [(user, items[place], 1.0) for place in (7, 2, 5)] + [(user, items[9], 2.0)]
    path = tmp_path / "lists.parquet"
    pl.DataFrame(rows, schema=["user", "item", "score"], orient="row").write_parquet(path)
    found = measure_lists(path, dataset, "test", lambda key, **_: None, (5,))
    assert found.evaluation.ids[0].tolist() == [10, 3, 6, 8, 0]
    assert not found.evaluation.ids[1:].any()


def test_evaluate_lists_in_python_takes_frames_and_other_data_sets(
    small_data: Path, undisturbed: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    user, items = dataset.raw_users("test")[0], dataset.about_items()["raw_id"].to_list()
    frame = pl.DataFrame({"user": [user], "items": [items[:5]]})
    with pytest.warns(UserWarning, match="have no list"):
        facts = reprise.evaluate_lists(frame, dataset, cutoffs=(5,), metrics=("hitrate",))
    sequence = item_lists(dataset.splits["test"])[0]
    found = bool(set(range(1, 6)) & set(sequence[int(0.8 * len(sequence)) :]))
    assert facts["hitrate@5"] == found / len(dataset.raw_users("test"))
    assert "recall@5" not in facts
    asked: dict[str, Any] = {"cutoffs": (5,), "metrics": ("map",), "data_dir": small_data}
    run = Path(shutil.copytree(undisturbed.path, tmp_path / "run"))
    plain = reprise.evaluate(run, **asked)
    on_itself = reprise.evaluate(run, on=dataset, **asked)
    assert plain == {key: on_itself[key] for key in plain}
    assert set(on_itself) - set(plain) == {"dataset", "dataset_fingerprint", "unknown"}
