"""`reprise evaluate` and `-p test`, against brute force, one user at a time."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import oracles
from helpers.builders_data import draft_of, item_lists, split_of
from helpers.checkpoints import no_warning
from helpers.commands import comirec, reprise
from reprise import api
from reprise.config.schema import TrainConfig
from reprise.data.dataset import SPLITS, open_dataset
from reprise.data.prepare import publish
from reprise.errors import UsageError
from reprise.evaluation.metrics import metric_of
from reprise.retrieval.vectors import retriever_of
from reprise.runs.evaluation import evaluate_run, evaluation_facts
from reprise.runs.folder import RunFolder, find_checkpoint, load_checkpoint
from reprise.show.evaluation import show_evaluation
from reprise.text.messages import Messages
from reprise.training.setup import make_task, up_to_date
from reprise.training.state import restore

ITEMS, COEF = 150, 0.1
SIZES = {"embedding_dim": 8, "hidden_size": 8, "num_interest": 3, "learning_rate": 0.01}
RUN = "runs/tiny_ComiRec-SA_b128_lr0.01_d8_len20_t"
FLAGS: list[object] = [
    *("--dataset", "tiny", "--model_type", "ComiRec-SA", "--name", "t", "--test_iter", 10),
    *(part for name, value in SIZES.items() for part in (f"--{name}", value)),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set "tiny" and a run trained on it."""
    folder = tmp_path_factory.mktemp("workspace")
    rng = np.random.default_rng(8)
    lists = {
        split: [
            np.minimum(rng.zipf(1.4, rng.integers(5, 60)), ITEMS).tolist() for _ in range(count)
        ]
        for split, count in zip(SPLITS, (160, 20, 30), strict=True)
    }
    category = np.arange(-1, ITEMS, dtype=np.int32) % 7 - 1  # the unknown one among them
    splits = {split: split_of(own) for split, own in lists.items()}
    (folder / "data").mkdir()
    publish(draft_of(splits, category), "tiny", folder / "data" / "tiny")
    trained = comirec(*FLAGS, "--max_iter", 0.02, cwd=folder)
    assert trained.returncode == 0, trained.stderr
    return folder


def expected_metrics(
    workspace: Path, coef: float | None, filter_seen: bool
) -> tuple[dict[str, float], list[list[oracles.Listed]]]:
    """Return the means over the test users, one after the other, and the users' lists."""
    dataset = open_dataset(workspace / "data" / "tiny")
    checkpoint = find_checkpoint(workspace / RUN, "best", no_warning)
    values = {"dataset": "tiny", "name": "t", "model": "ComiRec-SA", **SIZES}
    task = make_task(TrainConfig(**values), dataset)  # type: ignore[arg-type]
    state = up_to_date(task, restore(load_checkpoint(checkpoint)))
    retriever = retriever_of(task.model, task.config.scoring, state.arrays)
    made = retriever.interests(task.test.history, task.test.lengths)
    items = np.asarray(state.arrays.rows)[1:, : SIZES["embedding_dim"]]
    sums, lists = Counter[str](), []
    sequences = item_lists(dataset.splits["test"])
    for interests, sequence in zip(made, sequences, strict=True):
        cut = int(0.8 * len(sequence))
        listed, metrics = oracles.evaluate_full(
            items,
            interests,
            sequence[:cut],
            sequence[cut:],
            dataset.item_category.tolist(),
            (20, 50),
            coef,
            filter_seen,
        )
        sums.update(metrics)
        lists.append(listed)
    return {name: total / len(sequences) for name, total in sums.items()}, lists


def evaluate(workspace: Path, *options: object) -> str:
    done = reprise("evaluate", RUN, *options, cwd=workspace)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("coef", "filter_seen"), [(None, False), (COEF, False), (None, True), (COEF, True)]
)
def test_evaluate_equals_the_oracle_from_data_to_output(
    workspace: Path, coef: float | None, filter_seen: bool
) -> None:
    options: list[object] = [] if coef is None else ["--lambda", coef]
    options += ["--filter-seen"] if filter_seen else []
    facts = json.loads(evaluate(workspace, "--json", *options))
    expected, lists = expected_metrics(workspace, coef, filter_seen)
    for n in (20, 50):
        expected |= oracles.interest_health(lists, SIZES["num_interest"], n)  # type: ignore[arg-type]
    assert {name: facts[name] for name in expected} == pytest.approx(expected)
    assert facts["held_out"] == "share-0.8"
    assert facts["seen_items"] == ("filtered" if filter_seen else "kept")
    assert facts["lambda"] == coef


