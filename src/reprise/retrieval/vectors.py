"""A model for inference: turn histories and items into the vectors that a search compares."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reprise.data import REQUEST_TIMES
from reprise.data.moments import UNKNOWN, at_requests, unknown_times, whole_seconds
from reprise.data.sequences import EvaluationUsers, Sequences
from reprise.memory.edges import Edges
from reprise.memory.memory import Memory
from reprise.models.scoring import MEMORY, REPEAT_BIAS, Scoring
from reprise.retrieval.terms import Added
from reprise.training import item_table

if TYPE_CHECKING:
    from jax import Array

    from reprise.models.features import Features
    from reprise.models.registry import Model, Params
    from reprise.training.state import Arrays

CHUNK = 256  # users per call; fixed, because the size affects rounding
_AT_ONCE = 1 << 16  # vectors that are looked through at a time


class InterruptedSearchError(Exception):
    """Raised when `should_stop` returned true during a search."""


@dataclass(frozen=True)
class Retriever:
    """A model with its parameters, for inference.

    Attributes:
        model: The network.
        scoring: How interests and items are compared.
        rows: [V+1, at least width] float32, which begin with the item's values: the item rows or,
            with features, `models.items.all_composed`; row 0 is padding.
        width: Numbers per item value.
        params: The network's parameters, without those of features.
        request_time: When the users of an evaluation ask, one of `REQUEST_TIMES`; None if interests
            do not depend on it.
        memory: What is counted beside the model; None: nothing.
    """

    model: "Model"
    scoring: Scoring
    rows: "Array"
    width: int
    params: "Params"
    request_time: str | None = None
    memory: Memory | None = None

    @property
    def num_items(self) -> int:
        """Items of the catalogue, V."""
        return len(self.rows) - 1

    @property
    def reads_times(self) -> bool:
        """Whether interests depend on when items were."""
        return self.model.timed is not None

    def interests(
        self,
        history: NDArray[np.int32],
        lengths: NDArray[np.int32],
        times: NDArray[np.int32] | None = None,
    ) -> NDArray[np.float32]:
        """Return the interests [U, K, d] of histories [U, L] of item numbers, right-padded with 0,
        with `lengths` [U], for inner products with `item_vectors`. times [U, L + 1]: as
        `data.moments` has them; None: unknown.
        """
        interests = _make_interests(self.model, self.scoring, self.width)
        if not self.reads_times:
            return np.asarray(interests(self.rows, self.params, history, lengths, None))
        if times is None:
            times = unknown_times(*history.shape)
        return np.asarray(interests(self.rows, self.params, history, lengths, times))

    def item_vectors(self) -> NDArray[np.float32]:
        """Return the item vectors [V+1, d] for inner products with interests; row 0 is padding.
        A view of the rows where they are compared as they are stored.
        """
        return self._compared(self.rows)

    def item_blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield the rows of `item_vectors` in blocks, one after the other."""
        yield self.item_vectors()

    def candidates(self) -> NDArray[np.float32]:
        """Return the vectors [n, d] of the items that a search compares: 1..V."""
        return self.item_vectors()[1:]

    def is_finite(self, items: NDArray[np.float32]) -> bool:
        """Return whether all of the `candidates` are finite."""
        starts = range(0, len(items), _AT_ONCE)
        return all(bool(np.isfinite(items[start:][:_AT_ONCE]).all()) for start in starts)

    def _compared(self, rows: Any) -> NDArray[np.float32]:
        """Return the vectors of the items with these rows."""
        if self.scoring.tied and not self.scoring.cosine:  # a program for it takes time to compile
            return np.asarray(rows)[:, : self.width]
        return np.asarray(_make_items(self.scoring, self.width)(rows))

    def history_vectors(self) -> NDArray[np.float32]:
        """Return the item vectors [V+1, d] that histories are read with; row 0 is padding."""
        from reprise.models.items import in_history

        return np.asarray(in_history(self.rows[:, : self.width], self.scoring))

    @property
    def repeat_bias(self) -> float:
        """The learned bias on the scores of items in the user's history; 0 without one."""
        return float(np.asarray(self.params[REPEAT_BIAS])) if self.scoring.repeat_bias else 0.0


def retriever_of(
    model: "Model",
    scoring: Scoring,
    arrays: "Arrays",
    features: "Features | None" = None,
    request_time: str | None = None,
    edges: Edges | None = None,
) -> Retriever:
    """Return the retriever of a state whose pending updates are applied."""
    width = item_table.width(arrays.rows)
    own = (arrays.rows, width, arrays.params, features)
    return retriever_of_rows(model, scoring, *own, request_time, edges)


def retriever_of_rows(
    model: "Model",
    scoring: Scoring,
    rows: "Array",
    width: int,
    params: "Params",
    features: "Features | None" = None,
    request_time: str | None = None,
    edges: Edges | None = None,
) -> Retriever:
    """Return the retriever of item rows [V+1, at least `width`] and all parameters; `features` and
    `edges` are what the model was trained with.
    """
    memory = None if edges is None else Memory(edges, np.asarray(params[MEMORY]))
    if features is None:
        return Retriever(model, scoring, rows, width, params, request_time, memory)
    from reprise.models.features import of_network
    from reprise.models.items import all_composed

    values = all_composed(rows, params, features, width)
    return Retriever(model, scoring, values, width, of_network(params), request_time, memory)


