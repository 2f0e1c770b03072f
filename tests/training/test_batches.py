"""Batches: a pure function of (seed, branch, step), with ids local to their unique rows."""

import dataclasses
import hashlib
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers import oracles
from helpers.effort import examples
from reprise.data.sequences import Sequences
from reprise.errors import DataError
from reprise.training import negatives
from reprise.training.batches import Batch, Sampler, make_sampler, prefetch, target_chance
from reprise.training.packing import packed
from reprise.training.targets import COMIREC, TargetRule

relaxed = examples(60)
STRIDE = 100  # item p of user u has the id 1 + u * STRIDE + p: an id tells whose it is, and where
LENGTHS = [5, 30, 4, 8, 0, 12, 5, 60, 6, 9]
NUM_ITEMS = len(LENGTHS) * STRIDE
BATCH, HISTORY, NEGATIVES = 6, 7, 11
steps = st.integers(1, 10**6)
seeds = st.integers(0, 2**32 - 1)


def make_split(lengths: list[int]) -> Sequences:
    items = [
        1 + user * STRIDE + position
        for user, length in enumerate(lengths)
        for position in range(length)
    ]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(offsets.astype(np.int64), np.array(items, np.int32))


def sampler(seed: int = 19, count: int = NEGATIVES, num_items: int = NUM_ITEMS) -> Sampler:
    return make_sampler(make_split(LENGTHS), num_items, BATCH, HISTORY, count, seed)


def digest(batch: Batch) -> str:
    return hashlib.sha256(
        b"|".join(array.tobytes() for array in batch if array is not None)
    ).hexdigest()


@relaxed
@given(st.integers(0, 3), steps)
def test_batch_users_are_distinct_and_have_a_target(branch: int, step: int) -> None:
    batch = sampler().batch(branch, step)
    users, positions = np.divmod(batch.unique_rows[batch.target[:, 0]] - 1, STRIDE)
    assert len(set(users.tolist())) == BATCH
    for user, position in zip(users, positions, strict=True):
        assert COMIREC.first <= position < LENGTHS[user]


@relaxed
@given(st.integers(0, 3), steps)
def test_batch_history_precedes_the_target(branch: int, step: int) -> None:
    batch = sampler().batch(branch, step)
    targets = batch.unique_rows[batch.target[:, 0]]
    for target, row, length in zip(
        targets, batch.unique_rows[batch.history], batch.prefixes[:, 0], strict=True
    ):
        position = (target - 1) % STRIDE
        before = list(range(target - position, target))[-HISTORY:]
        assert length == len(before)
        assert row.tolist() == before + [0] * (HISTORY - len(before))


def test_batches_cover_every_target_of_every_user() -> None:
    draw = sampler()
    seen = set()
    for step in range(1, 1500):
        batch = draw.batch(0, step)
        seen.update(batch.unique_rows[batch.target[:, 0]].tolist())
    wanted = {
        1 + user * STRIDE + position
        for user, length in enumerate(LENGTHS)
        for position in range(COMIREC.first, length)
    }
    assert seen == wanted


@relaxed
@given(st.integers(0, 3), steps)
def test_batch_unique_rows_are_distinct_and_ascending_to_past_the_end(
    branch: int, step: int
) -> None:
    batch = sampler().batch(branch, step)
    unique_rows = batch.unique_rows
    assert unique_rows.shape == (BATCH * HISTORY + BATCH + NEGATIVES,)
    assert (np.diff(unique_rows) > 0).all()
    used = {int(i) for part in (batch.history, batch.target, batch.negatives) for i in part.ravel()}
    assert used == set(range(len(used)))  # every local index up to the last real row is used
    assert (unique_rows[: len(used)] <= NUM_ITEMS).all()
    assert (unique_rows[len(used) :] > NUM_ITEMS).all()


