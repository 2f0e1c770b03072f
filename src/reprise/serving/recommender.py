"""A stored model in terms of raw ids: what `reprise.load` returns."""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reprise.config.setting import LARGEST
from reprise.errors import DataError, UsageError
from reprise.runs.stored import StoredModel
from reprise.serving.catalogue import Catalogue, Numbered
from reprise.serving.lists import Model, Query, answer, interests, model_of, similar
from reprise.serving.times import When, known_ones, when_of
from reprise.text.messages import Phrase

if TYPE_CHECKING:
    import polars as pl

_GREATEST_WEIGHT = 1e6  # so that scores stay finite
History = Iterable[object]  # raw ids, oldest first


class UnknownItemsWarning(UserWarning):
    """Warns of items in histories or filters that are unknown to the model and were ignored."""


class UntimedWarning(UserWarning):
    """Warns of histories and requests without the times that a model's time bias reads, or of times
    that no time bias reads.
    """


class EmptyHistoryWarning(UserWarning):
    """Warns of histories without known items, which get the popular items."""


@dataclass
class Counts:
    """What queries are about: histories, their items, those unknown to the model, and histories
    without known items; to a model with a time bias, those without times, and those without the
    time of the request that it reads; to others, those whose times nothing reads.
    """

    histories: int = 0
    items: int = 0
    unknown: int = 0
    empty: int = 0
    untimed: int = 0
    unasked: int = 0
    unread: int = 0

    def add(self, model: Model, query: Query) -> None:
        """Count one more query."""
        known = len(query.history)
        self.histories += 1
        self.items += known + query.unknown
        self.unknown += query.unknown
        self.empty += not known
        self.add_when(model, query.when)

    def add_when(self, model: Model, when: When) -> None:
        """Count the times of one more history."""
        bias = model.time_bias(when)
        self.untimed += bias == "none"
        self.unasked += bias == "gaps" and model.retriever.request_time is not None
        self.unread += bias is None and when.items is not None


def counts_of(model: Model, queries: Iterable[Query]) -> Counts:
    """Return what queries are about."""
    counts = Counts()
    for query in queries:
        counts.add(model, query)
    return counts


def notes(counts: Counts, query: Query) -> Iterator[tuple[type[UserWarning], Phrase]]:
    """Yield what users should know of answers to a query about histories: what was ignored, and
    who gets popular items.
    """
    if counts.unknown:
        phrase = Phrase("items_unknown", unknown=counts.unknown, items=counts.items)
        yield UnknownItemsWarning, phrase
    if query.filter.unknown:
        yield UnknownItemsWarning, Phrase("filter_unknown", unknown=query.filter.unknown)
    if counts.empty:
        phrase = Phrase("histories_popular", empty=counts.empty, histories=counts.histories)
        yield EmptyHistoryWarning, phrase
    for key, some in (
        ("times_missing", counts.untimed),
        ("request_time_missing", counts.unasked),
        ("times_unread", counts.unread),
    ):
        if some:
            yield UntimedWarning, Phrase(key, some=some, histories=counts.histories)


