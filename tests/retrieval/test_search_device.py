"""The search on an accelerator finds what the CPU's does (here: on the CPU's own device)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_data import added_to
from helpers.effort import examples
from reprise.retrieval import search, search_device
from reprise.retrieval.ranking import Ranking
from reprise.retrieval.search import Chunk
from reprise.retrieval.terms import EVERYTHING, Allowed, Terms
from reprise.runtime import device

# Users, interests, items, top-N, items a block: few, as each is compiled.
shapes = st.sampled_from(
    [(1, 1, 1, 1, 8), (5, 1, 40, 50, 7), (5, 3, 40, 50, 64), (5, 3, 41, 4, 8), (3, 4, 64, 20, 16)]
)
odd = st.lists(st.sampled_from([math.nan, math.inf, -math.inf]), max_size=2)
worths = st.sampled_from([-math.inf, -1.0, 2.0])


@examples(120)
@given(
    st.integers(0, 2**32 - 1),
    shapes,
    st.integers(0, 9),
    worths,
    st.integers(0, 3),
    st.booleans(),
    odd,
)
def test_device_search_finds_the_same_lists(
    seed: int,
    shape: tuple[int, int, int, int, int],
    most_seen: int,
    seen_bias: float,
    masks: int,
    by_interest: bool,
    odd: list[float],
) -> None:
    users, count, num_items, top_n, block = shape
    rng = np.random.default_rng(seed)  # small whole numbers: scores are exact, ties frequent
    interests = rng.integers(-2, 3, (users, count, 3)).astype(np.float32)
    interests.flat[rng.integers(0, interests.size, len(odd))] = odd
    items = rng.integers(-2, 3, (num_items, 3)).astype(np.float32)
    seen = [rng.integers(1, num_items + 1, rng.integers(0, most_seen + 1)) for _ in range(users)]
    added = added_to([some.tolist() for some in seen], seen_bias) if most_seen else None
    allowed = None
    if masks:
        mask_of = rng.integers(EVERYTHING, masks, users)
        allowed = Allowed(rng.random((masks, num_items)) < 0.5, mask_of)
    chunk = Chunk(interests, top_n, Terms(added, allowed), by_interest)

    def found() -> Ranking:
        (ranking,) = search.search([chunk], items)
        return ranking

    expected = found()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "present", lambda: True)
        patch.setattr(search_device, "_BLOCK", block)
        ranking = found()
    assert ranking.ids.dtype == expected.ids.dtype
    assert ranking.ids.tolist() == expected.ids.tolist()
    assert ranking.scores.tolist() == expected.scores.tolist()
    assert ranking.interests.tolist() == expected.interests.tolist()


def test_device_search_agrees_up_to_rounding_for_real_vectors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    chunks = [rng.normal(size=(256, 4, 16)).astype(np.float32) for _ in range(3)]
    items = rng.normal(size=(3000, 16)).astype(np.float32)
    asked = [Chunk(one, 20) for one in chunks]
    expected = list(search.search(asked, items))
    monkeypatch.setattr(device, "present", lambda: True)
    monkeypatch.setattr(search_device, "_BLOCK", 1024)
    for one, other in zip(search.search(asked, items), expected, strict=True):
        assert (one.ids == other.ids).mean() > 0.999  # of scores that differ in the last bit
        assert one.scores == pytest.approx(other.scores, rel=1e-5)
