"""Settings that follow from the data: by stated rules, unless they are given."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_data import draft_of, split_of
from helpers.commands import RUN, check_refusal, reprise, small_config, train
from reprise.config.by_data import Facts, by_data, facts_of, open_in, settled
from reprise.config.load import read_preset
from reprise.config.schema import SETTINGS, TrainConfig
from reprise.data.dataset import EVALUATIONS, LAST, SHARE, SPLITS, open_dataset, read_meta
from reprise.data.prepare import publish
from reprise.errors import UsageError
from reprise.training.setup import make_task

OPEN: dict[str, Any] = {
    "temperature": "auto",
    "item_dropout": "auto",
    "next_share": "auto",
    "memory": "auto",
    "item_init": "auto",
}
counts = st.integers(1, 10**8)


@given(counts, counts, counts, st.sampled_from(EVALUATIONS))
def test_every_open_setting_gets_a_value_and_no_other_changes(
    interactions: int, users: int, items: int, evaluation: str
) -> None:
    config = small_config(**OPEN, name="auto")  # a run may be called so
    assert open_in(config) == sorted(OPEN, key=list(SETTINGS).index)
    found = by_data(config, Facts(interactions, users, items, evaluation))
    assert open_in(found) == []
    dense = interactions / items >= 50
    assert found.temperature == (0.1 if dense else 0.15)
    assert found.item_dropout == (0 if interactions / users >= 50 else 0.2)
    assert found.next_share == (0 if evaluation == LAST else 0.1)
    assert replace(found, **OPEN) == config
    fixed = small_config(temperature=0.3, next_share=0.7, item_dropout=0.1)
    assert by_data(fixed, Facts(interactions, users, items, evaluation)) == fixed


def test_presets_leave_to_the_data_what_follows_from_them() -> None:
    for preset in ("modern", "fast"):
        values = read_preset(preset)
        config = TrainConfig(dataset="d", name="n", **values)
        asked = {name for name in OPEN if values[name] == "auto"}
        assert set(open_in(config)) == asked >= {"temperature", "item_dropout"}


def test_values_that_are_open_are_no_numbers() -> None:
    with pytest.raises(AssertionError):
        settled(small_config(**OPEN).temperature)
    assert settled(small_config(temperature=0.3).temperature) == 0.3
    with pytest.raises(UsageError, match="or auto"):
        small_config(temperature="warm")
    with pytest.raises(UsageError, match="'auto' is invalid"):
        small_config(dropout="auto")


@pytest.mark.parametrize("evaluation", [SHARE, LAST])
def test_task_and_folder_tell_the_same_facts(evaluation: str, tmp_path: Path) -> None:
    lists = [[1 + (user + place) % 20 for place in range(12)] for user in range(30)]
    draft = draft_of(dict.fromkeys(SPLITS, split_of(lists)), np.full(21, -1, np.int32))
    publish(replace(draft, evaluation=evaluation), "d", tmp_path / "d")
    dataset = open_dataset(tmp_path / "d")
    config = small_config(dataset="d", batch_size=4, **OPEN)
    expected = by_data(config, facts_of(read_meta(tmp_path / "d")))
    assert make_task(config, dataset).config == expected
    assert expected.next_share == (0 if evaluation == LAST else 0.1)
    assert expected.item_dropout == 0.2
    whole = replace(config, train_users="all", memory="none")
    every = dataset.whole_sequences()
    facts = Facts(len(every.items), len(every.lengths), 20, evaluation)
    assert make_task(whole, dataset).config == by_data(whole, facts)


def test_config_show_tells_what_follows_from_a_data_set_at_hand(small_data: Path) -> None:
    words = ("config", "show", "--preset", "modern")
    of_set = (*words, "--dataset", "small", "--data-dir", small_data, "--next-share", 0.3)
    shown = json.loads(reprise(*of_set, "--json").stdout)
    assert shown["temperature"] == {"value": 0.15, "source": "data", "name": "small"}
    assert shown["next_share"] == {"value": 0.3, "source": "flag", "name": None}
    assert "data set small" in reprise(*of_set).stdout
    for other in (("--dataset", "missing"), ()):
        shown = json.loads(reprise(*words, *other, "--data-dir", small_data, "--json").stdout)
        assert shown["temperature"] == {"value": "auto", "source": "preset", "name": "modern"}
    assert 'temperature = "auto"' in reprise(*of_set, "--toml").stdout


def test_run_keeps_what_followed_from_the_data(small_data: Path, tmp_path: Path) -> None:
    asked = ("--temperature", "AUTO", "--next-share", "auto", "--steps", 4, "--test-iter", 4)
    for said in ("starting at step 0", "Already finished"):
        done = train(small_data, tmp_path, *asked)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
        told = "What follows from the data: --temperature 0.15, --next-share 0.1." in done.stdout
        assert told == ("starting" in said)
    config = json.loads((tmp_path / RUN / "run.json").read_text())["config"]
    assert (config["temperature"], config["next_share"]) == (0.15, 0.1)
    check_refusal(train(small_data, tmp_path, "--temperature", "warm"), 2, "--temperature")
