"""`reprise train --final-fit`: all users, the best number of steps, and no metrics."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.builders_data import draft_of, item_lists, split_of
from helpers.checkpoints import no_warning
from helpers.commands import (
    check_refusal,
    check_same_end,
    inspect_json,
    reprise,
    run_small,
    small_config,
    stopping_at,
    train,
)
from reprise.data.dataset import LAST, SPLITS, open_dataset
from reprise.data.prepare import publish
from reprise.errors import UsageError
from reprise.runs.folder import find_checkpoint, read_record
from reprise.runs.results import FILE
from reprise.training.setup import make_task


def test_final_fit_trains_all_users_for_the_best_steps(small_data: Path, tmp_path: Path) -> None:
    runs = ("--runs-dir", tmp_path)
    assert train(small_data, tmp_path, "--steps", 15, "--learning-rate", 0.01).returncode == 0
    best = inspect_json(tmp_path / "small_t")["best"]["step"]
    done = reprise("train", "--final-fit", "t", "--name", "prod", *runs, "--lang", "en")
    assert done.returncode == 0, done.stderr
    assert "no valid or test metrics" in done.stdout
    assert "Recall" not in done.stdout
    assert "diverged" not in done.stdout
    assert "No users are left to tell whether more steps help or harm." in done.stdout
    assert f"Plan: {best} steps of 16 examples, the loss every 5\n" in done.stdout
    assert "To continue training" not in done.stdout
    folder = tmp_path / "small_prod"
    facts = inspect_json(folder)
    assert (facts["step"], facts["best"], facts["metric"]) == (best, None, None)
    assert facts["identity"]["train_users"] == "all"
    assert facts["identity"]["learning_rate"] == 0.01
    event = json.loads((folder / "run.json").read_text())["events"][0]
    assert event["final_fit_of"] == {"run": "small_t", "step": best}
    assert not (folder / FILE).exists()
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        assert not any(key.startswith("valid_") for key in json.loads(line))
    shown = reprise("runs", "show", "prod", *runs).stdout
    assert "Trained on all users: no valid or test metrics." in shown
    assert f"Step {best} of {best}, branch 0\n" in shown
    assert "No users are left to tell" in shown
    assert "To continue training" not in shown
    assert f"as the final fit of small_t, which was best at step {best}" in shown
    check_refusal(reprise("evaluate", "prod", *runs), 2, "trained on all users")
    assert reprise("export", "prod", tmp_path / "out", *runs).returncode == 0
    again = reprise("train", "--final-fit", "t", "--name", "prod", *runs)
    assert "Already finished" in again.stdout, again.stderr
    check_refusal(reprise("train", "--final-fit", "prod", "--name", "p", *runs), 2, "no best step")
    other = reprise("train", "--final-fit", "t", "--name", "p", "--dataset", "demo", *runs)
    check_refusal(other, 2, "--dataset, --final-fit")
    refused = reprise("train", "--final-fit", "t", "--name", "t", *runs)
    check_refusal(refused, 4, "train_users: train -> all")


def test_final_fit_resumes_exactly_and_never_runs_out_of_patience(
    small_data: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"train_users": "all", "patience": 0}
    _, _, whole = run_small(small_data, tmp_path / "whole", **asked)
    for stop in (3, 4, 9):
        run_small(small_data, tmp_path / "torn", stopping_at(stop), **asked)
    outcome, recorder, torn = run_small(small_data, tmp_path / "torn", **asked)
    check_same_end(torn, whole)
    assert (outcome.progress.step, outcome.best, outcome.results) == (20, None, None)
    assert "final_fit" in recorder.keys
    assert find_checkpoint(torn.path, "best", pytest.fail).path.name == "ckpt-20"
    assert read_record(torn, no_warning)["config"]["train_users"] == "all"


def test_final_fit_trains_on_each_user_once(small_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(small_data / "small")
    task = make_task(small_config(train_users="all"), dataset)
    every = [one for split in SPLITS for one in item_lists(dataset.splits[split])]
    assert item_lists(task.sampler.split) == every
    assert len(make_task(small_config(), dataset).sampler.split.lengths) == 60


def test_final_fit_takes_the_longest_sequence_of_users_in_several_splits(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    whole = [rng.integers(1, 41, 12).tolist() for _ in range(30)]
    splits = {
        split: split_of([one[: len(one) - left] for one in whole])
        for split, left in zip(SPLITS, (2, 1, 0), strict=True)
    }
    draft = replace(draft_of(splits, np.full(41, -1, np.int32)), evaluation=LAST)
    publish(draft, "small", tmp_path / "small")
    task = make_task(small_config(train_users="all"), open_dataset(tmp_path / "small"))
    assert item_lists(task.sampler.split) == whole


def test_final_fit_refuses_models_without_training(small_data: Path, tmp_path: Path) -> None:
    run_small(small_data, tmp_path, model="MostPop")
    refused = reprise("train", "--final-fit", "t", "--name", "p", "--runs-dir", tmp_path)
    check_refusal(refused, 2, "no best step")
    assert small_config(model="MostPop", train_users="all").train_users == "train"
    with pytest.raises(UsageError):
        small_config(train_users="some")
