"""Negatives: the log-uniform draw and its expected counts, against TensorFlow's."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import oracles
from helpers.effort import examples
from reprise.config.schema import SETTINGS, TrainConfig
from reprise.training import negatives

SAMPLERS = SETTINGS["sampler"].choices
relaxed = examples(60)
seeds = st.integers(0, 2**32 - 1)
# A catalogue's size and a smaller number of negatives.
sizes = st.integers(2, 100).flatmap(lambda v: st.tuples(st.just(v), st.integers(1, v - 1)))


def one_by_one(seed: int) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    while True:
        yield float(rng.random())


@relaxed
@given(st.integers(1, 5000))
def test_probability_falls_with_rank_and_sums_to_one(num_items: int) -> None:
    p = negatives.probability(np.arange(1, num_items + 1), num_items)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert (p > 0).all()
    assert (np.diff(p) < 0).all()


@relaxed
@given(sizes, seeds)
def test_draw_maps_the_uniform_stream_as_tensorflow(size: tuple[int, int], seed: int) -> None:
    num_items, count = size
    drawn = negatives.draw(np.random.default_rng(seed), count, num_items)
    ids, tries = oracles.draw_unique(one_by_one(seed), count, num_items)
    assert drawn.ids.tolist() == ids
    assert drawn.tries == tries


@relaxed
@given(sizes, seeds)
def test_draw_returns_distinct_items(size: tuple[int, int], seed: int) -> None:
    num_items, count = size
    drawn = negatives.draw(np.random.default_rng(seed), count, num_items)
    assert len(set(drawn.ids.tolist())) == len(drawn.ids) == count
    assert drawn.ids.min() >= 1
    assert drawn.ids.max() <= num_items
    assert drawn.tries is not None
    assert drawn.tries >= count


def test_draw_is_log_uniform() -> None:
    rng = np.random.default_rng(5)
    first = [int(negatives.draw(rng, 1, 8).ids[0]) for _ in range(20_000)]
    frequency = np.bincount(first, minlength=9)[1:] / len(first)
    expected = negatives.probability(np.arange(1, 9), 8)
    assert frequency == pytest.approx(expected, abs=0.015)  # more than four standard errors


@relaxed
@given(sizes, st.integers(0, 300))
def test_expected_count_equals_tensorflow(size: tuple[int, int], rejected: int) -> None:
    num_items, count = size
    tries = count + rejected
    ids = np.arange(1, num_items + 1)
    expected = [oracles.expected_count(int(i), num_items, count, tries) for i in ids]
    q = negatives.expected_count(ids, num_items, count, tries)
    assert q == pytest.approx(expected, rel=1e-5)


def test_expected_count_without_rejection_is_p_times_s() -> None:
    ids = np.array([1, 7, 20])
    q = negatives.expected_count(ids, num_items=20, count=6, tries=6)
    assert q == pytest.approx(6 * negatives.probability(ids, 20), rel=1e-5)


def test_expected_count_equals_the_frequency_of_inclusion() -> None:
    num_items, count, draws = 50, 25, 3000
    rng = np.random.default_rng(1)
    ids = np.arange(1, num_items + 1)
    included, expected = np.zeros(num_items), np.zeros(num_items)
    for _ in range(draws):
        drawn = negatives.draw(rng, count, num_items)
        included[drawn.ids - 1] += 1
        expected += negatives.expected_count(ids, num_items, count, drawn.tries)
    # The formula is an approximation: it takes the number of tries as given.
    assert included / draws == pytest.approx(expected / draws, abs=0.04)
    assert expected.sum() / draws == pytest.approx(count, rel=0.02)


def test_sampler_kinds_are_the_choices_of_the_setting() -> None:
    assert set(SAMPLERS) == set(negatives.KINDS)
    for name, kind in negatives.KINDS.items():
        config = TrainConfig("d", "n", sampler=name, negatives=7 if kind.draw else None)
        if kind.draw is None:
            assert config.num_negatives == config.batch_size  # in the place of a count
        else:
            assert (config.num_negatives == 7) == (not kind.whole)  # which says nothing of all


@relaxed
@given(sizes, seeds)
def test_draw_uniform_returns_distinct_items(size: tuple[int, int], seed: int) -> None:
    num_items, count = size
    ids = negatives.draw_uniform(np.random.default_rng(seed), count, num_items).ids
    assert len(set(ids.tolist())) == len(ids) == count
    assert ids.min() >= 1
    assert ids.max() <= num_items


@pytest.mark.parametrize("kind", sorted(set(SAMPLERS) - {"log-uniform"}))
def test_log_q_equals_the_mean_count_over_many_batches(kind: str) -> None:
    """The targets' chances are far from even, and the last item is never a target."""
    num_items, count, size, batches = 30, 8, 5, 6000
    rng = np.random.default_rng(2)
    chance = np.concatenate([[0], rng.dirichlet(np.full(num_items - 1, 0.7)), [0]])
    counts, q = np.zeros(num_items + 1), np.zeros(num_items + 1)
    for _ in range(batches):
        target = rng.choice(num_items + 1, size, p=chance)
        made = negatives.sample(kind, rng, target, count, num_items, chance)
        drawn = np.concatenate([target[: size * (negatives.KINDS[kind].in_batch)], made.drawn])
        assert len(made.drawn) == {"in-batch": 0, "full": num_items}.get(kind, count)
        np.add.at(counts, drawn, 1)
        assert made.log_q.dtype == np.float32
        assert len(made.log_q) == size + len(drawn)
        q[np.concatenate([target, drawn])] = np.exp(made.log_q.astype(np.float64))
    seen = q > 0  # in-batch, what is never a target has none
    assert not counts[~seen].any()
    assert np.abs(counts / batches - q)[seen] == pytest.approx(0, abs=0.05)
    deviation = np.sqrt(q / batches)  # of a Poisson count, and theirs is no more
    assert (np.abs(counts / batches - q) <= 5 * deviation + 1e-3).all()
    assert counts.sum() / batches == pytest.approx(q.sum(), rel=0.02)


