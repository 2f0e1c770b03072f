"""Answers to queries: evaluation's, the same in any company, and as a slow loop finds them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import oracles
from helpers.effort import examples, some_at_length
from helpers.recommenders import MODERN, SETTINGS
from reprise.data.dataset import open_dataset
from reprise.data.sequences import Sequences
from reprise.evaluation.evaluate import evaluate, score
from reprise.evaluation.metrics import BY_NAME, Lists
from reprise.models.scoring import REPEAT_BIAS
from reprise.retrieval.ranking import NO_ITEM
from reprise.retrieval.search import interest_scores
from reprise.serving.histories import all_history
from reprise.serving.lists import Answer, Filter, Model, Query, answer, answers, rankings
from reprise.serving.recommender import Recommender

ITEMS = 40
each_model = pytest.mark.parametrize(
    "name", some_at_length(SETTINGS, ("ComiRec-SA", "MostPop", "modern"))
)
Make = Callable[[str], Recommender]


def with_bias(model: Model, bias: float) -> Model:
    """Return a model with another repeat bias, if it has one."""
    if not model.retriever.scoring.repeat_bias:
        return model
    params: Any = {**model.retriever.params, REPEAT_BIAS: np.float32(bias)}
    return replace(model, retriever=replace(model.retriever, params=params))


def bits(one: Answer) -> list[Any]:
    return [part.tobytes() if isinstance(part, np.ndarray) else part for part in one]


@each_model
@pytest.mark.parametrize("diversity", [0.0, 0.05])
@pytest.mark.parametrize("filter_seen", [False, True])
def test_answers_are_the_lists_of_evaluation(
    name: str, diversity: float, filter_seen: bool, recommender: Make, small_data: Path
) -> None:
    model = with_bias(recommender(name).model, -0.2)
    data = open_dataset(small_data / "small")
    users = data.evaluation_users("test", model.history_length)
    count = len(users.lengths)
    evaluated = evaluate(
        model.retriever,
        users,
        (5, 10),
        data.known_categories,
        coef=diversity or None,
        filter_seen=filter_seen,
    )
    past = users.past.of(0, count)
    query = Query(past.items, n=10, diversity=diversity, filter_seen=filter_seen)
    queries = [
        replace(query, history=past.items[start:end])
        for start, end in zip(past.offsets, past.offsets[1:], strict=False)
    ]
    ids = np.zeros((count, 10), np.int64)
    for row, found in zip(ids, answer(model, queries), strict=True):
        row[: len(found.ids)] = found.ids
    assert ids.tobytes() == evaluated.ids.tobytes()
    means, by_user = score(
        Lists(ids, users.target_offsets, users.target_items, ITEMS), (5, 10), [BY_NAME["recall"]]
    )
    for key, mean in means.items():
        assert mean == evaluated.metrics[key]
        assert by_user[key].tobytes() == evaluated.by_user[key].tobytes()


def random_queries(rng: np.random.Generator, model: Model, count: int) -> list[Query]:
    """Return queries of all kinds."""
    filters = [Filter(), Filter(), Filter(allow=frozenset(rng.integers(1, ITEMS + 1, 10).tolist()))]
    filters += [Filter(categories=frozenset({1, 3})), Filter(exclude=frozenset({1, 2, 3}))]
    filters += [Filter(exclude=frozenset({one})) for one in range(1, ITEMS + 1)]
    weights = [None, None, tuple(rng.integers(1, 4, model.num_interest) / 2)]
    return [
        Query(
            rng.integers(1, ITEMS + 1, rng.choice([0, 1, 3, 9, 50])).astype(np.int32),
            n=int(rng.choice([1, 3, 10, 10, 39, 100])),
            diversity=float(rng.choice([0, 0, 0.05])),
            filter=filters[rng.integers(len(filters))],
            filter_seen=bool(rng.integers(2)),
            weights=weights[rng.integers(len(weights))],
            explain=bool(rng.integers(2)),
        )
        for _ in range(count)
    ]


def check_company(model: Model, queries: list[Query], alone: int, seed: int) -> None:
    """Each answer has the same bits in other orders, in parts, and, of `alone` of them, alone."""
    rng = np.random.default_rng(seed)
    together = [bits(one) for one in answer(model, queries)]
    order = rng.permutation(len(queries))
    found = [bits(one) for one in answer(model, [queries[place] for place in order])]
    assert found == [together[place] for place in order]
    start = 0
    while start < len(queries):
        size = int(rng.integers(1, 70))
        part = answer(model, queries[start:][:size])
        assert [bits(one) for one in part] == together[start:][:size]
        start += size
    for place in rng.permutation(len(queries))[:alone]:
        assert bits(answer(model, [queries[place]])[0]) == together[place]


@each_model
def test_answers_have_the_same_bits_in_any_company(name: str, recommender: Make) -> None:
    model = with_bias(recommender(name).model, -0.2)
    queries = random_queries(np.random.default_rng(5), model, 300)
    check_company(model, queries, alone=5, seed=6)


@pytest.mark.long
@pytest.mark.parametrize("name", SETTINGS)
def test_answers_to_a_thousand_queries_have_the_same_bits_in_any_company(
    name: str, recommender: Make
) -> None:
    model = with_bias(recommender(name).model, 0.3)
    for seed in range(3):
        queries = random_queries(np.random.default_rng(seed), model, 1000)
        check_company(model, queries, alone=1000 if seed == 0 else 50, seed=seed)


def sequences_of(histories: list[Any]) -> Sequences:
    offsets = np.cumsum([0, *map(len, histories)])
    return Sequences(offsets, np.concatenate(histories).astype(np.int32))


@each_model
def test_rankings_are_the_answers(name: str, recommender: Make) -> None:
    model = with_bias(recommender(name).model, -0.2)
    rng = np.random.default_rng(8)
    for asked in random_queries(rng, model, 12):
        query = replace(asked, explain=False)
        sizes = rng.choice([0, 1, 3, 9, 50], 300)
        histories = [rng.integers(1, ITEMS + 1, size).astype(np.int32) for size in sizes]
        parts = [(sequences_of(some), ()) for some in (histories[:256], histories[256:])]
        found = [
            one.of(row) for one in rankings(model, query, parts) for row in range(len(one.ids))
        ]
        expected = answer(model, [replace(query, history=own) for own in histories])
        assert len(found) == len(expected)
        for ranking, own in zip(found, expected, strict=True):
            ids, scores, interests = (one[0] for one in ranking)
            listed = ids != NO_ITEM
            assert listed.tolist() == sorted(listed.tolist(), reverse=True)
            assert ids[listed].tobytes() == own.ids.tobytes()
            assert scores[listed].tobytes() == own.scores.tobytes()
            assert interests[listed].tobytes() == own.interests.tobytes()


@pytest.mark.long
@pytest.mark.parametrize("name", SETTINGS)
def test_answers_to_a_thousand_histories_are_those_of_evaluation(
    name: str, recommender: Make
) -> None:
    model = with_bias(recommender(name).model, 0.3)
    rng = np.random.default_rng(9)
    sizes = rng.integers(1, 60, 1000)
    histories = [rng.integers(1, ITEMS + 1, size).astype(np.int32) for size in sizes]
    users = all_history(sequences_of(histories), model.history_length)
    targets = np.arange(1001), np.ones(1000, np.int32)
    users = replace(users, target_offsets=targets[0], target_items=targets[1])
    evaluated = evaluate(model.retriever, users, (10,)).ids
    found = answer(model, [Query(own, n=10) for own in histories])
    assert np.stack([one.ids for one in found]).tobytes() == evaluated.tobytes()


def expected_list(model: Model, query: Query, interests: Any) -> list[int]:
    """Return an answer's ids, item after item."""
    category = model.item_category.tolist()
    allowed = [
        item
        for item in range(1, ITEMS + 1)
        if (query.filter.allow is None or item in query.filter.allow)
        and (query.filter.categories is None or category[item] in query.filter.categories)
        and item not in query.filter.exclude
    ]
    if not len(query.history):
        return allowed[: query.n]
    lists = []
    for k, interest in enumerate(interests):
        weight = 1.0 if query.weights is None else query.weights[k]
        scored = []
        for item in allowed:
            seen = item in query.history
            value = float(np.dot(interest.astype(np.float64), model.items[item - 1]) * weight)
            value += model.retriever.repeat_bias if seen else 0
            if weight and not (seen and query.filter_seen):
                scored.append((item, value))
        lists.append(oracles.merged(scored))
    if query.diversity:
        candidates = oracles.merged(pair for one in lists for pair in one[: query.n])
        return oracles.greedy(candidates, category, query.n, query.diversity)
    return [item for item, _ in oracles.merged(pair for one in lists for pair in one)][: query.n]


