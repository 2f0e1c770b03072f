"""Exact search and the merge of the interests' lists, against brute force."""

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from helpers import oracles
from helpers.builders_data import added_to, split_of
from helpers.effort import examples
from reprise.retrieval import columns, search
from reprise.retrieval.ranking import NO_INTEREST, NO_ITEM, Ranking, members, merge
from reprise.retrieval.search import Chunk, best_by_tiles, one_blas_thread
from reprise.retrieval.terms import EVERYTHING, Allowed, Terms

relaxed = examples(80)
seeds = st.integers(0, 2**32 - 1)


blocks = st.sampled_from([1, 3, 7, 1024])
tiles = st.sampled_from([1, 4, 256])


def search_one(
    interests: NDArray[np.float32],
    items: NDArray[np.float32],
    top_n: int,
    block: int = 1024,
    tile: int = 256,
    **asked: Any,
) -> Ranking:
    """Return the ranking, so many items and interests being scored at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "BLOCK", block)
        patch.setattr(search, "_TILE", tile)
        (ranking,) = search.search([Chunk(interests, top_n, **asked)], items)
    return ranking


def pairs(ranking: Ranking, user: int) -> list[tuple[int, float]]:
    """Return a user's (item, score) pairs up to the filling."""
    ids, scores = ranking.ids[user], ranking.scores[user]
    return [(int(i), float(s)) for i, s in zip(ids, scores, strict=True) if i != NO_ITEM]


def bits(ranking: Ranking) -> list[bytes]:
    return [one.tobytes() for one in ranking]


@relaxed
@given(
    seeds,
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(1, 50),
    blocks,
    tiles,
    st.booleans(),
)
def test_search_finds_the_best_n_by_any_interest(
    seed: int,
    users: int,
    count: int,
    num_items: int,
    top_n: int,
    block: int,
    tile: int,
    by_interest: bool,
) -> None:
    rng = np.random.default_rng(seed)  # small whole numbers: scores are exact, ties frequent
    interests = rng.integers(-2, 3, (users, count, 3)).astype(np.float32)
    items = rng.integers(-2, 3, (num_items, 3)).astype(np.float32)
    ranking = search_one(interests, items, top_n, block, tile, by_interest=by_interest)
    width = min(top_n, num_items) * (count if by_interest else 1)
    assert ranking.ids.shape == ranking.scores.shape == ranking.interests.shape == (users, width)
    assert ranking.ids.dtype == np.int64
    assert ranking.scores.dtype == np.float32
    for user in range(users):
        everything = oracles.rank(interests[user], items)
        assert pairs(ranking, user)[:top_n] == everything[:top_n]
        for item, interest in zip(ranking.ids[user], ranking.interests[user], strict=True):
            if item in dict(everything[:top_n]):
                scores = (interests[user] @ items[item - 1]).tolist()
                assert interest == scores.index(max(scores))
        lists = [oracles.rank(one[None], items) for one in interests[user]]
        own = {item for listed in lists for item, _ in listed[:top_n]}
        best = {item for item, _ in everything[:top_n]}
        assert {item for item, _ in pairs(ranking, user)} == (own if by_interest else best)


@relaxed
@given(
    seeds,
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(1, 20),
    st.integers(0, 12),
    blocks,
    tiles,
    st.booleans(),
)
def test_search_without_seen_items_returns_the_next_best(
    seed: int,
    users: int,
    count: int,
    num_items: int,
    top_n: int,
    most_seen: int,
    block: int,
    tile: int,
    by_interest: bool,
) -> None:
    rng = np.random.default_rng(seed)
    interests = rng.integers(-2, 3, (users, count, 3)).astype(np.float32)
    items = rng.integers(-2, 3, (num_items, 3)).astype(np.float32)
    seen = [rng.integers(1, num_items + 1, rng.integers(0, most_seen + 1)) for _ in range(users)]
    terms = Terms(added_to([some.tolist() for some in seen]))
    ranking = search_one(interests, items, top_n, block, tile, terms=terms, by_interest=by_interest)
    for user in range(users):
        everything = oracles.rank(interests[user], items)
        expected = [pair for pair in everything if pair[0] not in seen[user]]
        assert pairs(ranking, user)[:top_n] == expected[:top_n]
        assert not set(ranking.ids[user].tolist()) & set(seen[user].tolist())


