"""Answer queries: item numbers in, lists of item numbers out, by the search that evaluation uses.

An answer is bitwise the same whichever queries are answered with it.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data.sequences import EvaluationUsers, Sequences
from reprise.errors import CheckpointError
from reprise.retrieval import rerank
from reprise.retrieval.on_mesh import DealtRetriever
from reprise.retrieval.ranking import NO_INTEREST, NO_ITEM, Ranking
from reprise.retrieval.search import Best, Chunk, interest_scores, one_blas_thread, search
from reprise.retrieval.terms import EVERYTHING, Allowed, Terms
from reprise.retrieval.vectors import CHUNK, Retriever, added_scores, user_vectors
from reprise.runs.stored import StoredModel
from reprise.serving.histories import all_history
from reprise.serving.times import NEVER, When, as_read

_MOST_MASKS = 32  # per search of a chunk, to bound their memory


@dataclass(frozen=True)
class Filter:
    """The items that may be listed, by number; categories by code. None: all may.

    unknown: ids of items that were asked for and that the model does not know.
    """

    allow: frozenset[int] | None = None
    exclude: frozenset[int] = frozenset()
    categories: frozenset[int] | None = None
    unknown: int = field(default=0, compare=False)

    @property
    def is_open(self) -> bool:
        """Whether any item may be listed."""
        return self.allow is None and self.categories is None and not self.exclude

    def mask(self, item_category: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which items 1..V may be listed, [V], by the items' categories [V+1]."""
        mask = np.ones(len(item_category), bool)
        if self.allow is not None:
            mask[:] = False
            mask[list(self.allow)] = True
        if self.categories is not None:
            mask &= np.isin(item_category, list(self.categories))
        mask[list(self.exclude)] = False
        return mask[1:]


@dataclass(frozen=True, eq=False)
class Query:
    """A request for one list.

    Attributes:
        history: Item numbers, oldest first: the whole history.
        n: Length of the list.
        diversity: Lambda of `rerank.select`; 0: rank by score.
        filter: The items that may be listed.
        filter_seen: Whether to leave out the items of the history.
        weights: Factors of the interests, [K]; 0 switches one off. None: all are 1.
        explain: Whether to return each interest's scores, and the items of the history behind them.
        unknown: Items of the history that the model does not know.
        when: The times of the history's items and of the request; only models with a time bias
            read them.
    """

    history: NDArray[np.int32]
    n: int = 50
    diversity: float = 0.0
    filter: Filter = Filter()
    filter_seen: bool = False
    weights: tuple[float, ...] | None = None
    explain: bool = False
    unknown: int = 0
    when: When = NEVER


