"""The types of items' features, against slow programs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprise.data.features import (
    UNKNOWN,
    Bags,
    Codes,
    Feature,
    bags_of,
    codes_of,
    numbers_of,
    vectors_of,
)

SIZE = 5
BAGS = st.lists(st.lists(st.integers(1, SIZE - 1), max_size=4), min_size=1, max_size=8)


def lists(bags: Bags) -> list[list[int]]:
    """Each row's codes."""
    return [part.tolist() for part in np.split(bags.codes, bags.offsets[1:-1])]


def made(bags: list[list[int]]) -> Bags:
    """Bags of the items 1..V that have these codes."""
    pairs = [(item, code) for item, codes in enumerate(bags, 1) for code in codes][::-1]
    items, codes = np.array(pairs, np.int64).reshape(-1, 2).T
    return bags_of("genres", items, codes, len(bags), SIZE)


@given(BAGS, st.data())
def test_bags_are_each_items_codes_once_and_those_without_are_unknown(
    bags: list[list[int]], data: st.DataObject
) -> None:
    feature = made(bags)
    expected = [[UNKNOWN], *([*sorted(set(codes))] or [UNKNOWN] for codes in bags)]
    assert lists(feature) == expected
    assert feature.known.tolist() == [False, *(bool(codes) for codes in bags)]
    items = data.draw(st.lists(st.integers(0, len(bags))))
    if items:
        assert lists(feature.of(np.array(items))) == [expected[item] for item in items]
    padded, counts = feature.padded()
    assert [row[:n].tolist() for row, n in zip(padded, counts, strict=True)] == expected
    assert padded.shape[1] == max(map(len, expected))
    assert padded.sum() == feature.codes.sum()  # the rest is UNKNOWN, which is 0


@given(st.lists(st.one_of(st.none(), st.integers(-1000, 1000)), min_size=1, max_size=9))
def test_numbers_are_standardised_by_what_is_known(values: list[int | None]) -> None:
    feature = numbers_of("price", np.array([np.nan if x is None else x / 10 for x in values]))
    known = [x / 10 for x in values if x is not None]
    assert feature.known.tolist() == [False, *(x is not None for x in values)]
    assert not feature.values[~feature.known].any()
    again = feature.values.astype(np.float64) * feature.std + feature.mean
    np.testing.assert_allclose(again[feature.known], known, rtol=1e-5, atol=1e-4)
    if len(set(known)) == 1:
        assert not feature.values.any()


def test_vectors_are_unknown_where_they_are_zero() -> None:
    feature = vectors_of("text", np.array([[1, 2], [0, 0], [3, 0]], np.float64))
    assert feature.known.tolist() == [False, True, False, True]
    assert feature.of(np.array([3, 0])).values.tolist() == [[3, 0], [0, 0]]


def test_codes_are_unknown_of_padding() -> None:
    feature = codes_of("brand", np.array([2, UNKNOWN, 1]), 3)
    assert feature.codes.tolist() == [0, 2, 0, 1]
    assert feature.known.tolist() == [False, True, False, True]
    assert feature.of(np.array([3, 3, 1])).codes.tolist() == [1, 1, 2]


CHANGES: dict[str, tuple[Feature, Feature]] = {
    "the name": (codes_of("a", np.array([1]), 3), codes_of("b", np.array([1]), 3)),
    "a code": (codes_of("a", np.array([1]), 3), codes_of("a", np.array([2]), 3)),
    "the size": (codes_of("a", np.array([1]), 3), codes_of("a", np.array([1]), 4)),
    "the kind": (Codes("a", np.zeros(3, np.int32), 1), made([[], []])),
    "where codes belong": (made([[1, 2], [3]]), made([[1], [2, 3]])),
    "what numbers were": (numbers_of("a", np.array([1, 2])), numbers_of("a", np.array([2, 4]))),
    "which numbers are known": (
        numbers_of("a", np.array([1.0, np.nan])),
        numbers_of("a", np.array([1.0, 1.0])),
    ),
    "a vector": (vectors_of("a", np.eye(2)), vectors_of("a", np.eye(2)[::-1])),
    "the shape": (vectors_of("a", np.ones((1, 4))), vectors_of("a", np.ones((1, 3)))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_digest_tells(change: str) -> None:
    one, other = CHANGES[change]
    assert one.digest != other.digest
    assert one.digest == one.of(np.arange(len(one.known))).digest  # the same arrays, copied