def test_comirec_test_with_coef_equals_the_greedy_loop(workspace: Path) -> None:
    for options, coef in (([], None), (["--coef", COEF], COEF)):
        done = comirec("-p", "test", *FLAGS, *options, cwd=workspace)
        assert done.returncode == 0, done.stderr
        expected, _ = expected_metrics(workspace, coef, filter_seen=False)
        shown = dict(re.findall(r"test (\w+): (\d\.\d{6})", done.stdout))
        assert {name: float(value) for name, value in shown.items()} == pytest.approx(
            {
                "recall": expected["recall@50"],
                "ndcg": expected["ndcg_comirec@50"],
                "hitrate": expected["hitrate@50"],
                "diversity": expected["diversity@50"],
            },
            abs=1e-6,
        )


def test_evaluate_json_keeps_its_layout(workspace: Path) -> None:
    facts: dict[str, Any] = json.loads(evaluate(workspace, "--json", "--topN", 10))
    assert facts["checkpoint"].startswith(f"{RUN}/checkpoints/ckpt-")
    assert (facts["split"], facts["is_best"], facts["users"]) == ("test", True, 30)
    assert facts["cutoffs"] == [10, 20, 50]
    confidence = facts["confidence"]
    assert (confidence["level"], confidence["resamples"]) == (0.95, 1000)
    names = ("recall", "ndcg", "ndcg_comirec", "hitrate", "mrr", "map", "precision")
    assert set(confidence["intervals"]) == {f"{name}@{n}" for name in names for n in (10, 20, 50)}
    for name, (low, high) in confidence["intervals"].items():
        assert low <= facts[name] <= high
    history, popularity = (facts["groups"][key] for key in ("history_length", "popularity"))
    assert set(history) <= {"1-9", "10-19", "20-49", "50-99", "100+"}
    assert sum(group["users"] for group in history.values()) == 30
    mean = sum(group["users"] * group["recall@50"] for group in history.values()) / 30
    assert mean == pytest.approx(facts["recall@50"])
    mixture = facts["groups"]["mixture"]
    assert list(mixture) == ["focused", "middle", "mixed"]
    assert sum(group["users"] for group in mixture.values()) == 30
    mean = sum(group["users"] * group["recall@50"] for group in mixture.values()) / 30
    assert mean == pytest.approx(facts["recall@50"])
    bits = [bound for group in mixture.values() for bound in group["bits"]]
    assert bits == sorted(bits)
    assert list(popularity) == ["head", "middle", "tail"]
    assert sum(group["items"] for group in popularity.values()) == ITEMS
    assert set(popularity["tail"]) == {
        *("users", "items", "recall@10", "ndcg@10", "recall@20", "ndcg@20"),
        *("recall@50", "ndcg@50"),
    }
    assert json.loads(evaluate(workspace, "--json", "--topN", 10)) == facts


