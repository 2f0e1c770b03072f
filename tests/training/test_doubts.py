"""Settings that do not fit their data: a warning names the option that helps."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from reprise.config.schema import TrainConfig
from reprise.data.sequences import Sequences
from reprise.text.messages import Messages
from reprise.training.batches import make_sampler
from reprise.training.doubts import doubts
from reprise.training.setup import Task
from reprise.training.targets import TargetRule


def task_of(lengths: list[int], items: int, history: int, **settings: Any) -> Task:
    """A run's setup, as far as warnings look at it; the longest evaluated history is `history`."""
    config = TrainConfig(dataset="d", name="n", **settings)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    split = Sequences(offsets, np.ones(offsets[-1], np.int32))
    rule = TargetRule(config.min_history)
    sampler = make_sampler(split, items, 1, config.maxlen, 2, 1, rule=rule)
    users = SimpleNamespace(past=SimpleNamespace(lengths=np.array([1, history])))
    parts = {"sampler": sampler, "valid": users, "test": users}
    return cast("Task", SimpleNamespace(config=config, num_items=items, **parts))


FITTING: dict[str, Any] = {"lengths": [9, 9, 21, 0, 0, 0], "items": 51, "history": 20}


@pytest.mark.parametrize(
    ("changed", "key", "option"),
    [
        ({}, None, ""),
        ({"maxlen": 20, "history": 3, "lengths": [9, 9, 20]}, "maxlen_unused", "--maxlen 19"),
        ({"maxlen": 21}, "maxlen_unused", "--maxlen 20"),
        ({"maxlen": 21, "history": 21}, None, ""),
        ({"items": 50}, "top_n_of_all", "--top-n 50"),
        ({"items": 50, "top_n": 49}, None, ""),
        ({"items": 50, "train_users": "all"}, None, ""),
        ({"min_history": 9}, "few_trained", "--min-history"),
        ({"lengths": [4, 4, 21, 4]}, "few_trained", "Only 1 of 4"),
        ({"lengths": [4, 5, 21, 4]}, None, ""),
        ({"lengths": [4, 4, 21, 4], "maxlen": 30, "model": "MostPop"}, None, ""),
    ],
    ids=str,
)
def test_doubts_name_the_option_that_helps(
    changed: dict[str, Any], key: str | None, option: str
) -> None:
    found = list(doubts(task_of(**FITTING | changed)))
    assert [one for one, _ in found] == ([] if key is None else [key])
    for one, values in found:
        text = Messages("en").text(one, **values)
        assert option in text
        assert text.startswith("\u26a0")
