"""Protocols: who is trained on, and which items an evaluation hides.

comirec         users are apart: each is in one split, with all of his items
leave-one-out   time is apart: everyone is trained on, but for his last two items
"""

import random
from dataclasses import dataclass

import numpy as np
import polars as pl

from reprise.data.dataset import SPLITS, Split, stretches

# ComiRec's: users split 8:1:1 after a seeded shuffle.
SHUFFLE_SEED = 1230
SPLIT_SHARES = (0.8, 0.9)
_HELD_OUT = 2  # of leave-one-out: the last item is the test's, the one before it the validation's


@dataclass(frozen=True)
class Users:
    """Users by their own ids, and their items: those of raw_ids[u] are user u's of `sequences`."""

    raw_ids: pl.Series
    sequences: Split


def k_core(interactions: pl.DataFrame, size: int) -> pl.DataFrame:
    """Return the rows, in order, of the largest set of users and items that have `size` rows of the
    set each: empty where there is none.
    """
    while True:
        kept = interactions.filter(pl.len().over("item") >= size)
        kept = kept.filter(pl.len().over("user") >= size)
        if len(kept) == len(interactions):
            return kept
        interactions = kept


def shuffled(raw_ids: list[str]) -> list[str]:
    """Return users in the order that ComiRec splits them in."""
    order = list(raw_ids)
    random.Random(SHUFFLE_SEED).shuffle(order)
    return order


def by_users(users: Users) -> dict[str, Users]:
    """Return the splits of ComiRec's protocol, users 8:1:1 in the order they stand in."""
    offsets, items = users.sequences.offsets, users.sequences.items
    count = len(users.raw_ids)
    bounds = [0, *(int(count * share) for share in SPLIT_SHARES), count]
    splits = {}
    for split, first, end in zip(SPLITS, bounds, bounds[1:], strict=False):
        own = Split(offsets[first : end + 1] - offsets[first], items[offsets[first] : offsets[end]])
        splits[split] = Users(users.raw_ids[first:end], own)
    return splits


def leave_one_out(users: Users) -> dict[str, Users]:
    """Return SASRec's splits, whose evaluation (`dataset.LAST`) looks for each user's last item.

    Of a user's n items: all but the last two in train, all but the last in valid, all in test. Who
    has fewer than three is in train alone, with all that he has.
    """
    whole, lengths = users.sequences, users.sequences.lengths
    starts = whole.offsets[:-1]
    evaluated = lengths > _HELD_OUT
    known = np.where(evaluated, lengths - _HELD_OUT, lengths)
    splits = {"train": Users(users.raw_ids, stretches(whole.items, starts, known))}
    rows = np.flatnonzero(evaluated)
    for split, hidden in (("valid", 1), ("test", 0)):
        own = stretches(whole.items, starts[rows], lengths[rows] - hidden)
        splits[split] = Users(users.raw_ids.gather(rows), own)
    return splits