def test_evaluate_prints_what_was_evaluated_and_how(workspace: Path) -> None:
    facts = json.loads(evaluate(workspace, "--json"))
    text = evaluate(workspace)
    assert f"Model: {facts['checkpoint']} (step {facts['step']})" in text
    assert "Users: 30 of the test split" in text
    assert "Held out: the last 20%" in text
    assert "Seen items: kept" in text
    assert "no lambda" in text
    low, high = facts["confidence"]["intervals"]["recall@50"]
    assert re.search(rf"^Recall .* {facts['recall@50']:.6f} \[{low:.6f}, {high:.6f}\]$", text, re.M)
    tail = facts["groups"]["popularity"]["tail"]
    row = rf"tail \({tail['items']} items\) +{tail['users']} +{tail['recall@50']:.6f}"
    assert re.search(row, text)
    mixed = facts["groups"]["mixture"]["mixed"]
    low, high = mixed["bits"]
    row = rf"mixed \({low:.2f} to {high:.2f} bits\) +{mixed['users']} +{mixed['recall@50']:.6f}"
    assert re.search(row, text)
    assert re.search(rf"^@50 .* {facts['interest_dead@50']:.0f} / 3 ", text, re.M)
    assert "\x1b" not in text
    assert len(text.splitlines()) < 40

    other = evaluate(workspace, "--filter-seen", "--lambda", 0.5, "--lang", "zh")
    assert "已交互物品: 已过滤" in other
    assert "lambda 0.5" in other
    assert "历史类别: 多样（" in other


def test_evaluate_shows_the_requested_cutoffs_and_metrics(workspace: Path) -> None:
    everything = json.loads(evaluate(workspace, "--json"))
    options = ["--cutoffs", "20,5", "--metrics", "map,recall,gini"]
    facts = json.loads(evaluate(workspace, "--json", *options))
    assert facts["cutoffs"] == [5, 20]
    names = {key for key in facts if metric_of(key) is not None}
    assert names == {f"{name}@{n}" for name in ("recall", "map", "gini") for n in (5, 20)}
    intervals = facts["confidence"]["intervals"]
    assert set(intervals) == {f"{name}@{n}" for name in ("recall", "map") for n in (5, 20)}
    # What else is asked for changes no value and no bound.
    assert facts["map@20"] == everything["map@20"]
    assert intervals["map@20"] == everything["confidence"]["intervals"]["map@20"]
    shown = evaluate(workspace, *options)
    assert re.search(r"^ +@5 +@20$", shown, re.M)
    assert re.findall("^(Recall|MAP|Gini|NDCG|HR) ", shown, re.M) == ["Recall", "MAP", "Gini"]
    assert json.loads(evaluate(workspace, "--json", *options, "--top-n", 7))["cutoffs"] == [
        5,
        7,
        20,
    ]


def test_evaluate_draws_the_curve_over_lambda(workspace: Path) -> None:
    lambdas = [0.0, 0.5, 5.0]
    (points,) = json.loads(evaluate(workspace, "--json", "--lambda", "5, 0,.5,0")).values()
    alone = [json.loads(evaluate(workspace, "--json", "--lambda", coef)) for coef in lambdas]
    assert points == alone
    kept = json.loads((workspace / RUN / "results.json").read_text())["results"]
    assert [entry["lambda"] for entry in kept[-3:]] == lambdas
    diversity = [point["diversity@50"] for point in points]
    assert diversity == sorted(diversity)
    assert diversity[0] < diversity[-1]
    shown = evaluate(workspace, "--lambda", "0,0.5", "--lambda", 5)
    columns = [f"{name}@{n}" for n in (20, 50) for name in ("Recall", "NDCG", "Diversity")]
    table = [line.split() for line in shown.splitlines()[-4:]]
    assert table[0] == ["lambda", *columns]
    keys = [column.casefold() for column in columns]
    assert table[1:] == [
        [f"{point['lambda']:g}", *(f"{point[key]:.6f}" for key in keys)] for point in points
    ]
    assert "by category, one row for each lambda" in shown
    chosen = evaluate(workspace, "--lambda", "0,1", "--metrics", "gini", "--lang", "zh")
    assert re.search("^lambda +基尼系数@20 +基尼系数@50$", chosen, re.M)


def test_api_evaluate_gives_the_curve_over_lambda(workspace: Path) -> None:
    run, data = workspace / RUN, workspace / "data"
    (points,) = api.evaluate(run, diversity=(0.5, 0), data_dir=data, metrics=["recall"]).values()
    assert [point["lambda"] for point in points] == [0, 0.5]
    assert points[1] == api.evaluate(run, diversity=0.5, data_dir=data, metrics=["recall"])
    assert api.evaluate(run, data_dir=data)["lambda"] is None
    for wrong in ([], -1, [0, float("nan")]):
        with pytest.raises(UsageError, match="diversity"):
            api.evaluate(run, diversity=wrong, data_dir=data)


