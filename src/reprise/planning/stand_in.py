"""Data in the place of a data set that does not exist: what batches are drawn from.

Popularity falls as 1 / (rank + 100), a long tail without an item that rules it. How many distinct
rows a batch has, and how its histories are packed, follows from it.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.config.schema import TrainConfig
from reprise.data.sequences import EvaluationUsers, Past, Sequences
from reprise.planning.description import Description, array_shape
from reprise.training.batches import Batch, Sampler
from reprise.training.setup import sampler_of

_HEAD = 100
_MOST_USERS, _MOST_INTERACTIONS = 20_000, 2_000_000
_MOST_ITEMS = 10_000_000  # a larger catalogue has hardly more distinct items in a batch
_DAY = 86_400 * 10**9
_FEW_ITEMS = 1000  # where a batch has all of them, whatever is drawn
_TRIED = 4  # batches, of which the largest is planned with


class Drawn(NamedTuple):
    """A batch as the planned run has them, of the most rows among some, and the most that any may
    have.
    """

    batch: Batch
    most_rows: int


def drawn_of(planned: Description) -> Drawn:
    """Return a batch as the planned run has them; what has all items, as shapes."""
    has_all = planned.config.sampler == "full"
    items = min(planned.items, _FEW_ITEMS if has_all else _MOST_ITEMS)
    sampler = sampler_for(planned, planned.config, items, planned.all_devices)
    batches = [sampler.batch(0, step) for step in range(1, _TRIED + 1)]
    batch = max(batches, key=lambda batch: len(batch.unique_rows))
    if not has_all:
        return Drawn(batch, sampler.most_rows)
    counts = {"unique_rows": planned.items + 1, "negatives": planned.items}
    counts["log_q_negatives"] = planned.items
    whole: Any = {
        name: array_shape(count, kind=getattr(batch, name).dtype) for name, count in counts.items()
    }
    return Drawn(batch._replace(**whole), planned.items + 1)


def sampler_for(planned: Description, config: TrainConfig, items: int, devices: int) -> Sampler:
    """Return the sampler of a config over so many items: of the planned run's own data, where it
    exists and has no more items.
    """
    own = planned.train is not None and planned.items <= items
    train = planned.train if own else histories(planned, config, items)
    assert train is not None
    return sampler_of(config, train, items, None, devices)


def histories(planned: Description, config: TrainConfig, items: int) -> Sequences:
    """Return sequences with as many interactions a user as planned, popular items low."""
    rng = np.random.default_rng(config.seed)
    shortest = config.min_history + 1
    mean = max(shortest + 1, planned.interactions // planned.users)
    users = max(config.batch_size + 1, min(_MOST_USERS, _MOST_INTERACTIONS // mean))
    lengths = shortest - 1 + rng.geometric(1 / (mean - shortest + 1), users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    drawn = _popular(rng, int(offsets[-1]), items)
    times = None
    if config.reads_times:
        times = np.arange(len(drawn), dtype=np.int64) * _DAY
    return Sequences(offsets, drawn, None, times)


def evaluated(config: TrainConfig, items: int, users: int) -> EvaluationUsers:
    """Return users to evaluate, each with a full history and one item to find."""
    rng = np.random.default_rng(config.seed)
    drawn = _popular(rng, users * (config.maxlen + 1), items).reshape(users, -1)
    past = np.ascontiguousarray(drawn[:, :-1])
    known = np.full(users, config.maxlen, np.int64)
    times = np.arange(past.size, dtype=np.int64) * _DAY if config.reads_times else None
    starts = np.arange(users, dtype=np.int64) * config.maxlen
    return EvaluationUsers(
        past,
        known.astype(np.int32),
        np.arange(users + 1, dtype=np.int64),
        np.ascontiguousarray(drawn[:, -1]),
        Past(past.reshape(-1), starts, known, times),
        None if times is None else times[starts + known - 1],
    )


def smaller(planned: Description, devices: int) -> TrainConfig:
    """Return the config of so many devices, each with its share of the planned batch."""
    config = planned.config
    size = config.batch_size // planned.all_devices * devices
    negatives = None if config.sampler == "in-batch" else config.negatives
    return replace(config, batch_size=size, negatives=negatives)


def _popular(rng: np.random.Generator, count: int, items: int) -> NDArray[np.int32]:
    reach = (items + 1 + _HEAD) / (1 + _HEAD)
    ids = (1 + _HEAD) * reach ** rng.random(count) - _HEAD
    return np.clip(ids, 1, items).astype(np.int32)
