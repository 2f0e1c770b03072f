"""Training batches: `make_batch` is a pure function of (seed, branch, step); prefetching only
moves the work to another thread.
"""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from reprise.data.dataset import Split
from reprise.errors import DataError
from reprise.training import negatives

# Users at a time whose targets' chances are added up: bounds the memory it takes.
_CHUNK = 65_536
# ComiRec draws the target's position from [4, length): at least four items of history before it.
FIRST_TARGET = 4
_USERS, _POSITIONS, _NEGATIVES, _KEY, _AHEAD = range(5)

T = TypeVar("T")


class Batch(NamedTuple):
    """What one step needs, in static shapes (B users, L positions, S negatives drawn from the
    catalogue, M = B*L + B + S, N negatives in all: of the kinds `negatives.IN_BATCH` the B targets,
    then the S).

    touched [M] int32: the distinct item rows used, ascending, then distinct ids past the
    catalogue; history [B, L], target [B] and negatives [N], int32: indices into `touched`;
    lengths [B] int32: items of history; log_q_target [B] and log_q_negatives [N], float32;
    key [2] uint32: the data of a JAX key, all that the step itself draws from.
    """

    touched: NDArray[np.int32]
    history: NDArray[np.int32]
    lengths: NDArray[np.int32]
    target: NDArray[np.int32]
    negatives: NDArray[np.int32]
    log_q_target: NDArray[np.float32]
    log_q_negatives: NDArray[np.float32]
    key: NDArray[np.uint32]


@dataclass(frozen=True)
class Sampler:
    """Draws batches from the users of `split` who have more than FIRST_TARGET items.

    A position is drawn from FIRST_TARGET on, and the target among the `next_n` items from there, as
    far as there are any; the history is what came before the position. kind, target_chance: of
    the negatives, see `negatives.sample`.
    """

    split: Split
    users: NDArray[np.int64]
    num_items: int
    batch_size: int
    history_length: int
    num_negatives: int
    seed: int
    kind: str = "log-uniform"
    next_n: int = 1
    target_chance: NDArray[np.float64] | None = None

    def batch(self, branch: int, step: int) -> Batch:
        """Return the batch of update number `step` (from 1), whatever was drawn before it."""
        row = _stream(self.seed, branch, step, _USERS).choice(
            len(self.users), self.batch_size, replace=False
        )
        users = self.users[row]
        size = self.split.lengths[users]
        position = _stream(self.seed, branch, step, _POSITIONS).integers(FIRST_TARGET, size)
        ahead = _stream(self.seed, branch, step, _AHEAD).integers(
            np.minimum(self.next_n, size - position)
        )
        history, lengths = self.split.histories(users, position, self.history_length)
        target = self.split.items[self.split.offsets[users] + position + ahead]
        sample = negatives.sample(
            self.kind,
            _stream(self.seed, branch, step, _NEGATIVES),
            target,
            self.num_negatives,
            self.num_items,
            self.target_chance,
        )
        key = _stream(self.seed, branch, step, _KEY).integers(2**32, size=2, dtype=np.uint32)
        return self._localise(history, lengths, target, sample, key)

    def _localise(
        self,
        history: NDArray[np.int32],
        lengths: NDArray[np.int32],
        target: NDArray[np.int32],
        sample: negatives.Sample,
        key: NDArray[np.uint32],
    ) -> Batch:
        size, length = history.shape
        used = np.concatenate([history.ravel(), target, sample.drawn]).astype(np.int32)
        rows, position = np.unique(used, return_inverse=True)
        spare = np.arange(len(used) - len(rows), dtype=np.int32) + (self.num_items + 1)
        local: NDArray[np.int32] = position.astype(np.int32)
        end = size * length
        in_batch = self.kind in negatives.IN_BATCH
        return Batch(
            touched=np.concatenate([rows, spare]),
            history=local[:end].reshape(size, length),
            lengths=lengths,
            target=local[end : end + size],
            negatives=local[end if in_batch else end + size :],
            log_q_target=sample.log_q[:size],
            log_q_negatives=sample.log_q[size:],
            key=key,
        )


def make_sampler(
    split: Split,
    num_items: int,
    batch_size: int,
    history_length: int,
    num_negatives: int,
    seed: int,
    kind: str = "log-uniform",
    next_n: int = 1,
) -> Sampler:
    """Return the sampler, its negatives of a kind of `negatives`; DataError where fewer users than
    a batch can be trained on.
    """
    users = np.flatnonzero(split.lengths > FIRST_TARGET)
    if len(users) < batch_size:
        raise DataError(
            "too_few_users", users=len(users), needed=FIRST_TARGET + 1, batch_size=batch_size
        )
    chance = None
    if kind in negatives.IN_BATCH:
        chance = target_chance(split, users, num_items, next_n)
    return Sampler(
        split,
        users,
        num_items,
        batch_size,
        history_length,
        num_negatives,
        seed,
        kind,
        next_n,
        chance,
    )


def target_chance(
    split: Split, users: NDArray[np.int64], num_items: int, next_n: int = 1
) -> NDArray[np.float64]:
    """Return the chance [V+1] that a row's target is each item, exactly as `Sampler` draws it: a
    user of `users`, a position of his from FIRST_TARGET, and one of the `next_n` items from there,
    each as likely as any other.
    """
    chance = np.zeros(num_items + 1)
    for start in range(0, len(users), _CHUNK):
        some = users[start:][:_CHUNK]
        choices = split.lengths[some] - FIRST_TARGET
        position = np.arange(choices.sum()) - np.repeat(np.cumsum(choices) - choices, choices)
        left = np.repeat(choices, choices) - position  # items from the position to the end
        index = np.repeat(split.offsets[some] + FIRST_TARGET, choices) + position
        weight = 1.0 / (np.repeat(choices, choices) * np.minimum(next_n, left))
        for ahead in range(min(next_n, int(choices.max()))):
            there = left > ahead
            chance += np.bincount(
                split.items[index[there] + ahead], weight[there], minlength=num_items + 1
            )
    return chance / len(users)


def prefetch(make: Callable[[int], T], steps: range, ahead: int = 8) -> Generator[T, None, None]:
    """Yield make(step) for each step in order, computed up to `ahead` steps early in one thread."""
    with ThreadPoolExecutor(1, "batches") as pool:
        pending: deque[Future[T]] = deque(pool.submit(make, step) for step in steps[:ahead])
        try:
            for step in steps:
                made = pending.popleft().result()
                if step + ahead in steps:
                    pending.append(pool.submit(make, step + ahead))
                yield made
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _stream(seed: int, branch: int, step: int, stream: int) -> np.random.Generator:
    # The counter's low words advance as numbers are drawn; step and stream sit in the high ones,
    # 2^128 draws apart.
    return np.random.Generator(np.random.Philox(key=[seed, branch], counter=[0, 0, stream, step]))