@relaxed
@given(st.integers(0, 3), steps)
def test_batch_log_q_belongs_to_the_drawn_ids(branch: int, step: int) -> None:
    batch = sampler().batch(branch, step)
    ids = batch.unique_rows[batch.negatives]
    assert len(set(ids.tolist())) == NEGATIVES
    assert ids.min() >= 1
    # One number of tries explains all of log q, of targets and negatives alike.
    together = np.concatenate([batch.unique_rows[batch.target[:, 0]], ids])
    log_q = np.concatenate([batch.log_q_target[:, 0], batch.log_q_negatives])

    def explained(tries: int) -> NDArray[np.float32]:
        q = negatives.expected_count(together, NUM_ITEMS, NEGATIVES, tries)
        return np.log(q).astype(np.float32)

    assert any(
        np.array_equal(explained(tries), log_q) for tries in range(NEGATIVES, 50 * NEGATIVES)
    )


@pytest.mark.parametrize("kind", ["in-batch", "mixed"])
def test_batch_in_batch_negatives_start_with_its_targets(kind: str) -> None:
    lengths = LENGTHS[:8]
    items = np.concatenate([np.arange(length) % 9 + 1 for length in lengths]).astype(np.int32)
    split = Sequences(np.concatenate([[0], np.cumsum(lengths)]), items)
    sequences = [items[a:b].tolist() for a, b in itertools.pairwise(split.offsets)]
    chance = oracles.target_chance(sequences, COMIREC.first)
    draw = make_sampler(split, 20, 5, HISTORY, NEGATIVES, 3, kind)
    drawn = 0 if kind == "in-batch" else NEGATIVES
    shared = 0
    for step in range(1, 20):
        batch = draw.batch(0, step)
        assert batch.negatives[:5].tolist() == batch.target[:, 0].tolist()
        assert batch.negatives.shape == batch.log_q_negatives.shape == (5 + drawn,)
        assert batch.unique_rows.shape == (5 * HISTORY + 5 + drawn,)
        for local, log_q in [
            *zip(batch.target[:, 0], batch.log_q_target[:, 0], strict=True),
            *zip(batch.negatives, batch.log_q_negatives, strict=True),
        ]:
            expected = 5 * chance.get(int(batch.unique_rows[local]), 0) + drawn / 20
            assert np.exp(log_q) == pytest.approx(expected, rel=1e-5)
        # Where rows share a target it is no negative of either.
        hit = batch.target == batch.negatives
        assert hit.any(axis=1).all()
        shared += (hit[:, :5].sum(axis=1) > 1).any()
    assert shared > 0


@relaxed
@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.integers(1, 9), seeds)
def test_target_chances_equal_the_loops(lengths: list[int], next_n: int, seed: int) -> None:
    items = np.random.default_rng(seed).integers(1, 10, sum(lengths)).astype(np.int32)
    split = Sequences(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), items)
    users = np.flatnonzero(split.lengths > COMIREC.first)
    assume(len(users) > 0)
    sequences = [items[a:b].tolist() for a, b in itertools.pairwise(split.offsets)]
    expected = oracles.target_chance(sequences, COMIREC.first, next_n)
    computed = target_chance(split, users, 10, HISTORY, TargetRule(next_n=next_n))
    assert computed == pytest.approx([expected.get(item, 0.0) for item in range(11)])
    assert computed.sum() == pytest.approx(1)


@relaxed
@given(st.integers(1, 9), st.integers(0, 3), steps)
def test_batch_target_is_among_the_next_n_after_the_history(
    next_n: int, branch: int, step: int
) -> None:
    batch = following(next_n).batch(branch, step)
    targets = batch.unique_rows[batch.target[:, 0]]
    one = following(1).batch(branch, step)  # the very position
    assert one.unique_rows[one.history].tolist() == batch.unique_rows[batch.history].tolist()
    ahead = targets - one.unique_rows[one.target[:, 0]]
    user, position = np.divmod(targets - 1, STRIDE)
    assert (ahead >= 0).all()
    assert (ahead < next_n).all()
    assert (position < np.array(LENGTHS)[user]).all()
    np.testing.assert_array_equal(
        one.unique_rows[one.negatives], batch.unique_rows[batch.negatives]
    )