def test_search_breaks_ties_by_item_id() -> None:
    """Interests of zero: every item ties, block after block."""
    rng = np.random.default_rng(5)
    items = rng.normal(size=(3000, 8)).astype(np.float32)
    ranking = search_one(np.zeros((40, 2, 8), np.float32), items, 10)
    assert (ranking.ids[:, :10] == np.arange(1, 11)).all()
    assert (ranking.scores[:, :10] == 0).all()
    assert (ranking.interests[:, :10] == 0).all()


def test_search_handles_many_ties_at_the_cutoff() -> None:
    rng = np.random.default_rng(6)
    items = rng.integers(-3, 4, (500, 8)).astype(np.float32)
    items[100:400] = items[100]
    interests = np.stack([items[[100, 450]], items[[30, 100]]])
    for top_n in (7, 20):
        ranking = search_one(interests, items, top_n, block=64)
        for user in range(2):
            expected = oracles.rank(interests[user], items)[:top_n]
            assert pairs(ranking, user)[:top_n] == expected
            assert any(100 < item <= 400 for item, _ in expected)


def test_search_accepts_infinite_interests() -> None:
    interests = np.full((3, 2, 3), np.inf, np.float32)
    interests[:, 1] = [1, 0, 0]
    items = np.eye(3, dtype=np.float32).repeat(30, axis=0)
    ranking = search_one(interests, items, 4)
    assert (ranking.ids == [1, 2, 3, 4]).all()  # the first scores no number, or infinity


@relaxed
@given(seeds, st.integers(1, 12), st.integers(1, 4), st.integers(1, 30), st.integers(1, 40))
def test_search_lists_are_distinct_and_ordered(
    seed: int, users: int, count: int, num_items: int, top_n: int
) -> None:
    rng = np.random.default_rng(seed)
    interests = rng.integers(-2, 3, (users, count, 3)).astype(np.float32)
    ranking = search_one(interests, rng.integers(-2, 3, (num_items, 3)).astype(np.float32), top_n)
    for user in range(users):
        found = pairs(ranking, user)
        assert found == oracles.merged(found)
        assert all(1 <= item <= num_items for item, _ in found)
        assert (ranking.ids[user, len(found) :] == NO_ITEM).all()
        assert np.isneginf(ranking.scores[user, len(found) :]).all()


@pytest.mark.parametrize("users", [1, 3, 64])
def test_search_scores_are_inner_products(users: int) -> None:
    rng = np.random.default_rng(users)
    interests = rng.normal(size=(users, 4, 16)).astype(np.float32)
    items = rng.normal(size=(300, 16)).astype(np.float32)
    ranking = search_one(interests, items, 20)
    for user in range(users):
        expected = oracles.rank(interests[user], items)[:20]
        assert ranking.ids[user, :20].tolist() == [item for item, _ in expected]
        scores = [score for _, score in expected]
        assert ranking.scores[user, :20] == pytest.approx(np.array(scores), rel=1e-4, abs=1e-5)


def test_search_for_more_than_all_items_returns_all() -> None:
    rng = np.random.default_rng(2)
    interests = rng.normal(size=(5, 2, 3)).astype(np.float32)
    ranking = search_one(interests, rng.normal(size=(7, 3)).astype(np.float32), 50)
    for user in range(5):
        assert sorted(ranking.ids[user, :7].tolist()) == list(range(1, 8))
        assert (ranking.ids[user, 7:] == NO_ITEM).all()


