"""Baselines that count, against slow and obvious programs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reprise
from helpers.builders_data import ROWS, write_comirec
from helpers.commands import SIZES, check_refusal
from helpers.commands import reprise as command
from reprise.cli.main import cli
from reprise.data.features import Bags, Codes, Vectors
from reprise.data.sequences import Past, Sequences
from reprise.evaluation import baselines
from reprise.evaluation.baselines import (
    BASELINES,
    ItemToItem,
    cosines,
    ease,
    ridge,
    rules,
)
from reprise.evaluation.cold import nearest, of_category
from reprise.evaluation.ranked import ranked
from reprise.evaluation.recent import recent
from reprise.memory import counting
from reprise.memory.counting import decayed_products, rule_counts
from reprise.runs.baselines import measure_baselines

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


@given(HISTORIES, st.sampled_from([1, 2, 3, None]))
def test_knn_is_the_shrunk_cosine_of_sets_of_users(
    lists: list[list[int]], most: int | None
) -> None:
    found = dense(cosines(sequences(lists), ITEMS, most))
    having = [{user for user, own in enumerate(lists) if item in own} for item in range(ITEMS + 1)]
    for one in range(1, ITEMS + 1):
        expected = np.zeros(ITEMS)
        for other in {*range(1, ITEMS + 1)} - {one}:
            both = len(having[one] & having[other])
            alike = both / ((len(having[one]) * len(having[other])) ** 0.5 + 20)
            expected[other - 1] = np.float32(alike)
        expected[np.argsort(-expected, kind="stable")[most or ITEMS :]] = 0
        assert found[one - 1] == pytest.approx(expected, rel=1e-5)


def test_knn_is_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    own = sequences([rng.integers(1, 31, 12).tolist() for _ in range(40)])
    whole = dense(cosines(own, 30, 5))
    monkeypatch.setattr(baselines, "_PAIRS", 100)
    np.testing.assert_array_equal(dense(cosines(own, 30, 5)), whole)
    assert (np.count_nonzero(whole, axis=1) == 5).all()


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


def test_symmetric_matrices_are_mirrored_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_MIRRORED", 3)
    own = np.random.default_rng(7).normal(size=(8, 8))
    np.testing.assert_allclose(counting._plus_transposed(own.copy()), own + own.T)
    system = own @ own.T
    inverse = np.linalg.inv(system + 2 * np.eye(8))
    np.testing.assert_allclose(baselines._inverse(system.copy(), 2.0), inverse)


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


@given(st.data(), HISTORIES, HISTORIES, st.integers(1, ITEMS + 1))
def test_recent_counts_the_days_before_the_last_known_interaction(
    data: st.DataObject, lists: list[list[int]], asked: list[list[int]], top_n: int
) -> None:
    def timed(own: list[list[int]]) -> Sequences:
        many = sum(map(len, own))
        days = data.draw(st.lists(st.integers(0, 800), min_size=many, max_size=many))
        made = sequences(own)
        return replace(made, times=np.array(days, np.int64) * 86_400 * 10**9)

    train, other = timed(lists), timed(asked)
    past = Past(other.items, np.asarray(other.offsets[:-1]), other.lengths, other.times)
    assert train.times is not None
    assert other.times is not None
    for settings, fitted in recent(train, ITEMS):
        reach = settings["days"] * 86_400 * 10**9
        for row, history, end in zip(
            fitted.ranked(past, top_n), asked, other.offsets[1:], strict=True
        ):
            now = other.times[end - 1] if history else 0
            counted = (now - reach < train.times) & (train.times <= now)
            counts = np.bincount(train.items[counted], minlength=ITEMS + 1)
            left = [item for item in range(1, ITEMS + 1) if item not in history]
            best = sorted(left, key=lambda item: (-counts[item], item))[:top_n]
            assert row.tolist() == best + [0] * (top_n - len(best))


@given(HISTORIES, st.booleans(), st.integers(1, ITEMS), st.integers(0, 10**6))
def test_cold_items_are_listed_by_category_and_by_vector(
    lists: list[list[int]], several: bool, top_n: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    allowed = np.append(False, rng.random(ITEMS) < 0.6)
    counts = rng.integers(0, 5, ITEMS + 1)
    of_item = [
        sorted({*rng.integers(0, 4, 2 if several else 1).tolist()}) for _ in range(ITEMS + 1)
    ]
    codes = np.array([code for own in of_item for code in own], np.int32)
    offsets = np.cumsum([0, *map(len, of_item)])
    feature = Bags("a", offsets, codes, 4) if several else Codes("a", codes, 4)
    values = rng.normal(size=(ITEMS + 1, 3)).astype(np.float32) * (rng.random((ITEMS + 1, 1)) < 0.8)
    norms = np.maximum(np.linalg.norm(values.astype(np.float64), axis=1), 1e-9)
    own = sequences(lists)
    past = Past(own.items, np.asarray(own.offsets[:-1]), own.lengths)

    def alike(item: int, other: int) -> float:
        both = {*of_item[item]} & {*of_item[other]} - {0}
        return len(both) / len(of_item[item]) / len(of_item[other])

    categories = of_category(feature, counts, allowed)
    vectors = nearest(Vectors("b", values), allowed)
    scored: list[tuple[Any, Any]] = [
        (categories, lambda item, other: alike(item, other) * (counts[item] + 1)),
        (vectors, lambda item, other: values[item] @ values[other] / norms[item] / norms[other]),
    ]
    for fitted, score in scored:
        made = dense(fitted.scores(own))
        for user, history in enumerate(lists):
            for item in range(1, ITEMS + 1):
                expected = np.mean([score(item, other) for other in history]) if history else 0
                assert made[user, item - 1] == pytest.approx(expected, abs=1e-5)
        for user, row in enumerate(fitted.ranked(past, top_n)):
            left = [i for i in range(1, ITEMS + 1) if allowed[i] and i not in lists[user]]
            best = sorted(left, key=lambda item: (-made[user, item - 1], item))[:top_n]
            assert row.tolist() == best + [0] * (top_n - len(best))


def test_baselines_read_popularity_from_the_rank(small_data: Path) -> None:
    data = reprise.open_dataset("small", small_data)
    place = np.random.default_rng(5).permutation(data.num_items) + 1
    moved = np.concatenate([[0], place]).astype(np.int32)  # the new number of each item
    splits = {
        name: replace(own, items=moved[own.items], times=own.items * np.int64(10**15))
        for name, own in data.splits.items()
    }
    before = replace(
        data,
        splits={name: replace(splits[name], items=own.items) for name, own in data.splits.items()},
    )
    old = np.argsort(moved)
    after = replace(data, splits=splits, item_category=data.item_category[old])
    vars(after).update(rank=old.astype(np.int32), training_counts=data.training_counts[old])
    expected, found = (measure_baselines(one, "test", (5,))["baselines"] for one in (before, after))
    assert {*expected} == {one.name for one in BASELINES}  # no item is cold
    for name, own in expected.items():
        assert found[name] | {"groups": {}} == own | {"groups": {}}, name


def test_baselines_stand_beside_runs_evaluated_without_seen_items(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*words: object) -> str:
        end = cli.main([*map(str, words), "--runs-dir", str(tmp_path)], standalone_mode=False)
        assert not end
        return capsys.readouterr().out

    given: Any = {**SIZES, "test_iter": 2, "steps": 2, "runs_dir": tmp_path}
    for name in ("first", "second"):
        run = reprise.train("small", name=name, data_dir=small_data, **given)
    data = reprise.open_dataset("small", small_data)
    counted = reprise.baselines(data, cutoffs=10, only="popular", runs_dir=tmp_path)
    assert counted.facts["runs"] == {"first": None, "second": None}
    found = reprise.evaluate(run, filter_seen=True, cutoffs=10)["recall@10"]
    beside = reprise.baselines(data, cutoffs=10, only="popular", runs_dir=tmp_path)
    popular = beside["popular"]["recall@10"]
    frame = beside.frame.select("name", "kind", "recall@10").rows()
    assert frame == [("popular", "baseline", popular), ("second", "run", found)]
    assert repr(beside) == f"Baselines('small', test: popular recall@10 {popular:.6f})"
    assert f"<td>recall@10 {found:.6f}</td>" in beside._repr_html_()
    facts = json.loads(shown("runs", "compare", "first", "second", "--json"))
    assert facts["baselines"] == [{**beside.facts, "runs": facts["baselines"][0]["runs"]}]
    for words in ("runs compare first second", "runs compare second --split test"):
        text = shown(*words.split())
        assert "Baselines of small, test users, seen items left out" in text
        assert f"{popular:.4f}" in text
        assert f"{found:.4f}" in text
        assert ("Not in the table: first" in text) == ("first" in words)
    shown("report", "first", "--data-dir", small_data, "--output", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Baselines of small, test users, seen items left out" in page
    assert f'<td class="number">{popular:.4f}</td>' in page
    assert "Not in the table" not in page  # the report evaluated it


def test_baselines_leave_out_recent_where_there_are_no_times(tmp_path: Path) -> None:
    source = write_comirec(tmp_path / "source", ROWS)
    data = reprise.prepare(source, "untimed", data_dir=tmp_path)
    with pytest.warns(UserWarning, match="no times"):
        found = reprise.baselines(data, only=("popular", "recent"), runs_dir=tmp_path)
    assert found.facts["left_out"] == {"recent": "times"}
    assert list(found.facts["baselines"]) == ["popular"]


def test_baselines_are_stored_and_shown_beside_runs(small_data: Path, tmp_path: Path) -> None:
    where = ("--data-dir", small_data, "--runs-dir", tmp_path)
    done = command("baselines", "small", *where, "--cutoffs", "5,20", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert list(facts["baselines"]) == ["popular", "recent", "rules", "knn", "ease", "ridge"]
    assert facts["baselines"]["rules"]["settings"].keys() == {"window", "power", "decay"}
    kept = json.loads((tmp_path / "baselines" / "small.json").read_text())
    assert kept["results"]["test"]["baselines"] == facts["baselines"]
    shown = command("baselines", "small", *where, "--only", "popular").stdout
    assert f"{facts['baselines']['popular']['recall@20']:.4f}" in shown
    check_refusal(command("baselines", "small", *where, "--only", "nothing"), 2, "only")