numbers = st.integers(1, ITEMS)
filters = st.builds(
    Filter,
    allow=st.none() | st.frozensets(numbers),
    exclude=st.frozensets(numbers, max_size=20),
    categories=st.none() | st.frozensets(st.integers(0, 4)),
)


@pytest.mark.parametrize("name", ["ComiRec-SA", MODERN])
@examples(150)
@given(
    st.lists(st.lists(numbers, max_size=20), min_size=1, max_size=4),
    st.integers(1, 60),
    st.sampled_from([0.0, 0.01, 0.3]),
    filters,
    st.booleans(),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=3, max_size=3).filter(any),
    st.booleans(),
)
def test_answers_are_what_a_loop_over_items_finds(
    name: str,
    recommender: Make,
    histories: list[list[int]],
    n: int,
    diversity: float,
    filter_: Filter,
    filter_seen: bool,
    weights: list[float],
    weighed: bool,
) -> None:
    model = with_bias(recommender(name).model, -0.2)
    own = tuple(weights[: model.num_interest])
    weighed = weighed and any(own)
    query = Query(
        np.zeros(0, np.int32),
        n=n,
        diversity=diversity,
        filter=filter_,
        filter_seen=filter_seen,
        weights=own if weighed else None,
    )
    queries = [replace(query, history=np.array(one, np.int32)) for one in histories]
    vectors = recommender(name).user_vectors(
        [[recommender(name).item_ids[item - 1] for item in one] for one in histories]
    )
    for asked, made, found in zip(queries, vectors, answer(model, queries), strict=True):
        assert found.ids.tolist() == expected_list(model, asked, made)
        assert found.popular == (not len(asked.history))


