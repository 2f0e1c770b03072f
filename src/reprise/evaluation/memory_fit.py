"""Fit the numbers of a memory to a model: how much what is counted adds to its scores.

The numbers maximise the likelihood of what users of valid, whom neither the model nor the edges
have seen, had next: a softmax over all items, at a temperature. The model's own scores are
constants, so that all of them are needed only once; after that a memory changes the items that it
leads to, and the likelihood relative to that without a memory is a sum over these.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from reprise.data.sequences import EvaluationUsers
from reprise.memory.edges import Edges
from reprise.memory.memory import AGES, SIZE, buckets, last
from reprise.retrieval.search import one_blas_thread
from reprise.retrieval.vectors import CHUNK, Retriever, user_vectors

USERS = 1_000  # at most, to fit to
_SEED = 2
_HEATS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)  # temperatures, relative to the one trained with
_TRIED = 2  # from the one on at which the model alone is best
_STEPS = 15
# Where a fit starts: the weight relative to the temperature, the bend, and the slope of the logs of
# the factors by bucket.
_WEIGHT, _BEND, _SLOPE = 1.0, 8.0, -0.15
_STIFF = 1e-3  # of the penalty on differences from the start
_WIDEST = 6.0  # of a number's log, from its start

_Float = NDArray[np.float64]


@dataclass(frozen=True)
class _Pairs:
    """Users and items that a memory leads them to, [P] each, by ascending item.

    user, item (from 0); mass [P, A]: the edges' values by bucket; wanted: the share of the user's
    targets that the item is; counts [U, A]: the items of each history by bucket.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    mass: Any
    wanted: _Float
    counts: _Float


def fitted(
    retriever: Retriever,
    edges: Edges,
    users: EvaluationUsers,
    temperature: float,
    should_stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.float32]:
    """Return the numbers of a memory [SIZE] float32 that fit a model best, zeros (which add
    nothing) where they do not make what users had next more likely by more than their own number,
    which is Akaike's criterion, and for a model that is not finite.

    Args:
        retriever: The model, without a memory.
        edges: The memory's edges.
        users: Users of valid, of whom at most USERS count, with what they had next.
        temperature: What scores are divided by in training.
        should_stop: Checked before each chunk of users.
    """
    users = users.sample(USERS, _SEED) if len(users.lengths) > USERS else users
    nothing = np.zeros(SIZE, np.float32)
    pairs = _pairs(users, edges)
    if not len(pairs.user):
        return nothing
    heats = np.array(_HEATS) * temperature
    own, total, known = _scored(retriever, users, pairs, heats, should_stop)
    if not all(np.isfinite(one).all() for one in (own, total, known)):
        return nothing
    alone = [float(np.mean(sums - known / heat)) for heat, sums in zip(heats, total, strict=True)]
    near = int(np.argmin(alone))
    tried = [
        (alone[place] + value, value, logs)
        for place in range(near, min(near + _TRIED, len(heats)))
        for value, logs in [_best_at(heats[place], total[place], own, pairs, temperature)]
    ]
    _, value, logs = min(tried, key=lambda one: one[0])
    if not -value * len(users.lengths) > SIZE or not np.isfinite(logs).all():
        return nothing
    return np.exp(logs).astype(np.float32)


def _best_at(
    heat: float, sums: _Float, own: _Float, pairs: _Pairs, temperature: float
) -> tuple[float, _Float]:
    """Return what is best at a temperature: the mean negative log-likelihood relative to that
    without a memory, and the logs of the numbers.
    """
    start = _start(temperature)
    found = optimize.minimize(
        _objective,
        start,
        args=(start, pairs, np.exp(own / heat - sums[pairs.user]), heat),
        jac=True,
        method="L-BFGS-B",
        bounds=[(one - _WIDEST, one + _WIDEST) for one in start],
        options={"maxiter": _STEPS},
    )
    return float(found.fun), found.x


def _start(temperature: float) -> _Float:
    """Return the logs of the numbers that a fit starts from."""
    factors = _SLOPE * np.arange(len(AGES))
    return np.concatenate([[math.log(_WEIGHT * temperature), math.log(_BEND)], factors])