def test_batch_targets_are_uniform_over_the_next_n() -> None:
    length, next_n = 12, 3
    draw = make_sampler(
        make_split([length] * 6), NUM_ITEMS, 6, length, 1, 4, rule=TargetRule(next_n=next_n)
    )
    counts = np.zeros((length, next_n))
    for step in range(1, 3001):
        batch = draw.batch(0, step)
        target = (batch.unique_rows[batch.target] - 1) % STRIDE
        np.add.at(counts, (batch.prefixes, target - batch.prefixes), 1)  # histories are whole
    for position in range(COMIREC.first, length):
        there = min(next_n, length - position)
        share = counts[position] / counts[position].sum()
        assert share[:there] == pytest.approx([1 / there] * there, abs=0.05)
        assert not share[there:].any()


def several(num_targets: int) -> Sampler:
    return make_sampler(
        make_split(LENGTHS),
        NUM_ITEMS,
        BATCH,
        HISTORY,
        NEGATIVES,
        19,
        rule=TargetRule(count=num_targets),
    )


@relaxed
@given(st.integers(2, 9), st.integers(0, 3), steps)
def test_batch_of_several_targets_takes_one_window_each_after_its_prefix(
    num_targets: int, branch: int, step: int
) -> None:
    batch = several(num_targets).batch(branch, step)
    assert batch.target.shape == batch.prefixes.shape == batch.log_q_target.shape
    assert batch.unique_rows.shape == (BATCH * HISTORY + BATCH * num_targets + NEGATIVES,)
    for row, targets, prefixes in zip(
        batch.unique_rows[batch.history],
        batch.unique_rows[batch.target],
        batch.prefixes,
        strict=True,
    ):
        user, first = divmod(int(row[0]) - 1, STRIDE)
        length = LENGTHS[user]
        known = min(length - 1, HISTORY)  # a whole stretch, and an item after it
        assert row.tolist() == [row[0] + i if i < known else 0 for i in range(HISTORY)]
        assert first + known < length
        assert targets.tolist() == [row[0] + prefix for prefix in prefixes]
        choices = range(COMIREC.first, known + 1)
        assert set(prefixes.tolist()) <= set(choices)
        assert len(set(prefixes.tolist())) == min(num_targets, len(choices))


def test_batch_targets_are_uniform_over_the_places_of_a_window() -> None:
    draw = several(2)
    counts: dict[int, int] = {}
    for step in range(1, 2001):
        batch = draw.batch(0, step)
        long = batch.unique_rows[batch.history[:, -1]] > 0
        for prefix in batch.prefixes[long].ravel().tolist():
            counts[prefix] = counts.get(prefix, 0) + 1
    assert sorted(counts) == list(range(COMIREC.first, HISTORY + 1))
    shares = np.array(list(counts.values())) / sum(counts.values())
    assert shares == pytest.approx(np.full(len(counts), 1 / len(counts)), abs=0.02)


def test_next_share_reaches_its_fraction_of_the_items() -> None:
    rule = TargetRule(next_n=2, next_share=0.1)
    assert rule.reach(np.array([5, 29, 30, 165])).tolist() == [2, 2, 3, 16]
    assert COMIREC.reach(np.array([5, 1000])).tolist() == [1, 1]


def following(next_n: int) -> Sampler:
    split = make_split(LENGTHS)
    rule = TargetRule(next_n=next_n)
    return make_sampler(split, NUM_ITEMS, BATCH, HISTORY, NEGATIVES, 19, rule=rule)