def test_search_is_bitwise_equal_for_any_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    chunks = [rng.normal(size=(256, 4, 16)).astype(np.float32) for _ in range(6)]
    items = rng.normal(size=(3000, 16)).astype(np.float32)
    results = []
    for workers in (1, 2, 3):
        monkeypatch.setattr(search, "worker_threads", lambda workers=workers: workers)
        rankings = list(search.search([Chunk(one, 50) for one in chunks], items))
        assert len(rankings) == len(chunks)
        results.append([(r.ids.tobytes(), r.scores.tobytes()) for r in rankings])
    assert results[0] == results[1] == results[2]


def test_search_returns_chunks_in_order() -> None:
    items = np.eye(8, dtype=np.float32)
    chunks = [Chunk(np.eye(8, dtype=np.float32)[[n % 8]][None], 1) for n in range(40)]
    best = [int(ranking.ids[0, 0]) for ranking in search.search(chunks, items)]
    assert best == [n % 8 + 1 for n in range(40)]


def test_search_reads_chunks_only_as_needed() -> None:
    taken = 0

    def endless() -> Iterator[Chunk]:
        nonlocal taken
        while True:
            taken += 1
            yield Chunk(np.ones((1, 1, 2), np.float32), 2)

    rankings = search.search(endless(), np.ones((3, 2), np.float32))
    next(rankings)
    assert taken <= 2 * search.worker_threads() + 1
    rankings.close()  # type: ignore[attr-defined]
    assert not [one for one in threading.enumerate() if one.name.startswith("search")]


def test_search_needs_at_least_one_worker() -> None:
    assert search.worker_threads() >= 1


@relaxed
@given(seeds, st.integers(1, 5), st.integers(1, 4), st.integers(1, 8))
def test_merge_keeps_each_item_once_with_its_best_score(
    seed: int, users: int, count: int, length: int
) -> None:
    rng = np.random.default_rng(seed)
    ids = np.stack([[rng.permutation(12)[:length] + 1 for _ in range(count)] for _ in range(users)])
    scores = rng.integers(-3, 4, ids.shape).astype(np.float32)
    ranking = merge(ids, scores)
    assert ranking.ids.shape == (users, count * length)
    for user in range(users):
        listed = zip(ids[user].ravel().tolist(), scores[user].ravel().tolist(), strict=True)
        expected = oracles.merged(listed)
        assert pairs(ranking, user) == expected
        for (item, score), interest in zip(expected, ranking.interests[user], strict=False):
            given = [
                dict(zip(*one, strict=True)).get(item)
                for one in zip(ids[user], scores[user], strict=True)
            ]
            assert interest == given.index(score)
        assert (ranking.ids[user, len(expected) :] == NO_ITEM).all()
        assert (ranking.interests[user, len(expected) :] == NO_INTEREST).all()
        assert np.isneginf(ranking.scores[user, len(expected) :]).all()


@relaxed
@given(seeds, st.integers(1, 6), st.integers(1, 12))
def test_members_are_per_user(seed: int, users: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 9, (users, width))
    lists = [rng.integers(1, 12, rng.integers(0, 6)).tolist() for _ in range(users)]
    expected = [[item in own for item in row] for row, own in zip(ids.tolist(), lists, strict=True)]
    assert members(ids, split_of(lists)).tolist() == expected


def test_search_finds_nothing_for_nan_interests() -> None:
    interests = np.full((30, 2, 3), np.nan, np.float32)
    ranking = search_one(interests, np.ones((9, 3), np.float32), 4)
    assert (ranking.ids == NO_ITEM).all()
    assert np.isneginf(ranking.scores).all()


