"""Negative sampling, with expected counts q: how often each item is among a batch's negatives.

log-uniform   over popularity-ranked ids, as TensorFlow's. Item id i (1..V) is class c = i - 1 of V
              classes, so that padding (id 0) is never drawn:
              p(c) = ln((c + 2) / (c + 1)) / ln(V + 1), and the counts of
              tf.random.log_uniform_candidate_sampler with unique=True.
uniform       without replacement: q = S / V.
in-batch      the batch's B targets, repeated where rows share one: q = B p, p the chance that a
              row's target is the item (`target_chance`).
full          the whole catalogue: q = 1, and the loss is the softmax over it.
mixed         both of these, an item of both counted twice: q = B p + S / V (Yang et al., WWW 2020,
              "Mixed Negative Sampling", section 3.3).

Each is one entry of `KINDS`; `config.schema` names them. Where items are not numbered by
popularity, or some are held out, what is drawn are ranks: see `Ranking`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.training.distinct import first_places


class Negatives(NamedTuple):
    """Negatives drawn from the catalogue.

    Attributes:
        ids: [S] int64, distinct, in the order drawn.
        tries: Number of draws, including rejected duplicates; None for samplers without rejection.
    """

    ids: NDArray[np.int64]
    tries: int | None


class Ranking(NamedTuple):
    """The W items that negatives are drawn from.

    Attributes:
        items: [W+1] int64, the item of each rank from 1 on; 0 first.
        rank: [V+1] int64, the rank of each item; of those not drawn from, W.
    """

    items: NDArray[np.int64]
    rank: NDArray[np.int64]


class Sample(NamedTuple):
    """The sample of a batch.

    Attributes:
        drawn: [n] int64, the ids drawn from the catalogue, n <= S. A batch's negatives are its own
            targets (for kinds that are `in_batch`), then these.
        log_q: float32, of the B targets, then of all negatives.
    """

    drawn: NDArray[np.int64]
    log_q: NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """A way of sampling negatives.

    Attributes:
        draw: draw(rng, count, num_items) draws `count` ids from the catalogue, or all of them if
            there are fewer; None if nothing is drawn.
        expected: expected(ids, num_items, drawn) returns the expected count of each id among those
            drawn, float64.
        in_batch: Whether the batch's targets are negatives, too.
        whole: Whether all items are negatives, regardless of the count.
    """

    draw: "Callable[[np.random.Generator, int, int], Negatives] | None"
    expected: "Callable[[NDArray[np.integer], int, Negatives], NDArray[np.float64]]"
    in_batch: bool = False
    whole: bool = False


def sample(
    kind: str,
    rng: np.random.Generator,
    target: NDArray[np.integer],
    count: int,
    num_items: int,
    target_chance: NDArray[np.float64] | None = None,
    ranking: Ranking | None = None,
) -> Sample:
    """Sample the negatives of a batch.

    Args:
        kind: A name of KINDS.
        target: [B] targets.
        count: S, number of ids to draw from the catalogue.
        target_chance: [V+1] probability of each item being a target; needed by `in_batch` kinds.
        ranking: The items to draw from; None: all, in the order of their ids.
    """
    how = KINDS[kind]
    size = num_items if ranking is None else len(ranking.items) - 1
    drawn = how.draw(rng, count, size) if how.draw is not None else _NOTHING
    ids = drawn.ids if ranking is None else ranking.items[drawn.ids]
    negatives = [target, ids] if how.in_batch else [ids]
    every = np.concatenate([target, *negatives])
    q = how.expected(every if ranking is None else ranking.rank[every], size, drawn)
    if how.in_batch:
        assert target_chance is not None
        q = q + len(target) * target_chance[every]
    return Sample(ids, np.log(q).astype(np.float32))


def ranking_of(
    rank: NDArray[np.integer], left_out: NDArray[np.bool_] | None = None
) -> Ranking | None:
    """Return the ranking of a catalogue without the items `left_out` [V+1]; None where it is the
    order of the ids. rank [V+1]: 1 is the most popular item; 0 of padding.
    """
    items = np.argsort(rank, kind="stable")
    if left_out is not None:
        items = items[~left_out[items]]
    if np.array_equal(items, np.arange(len(rank))):
        return None
    places = np.full(len(rank), len(items) - 1)
    places[items] = np.arange(len(items))
    return Ranking(items, places)


def draw_uniform(rng: np.random.Generator, count: int, num_items: int) -> Negatives:
    """Draw `count` distinct ids uniformly; all ids if `count` >= V."""
    if count >= num_items:
        return draw_all(rng, count, num_items)
    return Negatives(rng.choice(num_items, count, replace=False, shuffle=False) + 1, None)


def draw_all(rng: np.random.Generator, count: int, num_items: int) -> Negatives:
    """Return every id, in order."""
    return Negatives(np.arange(1, num_items + 1), None)


def probability(ids: NDArray[np.integer], num_items: int) -> NDArray[np.float64]:
    """Return the log-uniform probability of each id (1..V); it sums to 1 over the catalogue."""
    chance: NDArray[np.float64] = np.log1p(1.0 / ids) / np.log(num_items + 1.0)
    return chance


def draw(rng: np.random.Generator, count: int, num_items: int) -> Negatives:
    """Draw log-uniformly until there are `count` distinct ids; all ids if `count` >= V.

    As in TensorFlow, the number of tries T determines the expected counts.
    """
    if count >= num_items:
        return draw_all(rng, count, num_items)
    drawn = _draws(rng, 2 * count, num_items)
    while True:
        first = first_places(drawn)
        if len(first) >= count:
            first = first[:count]
            return Negatives(drawn[first], int(first[-1]) + 1)
        drawn = np.concatenate([drawn, _draws(rng, len(drawn), num_items)])


def expected_count(
    ids: NDArray[np.integer], num_items: int, count: int, tries: int | None
) -> NDArray[np.float64]:
    """Return q(id), the expected count of the id in a log-uniform sample after `tries` draws.

    q = 1 - (1 - p)^T. If no draw was rejected (T = S), q = p * S, as in TensorFlow. If all items
    are negatives (`tries` is None), q = 1.
    """
    if tries is None:
        return np.ones(ids.shape)
    p = probability(ids, num_items)
    return p * count if tries == count else -np.expm1(tries * np.log1p(-p))


def _draws(rng: np.random.Generator, size: int, num_items: int) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = np.exp(rng.random(size) * np.log(num_items + 1.0)).astype(np.int64)
    return np.minimum(ids, num_items)  # rounding may reach V + 1


def _as_often(ids: NDArray[np.integer], num_items: int, drawn: Negatives) -> NDArray[np.float64]:
    return np.full(len(ids), len(drawn.ids) / num_items)


_NOTHING = Negatives(np.zeros(0, np.int64), None)
_LOG_UNIFORM = Kind(
    draw, lambda ids, num_items, drawn: expected_count(ids, num_items, len(drawn.ids), drawn.tries)
)
KINDS = {
    "log-uniform": _LOG_UNIFORM,
    "uniform": Kind(draw_uniform, _as_often),
    "in-batch": Kind(None, _as_often, in_batch=True),
    "mixed": Kind(draw_uniform, _as_often, in_batch=True),
    "full": Kind(draw_all, _as_often, whole=True),
}