@pytest.mark.parametrize(
    ("next_n", "num_targets", "first", "share"),
    [(1, 1, 4, 0), (4, 1, 2, 0), (1, 3, 4, 0), (4, 2, 1, 0), (1, 2, 7, 0.2), (3, 1, 1, 0.5)],
)
def test_target_chances_equal_the_frequencies_of_targets(
    next_n: int, num_targets: int, first: int, share: float
) -> None:
    split, kind = make_split([length + 4 for length in LENGTHS]), "in-batch"
    rule = TargetRule(first, num_targets, next_n, share)
    draw = make_sampler(split, NUM_ITEMS, BATCH, HISTORY, 1, 4, kind, rule)
    assert draw.target_chance is not None
    counts = np.zeros(NUM_ITEMS + 1)
    steps_ = 4000
    for step in range(1, steps_ + 1):
        batch = draw.batch(0, step)
        targets = batch.unique_rows[batch.target].ravel()
        counts += np.bincount(targets, minlength=NUM_ITEMS + 1) / targets.size
    drawn = counts / steps_
    assert np.abs(drawn - draw.target_chance).max() < 5 * (0.25 / (steps_ * BATCH)) ** 0.5
    assert not drawn[draw.target_chance == 0].any()


def test_batch_with_as_many_negatives_as_items_has_all_items() -> None:
    batch = sampler(count=5000).batch(0, 1)
    assert batch.unique_rows[batch.negatives].tolist() == list(range(1, NUM_ITEMS + 1))
    assert not batch.log_q_negatives.any()
    assert not batch.log_q_target.any()


def test_batch_of_the_full_softmax_has_every_row_in_order() -> None:
    draw = make_sampler(make_split(LENGTHS), NUM_ITEMS, BATCH, HISTORY, NEGATIVES, 19, "full")
    batch, sampled = draw.batch(0, 1), sampler().batch(0, 1)
    assert batch.unique_rows.tolist() == list(range(NUM_ITEMS + 1))
    assert batch.negatives.tolist() == list(range(1, NUM_ITEMS + 1))
    for part in ("history", "target"):
        np.testing.assert_array_equal(
            getattr(batch, part), sampled.unique_rows[getattr(sampled, part)]
        )
    assert not batch.log_q_negatives.any()
    assert not batch.log_q_target.any()


def _drawn(batch: Batch) -> list[object]:
    """Return what a batch has, in item numbers."""
    places = batch.history, batch.target, batch.negatives
    return [batch.unique_rows[place].tolist() for place in places] + [
        batch.prefixes.tolist(),
        batch.log_q_target.tolist(),
        batch.log_q_negatives.tolist(),
    ]


@pytest.mark.parametrize("kind", ["log-uniform", "uniform", "in-batch", "mixed", "full"])
def test_batch_by_rank_is_that_of_items_numbered_by_rank(kind: str) -> None:
    """Items numbered in any order, with ranks, are drawn as those numbered by rank are."""
    split = make_split(LENGTHS)
    number = np.append(0, 1 + np.random.default_rng(1).permutation(NUM_ITEMS)).astype(np.int32)
    rank = np.argsort(number)
    other = dataclasses.replace(split, items=number[split.items])
    asked = NUM_ITEMS, BATCH, HISTORY, NEGATIVES, 19, kind
    plain = make_sampler(split, *asked).batch(0, 3)
    ranked = make_sampler(other, *asked, ranking=negatives.ranking_of(rank)).batch(0, 3)
    if kind == "full":  # the padding, too, is among the rows
        plain = plain._replace(unique_rows=number)
    else:
        padded = np.append(number, np.arange(NUM_ITEMS + 1, 4 * NUM_ITEMS, dtype=np.int32))
        plain = plain._replace(unique_rows=padded[plain.unique_rows])
    assert _drawn(ranked) == _drawn(plain)
    assert negatives.ranking_of(np.arange(NUM_ITEMS + 1)) is None