class Answer(NamedTuple):
    """A list of at most n items, best first.

    ids [m] int64; scores [m] float32 and interests [m] int32, from 0, of the best score. A history
    without known items gets the popular items, with scores of NaN and interests of NO_INTEREST.
    unknown: items of the history that the model does not know. With explain: the inner product with
    each interest, [m, K] float32 (NaN where it is switched off), and `because` [m] int64: of the
    items that the model saw, the one closest to the item's interest, or NO_ITEM. time_bias: see
    `Model.time_bias`. Of a model with a memory: what of the scores is the memory's, [m] float32;
    where an item's score without it would be below all of the list, `because` is the item of the
    history that leads to it most.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    interests: NDArray[np.int32]
    unknown: int = 0
    popular: bool = False
    interest_scores: NDArray[np.float32] | None = None
    because: NDArray[np.int64] | None = None
    time_bias: str | None = None
    memory: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Model:
    """A stored model, ready to answer.

    retriever: the model; items [V, d]: the item vectors, or of a model whose rows are dealt
    (`retrieval.on_mesh`) those of this process's items; item_category [V+1]: -1 where unknown;
    history_length: last items of a history that the model sees; best: finds the best items by an
    index (`ItemIndex.best`); None: by exact search.
    """

    retriever: Retriever
    items: NDArray[np.float32]
    item_category: NDArray[np.int32]
    history_length: int
    num_interest: int
    stored: StoredModel
    best: Best | None = None

    @cached_property
    def by_popularity(self) -> NDArray[np.int64]:
        """Items by falling popularity in training, [V]."""
        known = self.stored.items
        if "rank" not in known.columns:  # they are numbered so
            return np.arange(1, self.retriever.num_items + 1)
        return known["item"].to_numpy()[np.argsort(known["rank"].to_numpy())].astype(np.int64)

    def time_bias(self, when: When) -> str | None:
        """Return what the model's time bias reads of times: "none" where there are none, "gaps" or
        "gaps+request"; None if the model has no time bias.
        """
        bias = self.stored.config.time_bias
        if not self.retriever.reads_times:
            return None
        if when.items is None:
            return "none"
        return "gaps" if when.request is None else bias

    def found(self, chunks: Iterable[Chunk]) -> Iterator[Ranking]:
        """Yield the ranking of each chunk over all items."""
        if isinstance(self.retriever, DealtRetriever):
            return self.retriever.rankings(chunks, self.items)
        return search(chunks, self.items, self.best)

    @property
    def has_categories(self) -> bool:
        """Whether the category of any item is known."""
        return bool((self.item_category >= 0).any())


def model_of(stored: StoredModel) -> Model:
    """Return a stored model, ready to answer; CheckpointError if its numbers are not finite."""
    items = stored.retriever.candidates()
    if not stored.retriever.is_finite(items):
        raise CheckpointError("model_not_finite", checkpoint=stored.checkpoint.path)
    _require_finite(stored, np.float64(stored.retriever.repeat_bias))
    if stored.retriever.memory is not None:
        _require_finite(stored, stored.retriever.memory.numbers)
    category = np.full(stored.num_items + 1, -1, np.int32)
    if "category_code" in stored.items.columns:
        category[1:] = stored.items["category_code"].to_numpy()
    length = stored.config.maxlen
    (made,) = user_vectors(stored.retriever, _users([np.zeros(0, np.int32)], length))
    return Model(stored.retriever, items, category, length, made.shape[1], stored)


def answer(model: Model, queries: Sequence[Query]) -> list[Answer]:
    """Return the answers to queries, whose arguments may differ."""
    return list(answers(model, queries))


def answers(model: Model, queries: Iterable[Query]) -> Iterator[Answer]:
    """Yield the answers to queries in order. Queries are taken as needed, so there may be any
    number of them.
    """
    plans: deque[_Plan] = deque()

    def chunks() -> Iterator[Chunk]:
        source = iter(queries)
        while part := list(islice(source, CHUNK)):
            plans.append(_Plan(model, part))
            yield from plans[-1].chunks()

    for ranking in model.found(chunks()):
        plan = plans[0]
        plan.found.append(ranking)
        if len(plan.found) == len(plan.groups):
            yield from plans.popleft().answers()


def rankings(
    model: Model, query: Query, histories: Iterable[tuple[Sequences, Sequence[When]]]
) -> Iterator[Ranking]:
    """Yield the lists of a query, [u, n], about each chunk of at most CHUNK histories at their
    times: what `answers` holds, without explanations. Popular items have scores of NaN.
    """
    mask = None if query.filter.is_open else query.filter.mask(model.item_category)
    popular = _popular(model, query)
    pasts: deque[Sequences] = deque()

    def chunks() -> Iterator[Chunk]:
        for past, whens in histories:
            pasts.append(past)
            users = len(past.lengths)
            length = model.history_length
            times = as_read(whens, length) if model.retriever.reads_times else None
            (made,) = user_vectors(model.retriever, all_history(past, length), times=times)
            _require_finite(model.stored, made[:users])
            allowed = None if mask is None else Allowed(mask[None], np.zeros(users, np.int64))
            added = added_scores(model.retriever, past, query.filter_seen)
            own = _weighted(made[:users], [query])
            yield Chunk(own, query.n, Terms(added, allowed), query.diversity > 0)

    for ranking in model.found(chunks()):
        empty = pasts.popleft().lengths == 0
        if query.diversity > 0:
            ranking = rerank.select(ranking, model.item_category, query.n, query.diversity)
        if empty.any():
            parts: tuple[NDArray[Any], ...] = ranking
            some: tuple[NDArray[Any], ...] = popular[:3]
            paddings = (NO_ITEM, -np.inf, NO_INTEREST)
            for own, listed, padding in zip(parts, some, paddings, strict=True):
                own[empty, : len(listed)] = listed
                own[empty, len(listed) :] = padding
        yield ranking


def interests(model: Model, queries: Sequence[Query]) -> NDArray[np.float32]:
    """Return the interests [U, K, d] of queries' histories; zeros where one is empty."""
    parts = [np.zeros((0, model.num_interest, model.items.shape[1]), np.float32)]
    made = np.concatenate([*parts, *_interests(model, queries)])[: len(queries)]
    known = np.array([len(query.history) > 0 for query in queries], bool)
    return np.where(known[:, None, None], made, np.float32(0))