@relaxed
@given(
    seeds,
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(1, 50),
    blocks,
    tiles,
    st.booleans(),
)
def test_search_lists_only_what_is_allowed_and_adds_what_is_added(
    seed: int,
    users: int,
    count: int,
    num_items: int,
    top_n: int,
    block: int,
    tile: int,
    by_interest: bool,
) -> None:
    rng = np.random.default_rng(seed)
    interests = rng.integers(-2, 3, (users, count, 3)).astype(np.float32)
    items = rng.integers(-2, 3, (num_items, 3)).astype(np.float32)
    masks = rng.random((3, num_items)) < rng.choice([0.05, 0.5, 1])
    allowed = Allowed(masks, rng.integers(EVERYTHING, 3, users))
    of_users = [rng.permutation(num_items)[: rng.integers(0, 9)] + 1 for _ in range(users)]
    values = [rng.choice([-np.inf, -1, 2, 5], len(own)) for own in of_users]
    added = added_to([own.tolist() for own in of_users], np.concatenate(values))
    terms = Terms(added, allowed)
    ranking = search_one(interests, items, top_n, block, tile, terms=terms, by_interest=by_interest)
    for user in range(users):
        more = dict(zip(of_users[user].tolist(), values[user].tolist(), strict=True))
        mask = np.ones(num_items, bool)
        if allowed.mask_of[user] != EVERYTHING:
            mask = masks[allowed.mask_of[user]]

        def ranked(vectors: Any, more: Any = more, mask: Any = mask) -> list[tuple[int, float]]:
            scored = oracles.rank(vectors, items)
            changed = [(item, s + more.get(item, 0)) for item, s in scored if mask[item - 1]]
            return oracles.merged(pair for pair in changed if pair[1] > -np.inf)

        lists = [ranked(one[None])[:top_n] for one in interests[user]]
        expected = oracles.merged(pair for one in lists for pair in one)
        every = ranked(interests[user])[:top_n]
        assert expected[:top_n] == every
        assert pairs(ranking, user) == (expected if by_interest else every)


@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("by_interest", [False, True])
def test_search_gives_a_user_the_same_bits_in_any_company(count: int, by_interest: bool) -> None:
    rng = np.random.default_rng(count)
    interests = rng.normal(size=(300, count, 20)).astype(np.float32)
    items = rng.normal(size=(2500, 20)).astype(np.float32)
    together = search_one(interests, items, 30, by_interest=by_interest)
    for user in (0, 1, 63, 64, 84, 85, 254, 255, 256, 299):
        company = [*rng.permutation(300)[: rng.integers(0, 100)], user]
        for rows, place in (([user], 0), (company, len(company) - 1)):
            found = search_one(interests[rows], items, 30, by_interest=by_interest)
            assert bits(found.of(place)) == bits(together.of(user))
    longer = search_one(interests, items, 2000)
    longer = Ranking(longer.ids[:, :30], longer.scores[:, :30], longer.interests[:, :30])
    assert bits(longer) == bits(search_one(interests, items, 30))


def test_search_ignores_an_interest_of_nan() -> None:
    rng = np.random.default_rng(8)
    interests = rng.normal(size=(5, 3, 4)).astype(np.float32)
    items = rng.normal(size=(50, 4)).astype(np.float32)
    without = search_one(interests[:, 1:], items, 9)
    interests[:, 0] = np.nan
    found = search_one(interests, items, 9)
    assert found.ids.tolist() == without.ids.tolist()
    assert (found.interests == without.interests + 1).all()


def test_search_lets_blas_use_one_thread_until_the_last_search_ends() -> None:
    def threads() -> set[int]:
        blas = [one for one in threadpool_info() if one["user_api"] == "blas"]
        return {one["num_threads"] for one in blas}

    before, items = threads(), np.ones((3, 2), np.float32)
    chunks = [Chunk(np.ones((1, 1, 2), np.float32), 1)] * 9
    one, other = search.search(chunks, items), search.search(chunks, items)
    next(one), next(other)
    assert threads() == {1}
    list(one)
    assert threads() == {1}
    list(other)
    assert threads() == before


class Asked(NamedTuple):
    """Users to search for: interests with ties, NaN and, of some, none; terms of all kinds."""

    interests: NDArray[np.float32]
    items: NDArray[np.float32]
    terms: Terms


