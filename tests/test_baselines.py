"""Baselines that count, against slow and obvious programs."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import check_refusal, reprise
from reprise.data.sequences import Past, Sequences
from reprise.evaluation.baselines import (
    ItemToItem,
    cosines,
    decayed_products,
    ease,
    ranked,
    ridge,
    rule_counts,
    rules,
)

ITEMS = 6
HISTORIES = st.lists(st.lists(st.integers(1, ITEMS), max_size=7), min_size=1, max_size=6)


def sequences(lists: list[list[int]]) -> Sequences:
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in lists])]).astype(np.int64)
    return Sequences(offsets, np.array([item for own in lists for item in own], np.int32))


def dense(matrix: object) -> np.ndarray:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, np.float64)


@given(HISTORIES, st.integers(1, 4))
def test_rules_count_pairs_by_distance(lists: list[list[int]], window: int) -> None:
    counted = np.zeros((ITEMS, ITEMS))
    for own in lists:
        for place, item in enumerate(own):
            for later in range(place + 1, min(place + window, len(own) - 1) + 1):
                if own[later] != item:
                    counted[item - 1, own[later] - 1] += (later - place) ** -0.5
    np.testing.assert_allclose(dense(rule_counts(sequences(lists), ITEMS, window)), counted, 1e-5)


@given(HISTORIES)
def test_rules_divide_rows_and_columns_by_counts(lists: list[list[int]]) -> None:
    counts = np.bincount([item for own in lists for item in own], minlength=ITEMS + 1)[1:]
    many = np.maximum(counts, 1)
    tried = list(rules(sequences(lists), ITEMS))  # what was yielded first is as it was
    assert len({tuple(settings.items()) for settings, _ in tried}) == len(tried) == 8
    for settings, fitted in tried:
        counted = dense(rule_counts(sequences(lists), ITEMS, int(settings["window"])))
        expected = counted / many[:, None] ** 0.5 / many[None] ** settings["power"]
        np.testing.assert_allclose(dense(fitted.matrix), expected, 1e-5)
        assert fitted.decay == settings["decay"]


@given(HISTORIES)
def test_knn_is_the_shrunk_cosine_of_sets_of_users(lists: list[list[int]]) -> None:
    found = dense(cosines(sequences(lists), ITEMS))
    having = [{user for user, own in enumerate(lists) if item in own} for item in range(ITEMS + 1)]
    for one in range(1, ITEMS + 1):
        for other in range(1, ITEMS + 1):
            both = len(having[one] & having[other])
            expected = both / ((len(having[one]) * len(having[other])) ** 0.5 + 20)
            assert found[one - 1, other - 1] == pytest.approx(
                0 if one == other else expected, rel=1e-5
            )


@given(HISTORIES)
def test_ease_is_the_ridge_of_each_item_on_the_others(lists: list[list[int]]) -> None:
    met = np.zeros((len(lists), ITEMS))
    for user, own in enumerate(lists):
        met[user, [item - 1 for item in own]] = 1
    for settings, fitted in ease(sequences(lists), ITEMS):
        found = dense(fitted.matrix)
        for item in range(ITEMS):
            others = [other for other in range(ITEMS) if other != item]
            left = met[:, others]
            system = left.T @ left + settings["penalty"] * np.eye(len(others))
            weights = np.linalg.solve(system, left.T @ met[:, item])
            np.testing.assert_allclose(found[others, item], weights, atol=1e-6)
            assert found[item, item] == 0


@given(HISTORIES, st.sampled_from([0.5, 0.8]))
def test_ridge_has_an_example_for_each_place(lists: list[list[int]], decay: float) -> None:
    past, future = [], []
    for own in lists:
        for place in range(len(own)):
            before, after = np.zeros(ITEMS), np.zeros(ITEMS)
            for age in range(place + 1):
                before[own[place - age] - 1] += decay**age
            for ahead in range(1, len(own) - place):
                after[own[place + ahead] - 1] += 0.9 ** (ahead - 1)
            past.append(before)
            future.append(after / max(after.sum(), 1e-12))
    x, y = np.array(past).reshape(-1, ITEMS), np.array(future).reshape(-1, ITEMS)
    made = decayed_products(sequences(lists), ITEMS, decay, 0.9)
    np.testing.assert_allclose(made[0], x.T @ x, atol=1e-6)
    np.testing.assert_allclose(made[1], x.T @ y, atol=1e-6)


@given(HISTORIES, HISTORIES)
def test_ridge_solves_for_the_users_asked_for(
    lists: list[list[int]], asked: list[list[int]]
) -> None:
    own = sequences(lists)
    for settings, fitted in ridge(own, ITEMS):
        past, both = decayed_products(own, ITEMS, settings["decay"], 0.9)
        matrix = np.linalg.solve(past + settings["penalty"] * np.eye(ITEMS), both)
        weights = np.zeros((len(asked), ITEMS))
        for user, history in enumerate(asked):
            for age, item in enumerate(reversed(history)):
                weights[user, item - 1] += settings["decay"] ** age
        found = dense(fitted.scores(sequences(asked)))
        np.testing.assert_allclose(found, weights @ matrix, rtol=1e-4, atol=1e-8)


@given(HISTORIES, st.booleans(), st.integers(1, ITEMS + 1), st.randoms(use_true_random=False))
def test_ranked_orders_by_score_then_popularity(
    lists: list[list[int]], thin: bool, top_n: int, random: object
) -> None:
    from scipy import sparse

    rng = np.random.default_rng(len(lists) + top_n)
    matrix = rng.integers(0, 3, (ITEMS, ITEMS)).astype(np.float32)
    own = sequences(lists)
    past = Past(own.items, np.asarray(own.offsets[:-1]), own.lengths)
    fitted = ItemToItem(sparse.csr_array(matrix) if thin else matrix, 0.5)
    found = ranked(fitted, past, top_n)
    for row, history in zip(found, lists, strict=True):
        weights = [0.5 ** (len(history) - 1 - place) for place in range(len(history))]
        score = sum(
            (weight * matrix[item - 1] for weight, item in zip(weights, history, strict=True)),
            np.zeros(ITEMS, np.float32),
        )
        left = [item for item in range(1, ITEMS + 1) if item not in history]
        best = sorted(left, key=lambda item: (-np.float32(score[item - 1]), item))[:top_n]
        assert row.tolist() == best + [0] * (top_n - len(best))


def test_baselines_are_stored_and_shown_beside_runs(small_data: Path, tmp_path: Path) -> None:
    where = ("--data-dir", small_data, "--runs-dir", tmp_path)
    done = reprise("baselines", "small", *where, "--cutoffs", "5,20", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert list(facts["baselines"]) == ["popular", "rules", "knn", "ease", "ridge"]
    assert facts["baselines"]["rules"]["settings"].keys() == {"window", "power", "decay"}
    kept = json.loads((tmp_path / "baselines" / "small.json").read_text())
    assert kept["results"]["test"]["baselines"] == facts["baselines"]
    shown = reprise("baselines", "small", *where, "--only", "popular").stdout
    assert f"{facts['baselines']['popular']['recall@20']:.4f}" in shown
    check_refusal(reprise("baselines", "small", *where, "--only", "nothing"), 2, "only")