def user_vectors(
    retriever: Retriever,
    users: EvaluationUsers,
    should_stop: Callable[[], bool] = lambda: False,
    times: NDArray[np.int32] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Yield the interests [CHUNK, K, d] of one chunk of users after another, the last one padded
    with users without a history; raise InterruptedSearchError when `should_stop` returns true.

    times [U, L + 1]: when items and requests were, if the model reads that; None: as the users'.
    """
    if retriever.reads_times and times is None:
        times = times_of(users, retriever.request_time)
    for start in range(0, len(users.lengths), CHUNK):
        if should_stop():
            raise InterruptedSearchError
        history, lengths = users.history[start:][:CHUNK], users.lengths[start:][:CHUNK]
        missing = CHUNK - len(lengths)  # one compiled shape, and the same rounding, for all
        padded = np.pad(history, ((0, missing), (0, 0)))
        at = None if times is None else _padded_times(times[start:][:CHUNK], missing)
        yield retriever.interests(padded, np.pad(lengths, (0, missing)), at)


def times_of(users: EvaluationUsers, request_time: str | None) -> NDArray[np.int32] | None:
    """Return when the items of users' histories and their requests were, [U, L + 1] int32 as
    `data.moments` has them; None where it is unknown.

    request_time: one of REQUEST_TIMES; None: unknown.
    """
    if users.times is None:
        return None
    first, last = REQUEST_TIMES
    asked = {first: users.held_out_time, last: users.last_known_time, None: None}[request_time]
    return at_requests(
        whole_seconds(users.times), users.lengths, None if asked is None else whole_seconds(asked)
    )


def _padded_times(times: NDArray[np.int32], missing: int) -> NDArray[np.int32]:
    return np.pad(times, ((0, missing), (0, 0)), constant_values=UNKNOWN)


def seen_items(users: EvaluationUsers) -> Iterator[Sequences]:
    """Yield the items each chunk's users have seen; none for the padding of the last chunk."""
    for start in range(0, len(users.lengths), CHUNK):
        past = users.past.of(start, start + CHUNK)
        missing = CHUNK - len(past.lengths)
        yield Sequences(np.pad(past.offsets, (0, missing), mode="edge"), past.items)


def added_to_seen(retriever: Retriever, filter_seen: bool) -> float:
    """Return the bias on the scores of seen items: -inf if they are filtered."""
    return -math.inf if filter_seen else retriever.repeat_bias


def adds(retriever: Retriever, filter_seen: bool) -> bool:
    """Return whether a model adds anything to inner products."""
    memory = retriever.memory
    return added_to_seen(retriever, filter_seen) != 0 or (memory is not None and memory.weight != 0)


def added_scores(
    retriever: Retriever, past: Sequences, filter_seen: bool | NDArray[np.bool_]
) -> Added | None:
    """Return what the model adds to the inner products of users with these whole histories: the
    repeat bias for seen items, or -inf for users [U] whose seen items are filtered, and what a
    memory adds to others. None: nothing.
    """
    users = len(past.lengths)
    bias = np.where(filter_seen, -math.inf, retriever.repeat_bias).astype(np.float32)
    of_user = np.broadcast_to(bias, users)
    memory = retriever.memory
    remembers = memory is not None and memory.weight != 0
    if not remembers and not of_user.any():
        return None
    row = np.repeat(np.arange(users), past.lengths)
    seen = np.unique(past.items.astype(np.int64) * users + row)
    item, user = np.divmod(seen, users)
    value = of_user[user]
    if not of_user.all():
        some = value != 0
        user, item, value = user[some], item[some], value[some]
    added = Added(user, item, value)
    return added if memory is None or not remembers else _remembered(memory, past, seen, added)


def _remembered(memory: Memory, past: Sequences, seen: NDArray[np.int64], added: Added) -> Added:
    """Return values of seen items with those that a memory adds to others; `seen` are all pairs of
    item and user, as item * users + user, ascending.
    """
    users = len(past.lengths)
    values = memory.values(past).tocsc()  # by item, and then by user
    item = np.repeat(np.arange(1, values.shape[1] + 1), np.diff(values.indptr))
    key = item * users + values.indices
    place = np.minimum(np.searchsorted(key, seen), max(len(key) - 1, 0))
    others = values.data != 0
    if len(key):
        others[place[key[place] == seen]] = False
    key, value = key[others], values.data[others]
    own = added.item * users + added.user
    place = np.searchsorted(key, own)
    item, user = np.divmod(np.insert(key, place, own), users)
    return Added(user, item, np.insert(value, place, added.value))


@cache  # compiled once per process
def _make_interests(model: "Model", scoring: Scoring, width: int) -> Callable[..., "Array"]:
    """Return interests(rows, params, history, lengths), see `Retriever.interests`."""
    import jax

    from reprise.models.items import in_history

    def interests(
        rows: "Array",
        params: "Params",
        history: "Array",
        lengths: "Array",
        times: "Array | None",
    ) -> "Array":
        read = in_history(rows[:, :width][history], scoring)
        return interests_of_vectors(model, scoring, params, read, lengths, times)

    return jax.jit(interests)


def interests_of_vectors(
    model: "Model",
    scoring: Scoring,
    params: "Params",
    history: "Array",
    lengths: "Array",
    times: "Array | None" = None,
) -> "Array":
    """Return the interests [U, K, d] that retrieval compares, of histories of item vectors
    [U, L, d] with `lengths` [U] and, for a model that reads them, `times` [U, L + 1]; to be traced
    by JAX.
    """
    from reprise.models.items import as_compared
    from reprise.models.registry import prefix_mask

    mask = prefix_mask(lengths, history.shape[1], history.dtype)
    return as_compared(model.at(times).interests(params, history, mask), scoring)


@cache
def _make_items(scoring: Scoring, width: int) -> Callable[["Array"], "Array"]:
    """Return items(rows), see `Retriever.item_vectors`."""
    import jax

    from reprise.models.items import as_candidate, as_compared

    return jax.jit(lambda rows: as_compared(as_candidate(rows[:, :width], scoring), scoring))