def asked_of(rng: np.random.Generator, users: int, count: int, num_items: int) -> Asked:
    interests = rng.normal(size=(users, count, 64)).astype(np.float32)
    interests[rng.random((users, count)) < 0.1] = np.nan
    items = rng.normal(size=(num_items, 64)).astype(np.float32)
    items[rng.integers(0, num_items, num_items // 3)] = items[0]  # ties
    seen = [rng.permutation(num_items)[: rng.integers(0, 9)] + 1 for _ in range(users)]
    values = np.concatenate([rng.choice([-np.inf, -1, 2], len(own)) for own in seen])
    added = added_to([own.tolist() for own in seen], values)
    masks = rng.random((3, num_items)) < np.array([[0.01], [0.5], [1]])
    allowed = Allowed(masks, rng.integers(EVERYTHING, 3, users))
    terms = [Terms(), Terms(added), Terms(None, allowed), Terms(added, allowed)]
    return Asked(interests, items, terms[rng.integers(4)])


@examples(30)
@given(
    seeds,
    st.integers(1, 300),
    st.integers(1, 5),
    st.sampled_from([1, 90, 1024, 3000]),
    st.sampled_from([1, 20, 5000]),
    st.sampled_from([2, 3, 7]),
)
def test_best_by_tiles_has_the_same_bits_by_any_number_of_threads(
    seed: int, users: int, count: int, num_items: int, top_n: int, threads: int
) -> None:
    interests, items, terms = asked_of(np.random.default_rng(seed), users, count, num_items)
    n = min(top_n, num_items)
    with one_blas_thread():
        expected = best_by_tiles(items, interests, terms, n)
        found = best_by_tiles(items, interests, terms, n, threads=threads)
    assert [one.tobytes() for one in found] == [one.tobytes() for one in expected]


@pytest.mark.parametrize("dim", [8, 16, 64, 100])
@pytest.mark.parametrize("num_items", [1500, 2048])
def test_best_by_tiles_gives_a_user_the_same_bits_at_every_place(dim: int, num_items: int) -> None:
    rng = np.random.default_rng(dim)
    items = rng.normal(size=(num_items, dim)).astype(np.float32)
    own = rng.normal(size=(1, 4, dim)).astype(np.float32)
    with one_blas_thread():
        alone = best_by_tiles(items, own, Terms(), num_items)
        for users in (2, 5, 20, 64, 90):
            found = best_by_tiles(items, own.repeat(users, axis=0), Terms(), num_items)
            expected = [one.repeat(users, axis=0).tobytes() for one in alone]
            assert [one.tobytes() for one in found] == expected


@pytest.mark.parametrize("rows", [(1,), (3, 1024), (366, 1024)])
def test_layout_is_of_columns_that_are_rounded_alike(rows: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    with one_blas_thread():
        margin, widths = columns.layout(64, rows)
        assert widths[-1] == columns.WIDEST
        for count in rows:
            left = rng.normal(size=(count, 64)).astype(np.float32)
            right = rng.normal(size=(64, 1)).astype(np.float32)
            products = []
            for width in widths:
                queries = np.zeros((64, width + 2 * margin), np.float32)
                queries[:, margin : margin + width] = right
                products.append((left @ queries)[:, margin : margin + width])
            assert all((one == products[0][:, :1]).all() for one in products)


def test_search_gives_the_same_bits_where_columns_are_not_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def by_place(left: Any, right: Any, out: Any = None) -> Any:
        product = left @ right + np.arange(right.shape[1], dtype=np.float32)
        if out is not None:
            out[:] = product
        return product

    rng = np.random.default_rng(0)
    items = rng.normal(size=(1500, 7)).astype(np.float32)
    interests = rng.normal(size=(5, 3, 7)).astype(np.float32)
    columns.layout.cache_clear()
    monkeypatch.setattr(np, "matmul", by_place)
    try:
        assert columns.layout(7, (1024,)) == columns.Layout(0, ())
        together = best_by_tiles(items, interests, Terms(), 20)
        for user in range(5):
            alone = best_by_tiles(items, interests[[user]], Terms(), 20)
            assert alone[0].tobytes() == together[0][[user]].tobytes()
            assert alone[1].tobytes() == together[1][[user]].tobytes()
    finally:
        columns.layout.cache_clear()
