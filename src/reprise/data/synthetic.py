"""Demo data: synthetic users with a few known interests out of many, and a realistic popularity
skew, so that the right answer is known.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.cold import drawn, without
from reprise.data.draft import Draft
from reprise.data.features import codes_of, vectors_of
from reprise.data.item_files import Described
from reprise.data.sequences import Sequences
from reprise.data.splits import Users

NUM_INTERESTS = 50
ITEMS_PER_INTEREST = 60
USERS = {"train": 4000, "valid": 500, "test": 500}
INTERESTS_PER_USER = (2, 4)
HISTORY_LENGTH = (15, 40)
POPULARITY_EXPONENT = 0.5  # Zipf inside an interest, and over interests
STAY = 0.5  # chance that the next item is of the same interest as the last
START, DAY = 1_600_000_000, 86_400  # seconds
VECTOR_SIZE, VECTOR_NOISE = 16, 0.3
NOISE = 0.05  # chance that it is any item at all
_MAX_HELD = INTERESTS_PER_USER[1]


@dataclass(frozen=True)
class Walk:
    """A user: interests held, padded with -1; items, oldest first, none twice; and with which
    interest in mind each was taken.
    """

    held: list[int]
    items: NDArray[np.int64]
    minds: NDArray[np.int64]


def make_demo(
    seed: int = 1, features: bool = False, times: bool = False, cold_items: float = 0
) -> Draft:
    """Generate the data set, a pure function of the arguments.

    Each item belongs to one interest (its category). A user walks between 2 to 4 interests and
    takes items by popularity, none twice. `truth` holds "item_interest" [V+1] (-1 for padding)
    and, by split, "<split>_interests" [U, 4]: the user's interests, padded with -1.

    features: the features "interest" (codes) and "text" (vectors, noisy), which tell an item's
    interest. times: a user comes back after a day with another interest in mind, and stays with one
    for minutes, so that a gap tells whether the next item is of the interest of the last.
    cold_items: this share of the items is in no training sequence. None changes the rest.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
    interest_of, popularity = _catalogue(rng)
    sequences = {
        split: [_user(rng, interest_of, popularity) for _ in range(count)]
        for split, count in USERS.items()
    }
    ids = pl.Series([f"item-{n}" for n in range(len(interest_of))])
    held_out = drawn(ids, cold_items) if cold_items else None
    rank = _popularity_rank(
        [own.items for users in sequences.values() for own in users], len(interest_of), held_out
    )
    item_interest = np.full(len(interest_of) + 1, -1, np.int32)
    item_interest[rank] = interest_of
    raw_items = np.empty(len(rank), np.int64)
    raw_items[rank - 1] = np.arange(len(rank))
    truth = {
        f"{split}_interests": np.array([own.held for own in users], np.int32)
        for split, users in sequences.items()
    }
    clock = np.random.Generator(np.random.Philox(key=[seed, 1])) if times else None
    splits = {
        split: Users(
            pl.Series([f"{split}-{n}" for n in range(len(users))]), _split(users, rank, clock)
        )
        for split, users in sequences.items()
    }
    cold = None
    if held_out is not None:
        cold = np.zeros(len(rank) + 1, np.bool_)
        cold[rank] = held_out
        splits["train"] = without(splits["train"], cold)
    return Draft(
        splits={split: users.sequences for split, users in splits.items()},
        raw_users={split: users.raw_ids for split, users in splits.items()},
        raw_items=pl.Series([f"item-{n}" for n in raw_items]),
        item_category=item_interest,
        source={"format": "demo", "seed": seed, "protocol": "generated"},
        truth={"item_interest": item_interest, **truth},
        features=_features(seed, item_interest) if features else (),
        cold=cold,
    )