def test_answers_take_queries_as_needed(recommender: Make) -> None:
    model, taken = recommender("DNN").model, 0
    query = Query(np.array([3, 4], np.int32), n=5)

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield query

    source = answers(model, endless())
    first = bits(next(source))
    assert bits(next(source)) == first
    assert taken < 256 * 12
    assert bits(answer(model, [query])[0]) == first


def test_answers_to_long_histories(recommender: Make) -> None:
    model = recommender(MODERN).model
    rng = np.random.default_rng(3)
    history = rng.integers(1, 31, 10_000).astype(np.int32)
    (found,) = answer(model, [Query(history, n=100, filter_seen=True)])
    assert sorted(found.ids) == list(range(31, 41))
    (short,) = answer(model, [Query(history[-model.history_length :], n=100)])
    kept = [item for item in short.ids.tolist() if item > 30]
    assert found.ids.tolist() == kept  # the model sees the last items only


def test_answers_are_explained_by_the_scores_that_ranked_them(recommender: Make) -> None:
    model = recommender("ComiRec-SA").model
    (found,) = answer(model, [Query(np.array([3, 4, 9], np.int32), n=40, explain=True)])
    assert found.interest_scores is not None
    assert (found.interests == found.interest_scores.argmax(axis=1)).all()
    assert found.scores == pytest.approx(found.interest_scores.max(axis=1), abs=1e-6)
    assert interest_scores(np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)).shape == (1, 3)
