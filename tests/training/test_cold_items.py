"""Items that nobody in training has interacted with are found by their features."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.builders_data import draft_of
from helpers.builders_features import described
from reprise.config.schema import TrainConfig
from reprise.data.dataset import Dataset, open_dataset
from reprise.data.draft import write_dataset
from reprise.data.features import Feature, bags_of, codes_of
from reprise.data.sequences import Sequences
from reprise.evaluation.evaluate import evaluate
from reprise.retrieval.vectors import retriever_of
from reprise.training.optimizers import make_update
from reprise.training.setup import fresh_state, make_task, up_to_date

ITEMS, INTERESTS, BRANDS, HELD_OUT, STEPS = 600, 15, 3, 3, 120
INNER_PRODUCT = {"temperature": 0, "learning_rate": 0.02}
Chosen = NDArray[np.bool_]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Chosen]:
    """Users who like two interests each, items of one interest and of a brand that makes nothing
    else, tagged by their interest and by one more; a sixth of the items comes after training.
    """
    rng = np.random.default_rng(1)
    interest = rng.integers(0, INTERESTS, ITEMS + 1)
    cold = (rng.random(ITEMS + 1) < 1 / 6) & (np.arange(ITEMS + 1) > 0)
    by_interest = [np.flatnonzero(interest[1:] == own) + 1 for own in range(INTERESTS)]
    warm = [items[~cold[items]] for items in by_interest]

    def users(count: int, new: int) -> Sequences:
        """Users with ten items that are known, and then so many of any."""
        lists = []
        for _ in range(count):
            own = rng.choice(INTERESTS, 2, replace=False)
            of_any = [by_interest] * new
            lists += [rng.choice(source[rng.choice(own)]) for source in [warm] * 12 + of_any]
        lengths = np.arange(count + 1) * (12 + new)
        return Sequences(lengths.astype(np.int64), np.array(lists, np.int32))

    splits = {"train": users(600, 0), "valid": users(20, HELD_OUT), "test": users(300, HELD_OUT)}
    brand = rng.permutation(INTERESTS * BRANDS)[
        interest * BRANDS + rng.integers(0, BRANDS, ITEMS + 1)
    ]
    owners = np.tile(np.arange(1, ITEMS + 1), 2)
    tags = 1 + np.concatenate([interest[1:], rng.integers(0, INTERESTS, ITEMS)])
    features: dict[str, Feature] = {
        "brand": codes_of("brand", 1 + brand[1:], INTERESTS * BRANDS + 1),
        "tags": bags_of("tags", owners, tags, ITEMS, INTERESTS + 1),
    }
    draft = replace(
        draft_of(splits, np.full(ITEMS + 1, -1, np.int32)), features=described(features)
    )
    folder = tmp_path_factory.mktemp("world")
    write_dataset(draft, folder, "world")
    return open_dataset(folder), cold


def recalls(data: Dataset, cold: Chosen, **settings: Any) -> tuple[float, float]:
    """Train, and return the share of the held-out items, warm ones and cold ones, that stand among
    the first 50.
    """
    values: dict[str, Any] = {
        "dataset": "world",
        "name": "x",
        "model": "ComiRec-SA",
        "num_interest": 2,
        "batch_size": 64,
        "maxlen": 12,
        "embedding_dim": 16,
        "hidden_size": 16,
        "learning_rate": 0.01,
        "temperature": 0.1,
        "sampler": "uniform",
        "negatives": 200,
    }
    config = TrainConfig(**{**values, **settings})
    task = make_task(config, data)
    state = fresh_state(task)
    for step in range(1, STEPS + 1):
        update = make_update(config.learning_rate, step)
        arrays = task.step(state.arrays, task.sampler.batch(0, step), update, task.features)
        state = state.at(arrays, step=step)
    arrays = up_to_date(task, state).arrays
    retriever = retriever_of(task.model, config.scoring, arrays, task.features)
    lists = evaluate(retriever, task.test, (50,)).ids
    owner = np.repeat(np.arange(len(lists)), np.diff(task.test.target_offsets))
    items = task.test.target_items
    found = (lists[owner, :50] == items[:, None]).any(axis=1)
    return float(found[~cold[items]].mean()), float(found[cold[items]].mean())


# Where scores are inner products, an item's length counts, and features must learn it alone.
@pytest.mark.parametrize(
    "settings",
    [{"id_dropout": 0.0}, {"id_dropout": 0.3}, {"id_dropout": 0.5, **INNER_PRODUCT}],
    ids=["cosine", "cosine without ids", "inner product without ids"],
)
def test_features_recommend_items_that_were_never_trained(
    world: tuple[Dataset, Chosen], settings: dict[str, Any]
) -> None:
    warm, cold = recalls(*world, item_features="all", **settings)
    assert warm > 0.4  # of 600 items, 80 are of a user's interests
    assert cold >= 0.6 * warm


def test_items_that_were_never_trained_are_not_found_without_features(
    world: tuple[Dataset, Chosen],
) -> None:
    warm, cold = recalls(*world)
    assert cold < 0.3 * warm
