"""Which items are targets: the rule, and drawing where not all items are to be found
(`Sequences.targets`): a history may end wherever one of the next items of its user is to be found,
and the target is one of these.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data.sequences import Sequences

_CHUNK = 65_536  # users at a time, which bounds memory


@dataclass(frozen=True)
class TargetRule:
    """How targets are drawn: `count` per user, each after a history of at least `first` items.

    Each target is drawn from the next max(next_n, next_share * len(sequence)) items after its
    history.
    """

    first: int = 4
    count: int = 1
    next_n: int = 1
    next_share: float = 0.0

    def reach(self, size: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the number of items that a target is drawn from, for sequences of `size` items."""
        return np.maximum(self.next_n, (self.next_share * size).astype(np.int64))


COMIREC = TargetRule()


class Drawn(NamedTuple):
    """Where each user's window ends [B], how many of its items precede each target [B, m], and
    where that is in the user's sequence [B, m].
    """

    end: NDArray[np.int64]
    prefixes: NDArray[np.int64]
    place: NDArray[np.int64]


def trainable(split: Sequences, first: int) -> NDArray[np.int64]:
    """Return the users who have something to be found after at least `first` items."""
    assert split.targets is not None
    before = np.concatenate([[0], np.cumsum(split.targets)])
    start = np.minimum(split.offsets[:-1] + first, split.offsets[1:])
    return np.flatnonzero(before[split.offsets[1:]] > before[start])


