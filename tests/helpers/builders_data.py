"""Builders of source files and small datasets, and slow, obvious readers of both formats."""

import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helpers.oracles import tie_hash
from reprise.data.dataset import SPLITS
from reprise.data.draft import Draft
from reprise.data.sequences import Sequences
from reprise.retrieval.terms import Added

Row = tuple[int, int, int]  # user, item, order
Event = tuple[str, str, float]  # user, item, timestamp
Users = list[tuple[str, list[int]]]  # each user's own id and items, oldest first

INTER_HEADER = "user_id:token\titem_id:token\ttimestamp:float"
# A whole ComiRec source: three users, items 1..4.
ROWS: Mapping[str, Sequence[Row]] = {
    "train": [(0, 1, 0), (0, 2, 1), (0, 3, 2)],
    "valid": [(1, 2, 0), (1, 4, 1)],
    "test": [(2, 1, 0), (2, 3, 1)],
}


def write_comirec(
    folder: Path, rows: Mapping[str, Sequence[Row]] = ROWS, prefix: str = "x", line_end: str = "\n"
) -> Path:
    """Write `<prefix>_<split>.txt` for each split and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in rows.items():
        text = "".join(f"{user},{item},{order}{line_end}" for user, item, order in lines)
        (folder / f"{prefix}_{split}.txt").write_bytes(text.encode())
    return folder


def read_comirec_slowly(rows: Sequence[Row]) -> Users:
    """What ComiRec's data iterator makes of one file."""
    graph: dict[int, list[tuple[int, int]]] = {}
    for user, item, order in rows:
        graph.setdefault(user, []).append((order, item))
    return [
        (str(user), [item for _, item in sorted(pairs, key=lambda pair: pair[0])])
        for user, pairs in graph.items()
    ]


def recbole_slowly(
    events: Sequence[Event], ordered: bool = True
) -> tuple[list[str], dict[str, Users]]:
    """ComiRec's preprocessing: the raw ids of items 1..V and each split's users, in order; of rows
    whose order says nothing, equals by their ids, and a user's at one time by their hash.
    """
    count = Counter(item for _, item, _ in events)  # its keys are in order of first appearance
    names = list(count) if ordered else sorted(count)
    raw_items = [item for item in sorted(names, key=lambda item: -count[item]) if count[item] >= 5]
    number = {item: n for n, item in enumerate(raw_items, start=1)}
    graph: dict[str, list[tuple[float, str]]] = {}
    for user, item, time in events if ordered else sorted(events):
        graph.setdefault(user, []).append((time, item))
    active = [u for u, pairs in graph.items() if sum(item in number for _, item in pairs) >= 5]
    random.seed(1230)
    random.shuffle(active)
    first, second = int(len(active) * 0.8), int(len(active) * 0.9)
    parts = {"train": active[:first], "valid": active[first:second], "test": active[second:]}

    def place(user: str, pair: tuple[float, str]) -> tuple[float, int]:
        return (pair[0], 0 if ordered else tie_hash(user, pair[1], pair[0]))

    users: dict[str, Users] = {}
    for split, own in parts.items():
        users[split] = []
        for user in own:
            met = (pair for pair in graph[user] if pair[1] in number)
            known = sorted(met, key=partial(place, user))
            users[split].append((user, [number[item] for _, item in known]))
    return raw_items, users


def leave_one_out_slowly(users: Users) -> dict[str, Users]:
    """What each split holds of the users: all but two items, all but one, all."""
    long = [(user, items) for user, items in users if len(items) >= 3]
    return {
        "train": [(user, items[:-2] if len(items) >= 3 else items) for user, items in users],
        "valid": [(user, items[:-1]) for user, items in long],
        "test": long,
    }


def write_inter(path: Path, events: Sequence[Event]) -> Path:
    """Write a RecBole `.inter` file."""
    lines = [f"{user}\t{item}\t{time}" for user, item, time in events]
    path.write_text("\n".join([INTER_HEADER, *lines, ""]))
    return path


def users_of(draft: Draft, split: str) -> Users:
    """Each user's own id and items, in the draft's order."""
    return list(zip(draft.raw_users[split].to_list(), item_lists(draft.splits[split]), strict=True))


def item_lists(split: Sequences) -> list[list[int]]:
    """Each user's items."""
    bounds = split.offsets.tolist()
    items: list[int] = split.items.tolist()
    return [items[start:end] for start, end in itertools.pairwise(bounds)]


DAY = 86_400 * 10**9  # in nanoseconds


def split_of(lists: Sequence[Sequence[int]]) -> Sequences:
    """The split that holds `lists`, one for each user."""
    offsets = np.cumsum([0, *(len(items) for items in lists)], dtype=np.int64)
    return Sequences(offsets, np.array([item for items in lists for item in items], np.int32))


def following(num_items: int) -> Draft:
    """Return a data set of users most of whose items follow the one before."""
    rng, splits = np.random.default_rng(5), {}
    for split, count in zip(SPLITS, (200, 80, 40), strict=True):
        lists = []
        for _ in range(count):
            own = [int(rng.integers(num_items))]
            while len(own) < 10:
                follows = rng.random() < 0.7
                own.append((own[-1] + 1) % num_items if follows else int(rng.integers(num_items)))
            lists.append([item + 1 for item in own])
        splits[split] = split_of(lists)
    return draft_of(splits, np.full(num_items + 1, -1, np.int32))


def times_in_order(offsets: NDArray[np.int64], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Return times [N] in nanoseconds, in order for each user, gaps from 0 to `most` nanoseconds
    on a scale of their own each.
    """
    rng = np.random.default_rng([seed, int(offsets[-1])])
    gaps = rng.uniform(0, most ** rng.uniform(0.4, 1, offsets[-1])).astype(np.int64)
    return np.int64(1_700_000_000 * 10**9) + np.cumsum(gaps)


def added_to(lists: Sequence[Sequence[int]], value: Any = -np.inf) -> Added:
    """Return what is added to the scores of users' items: a value, or one for each item."""
    user = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    item = np.array([item for one in lists for item in one], np.int64)
    values = np.broadcast_to(np.float32(value), len(item))
    _, first = np.unique(item * (len(lists) + 1) + user, return_index=True)
    return Added(user[first], item[first], values[first])


def draft_of(splits: Mapping[str, Sequences], item_category: NDArray[np.int32]) -> Draft:
    """A dataset of the splits, its raw ids "u0", "u1", ... and "i1", "i2", ..."""
    return Draft(
        splits=splits,
        raw_users={
            split: pl.Series([f"u{n}" for n in range(len(splits[split].lengths))])
            for split in SPLITS
        },
        raw_items=pl.Series([f"i{n}" for n in range(1, len(item_category))]),
        item_category=item_category,
        source={"format": "test"},
        truth={},
    )


def small_draft(lists: Sequence[Sequence[int]] = ((1, 2, 3), (2,), (3, 1))) -> Draft:
    """The same users in every split, three items; item 3 is of unknown category."""
    interests = np.array([[n % 2, -1] for n in range(len(lists))], np.int32)
    return Draft(
        splits=dict.fromkeys(SPLITS, split_of(lists)),
        raw_users={
            split: pl.Series([f"{split}{n}" for n in range(len(lists))]) for split in SPLITS
        },
        raw_items=pl.Series(["a", "b", "c"]),
        item_category=np.array([-1, 0, 7, -1], np.int32),
        source={"format": "test"},
        truth={
            "item_interest": np.array([-1, 0, 1, 0], np.int32),
            **{f"{split}_interests": interests for split in SPLITS},
        },
    )