@pytest.mark.parametrize("kind", ["log-uniform", "uniform", "mixed", "full"])
def test_batch_draws_no_negatives_from_items_left_out(kind: str) -> None:
    left_out = np.zeros(NUM_ITEMS + 1, bool)
    left_out[np.random.default_rng(2).permutation(NUM_ITEMS)[: NUM_ITEMS // 2] + 1] = True
    rank = np.arange(NUM_ITEMS + 1)
    ranking = negatives.ranking_of(rank, left_out)
    split = make_split(LENGTHS)
    asked = NUM_ITEMS, BATCH, HISTORY, NEGATIVES, 19, kind
    draw = make_sampler(split, *asked, ranking=ranking)
    met = [draw.batch(0, step) for step in range(1, 30)]
    own = BATCH if kind == "mixed" else 0  # the batch's targets, which are what they are
    drawn = np.concatenate([batch.unique_rows[batch.negatives[own:]] for batch in met])
    assert not left_out[drawn].any()
    if kind == "full":
        assert sorted(set(drawn)) == np.flatnonzero(~left_out)[1:].tolist()
    if kind == "uniform":
        expected = np.log(NEGATIVES / (~left_out[1:]).sum())
        np.testing.assert_allclose(met[0].log_q_negatives, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["log-uniform", "uniform", "in-batch", "mixed", "full"])
@pytest.mark.parametrize("num_targets", [1, 3])
@pytest.mark.parametrize("count", [NEGATIVES, NUM_ITEMS + 1])
def test_batch_shapes_and_dtypes_are_constant(kind: str, num_targets: int, count: int) -> None:
    rule = TargetRule(count=num_targets)
    draw = make_sampler(make_split(LENGTHS), NUM_ITEMS, BATCH, HISTORY, count, 19, kind, rule)
    batches = [draw.batch(0, step) for step in range(1, 20)]
    (types,) = {tuple(part.dtype for part in batch if part is not None) for batch in batches}
    assert types == (*[np.dtype(np.int32)] * 5, *[np.dtype(np.float32)] * 2, np.dtype(np.uint32))
    (shapes,) = {tuple(part.shape for part in batch[1:] if part is not None) for batch in batches}
    assert shapes[-1] == (2,)
    if count == NEGATIVES or kind == "full":  # of the rows there is one size where they are few
        (_,) = {len(batch.unique_rows) for batch in batches}


@pytest.mark.parametrize("users", [96, 4000])
def test_bucket_sizes_are_few_and_not_much_too_large(users: int) -> None:
    draw = make_sampler(make_split([50] * users), users * STRIDE, 96, 40, 200, 19)
    most = 96 * 40 + 96 + 200
    sizes = set()
    for step in range(1, 30):
        unique_rows = draw.batch(0, step).unique_rows
        used = int((unique_rows <= draw.num_items).sum())
        assert used <= len(unique_rows) <= min(most, used + 517)  # an eighth of the most
        assert (np.diff(unique_rows) > 0).all()
        sizes.add(len(unique_rows))
    assert sizes <= {*range(517, most, 517), most}
    assert len(sizes) <= 3


@relaxed
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 20)), min_size=2, max_size=12))
def test_batch_does_not_depend_on_earlier_draws(calls: list[tuple[int, int]]) -> None:
    one = sampler()
    for branch, step in calls:
        assert digest(one.batch(branch, step)) == digest(sampler().batch(branch, step))


def test_batch_is_the_same_in_another_process() -> None:
    code = (
        "import test_batches as t; s = t.sampler()\n"
        "print(' '.join(t.digest(s.batch(b, n)) for b, n in [(1, 7), (0, 3), (0, 1)]))"
    )
    path = os.pathsep.join(sys.path)
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    here = sampler()
    assert done.stdout.split() == [digest(here.batch(b, n)) for b, n in [(1, 7), (0, 3), (0, 1)]]


def test_batch_depends_on_seed_branch_and_step() -> None:
    drawn = [
        digest(sampler(seed).batch(branch, step))
        for seed in (1, 2, 3)
        for branch in (0, 1, 2)
        for step in (1, 2, 3)
    ]
    assert len(set(drawn)) == len(drawn)


