"""Packed histories: each item once, each history whole, in few rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helpers.effort import examples
from reprise.training.packing import packed

lengths = st.integers(1, 12).flatmap(
    lambda size: st.tuples(st.just(size), st.lists(st.integers(1, size), min_size=1, max_size=40))
)


@examples(60)
@given(lengths)
def test_packed_lays_each_history_side_by_side_in_one_row(drawn: tuple[int, list[int]]) -> None:
    size, given_ = drawn
    places = packed(np.array(given_), size)
    if places is None:
        return
    count = len(given_)
    assert places.dtype == np.int32
    assert len(places) < count
    assert len(places) % -(-count // 8) == 0  # of at most eight numbers
    taken = places[places < count * size]
    assert (places[places >= count * size] == count * size).all()
    wanted = [one * size + item for one, length in enumerate(given_) for item in range(length)]
    assert sorted(taken.tolist()) == wanted
    for one, length in enumerate(given_):
        row, start = np.argwhere(places == one * size)[0]
        own = places[row, start : start + length]
        assert own.tolist() == [one * size + item for item in range(length)]


@examples(60)
@given(lengths)
def test_packed_needs_few_rows(drawn: tuple[int, list[int]]) -> None:
    """Any two rows of a best fit hold more than one row can, the free places of the last aside."""
    size, given_ = drawn
    places = packed(np.array(given_), size)
    step = -(-len(given_) // 8)
    least = -(-sum(given_) // size)
    most = -(-max(1, 2 * least) // step) * step  # rounded up as rows are
    assert (len(given_) if places is None else len(places)) <= max(most, step)


def test_packed_is_nothing_where_it_would_gain_nothing() -> None:
    assert packed(np.full(16, 10), 10) is None
    assert packed(np.array([3]), 10) is None
    made = packed(np.full(16, 5), 10)
    assert made is not None
    assert made.shape == (8, 10)
