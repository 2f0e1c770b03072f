"""Training batches: each is a pure function of (seed, branch, step).

Prefetching only moves the work to another thread.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from reprise.data.moments import relative, whole_seconds
from reprise.data.sequences import Sequences
from reprise.errors import DataError
from reprise.training import negatives, targets
from reprise.training.distinct import distinct
from reprise.training.packing import packed
from reprise.training.targets import COMIREC, TargetRule

# Users per chunk in `target_chance`, which bounds its memory.
_CHUNK = 65_536
# Bucket sizes of the unique rows: at most 8, since the step is compiled once per size, and none
# smaller than 512, where a step takes no longer.
_SIZES, _LEAST_SIZE = 8, 512
_USERS, _POSITIONS, _NEGATIVES, _KEY, _AHEAD = range(5)

S = TypeVar("S")
T = TypeVar("T")


class Taken(NamedTuple):
    """What a batch takes of its users' sequences.

    Attributes:
        history, target: [B, L] and [B, m] int32 item numbers.
        times: As `Batch` has them.
    """

    history: NDArray[np.int32]
    target: NDArray[np.int32]
    times: NDArray[np.int32] | None


class Draw(NamedTuple):
    """Whom a batch is of, [B], and which positions of their sequences."""

    users: NDArray[np.int64]
    positions: targets.Drawn

    def of(self, some: NDArray[np.bool_]) -> "Draw":
        """Return the draw of some of the users."""
        positions = targets.Drawn._make(each[some] for each in self.positions)
        return Draw(self.users[some], positions)


class Batch(NamedTuple):
    """The input of one step, in static shapes.

    B users, L positions, m targets per user, S negatives drawn from the catalogue, and N negatives
    in total: S, or for in-batch kinds the B*m targets followed by the S. Only M varies: it is at
    most B*L + B*m + S, rounded up to a few bucket sizes. With all items as negatives, M = V + 1
    and the indices are the ids.

    Attributes:
        unique_rows: [M] int32, the unique item rows of the batch, ascending, then distinct ids
            past the catalogue as padding.
        history, target, negatives: [B, L], [B, m] and [N] int32, indices into `unique_rows`.
        prefixes: [B, m] int32, how many items of the history precede each target.
        log_q_target, log_q_negatives: [B, m] and [N] float32.
        key: [2] uint32, the data of the JAX key of the step.
        times: [B, L + 1] int32, the times of the history and of the item after it, as
            `data.moments` has them; None where the model does not read them.
        packed: [R, L] int32, how an encoder packs the histories, as `packing.packed` has it; None
            where it does not, or would gain nothing.
    """

    unique_rows: NDArray[np.int32]
    history: NDArray[np.int32]
    prefixes: NDArray[np.int32]
    target: NDArray[np.int32]
    negatives: NDArray[np.int32]
    log_q_target: NDArray[np.float32]
    log_q_negatives: NDArray[np.float32]
    key: NDArray[np.uint32]
    times: NDArray[np.int32] | None = None
    packed: NDArray[np.int32] | None = None


@dataclass(frozen=True)
class Sampler:
    """Draws batches from the users of `split` with more than `rule.first` items.

    With one target per user, a position is drawn from `rule.first` on, and the history is what
    precedes it. With several, a window of `history_length` + 1 items (or the whole sequence) is
    drawn, and in it distinct positions after at least `rule.first` items; they repeat where there
    are too few. For `kind`, `target_chance` and `ranking` see `negatives.sample`.
    Where not all items are to be found, `targets.draw` draws from those that are. With `timed`,
    batches have the split's times; with `packs`, a single batch has its histories packed, in
    `shares` parts, one for each device.
    """

    split: Sequences
    users: NDArray[np.int64]
    num_items: int
    batch_size: int
    history_length: int
    num_negatives: int
    seed: int
    kind: str = "log-uniform"
    rule: TargetRule = COMIREC
    target_chance: NDArray[np.float64] | None = None
    ranking: negatives.Ranking | None = None
    timed: bool = False
    packs: bool = False
    shares: int = 1

    def batch(self, branch: int, step: int) -> Batch:
        """Return the batch of update `step` (from 1), regardless of what was drawn before."""
        draw = self.draw(branch, step)
        return self.made(branch, step, draw, self.taken(draw))

    def draw(self, branch: int, step: int) -> Draw:
        """Draw the users and positions of a batch; where all items are targets, by the lengths of
        their sequences alone.
        """
        row = _stream(self.seed, branch, step, _USERS).choice(
            len(self.users), self.batch_size, replace=False
        )
        users = self.users[row]
        rngs = (_stream(self.seed, branch, step, stream) for stream in (_POSITIONS, _AHEAD))
        if self.split.targets is None:
            return Draw(users, self._draw(users, *rngs))
        about = (self.split, users, self.rule, self.history_length)
        return Draw(users, targets.draw(*about, *rngs))

    def taken(self, draw: Draw) -> Taken:
        """Read what was drawn from the users' sequences, row by row: those of no other user."""
        users, positions = draw
        history, _ = self.split.histories(users, positions.end, self.history_length)
        target = self.split.items[self.split.offsets[users][:, None] + positions.place]
        times = self._times(users, positions.end) if self.timed else None
        return Taken(history, target, times)

    def made(self, branch: int, step: int, draw: Draw, taken: Taken) -> Batch:
        """Return the batch of what was drawn and read for it."""
        prefixes = draw.positions.prefixes
        sample = negatives.sample(
            self.kind,
            _stream(self.seed, branch, step, _NEGATIVES),
            taken.target.ravel(),
            self.num_negatives,
            self.num_items,
            self.target_chance,
            self.ranking,
        )
        key = _stream(self.seed, branch, step, _KEY).integers(2**32, size=2, dtype=np.uint32)
        batch = self._localise(taken.history, prefixes, taken.target, sample, key)
        if self.packs:
            longest = prefixes.max(axis=1)
            batch = batch._replace(packed=packed(longest, self.history_length, self.shares))
        return batch if taken.times is None else batch._replace(times=taken.times)

    def _times(self, users: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the times of the history before `end` [B] and of the item there. The request after
        a prefix is at the time of the item that follows it, whichever of the next is the target: as
        in an evaluation, where it is at the time of the first held-out item.
        """
        assert self.split.times is not None
        known = np.minimum(end, self.history_length)
        column = np.minimum(np.arange(self.history_length + 1), known[:, None])
        times = self.split.times[(self.split.offsets[users] + end - known)[:, None] + column]
        return relative(whole_seconds(times))

    def _draw(
        self,
        users: NDArray[np.int64],
        places_rng: np.random.Generator,
        ahead_rng: np.random.Generator,
    ) -> targets.Drawn:
        """Draw targets from all items."""
        size = self.split.offsets[users + 1] - self.split.offsets[users]
        if self.rule.count == 1:
            end = places_rng.integers(self.rule.first, size)
            prefixes = np.minimum(end, self.history_length)[:, None]
        else:
            end = places_rng.integers(np.minimum(size - 1, self.history_length), size)
            longest = np.minimum(end, self.history_length)
            prefixes = targets.draw_prefixes(places_rng, self.rule.first, longest, self.rule.count)
        position = (end - np.minimum(end, self.history_length))[:, None] + prefixes
        ahead = ahead_rng.integers(
            np.minimum(self.rule.reach(size)[:, None], size[:, None] - position)
        )
        return targets.Drawn(end, prefixes, position + ahead)

    def batches(self, branch: int, steps: Iterable[int]) -> Batch:
        """Return the batches of the updates `steps` stacked along a first axis, with M at its
        maximum, and not packed: in one shape, whatever they hold.
        """
        made = [self.batch(branch, step) for step in steps]
        with_room = [
            batch._replace(unique_rows=self._with_room(batch.unique_rows), packed=None)
            for batch in made
        ]
        stacked = [
            None if field[0] is None else np.stack(field) for field in zip(*with_room, strict=True)
        ]
        return Batch._make(stacked)

    @property
    def most_rows(self) -> int:
        """The maximum number of unique rows of a batch."""
        kind = negatives.KINDS[self.kind]
        if kind.whole:
            return self.num_items + 1
        drawn = min(self.num_negatives, self.num_items) if kind.draw is not None else 0
        return self.batch_size * (self.history_length + self.rule.count) + drawn

    def _with_room(self, rows: NDArray[np.integer], size: int | None = None) -> NDArray[np.int32]:
        """Pad ascending rows with distinct ids past the catalogue, up to `size`."""
        missing = (self.most_rows if size is None else size) - len(rows)
        spare = np.arange(missing) + max(int(rows[-1]), self.num_items) + 1
        return np.concatenate([rows, spare]).astype(np.int32)

    def _localise(
        self,
        history: NDArray[np.int32],
        prefixes: NDArray[np.int64],
        target: NDArray[np.int32],
        sample: negatives.Sample,
        key: NDArray[np.uint32],
    ) -> Batch:
        kind = negatives.KINDS[self.kind]
        used = np.concatenate([history.ravel(), target.ravel(), sample.drawn]).astype(np.int32)
        if kind.whole:
            unique_rows, local = np.arange(self.num_items + 1, dtype=np.int32), used
        else:
            rows, position = distinct(used)
            unique_rows = self._with_room(rows, _size(len(rows), self.most_rows))
            local = position.astype(np.int32)
        start, end = history.size, history.size + target.size
        return Batch(
            unique_rows=unique_rows,
            history=local[:start].reshape(history.shape),
            prefixes=prefixes.astype(np.int32),
            target=local[start:end].reshape(target.shape),
            negatives=local[start if kind.in_batch else end :],
            log_q_target=sample.log_q[: target.size].reshape(target.shape),
            log_q_negatives=sample.log_q[target.size :],
            key=key,
        )


def make_sampler(
    split: Sequences,
    num_items: int,
    batch_size: int,
    history_length: int,
    num_negatives: int,
    seed: int,
    kind: str = "log-uniform",
    rule: TargetRule = COMIREC,
    ranking: negatives.Ranking | None = None,
    timed: bool = False,
    packs: bool = False,
    shares: int = 1,
) -> Sampler:
    """Build the sampler with a `kind` of `negatives.KINDS`; raise DataError if fewer users than a
    batch have enough items.
    """
    of_all = split.targets is None
    users = np.flatnonzero(split.lengths > rule.first)
    if not of_all:
        users = targets.trainable(split, rule.first)
    if len(users) < batch_size:
        raise DataError(
            "too_few_users" if of_all else "too_few_with_targets",
            users=len(users),
            needed=rule.first + of_all,
            batch_size=batch_size,
        )
    chance = None
    if negatives.KINDS[kind].in_batch:
        chance = target_chance(split, users, num_items, history_length, rule)
    return Sampler(
        split,
        users,
        num_items,
        batch_size,
        history_length,
        num_negatives,
        seed,
        kind,
        rule,
        chance,
        ranking,
        timed,
        packs,
        shares,
    )


def target_chance(
    split: Sequences,
    users: NDArray[np.int64],
    num_items: int,
    history_length: int,
    rule: TargetRule = COMIREC,
) -> NDArray[np.float64]:
    """Return the probability [V+1] of each item being a target, exactly as `Sampler` draws it: a
    user of `users`, a position of theirs, and one of the items after it, each drawn uniformly.
    """
    if split.targets is not None:
        return targets.target_chance(split, users, num_items, history_length, rule)
    chance = np.zeros(num_items + 1)
    for start in range(0, len(users), _CHUNK):
        some = users[start:][:_CHUNK]
        size = split.lengths[some]
        choices = size - rule.first
        position = np.arange(choices.sum()) - np.repeat(np.cumsum(choices) - choices, choices)
        left = np.repeat(choices, choices) - position  # items from the position to the end
        index = np.repeat(split.offsets[some] + rule.first, choices) + position
        each = np.repeat(size, choices)
        reach = np.minimum(rule.reach(each), left)
        if rule.count == 1:
            weight = 1.0 / (np.repeat(choices, choices) * reach)
        else:
            at = _chance_in_windows(rule.first + position, rule.first, each, history_length)
            weight = at / reach
        for ahead in range(int(reach.max())):
            there = reach > ahead
            chance += np.bincount(
                split.items[index[there] + ahead], weight[there], minlength=num_items + 1
            )
    return chance / len(users)


def _size(count: int, most: int) -> int:
    """Round the number of unique rows up to one of at most _SIZES bucket sizes, so that the step
    compiles at most as many times.
    """
    step = max(_LEAST_SIZE, -(-most // _SIZES))
    return min(most, -(-count // step) * step)


def _chance_in_windows(
    position: NDArray[np.int64], least: int, size: NDArray[np.int64], window: int
) -> NDArray[np.float64]:
    """Return the probability that a target of a user with `size` items is drawn at `position`,
    after at least `least` items of its window. The window's end is uniform over the positions that
    leave `window` items of history (or the whole sequence).
    """
    first_end = np.minimum(size - 1, window)
    ends = np.minimum(position + window - least, size - 1) - np.maximum(position, first_end)
    each = (size - first_end) * (first_end - least + 1)
    chance: NDArray[np.float64] = np.maximum(ends + 1, 0) / each
    return chance


def prefetch(make: Callable[[S], T], work: Iterable[S], ahead: int = 8) -> Generator[T, None, None]:
    """Yield make(one) for each of `work` in order, computed up to `ahead` early by a thread."""
    source = iter(work)
    with ThreadPoolExecutor(1, "batches") as pool:
        pending: deque[Future[T]] = deque(pool.submit(make, one) for one in islice(source, ahead))
        try:
            while pending:
                made = pending.popleft().result()
                pending.extend(pool.submit(make, one) for one in islice(source, 1))
                yield made
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _stream(seed: int, branch: int, step: int, stream: int) -> np.random.Generator:
    # Drawing advances the counter's low words; step and stream are in the high words, 2^128 draws
    # apart.
    return np.random.Generator(np.random.Philox(key=[seed, branch], counter=[0, 0, stream, step]))