def test_batch_users_positions_and_negatives_depend_on_seed_branch_and_step() -> None:
    first, second = sampler().batch(0, 1), sampler().batch(0, 2)
    for field in ("target", "negatives"):
        one, other = (b.unique_rows[getattr(b, field)] for b in (first, second))
        assert one.tolist() != other.tolist()


def test_batch_keys_are_distinct_and_spread_over_all_words() -> None:
    draw = sampler()
    keys = np.array([draw.batch(branch, step).key for branch in (0, 1) for step in range(1, 501)])
    assert len(np.unique(keys, axis=0)) == 1000
    assert len(np.unique(keys)) >= 1999  # both words are drawn anew
    ones = np.unpackbits(keys.astype(">u4").view(np.uint8).reshape(1000, 8), axis=1).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 0.1  # six standard errors


def test_batch_users_positions_negatives_and_keys_are_independent() -> None:
    length = 60
    draw = make_sampler(make_split([length] * 30), NUM_ITEMS * 3, BATCH, HISTORY, NEGATIVES, 1)
    numbers = []
    for step in range(1, 1001):
        batch = draw.batch(0, step)
        users, positions = np.divmod(batch.unique_rows[batch.target[:, 0]] - 1, STRIDE)
        negatives = np.log(batch.unique_rows[batch.negatives])
        numbers.append(np.concatenate([users, positions, negatives, batch.key]))
    ends = np.cumsum([0, BATCH, BATCH, NEGATIVES, 2])
    parts = [slice(start, end) for start, end in itertools.pairwise(ends)]
    correlation = np.abs(np.corrcoef(np.array(numbers).T))
    for one, other in itertools.combinations(parts, 2):
        assert correlation[one, other].max() < 0.2  # six standard errors


def test_sampler_refuses_too_few_users() -> None:
    enough = make_split([5] * BATCH)
    assert len(make_sampler(enough, NUM_ITEMS, BATCH, HISTORY, NEGATIVES, 1).users) == BATCH
    short = make_split([5] * (BATCH - 1) + [4])
    with pytest.raises(DataError) as caught:
        make_sampler(short, NUM_ITEMS, BATCH, HISTORY, NEGATIVES, 1)
    assert caught.value.key == "too_few_users"
    assert "--min-history" in str(caught.value)
    assert caught.value.values == {"users": BATCH - 1, "needed": 5, "batch_size": BATCH}


def test_batch_never_has_users_with_too_few_items() -> None:
    users = sampler().users
    assert users.tolist() == [u for u, length in enumerate(LENGTHS) if length > COMIREC.first]


@pytest.mark.parametrize("kind", ["log-uniform", "uniform", "in-batch", "mixed", "full"])
@pytest.mark.parametrize("num_items", [NUM_ITEMS, 4 * NUM_ITEMS])
def test_batches_stacked_equal_the_single_ones(kind: str, num_items: int) -> None:
    rule = TargetRule(count=2)
    draw = make_sampler(make_split(LENGTHS), num_items, BATCH, 90, 700, 1, kind, rule)
    together, sizes = draw.batches(1, [*range(5, 12), 11, 11]), set()
    for place, step in enumerate([*range(5, 12), 11, 11]):
        single = draw.batch(1, step)
        sizes.add(len(single.unique_rows))
        for name, array in zip(Batch._fields, single, strict=True):
            if array is None:  # no times
                assert getattr(together, name) is None
                continue
            one = getattr(together, name)[place]
            assert one.dtype == array.dtype
            if name == "unique_rows":
                assert one[: len(array)].tolist() == array.tolist()
                assert (np.diff(one) > 0).all()
                assert (one[len(array) :] > num_items).all()
            else:
                assert one.tolist() == array.tolist()
    assert together.unique_rows.shape[1] == draw.most_rows >= max(sizes)
    if kind != "full":
        assert max(sizes) < draw.most_rows