class Recommender:
    """A model that answers in raw ids.

    Attributes:
        stored: The checkpoint, its configuration and what is known of the items.
        catalogue: The items by raw id.
        item_ids: Raw ids of the items, in the order of `item_vectors`' rows.
    """

    def __init__(self, stored: StoredModel) -> None:
        self.stored = stored
        self.catalogue = Catalogue(stored.items)
        self.item_ids = self.catalogue.item_ids

    def recommend(
        self,
        histories: Sequence[History],
        n: int = 50,
        *,
        diversity: float = 0.0,
        exclude: Iterable[object] = (),
        allow: Iterable[object] | None = None,
        categories: Iterable[object] | None = None,
        filter_seen: bool = False,
        weights: Sequence[float] | None = None,
        explain: bool = False,
        times: Sequence[Iterable[object]] | None = None,
        request_time: object = None,
    ) -> "pl.DataFrame":
        """Recommend items to users, given their histories: the lists that `evaluate` evaluates.

        `allow`, `exclude` and `categories` are applied inside the search: the lists are the best
        of what they leave. Unknown items are ignored, with an UnknownItemsWarning that counts them.
        A history without known items gets the most popular items, with an EmptyHistoryWarning.

        Args:
            histories: Raw ids, oldest first. The model sees the last `maxlen`; what it has learned
                of repeats, and `filter_seen`, are about all.
            n: Length of the lists.
            diversity: Lambda of category-controlled selection, as `reprise evaluate --lambda`, if
                it is greater than 0.
            exclude: Raw ids of items that are left out.
            allow: Raw ids of the only items that may be listed; None: all.
            categories: The only categories whose items may be listed; None: all.
            filter_seen: Whether to leave out the items of a user's history.
            weights: Factors of the interests, one each; 0 switches one off.
            explain: Whether to add each interest's score, the item of the history behind it, and
                what of the score is a memory's.
            times: When the items of each history were, to a model with a time bias: seconds since
                1970, datetimes, or texts in ISO 8601 (UTC without an offset). None: unknown, so
                that the bias is not used, with an UntimedWarning.
            request_time: When the lists are asked for: one for all, or one for each history.

        Returns:
            A row per item: history (its row), rank (from 1), item_id, title (null where unknown),
            categories (empty where unknown), score, and interest (from 0; both null for popular
            items). With explain: scores, the inner product with each interest (null where switched
            off), and because, the item of the history that is closest to the item's interest; of a
            model with a memory, memory, its part of the score, and because is the item that leads
            to it, where it would not be listed without.

        Raises:
            UsageError: An argument is invalid, or a category unknown.
            DataError: `diversity` needs categories, and none is known.
        """
        query = self.query(
            n=n,
            diversity=diversity,
            exclude=exclude,
            allow=allow,
            categories=categories,
            filter_seen=filter_seen,
            weights=weights,
            explain=explain,
        )
        queries = self.queries(histories, query, times, request_time)
        for kind, phrase in notes(counts_of(self.model, queries), query):
            warnings.warn(str(phrase), kind, stacklevel=2)
        return self.catalogue.as_frame(answer(self.model, queries), explain=explain)

    def similar_items(self, raw_id: object, n: int = 50) -> "pl.DataFrame":
        """Return the items most similar to an item, best first: rank, item_id, title, categories
        and score, the cosine of their vectors. UsageError for an unknown item suggests others.
        """
        _check_whole("n", n)
        found = similar(self.model, self.catalogue.known(raw_id), n)
        return self.catalogue.as_frame([found]).drop("history", "interest")

    def similar_json(self, raw_id: object, n: int = 50) -> dict[str, Any]:
        """Return what `similar_items` does, as `--json` and the server show it."""
        _check_whole("n", n)
        number = self.catalogue.known(raw_id)
        return self.catalogue.similar_as_json(number, similar(self.model, number, n))

    def query(
        self,
        *,
        n: int = 50,
        diversity: float = 0.0,
        exclude: Iterable[object] = (),
        allow: Iterable[object] | None = None,
        categories: Iterable[object] | None = None,
        filter_seen: bool = False,
        weights: Sequence[float] | None = None,
        explain: bool = False,
    ) -> Query:
        """Return what is asked, without a history, from the arguments of `recommend`."""
        _check_whole("n", n)
        if not (_is_number(diversity) and diversity >= 0):
            raise _bad("diversity", diversity, Phrase("good_from", low=0))
        if diversity > 0 and not self.model.has_categories:
            raise DataError("diversity_no_categories")
        for name, ids in (("exclude", exclude), ("allow", allow), ("categories", categories)):
            if not (_is_list(ids) or (ids is None and name != "exclude")):
                raise _bad(name, ids, Phrase("good_ids"))
        count = self.model.num_interest
        if weights is not None:
            if not _is_list(weights):
                raise _bad("weights", weights, Phrase("good_weights", count=count))
            weights = tuple(weights)
            fine = all(_is_number(one) and 0 <= one <= _GREATEST_WEIGHT for one in weights)
            if len(weights) != count or not fine or not np.any(np.array(weights, np.float32)):
                raise _bad("weights", list(weights), Phrase("good_weights", count=count))
        return Query(
            history=np.zeros(0, np.int32),
            n=n,
            diversity=float(diversity),
            filter=self.catalogue.filter(allow, exclude, categories),
            filter_seen=filter_seen,
            weights=weights,
            explain=explain,
        )

    def queries(
        self,
        histories: Sequence[History],
        query: Query,
        times: Sequence[object] | None = None,
        request_time: object = None,
    ) -> list[Query]:
        """Return a query for each history of raw ids, at the times that `recommend` takes."""
        found = self._known(histories)
        return [
            replace(query, history=one.items, unknown=one.unknown, when=when)
            for one, when in zip(found, self._whens(found, times, request_time), strict=True)
        ]

    def _whens(
        self, found: Sequence[Numbered], times: Sequence[object] | None, request_time: object
    ) -> list[When]:
        """Return the times of the known items of histories, and of the requests."""
        count = len(found)
        several = isinstance(request_time, Sequence | np.ndarray) and not isinstance(
            request_time, str | bytes
        )
        asked: Sequence[object] = request_time if several else [request_time] * count  # type: ignore[assignment]
        own: Sequence[object] = [None] * count if times is None else times
        for name, given in (("times", own), ("request_time", asked)):
            each = isinstance(given, Sized) and not isinstance(given, str | bytes)
            if not each or len(given) != count:
                raise _bad(name, given, Phrase("good_each", count=count))
        return [
            known_ones(when_of(one, request, len(numbers.known)), numbers.known)
            for numbers, one, request in zip(found, own, asked, strict=True)
        ]

    @cached_property
    def model(self) -> Model:
        """The model, ready to answer queries."""
        return model_of(self.stored)

    def item_vectors(self) -> NDArray[np.float32]:
        """Return the item vectors [V, d], without a padding row.

        An item's score is its largest inner product with one of a user's vectors, plus
        `repeat_bias` for items in the user's history.
        """
        return self.stored.retriever.candidates()

    def user_vectors(
        self,
        histories: Sequence[Iterable[object]],
        *,
        times: Sequence[Iterable[object]] | None = None,
        request_time: object = None,
    ) -> NDArray[np.float32]:
        """Return the interests [U, K, d] of users, given their histories: raw ids, oldest first;
        times and request_time as `recommend` takes them.

        Of a long history, the last `maxlen` items are used. Unknown items are ignored, with an
        UnknownItemsWarning that counts them; a history without known items has zero vectors.
        """
        query = Query(np.zeros(0, np.int32))
        queries = self.queries(histories, query, times, request_time)
        for kind, phrase in notes(counts_of(self.model, queries), query):
            if kind is not EmptyHistoryWarning:
                warnings.warn(str(phrase), kind, stacklevel=2)
        return interests(self.model, queries)

    @property
    def repeat_bias(self) -> float:
        """The learned bias on the scores of items in the user's history; 0 without one."""
        return self.stored.retriever.repeat_bias

    def __repr__(self) -> str:
        config, progress = self.stored.config, self.stored.checkpoint.progress
        return (
            f"Recommender({config.model} on {config.dataset}, step {progress.step}: "
            f"{len(self.item_ids):,} items, d {self._dim})"
        )

    @property
    def _dim(self) -> int:
        return self.stored.config.embedding_dim

    def _known(self, histories: Sequence[History]) -> list[Numbered]:
        """Return the known items of histories; UsageError if they are not lists of lists."""
        given = histories if _is_list(histories) else [histories]
        for history in given:
            if not _is_list(history):
                raise _bad("histories", history, Phrase("good_histories"))
        return [self.catalogue.numbered(history) for history in given]


def _is_list(value: object) -> bool:
    """Return whether a value is several others, not a text."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]


def _check_whole(option: str, value: object) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not 1 <= int(value) <= LARGEST:  # type: ignore[call-overload]
        raise _bad(option, value, Phrase("good_whole_within", low=1, high=LARGEST))


def _bad(option: str, value: object, expected: Phrase) -> UsageError:
    return UsageError("bad_value", option=option, value=value, expected=expected)
