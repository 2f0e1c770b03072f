"""Sequences with targets and times, against lists of each user's interactions."""

from itertools import pairwise
from typing import TypeAlias

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reprise.data.sequences import EvaluationUsers, Past, Sequences

Interaction: TypeAlias = tuple[int, bool, int]  # item, whether it is a target, time
Lists: TypeAlias = list[list[Interaction]]
LISTS = st.lists(
    st.lists(st.tuples(st.integers(1, 9), st.booleans(), st.integers(0, 2**62)), max_size=5),
    min_size=1,
    max_size=5,
)


def made(lists: Lists) -> Sequences:
    """Sequences of these interactions."""
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
    items, targets, times = zip(*[one for own in lists for one in own], strict=True) or ((),) * 3
    return Sequences(
        offsets, np.array(items, np.int32), np.array(targets, bool), np.array(times, np.int64)
    )


def told(sequences: Sequences) -> Lists:
    """Each user's interactions."""
    assert sequences.targets is not None
    assert sequences.times is not None
    columns = sequences.items, sequences.targets, sequences.times
    flat = list(zip(*(column.tolist() for column in columns), strict=True))
    return [flat[a:b] for a, b in pairwise(sequences.offsets.tolist())]


@given(LISTS.filter(any), st.data())
def test_slices_and_users_keep_items_targets_and_times(lists: Lists, data: st.DataObject) -> None:
    sequences = made(lists)
    users = data.draw(st.lists(st.integers(0, len(lists) - 1)))
    ends = [data.draw(st.integers(0, len(lists[user]))) for user in users]
    own = sequences.slices(sequences.offsets[users], np.array(ends, np.int64))
    assert told(own) == [lists[user][:end] for user, end in zip(users, ends, strict=True)]
    first, end = sorted(data.draw(st.tuples(*[st.integers(0, len(lists))] * 2)))
    assert told(sequences.users(first, end)) == lists[first:end]


@given(LISTS.filter(any), st.integers(1, 4))
def test_history_times_stand_beside_the_items(lists: Lists, length: int) -> None:
    sequences = made(lists)
    users = np.arange(len(lists))
    history, known = sequences.histories(users, sequences.lengths, length)
    times = sequences.history_times(users, sequences.lengths, length)
    past = Past(sequences.items, sequences.offsets[:-1], sequences.lengths, sequences.times)
    nothing = np.zeros(len(lists) + 1, np.int64)
    evaluated = EvaluationUsers(history, known, nothing, np.zeros(0, np.int32), past)
    for user, own in enumerate(lists):
        last = own[-length:]
        padding = [0] * (length - len(last))
        assert history[user].tolist() == [item for item, _, _ in last] + padding
        assert times[user].tolist() == [time for _, _, time in last] + padding
    assert times.dtype == np.int64
    np.testing.assert_array_equal(evaluated.times, times)
    expected = [own[-1][2] if own else 0 for own in lists]
    np.testing.assert_array_equal(evaluated.last_known_time, expected)


def test_times_are_none_where_they_are_unknown() -> None:
    items = np.ones(2, np.int32)
    past = Past(items, np.zeros(1, np.int64), np.full(1, 2))
    users = EvaluationUsers(
        items[None], np.full(1, 2, np.int32), np.zeros(2, np.int64), items, past
    )
    assert (users.times, users.last_known_time, users.held_out_time) == (None, None, None)
