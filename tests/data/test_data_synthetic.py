"""The demo data: a pure function of its seed, stored with its true interests."""

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helpers.builders_data import item_lists
from reprise.data.dataset import SPLITS, open_dataset
from reprise.data.draft import Draft
from reprise.data.features import Codes, Vectors
from reprise.data.prepare import publish
from reprise.data.synthetic import (
    HISTORY_LENGTH,
    INTERESTS_PER_USER,
    ITEMS_PER_INTEREST,
    NUM_INTERESTS,
    USERS,
    make_demo,
)

NUM_ITEMS = NUM_INTERESTS * ITEMS_PER_INTEREST


@pytest.fixture(scope="module")
def draft() -> Draft:
    return make_demo()


def test_demo_is_a_function_of_its_seed(draft: Draft) -> None:
    again, other = make_demo(), make_demo(seed=2)
    for split in SPLITS:
        assert np.array_equal(draft.splits[split].offsets, again.splits[split].offsets)
        assert np.array_equal(draft.splits[split].items, again.splits[split].items)
        assert draft.raw_users[split].equals(again.raw_users[split])
        assert not np.array_equal(draft.splits[split].items, other.splits[split].items)
    assert draft.raw_items.equals(again.raw_items)
    assert np.array_equal(draft.item_category, again.item_category)
    assert draft.truth.keys() == again.truth.keys()
    assert all(np.array_equal(draft.truth[key], again.truth[key]) for key in draft.truth)
    assert draft.source == again.source != other.source


def test_demo_has_the_declared_sizes(draft: Draft) -> None:
    assert len(draft.raw_items) == draft.raw_items.n_unique() == NUM_ITEMS
    least, most = HISTORY_LENGTH
    for split in SPLITS:
        lengths = draft.splits[split].lengths
        assert len(lengths) == len(draft.raw_users[split]) == USERS[split]
        assert least <= lengths.min() <= lengths.max() <= most
        items = draft.splits[split].items
        assert 1 <= items.min() <= items.max() <= NUM_ITEMS


@pytest.mark.parametrize("split", SPLITS)
def test_demo_users_take_no_item_twice(draft: Draft, split: str) -> None:
    for items in item_lists(draft.splits[split]):
        assert len(set(items)) == len(items)


def test_demo_ids_are_ranks_by_popularity(draft: Draft) -> None:
    items = np.concatenate([draft.splits[split].items for split in SPLITS])
    counts = np.bincount(items, minlength=NUM_ITEMS + 1)[1:].tolist()
    assert all(left >= right for left, right in itertools.pairwise(counts))
    assert counts[0] > 5 * counts[NUM_ITEMS // 2]  # a skew worth the name


def test_demo_items_belong_to_one_interest_each(draft: Draft) -> None:
    interest = draft.truth["item_interest"]
    assert interest[0] == -1
    assert np.bincount(interest[1:]).tolist() == [ITEMS_PER_INTEREST] * NUM_INTERESTS
    assert np.array_equal(draft.item_category, interest)
    # The raw ids count the items of one interest after another.
    raw = [int(name.removeprefix("item-")) for name in draft.raw_items]
    assert interest[1:].tolist() == [number // ITEMS_PER_INTEREST for number in raw]


@pytest.mark.parametrize("split", SPLITS)
def test_demo_users_take_items_of_their_interests(draft: Draft, split: str) -> None:
    interest, held = draft.truth["item_interest"], draft.truth[f"{split}_interests"]
    least, most = INTERESTS_PER_USER
    assert held.shape == (USERS[split], most)
    own = total = 0
    seen = []
    for items, row in zip(item_lists(draft.splits[split]), held.tolist(), strict=True):
        interests = {number for number in row if number >= 0}
        assert least <= len(interests) == sum(number >= 0 for number in row)
        taken = interest[items].tolist()
        own += sum(number in interests for number in taken)
        total += len(taken)
        seen.append(len(interests & set(taken)) / len(interests))
    # One item in twenty is noise; more would make the truth no truth.
    assert 0.93 <= own / total <= 0.98
    assert np.mean(seen) >= 0.95  # what a user holds also shows


def test_demo_stores_its_truth(demo_data: Path, draft: Draft) -> None:
    dataset = open_dataset(demo_data / "demo")
    assert dataset.num_items == NUM_ITEMS
    assert dataset.meta["num_categories"] == NUM_INTERESTS
    for split in SPLITS:
        truth = dataset.truth(split)
        assert truth is not None
        assert np.array_equal(truth.item_interest, draft.truth["item_interest"])
        assert np.array_equal(truth.user_interests, draft.truth[f"{split}_interests"])
        users = dataset.evaluation_users(split, 20)
        assert len(users.history) == len(truth.user_interests)


@pytest.fixture(scope="module")
def known() -> Draft:
    """Demo data with all that it can tell."""
    return make_demo(features=True, times=True, cold_items=0.1)


def test_demo_features_tell_an_items_interest(known: Draft) -> None:
    codes, text = (own.feature for own in known.features)
    assert isinstance(codes, Codes)
    assert isinstance(text, Vectors)
    interest = known.item_category[1:]
    assert np.array_equal(codes.codes[1:], interest + 1)
    own = np.zeros((NUM_INTERESTS, text.values.shape[1]))
    np.add.at(own, interest, text.values[1:] / ITEMS_PER_INTEREST)
    distances = np.linalg.norm(text.values[1:, None] - own, axis=2)
    assert (distances.argmin(axis=1) == interest).mean() > 0.99


def test_demo_times_tell_whether_a_user_stays_with_an_interest(known: Draft, draft: Draft) -> None:
    for split in ("valid", "test"):
        own = known.splits[split]
        assert own.times is not None
        gaps = np.diff(own.times) / 1e9
        same = np.diff(known.item_category[own.items]) == 0
        inside = np.ones(len(gaps), bool)
        inside[own.offsets[1:-1] - 1] = False
        assert (gaps[inside] > 0).all()
        short = gaps < 3600
        assert same[inside & short].mean() > 0.85  # but for noise
        assert same[inside & ~short].mean() < 0.1


def test_demo_cold_items_are_in_no_training_sequence_and_change_nothing_else(
    known: Draft, draft: Draft
) -> None:
    assert known.cold is not None
    assert known.cold[1:].mean() == pytest.approx(0.1, abs=0.02)
    assert not known.cold[known.splits["train"].items].any()
    cold = set(known.raw_items.filter(pl.Series(known.cold[1:])))
    for split in SPLITS:
        lists = [
            [made.raw_items[item - 1] for item in itertools.chain(*item_lists(made.splits[split]))]
            for made in (draft, known)
        ]
        kept = [item for item in lists[0] if split != "train" or item not in cold]
        assert lists[1] == kept


def test_demo_with_features_and_times_is_stored(known: Draft, tmp_path: Path) -> None:
    made = open_dataset(publish(known, "known", tmp_path / "known"))
    assert list(made.features) == ["interest", "text"]
    assert made.features["text"].digest == known.features[1].feature.digest
    assert made.has_times
    assert made.cold is not None
    assert known.cold is not None
    assert np.array_equal(made.cold, known.cold)