def _features(seed: int, item_interest: NDArray[np.int32]) -> list[Described]:
    """Return features that tell the interests [V+1] of the items."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 2]))
    own = item_interest[1:]
    centres = rng.normal(size=(NUM_INTERESTS, VECTOR_SIZE))
    vectors = centres[own] + VECTOR_NOISE * rng.normal(size=(len(own), VECTOR_SIZE))
    names = pl.Series("value", [None, *map(str, range(NUM_INTERESTS))], pl.String)
    codes = codes_of("interest", own + 1, NUM_INTERESTS + 1)
    return [
        Described(codes, "interest", "demo", names),
        Described(vectors_of("text", vectors), "text", "demo"),
    ]


def _catalogue(rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return each item's interest and popularity weight, [V] each."""
    interest_of = np.repeat(np.arange(NUM_INTERESTS, dtype=np.int32), ITEMS_PER_INTEREST)
    within = np.tile(np.arange(1, ITEMS_PER_INTEREST + 1) ** -POPULARITY_EXPONENT, NUM_INTERESTS)
    across = rng.permutation(np.arange(1, NUM_INTERESTS + 1) ** -POPULARITY_EXPONENT)
    return interest_of, within * across[interest_of]


def _user(
    rng: np.random.Generator, interest_of: NDArray[np.int32], popularity: NDArray[np.float64]
) -> Walk:
    """Return a user."""
    share = np.bincount(interest_of, weights=popularity)
    count = int(rng.integers(INTERESTS_PER_USER[0], INTERESTS_PER_USER[1] + 1))
    held = rng.choice(NUM_INTERESTS, count, replace=False, p=share / share.sum())
    length = int(rng.integers(HISTORY_LENGTH[0], HISTORY_LENGTH[1] + 1))
    # A race of exponential clocks orders all items by weight without replacement.
    order = np.argsort(rng.exponential(size=len(popularity)) / popularity)
    queues = {int(interest): list(order[interest_of[order] == interest]) for interest in held}
    anything = list(order)
    items: list[int] = []
    minds: list[int] = []
    taken: set[int] = set()
    current = int(held[0])
    for noise, stay, choice in rng.random((length, 3)):
        if stay >= STAY:
            current = int(held[int(choice * count)])
        queue = anything if noise < NOISE else queues[current]
        item = next(one for one in queue if one not in taken)
        taken.add(item)
        items.append(item)
        minds.append(current)
    padded = [int(interest) for interest in held] + [-1] * (_MAX_HELD - count)
    return Walk(padded, np.array(items, np.int64), np.array(minds, np.int64))


def _popularity_rank(
    sequences: list[NDArray[np.int64]], num_items: int, held_out: NDArray[np.bool_] | None
) -> NDArray[np.int32]:
    """Return each item's id, 1 for the most frequent, ties by number, those held out behind the
    others: [V] int32.
    """
    counts = np.bincount(np.concatenate(sequences), minlength=num_items)
    order = np.argsort(-counts, kind="stable")
    if held_out is not None:
        order = order[np.argsort(held_out[order], kind="stable")]
    rank = np.empty(num_items, np.int32)
    rank[order] = np.arange(1, num_items + 1)
    return rank


def _split(
    users: list[Walk], rank: NDArray[np.int32], clock: np.random.Generator | None
) -> Sequences:
    """Return the sequences of users, with times if there is a clock."""
    lengths = [len(own.items) for own in users]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = np.concatenate([rank[own.items] for own in users])
    times = None if clock is None else np.concatenate([_times(own, clock) for own in users])
    return Sequences(offsets, items.astype(np.int32), times=times)


def _times(own: Walk, clock: np.random.Generator) -> NDArray[np.int64]:
    """Return when a user took each item, in nanoseconds."""
    stays = np.append(False, own.minds[1:] == own.minds[:-1])
    minutes, days = clock.uniform(1, 10, len(stays)) * 60, clock.uniform(0.9, 1.1, len(stays)) * DAY
    seconds = START + clock.integers(365) * DAY + np.cumsum(np.where(stays, minutes, days))
    return np.asarray((seconds * 10**9).astype(np.int64))
