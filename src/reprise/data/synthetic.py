"""Demo data: synthetic users with a few known interests out of many, and a realistic popularity
skew, so that the right answer is known.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.draft import Draft
from reprise.data.sequences import Sequences

NUM_INTERESTS = 50
ITEMS_PER_INTEREST = 60
USERS = {"train": 4000, "valid": 500, "test": 500}
INTERESTS_PER_USER = (2, 4)
HISTORY_LENGTH = (15, 40)
POPULARITY_EXPONENT = 0.5  # Zipf inside an interest, and over interests
STAY = 0.5  # chance that the next item is of the same interest as the last
NOISE = 0.05  # chance that it is any item at all
_MAX_HELD = INTERESTS_PER_USER[1]


def make_demo(seed: int = 1) -> Draft:
    """Generate the data set, a pure function of the seed.

    Each item belongs to one interest (its category). A user walks between 2 to 4 interests and
    takes items by popularity, none twice. `truth` holds "item_interest" [V+1] (-1 for padding)
    and, by split, "<split>_interests" [U, 4]: the user's interests, padded with -1.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
    interest_of, popularity = _catalogue(rng)
    sequences = {
        split: [_user(rng, interest_of, popularity) for _ in range(count)]
        for split, count in USERS.items()
    }
    rank = _popularity_rank(
        [items for users in sequences.values() for _, items in users], len(interest_of)
    )
    item_interest = np.full(len(interest_of) + 1, -1, np.int32)
    item_interest[rank] = interest_of
    raw_items = np.empty(len(rank), np.int64)
    raw_items[rank - 1] = np.arange(len(rank))
    truth = {
        f"{split}_interests": np.array([held for held, _ in users], np.int32)
        for split, users in sequences.items()
    }
    return Draft(
        splits={
            split: _split([rank[items] for _, items in users]) for split, users in sequences.items()
        },
        raw_users={
            split: pl.Series([f"{split}-{n}" for n in range(len(users))])
            for split, users in sequences.items()
        },
        raw_items=pl.Series([f"item-{n}" for n in raw_items]),
        item_category=item_interest,
        source={"format": "demo", "seed": seed, "protocol": "generated"},
        truth={"item_interest": item_interest, **truth},
    )


def _catalogue(rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return each item's interest and popularity weight, [V] each."""
    interest_of = np.repeat(np.arange(NUM_INTERESTS, dtype=np.int32), ITEMS_PER_INTEREST)
    within = np.tile(np.arange(1, ITEMS_PER_INTEREST + 1) ** -POPULARITY_EXPONENT, NUM_INTERESTS)
    across = rng.permutation(np.arange(1, NUM_INTERESTS + 1) ** -POPULARITY_EXPONENT)
    return interest_of, within * across[interest_of]


def _user(
    rng: np.random.Generator, interest_of: NDArray[np.int32], popularity: NDArray[np.float64]
) -> tuple[list[int], NDArray[np.int64]]:
    """Return a user's interests (padded with -1) and items, oldest first, none twice."""
    share = np.bincount(interest_of, weights=popularity)
    count = int(rng.integers(INTERESTS_PER_USER[0], INTERESTS_PER_USER[1] + 1))
    held = rng.choice(NUM_INTERESTS, count, replace=False, p=share / share.sum())
    length = int(rng.integers(HISTORY_LENGTH[0], HISTORY_LENGTH[1] + 1))
    # A race of exponential clocks orders all items by weight without replacement.
    order = np.argsort(rng.exponential(size=len(popularity)) / popularity)
    queues = {int(interest): list(order[interest_of[order] == interest]) for interest in held}
    anything = list(order)
    items: list[int] = []
    taken: set[int] = set()
    current = int(held[0])
    for noise, stay, choice in rng.random((length, 3)):
        if stay >= STAY:
            current = int(held[int(choice * count)])
        queue = anything if noise < NOISE else queues[current]
        item = next(one for one in queue if one not in taken)
        taken.add(item)
        items.append(item)
    padded = [int(interest) for interest in held] + [-1] * (_MAX_HELD - count)
    return padded, np.array(items, np.int64)


def _popularity_rank(sequences: list[NDArray[np.int64]], num_items: int) -> NDArray[np.int32]:
    """Return each item's id, 1 for the most frequent, ties by number: [V] int32."""
    counts = np.bincount(np.concatenate(sequences), minlength=num_items)
    rank = np.empty(num_items, np.int32)
    rank[np.argsort(-counts, kind="stable")] = np.arange(1, num_items + 1)
    return rank


def _split(sequences: list[NDArray[np.int32]]) -> Sequences:
    lengths = [len(items) for items in sequences]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(offsets, np.concatenate(sequences).astype(np.int32))
