"""Targets where not all items are to be found: none of the others is ever one."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.effort import examples
from reprise.data.sequences import Sequences
from reprise.errors import DataError
from reprise.training import targets
from reprise.training.batches import Batch, make_sampler, target_chance
from reprise.training.targets import COMIREC, TargetRule

STRIDE = 100  # item p of user u has the id 1 + u * STRIDE + p
RULES = [
    TargetRule(first=first, count=count, next_n=next_n, next_share=share)
    for first, count, next_n, share in [
        (4, 1, 1, 0),
        (1, 1, 3, 0),
        (2, 1, 1, 0.4),
        (1, 3, 1, 0),
        (2, 2, 3, 0),
        (3, 4, 1, 0.3),
    ]
]
LENGTH = 5


def split_of(users: Sequence[Sequence[bool]]) -> Sequences:
    items = [1 + user * STRIDE + p for user, own in enumerate(users) for p in range(len(own))]
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in users])]).astype(np.int64)
    flags = np.array([one for own in users for one in own], np.bool_)
    return Sequences(offsets, np.array(items, np.int32), flags)


def chances_slowly(
    users: Sequence[Sequence[bool]], rule: TargetRule, length: int
) -> tuple[dict[int, float], dict[tuple[int, int], list[list[int]]]]:
    """How likely each item is a target; and of each user and each place where a window may end, the
    places before which a history of it may end, each with those of its targets.
    """
    able = [n for n, own in enumerate(users) if any(own[rule.first :])]
    chance: dict[int, float] = {}
    windows: dict[tuple[int, int], list[list[int]]] = {}
    for user in able:
        own = users[user]
        size, reach = len(own), max(rule.next_n, int(rule.next_share * len(own)))
        ahead = {p: [t for t in range(p, min(p + reach, size)) if own[t]] for p in range(size)}
        ends: list[tuple[int, list[int]]] = []
        for end in range(size):
            if rule.count == 1:
                choices = [end] if end >= rule.first and ahead[end] else []
            else:
                first = end - min(end, length) + rule.first
                whole = end >= min(size - 1, length)
                choices = [p for p in range(first, end + 1) if ahead[p]] if whole else []
            if choices:
                ends.append((end, choices))
        for end, choices in ends:
            windows[user, end] = [[p, *ahead[p]] for p in choices]
            for p in choices:
                for t in ahead[p]:
                    item = 1 + user * STRIDE + t
                    share = 1 / len(able) / len(ends) / len(choices) / len(ahead[p])
                    chance[item] = chance.get(item, 0.0) + share
    return chance, windows


some_users = st.lists(
    st.lists(st.booleans(), max_size=14).map(lambda own: [*own, True]), min_size=1, max_size=6
)


@examples(150)
@given(some_users, st.sampled_from(RULES))
def test_target_chances_are_those_of_loops(users: list[list[bool]], rule: TargetRule) -> None:
    split = split_of(users)
    able = targets.trainable(split, rule.first)
    assert able.tolist() == [n for n, own in enumerate(users) if any(own[rule.first :])]
    if not len(able):
        return
    expected, _ = chances_slowly(users, rule, LENGTH)
    most = len(users) * STRIDE
    found = target_chance(split, able, most, LENGTH, rule)
    assert found == pytest.approx([expected.get(item, 0.0) for item in range(most + 1)], abs=1e-12)
    assert found.sum() == pytest.approx(1)


def ids_of(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    return batch.unique_rows[batch.history], batch.unique_rows[batch.target]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_sampler_draws_each_target_as_often_as_the_loops(rule: TargetRule) -> None:
    rng = np.random.default_rng(7)
    users = [[bool(one) for one in rng.random(n) < 0.3] for n in (5, 9, 14, 2, 20, 8, 0, 11)]
    split, most = split_of(users), len(users) * STRIDE
    expected, windows = chances_slowly(users, rule, LENGTH)
    draw = make_sampler(split, most, 4, LENGTH, 3, 4, "in-batch", rule)
    counts, steps = np.zeros(most + 1), 1000
    for step in range(1, steps + 1):
        batch = draw.batch(0, step)
        for history, found, prefixes in zip(*ids_of(batch), batch.prefixes, strict=True):
            known = history[history > 0]
            user, first = divmod(int(known[0]) - 1, STRIDE)
            end = first + len(known)
            assert known.tolist() == list(range(known[0], known[0] + len(known)))
            assert len(known) == min(end, LENGTH)
            allowed = {place: there for place, *there in windows[user, end]}
            for item, prefix in zip(found.tolist(), prefixes.tolist(), strict=True):
                assert (item - 1) // STRIDE == user
                assert (item - 1) % STRIDE in allowed[first + prefix]
            assert len(set(prefixes.tolist())) == min(rule.count, len(allowed))
        counts += np.bincount(found_in(batch), minlength=most + 1) / batch.target.size
    drawn = counts / steps
    chance = np.array([expected.get(item, 0.0) for item in range(most + 1)])
    assert np.abs(drawn - chance).max() < 5 * (0.25 / (steps * 4)) ** 0.5
    assert not drawn[chance == 0].any()


def found_in(batch: Batch) -> np.ndarray:
    return batch.unique_rows[batch.target].ravel()


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("kind", ["log-uniform", "in-batch", "full"])
def test_batches_are_the_same_where_all_items_are_to_be_found(rule: TargetRule, kind: str) -> None:
    split = split_of([[True] * n for n in (5, 9, 14, 2, 20, 8, 0, 11)])
    every = dataclasses.replace(split, targets=None)
    marked, plain = (
        make_sampler(own, 8 * STRIDE, 4, LENGTH, 6, 4, kind, rule) for own in (split, every)
    )
    for step in range(1, 50):
        for one, other in zip(marked.batch(1, step), plain.batch(1, step), strict=True):
            if one is None or other is None:  # no times
                assert one is other
                continue
            np.testing.assert_allclose(one, other, rtol=1e-6)
            if np.issubdtype(one.dtype, np.integer):
                np.testing.assert_array_equal(one, other)


def test_sampler_never_draws_users_without_a_target_after_enough_items() -> None:
    users = [[True] * 4 + [False] * 9, [False] * 6 + [True], [False] * 9, [True] * 3]
    split = split_of(users)
    assert make_sampler(split, 4 * STRIDE, 1, LENGTH, 3, 4).users.tolist() == [1]
    with pytest.raises(DataError, match=r"Only 1 training users .* after at least 4 items"):
        make_sampler(split, 4 * STRIDE, 2, LENGTH, 3, 4, rule=COMIREC)