def _objective(
    logs: _Float, start: _Float, pairs: _Pairs, share: _Float, heat: float
) -> tuple[float, _Float]:
    """Return the mean negative log-likelihood of users' targets relative to that without a memory,
    with a penalty, and its gradient by the logs of the numbers.

    share [P]: each pair's probability without a memory.
    """
    weight, bend, factors = math.exp(logs[0]), math.exp(logs[1]), np.exp(logs[2:])
    total = pairs.counts @ factors
    of = total[pairs.user]
    x = pairs.mass @ factors / of
    up, scale = np.log1p(bend * x), math.log1p(bend)
    bonus = weight * up / scale / heat
    users = len(total)
    grown = share * np.exp(bonus)
    more = np.bincount(pairs.user, grown - share, users)
    value = float(np.mean(np.log1p(more)) - pairs.wanted @ bonus / users)
    # By each pair's bonus, then by the numbers.
    by_bonus = (grown / (1 + more)[pairs.user] - pairs.wanted) / users
    by_weight = by_bonus @ bonus
    by_bend = by_bonus @ (
        weight / heat * (bend * x / (1 + bend * x) / scale - up * bend / (1 + bend) / scale**2)
    )
    by_x = by_bonus * weight / heat / scale * bend / (1 + bend * x) / of
    by_factors = pairs.mass.T @ by_x - np.bincount(pairs.user, by_x * x, users) @ pairs.counts
    off = logs - start
    penalty = _STIFF * off
    gradient = np.concatenate([[by_weight, by_bend], by_factors * factors]) + 2 * penalty
    return value + float(penalty @ off), gradient


def _pairs(users: EvaluationUsers, edges: Edges) -> _Pairs:
    """Return what a memory leads users to, without the items of their histories."""
    past = users.past.whole()
    recent = last(past)
    bucket = buckets(recent)
    count, ages, items = len(recent.lengths), len(AGES), edges.num_items
    row = np.repeat(np.arange(count), recent.lengths) * ages + bucket
    shape = (count * ages, items)
    ones = np.ones(len(row), np.float32)
    of = sparse.csr_array((ones, (row, recent.items - 1)), shape=shape)
    led = (of @ edges.matrix).tocoo()
    user, age = np.divmod(led.row.astype(np.int64), ages)
    owner = np.repeat(np.arange(count), past.lengths)
    seen = np.unique((past.items.astype(np.int64) - 1) * count + owner)
    keys, place = np.unique(led.col.astype(np.int64) * count + user, return_inverse=True)
    kept = ~np.isin(keys, seen)
    mass = sparse.csr_array((led.data.astype(np.float64), (place, age)), shape=(len(keys), ages))
    item, user = np.divmod(keys, count)
    offsets, targets = users.target_offsets, users.target_items.astype(np.int64) - 1
    lengths = np.diff(offsets)
    wants = targets * count + np.repeat(np.arange(count), lengths)
    share, led_to = np.repeat(1 / np.maximum(lengths, 1), lengths), np.isin(wants, keys)
    at = np.searchsorted(keys, wants[led_to])
    wanted = np.bincount(at, share[led_to], len(keys)).astype(np.float64)
    counts = np.bincount(row, minlength=count * ages).reshape(count, ages).astype(np.float64)
    counts[recent.lengths == 0, 0] = 1
    return _Pairs(user[kept], item[kept], mass[kept], wanted[kept], counts)


def _scored(
    retriever: Retriever,
    users: EvaluationUsers,
    pairs: _Pairs,
    heats: _Float,
    should_stop: Callable[[], bool],
) -> tuple[_Float, _Float, _Float]:
    """Return the model's scores of the pairs [P]; the logs of the sums over all items of
    exp(score / heat), [H, U]; and the users' mean scores of their targets [U].
    """
    items = retriever.candidates()
    count = len(users.lengths)
    own = np.zeros(len(pairs.user))
    total = np.zeros((len(heats), count))
    known = np.zeros(count)
    order = np.argsort(pairs.user, kind="stable")  # of a user by ascending item
    begin = np.searchsorted(pairs.user[order], np.arange(count + 1))
    bias = retriever.repeat_bias
    with one_blas_thread():
        for number, made in enumerate(user_vectors(retriever, users, should_stop)):
            first = number * CHUNK
            for row in range(min(CHUNK, count - first)):
                user = first + row
                scores = np.fmax.reduce(made[row] @ items.T, axis=0).astype(np.float64)
                past = users.past.of(user, user + 1).items - 1
                scores[np.unique(past)] += bias
                mine = order[begin[user] : begin[user + 1]]
                own[mine] = scores[pairs.item[mine]]
                top = scores.max()
                for place, heat in enumerate(heats):
                    total[place, user] = top / heat + np.log(np.exp((scores - top) / heat).sum())
                targets = users.target_items[slice(*users.target_offsets[user : user + 2])]
                known[user] = scores[targets - 1].mean() if len(targets) else 0
    return own, total, known
