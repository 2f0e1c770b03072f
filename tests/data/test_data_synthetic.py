"""The demo data: a pure function of its seed, stored with its true interests."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from helpers.builders_data import item_lists
from reprise.data.dataset import SPLITS, open_dataset
from reprise.data.draft import Draft
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