def similar(model: Model, item: int, n: int) -> Answer:
    """Return the items whose vectors have the highest cosines with that of an item, ties by
    ascending id; an item without a vector is similar to none, by a score of 0.
    """
    norms = np.linalg.norm(model.items, axis=1)
    with one_blas_thread():
        scores = model.items @ model.items[item - 1]
    lengths = norms * norms[item - 1]
    scores = np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0)
    order = np.argsort(-scores, kind="stable")
    ids = order[order != item - 1][:n]
    return Answer(ids + 1, scores[ids], np.full(len(ids), NO_INTEREST, np.int32))


def fed_interests(model: Model, queries: Sequence[Query]) -> list[NDArray[np.int32]]:
    """Return for each item of each query's history the interest that it feeds, from 0: the one with
    which its inner product is greatest, the first of equal ones. NO_INTEREST: the model does not
    see it.
    """
    found = []
    for query, own in zip(queries, interests(model, queries), strict=True):
        history = query.history
        fed = np.full(len(history), NO_INTEREST, np.int32)
        if len(history):
            _, scores = _seen(model, history, own)
            fed[-scores.shape[1] :] = np.argmax(scores, axis=0)
        found.append(fed)
    return found


class _Group(NamedTuple):
    """What queries must share to be searched for together."""

    room: int  # lists up to this length
    by_interest: bool
    masks: int  # _MOST_MASKS filters after another


