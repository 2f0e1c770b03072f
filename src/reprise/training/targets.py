"""The rule for training targets, and drawing them if only some items are targets
(`Sequences.targets`): a history may end wherever a target is among the next items of the user, and
the target is drawn from these.
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
    """Drawn positions, from 0, in the users' sequences.

    end: [B], the end (exclusive) of each user's window; prefixes: [B, m], the number of its items
    before each history's end; place: [B, m], the targets.
    """

    end: NDArray[np.int64]
    prefixes: NDArray[np.int64]
    place: NDArray[np.int64]


def trainable(split: Sequences, first: int) -> NDArray[np.int64]:
    """Return the users [U] who have a target after at least `first` items."""
    assert split.targets is not None
    before = np.concatenate([[0], np.cumsum(split.targets)])
    start = np.minimum(split.offsets[:-1] + first, split.offsets[1:])
    return np.flatnonzero(before[split.offsets[1:]] > before[start])


@dataclass(frozen=True)
class _Places:
    """All positions of the sequences of U users, concatenated: N in all.

    Attributes:
        starts, size: [U], each user's first position and number of positions.
        owner: [N], the user of each position.
        before: [N+1], the number of targets before each position.
        left: [N], the number of targets that a history ending before this position can have.
        ends: [N+1], the number of allowed positions before each position.
        targets: the positions of targets.
        allowed: the positions that a history may end before.
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
        """Return the positions of `users`."""
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
        """Each position within its user's sequence, from 0, [N]."""
        return np.arange(len(self.owner)) - self.starts[self.owner]

    def of_user(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return each user's count, [U], given cumulative counts by position, [N+1]."""
        own: NDArray[np.int64] = counts[self.starts + self.size] - counts[self.starts]
        return own

    def windows(self, first: int, length: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return where a window of `length` items (or the whole sequence) may end, [N], and how
        many allowed positions each window has after its first `first` items, [N].
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
    """Draw the ends of histories from the allowed positions, then for each a target ahead of it.

    users: [B], all `trainable`; length: the maximum of a history. `Sampler` does the same if all
    items are targets.
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
    """Draw prefix lengths [B, count] from `least` to `longest` [B], in random order and distinct;
    if there are fewer than `count`, they repeat in the same order.
    """
    choices = longest - least + 1
    order = rng.random((len(longest), int(choices.max())))
    order[np.arange(order.shape[1]) >= choices[:, None]] = 2  # behind all others
    turn = np.arange(count) % choices[:, None]
    return np.take_along_axis(np.argsort(order, axis=1, kind="stable"), turn, 1) + least


def target_chance(
    split: Sequences, users: NDArray[np.int64], num_items: int, length: int, rule: TargetRule
) -> NDArray[np.float64]:
    """Return the exact probability [V+1] of each item to be the target that `draw` draws."""
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
    """Return the probability that a user's history ends at each of their allowed positions."""
    allowed = places.allowed
    owner = places.owner[allowed]
    if rule.count == 1:
        chance: NDArray[np.float64] = 1.0 / places.of_user(places.ends)[owner]
        return chance
    possible, choices = places.windows(rule.first, length)
    each = np.where(possible, 1.0 / np.maximum(choices, 1), 0.0)
    summed = np.concatenate([[0.0], np.cumsum(each)])
    inside, size = places.inside[allowed], places.size[owner]
    # Sum over the windows that contain the position after their first `rule.first` items: they end
    # at it, or up to length - first later, or at the sequence's end.
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
