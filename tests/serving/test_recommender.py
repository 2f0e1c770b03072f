"""`Recommender`: raw ids in, the lists of evaluation out, and what a request may change."""

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from helpers.commands import run_small
from reprise.data.dataset import open_dataset
from reprise.errors import DataError, UsageError
from reprise.evaluation.evaluate import evaluate, score
from reprise.evaluation.metrics import BY_NAME, Lists
from reprise.runs.stored import load
from reprise.serving.recommender import EmptyHistoryWarning, Recommender, UnknownItemsWarning
from reprise.text.messages import unsaid

MODELS: dict[str, dict[str, Any]] = {
    "ComiRec-SA": {},
    "modern": {
        "model": "Queries",
        "num_interest": 3,
        "temperature": 0.1,
        "neg_score": "max",
        "repeat_bias": True,
        "embeddings": "untied",
    },
}
MAXLEN = 6


@pytest.fixture(scope="module", params=list(MODELS))
def model(
    request: pytest.FixtureRequest, small_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Recommender:
    runs = tmp_path_factory.mktemp("runs")
    _, _, folder = run_small(small_data, runs, max_steps=8, **MODELS[request.param])
    return Recommender(load(folder.path, "latest", unsaid, lambda name: small_data / name))


@pytest.fixture
def histories(model: Recommender, small_data: Path) -> list[list[str]]:
    """The test users' histories, as an evaluation has them."""
    users = open_dataset(small_data / "small").evaluation_users("test", MAXLEN)
    past = users.past.of(0, len(users.lengths))
    return [
        [model.item_ids[item - 1] for item in past.items[start:end]]
        for start, end in pairwise(past.offsets)
    ]


def lists(frame: pl.DataFrame, column: str = "item_id") -> list[list[Any]]:
    """Return a column as a list for each history."""
    return [part[column].to_list() for part in frame.partition_by("history")]


@pytest.mark.parametrize("diversity", [0.0, 0.02])
@pytest.mark.parametrize("filter_seen", [False, True])
def test_recommend_returns_the_lists_of_evaluation(
    model: Recommender,
    histories: list[list[str]],
    small_data: Path,
    diversity: float,
    filter_seen: bool,
) -> None:
    data = open_dataset(small_data / "small")
    users = data.evaluation_users("test", MAXLEN)
    evaluated = evaluate(
        model.stored.retriever,
        users,
        (10,),
        data.known_categories,
        coef=diversity or None,
        filter_seen=filter_seen,
    )
    frame = model.recommend(histories, n=10, diversity=diversity, filter_seen=filter_seen)
    expected = [[model.item_ids[item - 1] for item in row if item] for row in evaluated.ids]
    assert lists(frame) == expected
    assert lists(frame, "rank") == [list(range(1, len(own) + 1)) for own in expected]
    ids = np.array([[model.item_ids.index(item) + 1 for item in own] for own in lists(frame)])
    listed = Lists(ids, users.target_offsets, users.target_items, 40)
    means, _ = score(listed, (10,), [BY_NAME["recall"]])
    assert means["recall@10"] == evaluated.metrics["recall@10"]


def score_of(model: Recommender, history: list[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return one user's inner products [K, V], and what is added to them [V]."""
    vectors = model.user_vectors([history])[0]
    seen = np.isin(model.item_ids, history)
    return vectors @ model.item_vectors().T, np.where(seen, model.repeat_bias, 0)


def test_recommend_tells_of_each_item_score_and_interest(
    model: Recommender, histories: list[list[str]]
) -> None:
    frame = model.recommend(histories[:3], n=40, explain=True)
    assert dict(frame.schema) == {
        "history": pl.Int64,
        "rank": pl.Int64,
        "item_id": pl.String,
        "title": pl.String,
        "categories": pl.List(pl.String),
        "score": pl.Float32,
        "interest": pl.Int32,
        "scores": pl.List(pl.Float32),
        "because": pl.String,
    }
    for row in frame.iter_rows(named=True):
        history = histories[row["history"]]
        by_interest, added = score_of(model, history)
        item = model.item_ids.index(row["item_id"])
        assert row["score"] == pytest.approx(by_interest[:, item].max() + added[item], abs=1e-6)
        assert row["scores"] == pytest.approx(by_interest[:, item].tolist(), abs=1e-6)
        assert row["interest"] == int(np.argmax(row["scores"]))
        of_seen = {one: by_interest[row["interest"], model.item_ids.index(one)] for one in history}
        seen = {one: of_seen[one] for one in history[-MAXLEN:]}
        assert seen[row["because"]] == pytest.approx(max(seen.values()), abs=1e-6)
    assert model.recommend(histories[:3], n=40).equals(frame.drop("scores", "because"))


def test_recommend_lists_what_is_allowed_in_the_order_of_all(
    model: Recommender, histories: list[list[str]]
) -> None:
    everything = lists(model.recommend(histories, n=40))
    ten = model.item_ids[3:33:3]
    assert lists(model.recommend(histories, n=20, allow=ten)) == [
        [item for item in own if item in ten] for own in everything
    ]
    assert lists(model.recommend(histories, n=20, exclude=ten)) == [
        [item for item in own if item not in ten][:20] for own in everything
    ]
    category = dict(zip(model.item_ids, model.catalogue.categories, strict=True))
    named = sorted({one for own in category.values() for one in own})[:2]
    assert lists(model.recommend(histories, n=9, categories=named, exclude=ten)) == [
        [item for item in own if set(category[item]) & set(named) and item not in ten][:9]
        for own in everything
    ]
    assert model.recommend(histories, allow=[]).is_empty()


def test_recommend_weighs_interests(model: Recommender, histories: list[list[str]]) -> None:
    count = model.model.num_interest
    plain = model.recommend(histories)
    assert model.recommend(histories, weights=[1] * count).equals(plain)
    for off in range(count):
        weights = [0.0 if k == off else 1.0 for k in range(count)]
        frame = model.recommend(histories, n=40, weights=weights, explain=True)
        assert off not in frame["interest"]
        assert frame["scores"].list.get(off).is_null().all()
        assert set(map(len, lists(frame))) == {40}


def test_recommend_gives_popular_items_to_empty_histories(model: Recommender) -> None:
    one = model.item_ids[4]
    with pytest.warns() as caught:
        frame = model.recommend([[], [one, 7.5, None], ["?"]], n=4, exclude=model.item_ids[:1])
    said = {(warning.category, str(warning.message)) for warning in caught}
    assert said == {
        (UnknownItemsWarning, "3 of 4 items are unknown to the model and were ignored"),
        (
            EmptyHistoryWarning,
            "2 of 3 histories have no known item; they get the most popular items",
        ),
    }
    assert caught[0].filename == __file__
    popular = frame.filter(pl.col("history") != 1)
    assert popular["item_id"].to_list() == model.item_ids[1:5] * 2
    assert popular["score"].is_null().all()
    assert popular["interest"].is_null().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = model.recommend([[one]], n=4, exclude=model.item_ids[:1])
    assert frame.filter(history=1).drop("history").equals(known.drop("history"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 0}, "n = 0 is invalid"),
        ({"n": 2.5}, "n = 2.5 is invalid"),
        ({"n": True}, "n = True is invalid"),
        ({"diversity": -1}, "diversity = -1 is invalid"),
        ({"diversity": float("nan")}, "diversity = nan is invalid"),
        ({"weights": [1.0]}, "weights = "),
        ({"weights": [0.0] * 9}, "weights = "),
        ({"weights": [float("nan")] * 2}, "weights = "),
        ({"weights": [-1.0] * 3}, "weights = "),
        ({"categories": ["kategory 1"]}, "There is no category 'kategory 1'."),
        ({"allow": "abc"}, "allow = 'abc' is invalid: expected a list of ids"),
        ({"categories": 5}, "categories = 5 is invalid: expected a list of ids"),
        ({"exclude": None}, "exclude = None is invalid: expected a list of ids"),
        ({"weights": 3}, "weights = 3 is invalid"),
        ({"times": 5}, "times = 5 is invalid"),
    ],
)
def test_recommend_refuses_what_it_cannot_mean(
    model: Recommender, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises((UsageError, DataError)) as caught:
        model.recommend([[model.item_ids[0]]], **arguments)
    assert said in str(caught.value)


def test_recommend_refuses_histories_that_are_no_lists(model: Recommender) -> None:
    for histories in ("abc", ["abc", "def"], [5], 5, None):
        with pytest.raises(UsageError, match="each a list of item ids"):
            model.recommend(histories)  # type: ignore[arg-type]
    assert model.recommend([]).is_empty()


def test_similar_items_are_by_cosine(model: Recommender) -> None:
    vectors = model.item_vectors()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for item in (0, 17):
        frame = model.similar_items(model.item_ids[item], n=50)
        assert frame.columns == ["rank", "item_id", "title", "categories", "score"]
        places = [model.item_ids.index(one) for one in frame["item_id"]]
        assert sorted([*places, item]) == list(range(40))
        assert frame["score"].to_numpy() == pytest.approx((unit @ unit[item])[places], abs=1e-6)
        assert frame["score"].is_sorted(descending=True)
    with pytest.raises(UsageError, match=r"no item 'nowhere'\. Similar ids: '"):
        model.similar_items("nowhere")