class _Plan:
    """The searches for a chunk of queries, and then their answers."""

    def __init__(self, model: Model, queries: Sequence[Query]) -> None:
        self._model, self._queries = model, queries
        (made,) = _interests(model, queries)
        self._interests = made[: len(queries)]
        _require_finite(model.stored, self._interests)
        self._interests = _weighted(self._interests, queries)
        filters = dict.fromkeys(query.filter for query in queries if not query.filter.is_open)
        self._number = {one: number for number, one in enumerate(filters)}
        groups: dict[_Group, list[int]] = {}
        for row, query in enumerate(queries):
            if len(query.history):
                groups.setdefault(self._group(query), []).append(row)
        # At least one search, so that every plan has an end.
        self.groups = groups or {_Group(1, False, 0): []}
        self.found: list[Ranking] = []

    def chunks(self) -> Iterator[Chunk]:
        """Yield a search for each of `groups`."""
        for group, rows in self.groups.items():
            top_n = max((self._queries[row].n for row in rows), default=1)
            yield Chunk(self._interests[rows], top_n, self._terms(rows), group.by_interest)

    def answers(self) -> Iterator[Answer]:
        """Yield the answers, from what was `found` of each group."""
        answered = {}
        for rows, ranking in zip(self.groups.values(), self.found, strict=True):
            for place, row in enumerate(rows):
                own = ranking.of(place)
                answered[row] = self._listed(row, own)
        for row, query in enumerate(self._queries):
            found = answered[row] if row in answered else _popular(self._model, query)
            yield found._replace(time_bias=self._model.time_bias(query.when))

    def _group(self, query: Query) -> _Group:
        number = self._number.get(query.filter, 0)
        if query.diversity > 0:  # the candidates depend on n
            return _Group(query.n, True, number // _MOST_MASKS)
        return _Group(1 << (query.n - 1).bit_length(), False, number // _MOST_MASKS)

    def _terms(self, rows: list[int]) -> Terms:
        queries = [self._queries[row] for row in rows]
        past = _sequences([query.history for query in queries])
        filter_seen = np.array([query.filter_seen for query in queries], bool)
        numbers = [self._number.get(query.filter, EVERYTHING) for query in queries]
        used = sorted({number for number in numbers if number != EVERYTHING})
        allowed = None
        if used:
            filters = list(self._number)
            masks = np.stack([filters[number].mask(self._model.item_category) for number in used])
            row_of = {number: row for row, number in enumerate(used)} | {EVERYTHING: EVERYTHING}
            allowed = Allowed(masks, np.array([row_of[number] for number in numbers]))
        added = added_scores(self._model.retriever, past, filter_seen) if rows else None
        return Terms(added, allowed)

    def _listed(self, row: int, ranking: Ranking) -> Answer:
        """Return the answer to a query from its ranking, [1, N]."""
        query, model = self._queries[row], self._model
        if query.diversity > 0:
            ranking = rerank.select(ranking, model.item_category, query.n, query.diversity)
        ids, scores, interests = (one[0, : query.n] for one in ranking)
        known = ids != NO_ITEM
        found = Answer(ids[known], scores[known], interests[known], query.unknown)
        return _explained(model, query, self._interests[row], found) if query.explain else found


def _explained(model: Model, query: Query, interests: NDArray[np.float32], found: Answer) -> Answer:
    """Add to an answer what explains it, by the user's interests [K, d]."""
    seen, of_seen = _seen(model, query.history, interests)
    scores = interest_scores(interests, model.items[found.ids - 1])
    closest = seen[np.argmax(of_seen, axis=1)]
    because = closest[found.interests].astype(np.int64)
    found = found._replace(interest_scores=np.ascontiguousarray(scores.T), because=because)
    return _remembered(model, query, found)


def _remembered(model: Model, query: Query, found: Answer) -> Answer:
    """Add to an explained answer what a memory has to do with it."""
    memory = model.retriever.memory
    if memory is None or found.because is None or not len(found.ids):
        return found
    past = _sequences([query.history])
    values = np.zeros(len(model.items), np.float32)
    led = memory.values(past)
    values[led.indices] = led.data
    values[query.history - 1] = 0
    own = values[found.ids - 1]
    brought = (own > 0) & (found.scores - own < found.scores.min())
    because = np.where(brought, memory.because(query.history, found.ids), found.because)
    return found._replace(memory=own, because=because)


def _seen(
    model: Model, history: NDArray[np.int32], interests: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the items of a history that the model sees, [h], and their inner products with the
    interests, [K, h]; -inf for one that is switched off.
    """
    seen = history[-model.history_length :]
    scores = interest_scores(interests, model.items[seen - 1])
    return seen, np.where(np.isnan(scores), np.float32(-np.inf), scores)


def _popular(model: Model, query: Query) -> Answer:
    """Return the most popular items that a query allows."""
    ids = model.by_popularity
    if not query.filter.is_open:
        ids = ids[query.filter.mask(model.item_category)[ids - 1]]
    ids = ids[: query.n]
    nothing = np.full(len(ids), math.nan, np.float32)
    found = Answer(
        ids, nothing, np.full(len(ids), NO_INTEREST, np.int32), query.unknown, popular=True
    )
    if not query.explain:
        return found
    scores = np.full((len(ids), model.num_interest), math.nan, np.float32)
    return found._replace(interest_scores=scores, because=np.full(len(ids), NO_ITEM, np.int64))


def _weighted(made: NDArray[np.float32], queries: Sequence[Query]) -> NDArray[np.float32]:
    """Return interests [u, K, d] times their weights; NaN, which lists nothing, for a weight of 0,
    because a vector of zeros would list items by a score of 0.
    """
    if all(query.weights is None for query in queries):
        return made
    ones = (1.0,) * made.shape[1]
    weights = np.array([query.weights or ones for query in queries], np.float32)
    return made * np.where(weights == 0, np.float32(math.nan), weights)[:, :, None]


def _interests(model: Model, queries: Sequence[Query]) -> Iterator[NDArray[np.float32]]:
    """Yield the interests of one chunk of queries after another, the last one padded."""
    length, times = model.history_length, None
    if model.retriever.reads_times:
        times = as_read([query.when for query in queries], length)
    users = _users([query.history for query in queries], length)
    return user_vectors(model.retriever, users, times=times)


def _users(histories: Sequence[NDArray[np.int32]], length: int) -> EvaluationUsers:
    """Return users with these histories, of which the model sees the last `length` items."""
    return all_history(_sequences([history[-length:] for history in histories]), length)


def _sequences(histories: Sequence[NDArray[np.int32]]) -> Sequences:
    lengths = [len(history) for history in histories]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(offsets, np.concatenate([np.zeros(0, np.int32), *histories]))


def _require_finite(stored: StoredModel, numbers: NDArray[np.floating] | np.floating) -> None:
    if not np.isfinite(numbers).all():
        raise CheckpointError("model_not_finite", checkpoint=stored.checkpoint.path)