@pytest.mark.parametrize("count", [0, 1, 3, 8, 9, 40])
@pytest.mark.parametrize("ahead", [1, 2, 8])
def test_prefetch_yields_the_same_batches_in_order(count: int, ahead: int) -> None:
    draw = sampler()
    fetched = prefetch(lambda step: draw.batch(0, step), range(5, 5 + count), ahead)
    direct = [digest(draw.batch(0, step)) for step in range(5, 5 + count)]
    assert [digest(batch) for batch in fetched] == direct


def test_prefetch_stays_close_to_its_consumer() -> None:
    made: list[int] = []
    batches = prefetch(_recording(made), range(1, 10**12), ahead=4)
    for consumed in range(1, 6):
        assert next(batches) == consumed
        assert len(made) <= consumed + 4
    batches.close()


def test_prefetch_raises_an_exception_after_the_batches_before_it() -> None:
    def make(step: int) -> int:
        if step == 3:
            raise ValueError("step 3")
        return step

    batches = prefetch(make, range(1, 100), ahead=8)
    assert [next(batches), next(batches)] == [1, 2]
    with pytest.raises(ValueError, match="step 3"):
        next(batches)
    assert not _prefetching()


def test_prefetch_closed_early_ends_its_thread() -> None:
    made: list[int] = []
    batches = prefetch(_recording(made), range(1, 10**9), ahead=8)
    assert next(batches) == 1
    assert _prefetching()
    batches.close()
    assert not _prefetching()
    assert len(made) <= 9


def test_sampler_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampler().seed = 3  # type: ignore[misc]


def _recording(made: list[int]) -> Callable[[int], int]:
    def make(step: int) -> int:
        made.append(step)
        return step

    return make


def _prefetching() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("batches")]


@relaxed
@given(seeds, steps, st.sampled_from([TargetRule(), TargetRule(1, 3), TargetRule(2, 3, 4, 0.3)]))
def test_batch_times_are_of_the_history_and_of_the_item_after_it(
    seed: int, step: int, rule: TargetRule
) -> None:
    """Whichever item is the target, and with some items as targets only."""
    split = make_split(LENGTHS)
    split = dataclasses.replace(
        split, times=np.int64(10**18) + 10**9 * split.items.astype(np.int64) ** 2
    )
    for targets in (None, np.arange(len(split.items)) % 3 == 0):
        own = dataclasses.replace(split, targets=targets)
        asked = (own, NUM_ITEMS, 4, HISTORY, NEGATIVES, seed, "uniform", rule)
        plain, batch = (make_sampler(*asked, timed=timed).batch(0, step) for timed in (False, True))
        assert plain.times is None
        assert digest(batch._replace(times=None)) == digest(plain)
        assert batch.times is not None
        for row, times in zip(batch.unique_rows[batch.history].tolist(), batch.times, strict=True):
            items = [item for item in row if item]
            seconds = [item**2 for item in [*items, items[-1] + 1]]
            expected = [one - seconds[0] for one in seconds]
            expected += expected[-1:] * (HISTORY + 1 - len(expected))
            assert (times - times[0]).tolist() == expected


def test_sampler_packs_the_longest_prefixes_of_single_batches() -> None:
    split, rule = make_split(LENGTHS), TargetRule(first=1, count=2)
    plain, packing = (
        make_sampler(split, NUM_ITEMS, BATCH, 40, NEGATIVES, 19, rule=rule, packs=packs)
        for packs in (False, True)
    )
    batch = packing.batch(0, 3)
    expected = packed(batch.prefixes.max(axis=1), 40)
    assert expected is not None
    np.testing.assert_array_equal(batch.packed, expected)
    assert plain.batch(0, 3).packed is None
    assert packing.batches(0, [3, 4]).packed is None
    for one, other in zip(batch._replace(packed=None), plain.batch(0, 3), strict=True):
        np.testing.assert_array_equal(one, other)
