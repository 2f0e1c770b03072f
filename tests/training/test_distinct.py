"""Distinct ids, against numpy.unique."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reprise.training.distinct import distinct, first_places

# With up to 40 places, numbers of 32 bits hold ids below a bound that is one of these.
edges = st.sampled_from([2**bits - less for bits in range(26, 31) for less in (0, 1)])
ids = st.lists(st.integers(0, 9) | edges | st.integers(0, 2**31 - 1), min_size=1, max_size=40)
dtypes = st.sampled_from([np.int32, np.int64])


@given(ids, dtypes)
def test_distinct_equals_numpy_unique_with_its_inverse(
    values: list[int], dtype: type[np.integer]
) -> None:
    given_ids = np.array(values, dtype)
    found, index = distinct(given_ids)
    expected, inverse = np.unique(given_ids, return_inverse=True)
    assert found.tolist() == expected.tolist()
    assert index.tolist() == inverse.tolist()
    assert found[index].tolist() == values


@given(ids, dtypes)
def test_first_places_are_where_a_value_is_new(values: list[int], dtype: type[np.integer]) -> None:
    expected = [place for place, value in enumerate(values) if value not in values[:place]]
    assert first_places(np.array(values, dtype)).tolist() == expected
