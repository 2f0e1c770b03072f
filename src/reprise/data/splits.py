"""Protocols: which users are trained on, and which items are held out.

comirec         split by users: each user is in one split, with all of their items
leave-one-out   split by time per user: all users are trained on, without their last two items
time-split      split by time for all users: items after a time are held out, those before it
                are the history
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.clock import clock_unit
from reprise.data.dataset import SPLITS
from reprise.data.rows import Times
from reprise.data.sequences import Sequences
from reprise.errors import UsageError
from reprise.text.messages import Phrase

Name = TypeVar("Name")

# ComiRec's: users split 8:1:1 after a seeded shuffle.
SHUFFLE_SEED = 1230
SPLIT_SHARES = (0.8, 0.9)
_HELD_OUT = 2  # of leave-one-out: the last item is the test's, the one before it the validation's
CUT = ("0.8", "0.9")  # of time-split: shares of the interactions before validation and before test


@dataclass(frozen=True)
class Users:
    """Users by their own ids, and their items: those of raw_ids[u] are user u's of `sequences`.

    known [U] int64: how many of his items an evaluation gives, where the protocol says it user by
    user.
    """

    raw_ids: pl.Series
    sequences: Sequences
    known: NDArray[np.int64] | None = None


def shuffled(users: Sequence[Name]) -> list[Name]:
    """Return users in the order that ComiRec splits them in."""
    order = list(users)
    random.Random(SHUFFLE_SEED).shuffle(order)
    return order


def by_users(users: Users, first: int = 0, total: int | None = None) -> dict[str, Users]:
    """Return the splits of ComiRec's protocol, users 8:1:1 in the order they stand in. users: those
    from number `first` on, of `total`.
    """
    own = len(users.raw_ids)
    count = own if total is None else total
    ends = [0, *(int(count * share) for share in SPLIT_SHARES), count]
    bounds = [min(max(end - first, 0), own) for end in ends]
    return {
        split: Users(users.raw_ids[start:end], users.sequences.users(start, end))
        for split, start, end in zip(SPLITS, bounds, bounds[1:], strict=False)
    }


def leave_one_out(users: Users) -> dict[str, Users]:
    """Return SASRec's splits, whose evaluation (`dataset.LAST`) looks for each user's last item.

    Of a user's n items: all but the last two in train, all but the last in valid, all in test. Who
    has fewer than three is in train alone, with all that he has. Where not all items are to be
    found: what is before the last target but one in train, before the last in valid, all in test;
    who has fewer than two, or nothing before them, is in train alone.
    """
    whole, lengths = users.sequences, users.sequences.lengths
    starts = whole.offsets[:-1]
    trained, validated = _before_the_last_two(whole)
    evaluated = trained > 0
    known = np.where(evaluated, trained, lengths)
    splits = {"train": Users(users.raw_ids, whole.slices(starts, known))}
    rows = np.flatnonzero(evaluated)
    for split, ends in (("valid", validated), ("test", lengths)):
        own = whole.slices(starts[rows], ends[rows])
        splits[split] = Users(users.raw_ids.gather(rows), own)
    return splits


def _before_the_last_two(whole: Sequences) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many items of each user, [U], are before the last target but one, and before the
    last; 0 of who has fewer.
    """
    if whole.targets is None:
        return np.maximum(whole.lengths - _HELD_OUT, 0), np.maximum(whole.lengths - 1, 0)
    before = np.concatenate([[0], np.cumsum(whole.targets)])
    first, end = before[whole.offsets[:-1]], before[whole.offsets[1:]]
    places = np.append(np.flatnonzero(whole.targets), 0)
    enough = end - first >= _HELD_OUT
    trained, validated = (
        np.where(enough, places[np.where(enough, end - left, -1)] - whole.offsets[:-1], 0)
        for left in (_HELD_OUT, 1)
    )
    return trained, validated


def by_time(users: Users, times: NDArray[Any], cut: tuple[Any, Any]) -> dict[str, Users]:
    """Return the splits of a global time cut, whose evaluation (`dataset.LATER`) looks for all that
    a user met in a split's time, from all that he met before. times [N]: of `users.sequences`.

    train: everyone's items before the first time of `cut`. valid: of the users with items before it
    and from it to the second, these items. test: of the users with items before the second and from
    it on, all items. So a user may be tested who is not trained on, as he came in between; who has
    items from the second time on alone is in no split, and nobody is trained on what is to be
    found, his own or another's.
    """
    offsets, lengths = users.sequences.offsets, users.sequences.lengths
    trained, validated = (
        np.diff(np.concatenate([[0], np.cumsum(times < time)])[offsets]) for time in cut
    )
    ends = {"train": trained, "valid": validated, "test": lengths}
    splits = {}
    for split, known in (("train", None), ("valid", trained), ("test", validated)):
        end = ends[split]
        rows = np.flatnonzero(end > 0 if known is None else (known > 0) & (end > known))
        own = users.sequences.slices(offsets[rows], end[rows])
        given = None if known is None else known[rows]
        splits[split] = Users(users.raw_ids.gather(rows), own, given)
    return splits


def cut_times(asked: Sequence[str], times: Times, unit: int | None = None) -> tuple[Any, Any]:
    """Return the two times that a cut means: shares of the interactions' `times` [N], numbers as
    these are, or dates (UTC where they have no zone). unit: how many of the times' a second has.
    """
    found = [_cut_time(text.strip(), times, unit, asked) for text in asked]
    if len(found) == len(CUT) and found[0] == found[1]:
        raise UsageError("cut_at_one_time", cut=",".join(asked), time=found[0])
    if len(found) != len(CUT) or not found[0] < found[1]:
        raise _bad_cut(asked)
    return found[0], found[1]


def _cut_time(text: str, times: Times, unit: int | None, asked: Sequence[str]) -> Any:
    try:
        number = float(text)
    except ValueError:
        try:
            date = datetime.fromisoformat(text)
        except ValueError as error:
            raise _bad_cut(asked) from error
        date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        time = round(date.timestamp() * 10**6) * (unit or clock_unit(times.max()) or 1)
        return time / 10**6 if time % 10**6 else time // 10**6
    if 0 < number < 1:
        return times.nth(int(number * len(times)))
    return number


def _bad_cut(asked: Sequence[str]) -> UsageError:
    return UsageError("bad_value", option="cut", value=",".join(asked), expected=Phrase("good_cut"))
