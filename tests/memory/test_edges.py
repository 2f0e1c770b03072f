"""The edges of a memory, against slow and obvious programs."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_data import split_of
from helpers.effort import examples
from reprise.memory import rules
from reprise.memory.counting import decayed_products
from reprise.memory.edges import Edges
from reprise.memory.ridge import DECAY, FUTURE_DECAY, PENALTY, ridge_edges
from reprise.memory.rules import WINDOW, counted_edges

ITEMS = 7
LISTS = st.lists(st.lists(st.integers(1, ITEMS), max_size=2 * WINDOW), min_size=1, max_size=6)


def by_item(edges: Edges) -> list[dict[int, float]]:
    return [
        dict(zip(edges.to[begin:end].tolist(), edges.value[begin:end].tolist(), strict=True))
        for begin, end in zip(edges.offsets[:-1], edges.offsets[1:], strict=True)
    ]


def best(found: dict[int, float], keep: int) -> dict[int, float]:
    kept = sorted(found, key=lambda item: (-found[item], item))[:keep]
    return {item: found[item] / found[kept[0]] for item in sorted(kept)}


def counted(lists: list[list[int]], keep: int) -> list[dict[int, float]]:
    count = Counter(item for own in lists for item in own)
    total: dict[tuple[int, int], float] = defaultdict(float)
    users: dict[tuple[int, int], set[int]] = defaultdict(set)
    for distance in range(1, WINDOW + 1):
        for user, own in enumerate(lists):
            for place in range(len(own) - distance):
                pair = own[place], own[place + distance]
                total[pair] += 1 / np.sqrt(distance)
                users[pair].add(user)
    return [
        best(
            {
                to: total[item, to] / np.sqrt(count[to])
                for to in range(1, ITEMS + 1)
                if to != item and len(users[item, to]) > 1
            },
            keep,
        )
        for item in range(1, ITEMS + 1)
    ]


@examples(40)
@given(LISTS, st.integers(1, ITEMS))
def test_counted_edges_are_those_of_a_slow_program(lists: list[list[int]], keep: int) -> None:
    found = by_item(counted_edges(split_of(lists), ITEMS, keep))
    for own, expected in zip(found, counted(lists, keep), strict=True):
        assert list(own) == list(expected)
        assert list(own.values()) == pytest.approx(list(expected.values()), rel=1e-6)


@examples(10)
@given(LISTS)
def test_counted_edges_do_not_depend_on_how_many_pairs_are_counted_at_a_time(
    lists: list[list[int]],
) -> None:
    whole = counted_edges(split_of(lists), ITEMS, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "_PAIRS", 2 * WINDOW)
        assert counted_edges(split_of(lists), ITEMS, 3).digest == whole.digest


def test_counted_edges_count_some_occurrences_of_an_item_alone() -> None:
    """Which ones does not depend on the item, and others are counted all."""
    lists = [[1, other] for other in range(2, 8) for _ in range(50)] + [[2, 3]] * 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "MOST_COUNTED", 60)
        edges = by_item(counted_edges(split_of(lists), ITEMS, ITEMS))
    assert set(edges[1]) == {3}
    assert set(edges[0]) <= set(range(2, 8))
    chosen, starts = rules._chosen(np.zeros(1000, np.int64), 1)
    assert starts.tolist() == [0, 1000]
    assert chosen.tolist() == list(range(1000))


@examples(20)
@given(LISTS, st.integers(1, ITEMS))
def test_ridge_edges_are_the_greatest_of_the_solution(lists: list[list[int]], keep: int) -> None:
    train = split_of(lists)
    past, both = decayed_products(train, ITEMS, DECAY, FUTURE_DECAY)
    solved = np.linalg.solve(past + PENALTY * np.eye(ITEMS), both)
    np.fill_diagonal(solved, 0)
    for own, row in zip(by_item(ridge_edges(train, ITEMS, keep)), solved, strict=True):
        positive = {to + 1: value for to, value in enumerate(row) if value > 1e-9}
        expected = best(positive, keep) if positive else {}
        large = {to: value for to, value in own.items() if value > 1e-5}
        for to, value in large.items():  # which of equal ones is kept depends on rounding
            assert row[to - 1] / max(row) == pytest.approx(value, rel=1e-3)
        assert len(own) >= len(expected)