def test_in_batch_negatives_have_the_targets_own_counts() -> None:
    """By hand: three targets, one of them twice, and two items of five drawn beside them."""
    chance = np.array([0, 0.5, 0.25, 0.25, 0, 0])
    target = np.array([1, 3, 1])
    rng = np.random.default_rng(0)
    alone = negatives.sample("in-batch", rng, target, 2, 5, chance)
    assert alone.drawn.tolist() == []
    assert np.exp(alone.log_q) == pytest.approx([1.5, 0.75, 1.5] * 2)
    mixed = negatives.sample("mixed", rng, target, 2, 5, chance)
    expected = 3 * chance + 2 / 5
    every = [*target, *target, *mixed.drawn]
    assert np.exp(mixed.log_q) == pytest.approx(expected[every])


@pytest.mark.parametrize("kind", ["uniform", "mixed"])
def test_draw_of_all_items_counts_each_once(kind: str) -> None:
    chance = np.array([0, 1.0, 0, 0])
    made = negatives.sample(kind, np.random.default_rng(0), np.array([1]), 9, 3, chance)
    assert made.drawn.tolist() == [1, 2, 3]
    assert np.exp(made.log_q[-3:]) == pytest.approx([2, 1, 1] if kind == "mixed" else [1, 1, 1])


@relaxed
@given(st.integers(1, 60), st.integers(0, 20), seeds)
def test_draw_of_at_least_the_catalogue_returns_all_items(
    num_items: int, more: int, seed: int
) -> None:
    drawn = negatives.draw(np.random.default_rng(seed), num_items + more, num_items)
    assert drawn.ids.tolist() == list(range(1, num_items + 1))
    q = negatives.expected_count(drawn.ids, num_items, len(drawn.ids), drawn.tries)
    assert (q == 1).all()