@dataclass(frozen=True)
class _Places:
    """The places of some users' sequences, one after another (N in all).

    Attributes:
        starts, size: [U], where each user's places begin, and how many they are.
        owner: [N], the user of each place.
        before: [N+1], targets before each place.
        left: [N], targets among the items that one after this place's history is drawn from.
        ends: [N+1], places before each one at which a history may end.
        targets, allowed: the places of targets, and those at which a history may end.
    """

    starts: NDArray[np.int64]
    size: NDArray[np.int64]
    owner: NDArray[np.int64]
    before: NDArray[np.int64]
    left: NDArray[np.int64]
    ends: NDArray[np.int64]
    targets: NDArray[np.int64]
    allowed: NDArray[np.int64]

    @classmethod
    def of(cls, split: Sequences, users: NDArray[np.int64], rule: TargetRule) -> "_Places":
        """Return the places of `users`."""
        size = split.offsets[users + 1] - split.offsets[users]
        own = split.slices(split.offsets[users], size)
        assert own.targets is not None
        starts, owner = own.offsets[:-1], np.repeat(np.arange(len(users)), size)
        place = np.arange(len(owner))
        before = np.concatenate([[0], np.cumsum(own.targets)])
        reach = np.minimum(place + rule.reach(size)[owner], own.offsets[1:][owner])
        left = before[reach] - before[:-1]
        allowed = (left > 0) & (place - starts[owner] >= rule.first)
        ends = np.concatenate([[0], np.cumsum(allowed)])
        places = np.flatnonzero(own.targets), np.flatnonzero(allowed)
        return cls(starts, size, owner, before, left, ends, *places)

    @property
    def inside(self) -> NDArray[np.int64]:
        """The place in the user's own sequence, [N]."""
        return np.arange(len(self.owner)) - self.starts[self.owner]

    def of_user(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what each user has, [U], of counts before each place, [N+1]."""
        own: NDArray[np.int64] = counts[self.starts + self.size] - counts[self.starts]
        return own

    def windows(self, first: int, length: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return at which places a window of `length` items of history (or the whole sequence) may
        end, [N], and at how many places of it, after its first `first`, a history may end, [N].
        """
        inside = self.inside
        beginning = np.arange(len(inside)) - np.minimum(inside, length) + first
        choices = self.ends[1:] - self.ends[np.minimum(beginning, np.arange(1, len(inside) + 1))]
        last = np.minimum(self.size - 1, length)[self.owner]
        return (inside >= last) & (choices > 0), choices


def draw(
    split: Sequences,
    users: NDArray[np.int64],
    rule: TargetRule,
    length: int,
    places_rng: np.random.Generator,
    ahead_rng: np.random.Generator,
) -> Drawn:
    """Draw the targets of users who are `trainable`, as `Sampler` does where all items are: the
    places of histories' ends from those allowed, then of each the target from those ahead.
    """
    places = _Places.of(split, users, rule)
    if rule.count == 1:
        drawn = places_rng.integers(places.of_user(places.ends))
        end = places.allowed[places.ends[places.starts] + drawn][:, None]
        window = end[:, 0]
        prefixes = np.minimum(end - places.starts[:, None], length)
    else:
        possible, choices = places.windows(rule.first, length)
        counts = np.concatenate([[0], np.cumsum(possible)])
        drawn = places_rng.integers(places.of_user(counts))
        window = np.flatnonzero(possible)[counts[places.starts] + drawn]
        chosen = draw_prefixes(places_rng, 0, choices[window] - 1, rule.count)
        end = places.allowed[(places.ends[window + 1] - choices[window])[:, None] + chosen]
        known = np.minimum(window - places.starts, length)
        prefixes = end - (window - known)[:, None]
    target = places.targets[places.before[end] + ahead_rng.integers(places.left[end])]
    return Drawn(window - places.starts, prefixes, target - places.starts[:, None])


def draw_prefixes(
    rng: np.random.Generator, least: int, longest: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Draw prefix lengths [B, count] from `least` to `longest` [B]: distinct, in random order, and
    repeating from the first where there are too few.
    """
    choices = longest - least + 1
    order = rng.random((len(longest), int(choices.max())))
    order[np.arange(order.shape[1]) >= choices[:, None]] = 2  # behind all others
    turn = np.arange(count) % choices[:, None]
    return np.take_along_axis(np.argsort(order, axis=1, kind="stable"), turn, 1) + least


def target_chance(
    split: Sequences, users: NDArray[np.int64], num_items: int, length: int, rule: TargetRule
) -> NDArray[np.float64]:
    """Return the probability [V+1] of each item being a target, exactly as `draw` draws it."""
    chance = np.zeros(num_items + 1)
    for some in _chunks(users):
        places = _Places.of(split, some, rule)
        items = split.slices(split.offsets[some], places.size).items
        weight = _chance_of_ends(places, rule, length) / places.left[places.allowed]
        left, before = places.left[places.allowed], places.before[places.allowed]
        for ahead in range(int(left.max(initial=0))):
            there = left > ahead
            found = items[places.targets[before[there] + ahead]]
            chance += np.bincount(found, weight[there], minlength=num_items + 1)
    return chance / len(users)


def _chance_of_ends(places: _Places, rule: TargetRule, length: int) -> NDArray[np.float64]:
    """Return the probability of a user's history ending at each allowed place."""
    allowed = places.allowed
    owner = places.owner[allowed]
    if rule.count == 1:
        chance: NDArray[np.float64] = 1.0 / places.of_user(places.ends)[owner]
        return chance
    possible, choices = places.windows(rule.first, length)
    each = np.where(possible, 1.0 / np.maximum(choices, 1), 0.0)
    summed = np.concatenate([[0.0], np.cumsum(each)])
    inside, size = places.inside[allowed], places.size[owner]
    # The windows that have the place behind their first `rule.first` items: its own and those that
    # end up to length - first behind it, or the whole sequence.
    last = np.minimum(np.maximum(inside + length - rule.first, 0), size - 1)
    start = np.maximum(inside, np.minimum(size - 1, length))
    ends = places.starts[owner]
    total = summed[ends + last + 1] - summed[ends + start]
    counts = np.concatenate([[0], np.cumsum(possible)])
    windows: NDArray[np.float64] = total / places.of_user(counts)[owner]
    return windows


def _chunks(users: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(users), _CHUNK):
        yield users[start:][:_CHUNK]