def test_evaluate_stores_metrics_that_are_not_shown(workspace: Path) -> None:
    evaluate(workspace, "--cutoffs", 6, "--metrics", "recall")
    kept = json.loads((workspace / RUN / "results.json").read_text())["results"][-1]
    assert kept["cutoffs"] == [6]
    assert {"recall@6", "map@6", "gini@6", "novelty@6"} <= set(kept)


def test_evaluate_names_metrics_that_the_data_lacks(workspace: Path) -> None:
    done = reprise("evaluate", RUN, "--metrics", "recall,interest_coverage", cwd=workspace)
    assert done.returncode == 0
    assert "Not shown: interest_coverage." in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([RUN, "--cutoffs", "5,x"], "cutoffs = 'x' is invalid: expected an integer >= 1."),
        ([RUN, "--cutoffs", "5,0"], "--cutoffs = 0 is invalid: expected an integer from 1 to"),
        ([RUN, "--cutoffs", ","], "Missing: --cutoffs."),
        ([RUN, "--lambda", "0,x"], "--lambda = '0,x' is invalid: expected a number >= 0."),
        ([RUN, "--lambda", "0,-1"], "--lambda = -1.0 is invalid: expected a number >= 0."),
        ([RUN, "--lambda", ","], "Missing: --lambda."),
        ([RUN, "--top-n", "0"], "--top-n = 0 is invalid: expected an integer from 1 to"),
        ([RUN, "--metrics", "recal"], "metrics = 'recal' is invalid: expected recall | ndcg | "),
        ([], "Nothing to evaluate: give RUN, or --lists FILE with --dataset NAME."),
        (["--lists", "a.csv"], "Nothing to evaluate: give "),
        ([RUN, "--dataset", "tiny"], "Nothing to evaluate: give "),
        (
            [RUN, "--lists", "a.csv", "--dataset", "tiny", "--which", "latest"],
            "--lists cannot be combined with RUN, --which.",
        ),
    ],
)
def test_evaluate_refuses_what_cannot_be_evaluated(
    workspace: Path, options: list[str], said: str
) -> None:
    done = reprise("evaluate", *options, cwd=workspace)
    assert done.returncode == 2
    assert said in done.stderr


def test_evaluate_groups_unknown_categories_separately_or_not_at_all(
    small_data: Path, undisturbed: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = evaluate_run(
        undisturbed.path, lambda name: small_data / name, "test", "best", no_warning
    )
    nothing = replace(measured, item_category=None)
    assert "mixture" not in evaluation_facts(nothing, "test", None)["groups"]
    unknown = replace(measured, item_category=np.full(41, -1, np.int32))
    facts = evaluation_facts(unknown, "test", None)
    assert set(facts["groups"]["mixture"]) == {"unknown"}
    assert facts["groups"]["mixture"]["unknown"]["recall@50"] == facts["recall@50"]
    show_evaluation(facts, Messages("en"))
    assert re.search("^Categories of the history: unknown +20 ", capsys.readouterr().out, re.M)


def test_train_logs_interest_health_at_every_evaluation(workspace: Path) -> None:
    for line in (workspace / RUN / "metrics.jsonl").read_text().splitlines():
        logged = json.loads(line)
        shares = [logged[f"valid_interest_share_{k}@50"] for k in (1, 2, 3)]
        assert sum(shares) == pytest.approx(1)
        assert 0 <= logged["valid_interest_dead@50"] <= 3
        assert 0 < logged["valid_interests_used@50"] <= 3
        assert -1 <= logged["valid_interest_cosine"] <= 1
        assert 0 < logged["valid_catalogue_coverage@50"] <= 1
    (events,) = (workspace / RUN / "tensorboard" / "branch-0").glob("events*")
    content = events.read_bytes()
    for tag in (
        *("interest/share_1@50", "interest/dead@20", "interest/used@50", "interest/cosine"),
        *("valid/recall@50", "valid/catalogue_coverage@50"),
    ):
        assert tag.encode() in content
