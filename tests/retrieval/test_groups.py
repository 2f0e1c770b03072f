"""Results by group, against loops over users and targets."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers import oracles
from helpers.builders_data import split_of
from helpers.effort import examples
from reprise.data.sequences import EvaluationUsers, Past
from reprise.evaluation import groups
from reprise.evaluation.metrics import Lists, measured

relaxed = examples(80)
seeds = st.integers(0, 2**32 - 1)
ITEMS, CUTOFFS = 20, (2, 5)


def users_of(lengths: Sequence[int], targets: Sequence[Sequence[int]]) -> EvaluationUsers:
    """Users of whom only the length of the past and the targets matter."""
    wanted, count = split_of(targets), len(targets)
    nothing = np.zeros((count, 1), np.int32)
    past = Past(nothing.ravel(), np.zeros(count, np.int64), np.array(lengths, np.int64))
    return EvaluationUsers(nothing, nothing.ravel(), wanted.offsets, wanted.items, past)


def metrics_of(users: EvaluationUsers, lists: list[list[int]]) -> dict[str, NDArray[np.float64]]:
    held = Lists(np.array(lists), users.target_offsets, users.target_items)
    return dict(measured(held, CUTOFFS, ("targets",)))


def random_case(rng: np.random.Generator, count: int) -> tuple[EvaluationUsers, list[list[int]]]:
    """Return users and a list of items for each."""
    lengths = rng.choice([1, 9, 10, 19, 20, 49, 50, 99, 100, 5000], count).tolist()
    targets = [rng.integers(1, ITEMS + 1, rng.integers(1, 7)).tolist() for _ in range(count)]
    lists = [(rng.permutation(ITEMS)[:5] + 1).tolist() for _ in range(count)]
    return users_of(lengths, targets), lists


def users_with(
    histories: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> EvaluationUsers:
    """Users of whom only the whole past and the targets matter; items they do not have between."""
    spread = split_of([own for history in histories for own in (history, [ITEMS])])
    wanted, nothing = split_of(targets), np.zeros((len(targets), 1), np.int32)
    past = Past(spread.items, spread.offsets[:-1:2], spread.lengths[::2])
    return EvaluationUsers(nothing, nothing.ravel(), wanted.offsets, wanted.items, past)


def targets_of(users: EvaluationUsers, user: int) -> list[int]:
    start, stop = users.target_offsets[user : user + 2]
    items: list[int] = users.target_items[start:stop].tolist()
    return items


def expected_means(cases: Sequence[tuple[list[int], list[int]]]) -> dict[str, float]:
    """Return mean recall and ndcg of (list, targets) pairs."""
    return {
        f"{name}@{n}": sum(oracles.metrics_at(*case, n)[name] for case in cases) / len(cases)
        for n in CUTOFFS
        for name in ("recall", "ndcg")
    }


@relaxed
@given(seeds, st.integers(1, 12))
def test_groups_of_users_are_by_their_whole_history(seed: int, count: int) -> None:
    users, lists = random_case(np.random.default_rng(seed), count)
    by_user = metrics_of(users, lists)
    computed = {group.name: group for group in groups.by_history(users, by_user, CUTOFFS)}
    bounds = {"1-9": (1, 9), "10-19": (10, 19), "20-49": (20, 49), "50-99": (50, 99)}
    found = []
    for name, (low, high) in (bounds | {"100+": (100, 10**9)}).items():
        inside = [n for n in range(count) if low <= users.past.lengths[n] <= high]
        if not inside:
            continue
        found.append(name)
        assert (computed[name].users, computed[name].items) == (len(inside), None)
        cases = [(lists[n], targets_of(users, n)) for n in inside]
        assert computed[name].metrics == pytest.approx(expected_means(cases))
    assert list(computed) == found


@relaxed
@given(seeds, st.integers(1, 30), st.integers(1, 4), st.integers(1, 8))
def test_groups_of_users_are_by_category_diversity(
    seed: int, count: int, categories: int, longest: int
) -> None:
    rng = np.random.default_rng(seed)
    category = rng.integers(-1, categories, ITEMS + 1).astype(np.int32)
    category[0] = categories - 1  # the padding's entry means nothing
    histories = [
        rng.integers(1, ITEMS + 1, rng.integers(1, longest + 1)).tolist() for _ in range(count)
    ]
    by_length, lists = random_case(rng, count)
    users = users_with(histories, [targets_of(by_length, n) for n in range(count)])
    by_user = metrics_of(users, lists)
    computed = groups.by_mixture(users, by_user, category, CUTOFFS)

    bits = [oracles.category_entropy(history, category.tolist()) for history in histories]
    expected = oracles.mixture_groups(bits)
    order = ["focused", "middle", "mixed", "unknown"]
    assert [group.name for group in computed] == [name for name in order if name in expected]
    for group in computed:
        inside = [n for n in range(count) if expected[n] == group.name]
        assert (group.users, group.items) == (len(inside), None)
        own = [one for n in inside if (one := bits[n]) is not None]
        assert group.bits == (pytest.approx((min(own), max(own)), abs=1e-8) if own else None)
        cases = [(lists[n], targets_of(users, n)) for n in inside]
        assert group.metrics == pytest.approx(expected_means(cases))


def test_groups_keep_users_of_equal_diversity_together() -> None:
    """Shares 1/7, 2/7, 4/7 in any order and any multiple are one entropy, and one group."""
    category = np.array([-1, *[0] * 4, *[1] * 4, *[2] * 4, *[3] * 8], np.int32)
    first, second, third = [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]
    equal = [
        [*first[:1], *second[:2], *third],
        [*third[:1], *first[:2], *second],
        [*second[:1], *third[:2], *first] * 3,
    ]
    users = users_with([[1, 2], *equal, [1, 5, 9, 13]], [[1]] * 5)
    bits = groups.category_entropy(users.past, category)
    assert bits.tolist() == [0, *[pytest.approx(1.378783493)] * 3, 2]
    assert len(set(bits.tolist())) == 3
    assert not np.signbit(bits).any()
    assert groups.mixture(bits).tolist() == [0, 0, 0, 0, 2]


@relaxed
@given(seeds, st.integers(1, 12))
def test_groups_of_targets_are_by_item(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    users, lists = random_case(rng, count)
    number = rng.integers(-1, 3, ITEMS + 1).astype(np.int8)
    names = ("head", "middle", "tail")
    computed = groups.by_target(np.array(lists), users, number, names, CUTOFFS)
    assert tuple(group.name for group in computed) == names
    for place, group in enumerate(computed):
        own = [[t for t in targets_of(users, n) if number[t] == place] for n in range(count)]
        cases = [(lists[n], own[n]) for n in range(count) if own[n]]
        assert (group.users, group.items) == (len(cases), int((number == place).sum()))
        if cases:
            assert group.metrics == pytest.approx(expected_means(cases))
        else:
            assert np.isnan(list(group.metrics.values())).all()


@relaxed
@given(seeds, st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_groups_of_targets_are_warm_or_cold(seed: int, count: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    users, lists = random_case(rng, count)
    counts = np.where(rng.random(ITEMS + 1) < share, 0, rng.integers(1, 9, ITEMS + 1))
    cold = {item for item in range(1, ITEMS + 1) if counts[item] == 0}
    found = groups.by_coldness(np.array(lists), users, counts, CUTOFFS)
    if not cold & {item for n in range(count) for item in targets_of(users, n)}:
        assert found == []
        return
    assert [(group.name, group.items) for group in found] == [
        ("warm", ITEMS - len(cold)),
        ("cold", len(cold)),
    ]
    for group in found:
        own = [
            [item for item in targets_of(users, n) if (item in cold) == (group.name == "cold")]
            for n in range(count)
        ]
        cases = [(lists[n], own[n]) for n in range(count) if own[n]]
        assert group.users == len(cases)
        if cases:
            assert group.metrics == pytest.approx(expected_means(cases))
        else:
            assert np.isnan(list(group.metrics.values())).all()


@relaxed
@given(seeds, st.integers(1, 30), st.integers(0, 5))
def test_groups_of_items_end_where_a_third_is_passed(seed: int, num_items: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.concatenate([[0], rng.integers(0, most + 1, num_items)])
    counts[rng.integers(1, num_items + 1)] += 1
    expected = oracles.popularity_groups({n: int(counts[n]) for n in range(1, num_items + 1)})
    names = [groups.POPULARITY[number] for number in groups.popularity(counts)[1:]]
    assert names == [expected[n] for n in range(1, num_items + 1)]


def test_groups_of_equally_popular_items_are_thirds() -> None:
    assert groups.popularity(np.array([0, *[7] * 9])).tolist() == [-1, *[0] * 3, *[1] * 3, *[2] * 3]


def test_groups_put_items_without_training_into_the_tail() -> None:
    assert groups.popularity(np.array([0, 0, 9, 0])).tolist() == [-1, 2, 0, 2]
