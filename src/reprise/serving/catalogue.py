"""The items of a model by raw id, with titles and categories; what answers are shown by."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence, Sized
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.ids import spelled_one
from reprise.errors import UsageError
from reprise.retrieval.ranking import NO_INTEREST, NO_ITEM, Ranking
from reprise.serving.lists import Answer, Filter
from reprise.text.suggest import suggest

_OPEN = Filter()
_NEIGHBOURS = 200  # ids before and after an unknown one, among which similar ones are looked for


class Numbered(NamedTuple):
    """Known items by number, in order, [m] int32, how many were unknown, and which of all were
    known.
    """

    items: NDArray[np.int32]
    unknown: int
    known: NDArray[np.bool_]


class Catalogue:
    """Items 1..V of a model.

    Attributes:
        item_ids: Raw ids, [V].
        titles: Titles, [V], None where unknown.
        categories: Each item's categories, [V]: one, or none where it is unknown.
    """

    def __init__(self, items: pl.DataFrame) -> None:
        self.item_ids: list[str] = items["raw_id"].cast(pl.String).to_list()
        self._numbers = {raw_id: number for number, raw_id in enumerate(self.item_ids, start=1)}
        titles, category = _texts(items, "title"), _category(items)
        self.titles: list[str | None] = titles.to_list()
        # One list for all items of a category: hundreds of thousands would take a second.
        lists = {one: [] if one is None else [one] for one in category.unique()}
        self.categories: list[list[str]] = [lists[one] for one in category.to_list()]
        self._codes: dict[str, int] = {}
        if "category_code" in items.columns:
            coded = pl.DataFrame({"name": category, "code": items["category_code"]}).unique()
            self._codes = dict(coded.drop_nulls("name").sort("code").iter_rows())
        self._about = pl.DataFrame(
            {
                "item_id": pl.Series(self.item_ids, dtype=pl.String),
                "title": titles,
                "category": category,
            }
        ).select(
            "item_id",
            "title",
            # Made within Polars: from lists of Python it would take seconds.
            categories=pl.when(pl.col("category").is_null())
            .then(pl.lit([], pl.List(pl.String)))
            .otherwise(pl.concat_list("category")),
        )
        self._sorted: list[str] = []

    def number(self, raw_id: object) -> int:
        """Return an item's number, or NO_ITEM."""
        return self._numbers.get(spelled_one(raw_id) or "", NO_ITEM)

    def known(self, raw_id: object) -> int:
        """Return an item's number; UsageError, with similar ids, if there is no such item."""
        if (number := self.number(raw_id)) == NO_ITEM:
            suggestions = ", ".join(map(repr, self.similar_ids(str(raw_id))))
            raise UsageError("item_unknown", item=raw_id, suggestions=suggestions)
        return number

    def numbered(self, raw_ids: Iterable[object]) -> Numbered:
        """Return the numbers of the known items among raw ids, and count the others."""
        own, number = self._numbers, self.number
        # A text that is an id needs no spelling, which takes most of the time.
        numbers = [(type(one) is str and own.get(one)) or number(one) for one in raw_ids]
        found = np.array(numbers, np.int32)
        known = found != NO_ITEM
        return Numbered(found[known], len(found) - int(known.sum()), known)

    def numbers(self, ids: Iterable[str | None]) -> NDArray[np.int32]:
        """Return the numbers of items by their ids as text; NO_ITEM where they are unknown."""
        return np.array([self._numbers.get(one or "", NO_ITEM) for one in ids], np.int32)

    def filter(
        self,
        allow: Iterable[object] | None = None,
        exclude: Iterable[object] = (),
        categories: Iterable[object] | None = None,
    ) -> Filter:
        """Return the filter of items by raw ids and names of categories; UsageError for an unknown
        category.
        """
        if allow is None and categories is None and isinstance(exclude, Sized) and not len(exclude):
            return _OPEN
        allowed = None if allow is None else self.numbered(allow)
        excluded = self.numbered(exclude)
        return Filter(
            None if allowed is None else frozenset(allowed.items.tolist()),
            frozenset(excluded.items.tolist()),
            None if categories is None else frozenset(map(self._code, categories)),
            excluded.unknown + (0 if allowed is None else allowed.unknown),
        )

    def similar_ids(self, raw_id: str, count: int = 3) -> list[str]:
        """Return known ids that are spelled much like an unknown one."""
        self._sorted = self._sorted or sorted(self.item_ids)
        at = bisect_left(self._sorted, raw_id)
        near = self._sorted[max(0, at - _NEIGHBOURS) : at + _NEIGHBOURS]
        return get_close_matches(raw_id, near, n=count, cutoff=0.0)

    def as_json(self, answer: Answer) -> dict[str, Any]:
        """Return an answer as `--json` and the server show it."""
        return {
            "items": self._items(answer),
            "unknown_items": answer.unknown,
            "popular": answer.popular,
            **({} if answer.time_bias is None else {"time_bias": answer.time_bias}),
        }

    def as_frame(
        self, answers: Sequence[Answer], first: int = 0, explain: bool = False
    ) -> pl.DataFrame:
        """Return answers as a frame with a row per item: history (they are numbered from `first`),
        rank, item_id, title, categories, score and interest, null for popular items; if they are
        explained, scores and because, too, and memory, of a model that has one.
        """
        lengths = np.array([len(one.ids) for one in answers], np.int64)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        numbers = _joined([one.ids for one in answers], np.int64)
        frame = self._frame(
            np.repeat(np.arange(first, first + len(answers)), lengths),
            np.arange(len(numbers)) - starts + 1,
            numbers,
            _joined([one.scores for one in answers], np.float32),
            _joined([one.interests for one in answers], np.int32),
        )
        return self._explained(frame, answers) if explain else frame

    def as_frame_of(self, ranking: Ranking, first: int = 0) -> pl.DataFrame:
        """Return lists as `as_frame` returns answers."""
        row, column = at = np.nonzero(ranking.ids != NO_ITEM)
        return self._frame(
            first + row, column + 1, ranking.ids[at], ranking.scores[at], ranking.interests[at]
        )

    def _frame(
        self,
        history: NDArray[np.int64],
        rank: NDArray[np.int64],
        numbers: NDArray[np.int64],
        scores: NDArray[np.float32],
        interests: NDArray[np.int32],
    ) -> pl.DataFrame:
        interest = pl.Series(interests)
        return self._about[numbers - 1].select(
            history=pl.Series(history),
            rank=pl.Series(rank),
            item_id="item_id",
            title="title",
            categories="categories",
            score=pl.Series(scores).fill_nan(None),
            interest=pl.when(interest != NO_INTEREST).then(interest),
        )

    def _explained(self, frame: pl.DataFrame, answers: Sequence[Answer]) -> pl.DataFrame:
        scores = [
            [None if np.isnan(score) else float(score) for score in of_item]
            for one in answers
            for of_item in (one.interest_scores if one.interest_scores is not None else ())
        ]
        because = [
            number for one in answers for number in (one.because if one.because is not None else ())
        ]
        raw_ids = [None if number == NO_ITEM else self.item_ids[number - 1] for number in because]
        frame = frame.with_columns(
            scores=pl.Series(scores, dtype=pl.List(pl.Float32)),
            because=pl.Series(raw_ids, dtype=pl.String),
        )
        if all(one.memory is None for one in answers):
            return frame
        memory = [np.zeros(len(one.ids)) if one.memory is None else one.memory for one in answers]
        return frame.with_columns(memory=pl.Series(_joined(memory, np.float32)))

    def item_as_json(self, number: int) -> dict[str, Any]:
        """Return what is known of an item, as `--json` and the server show it."""
        return {
            "item_id": self.item_ids[number - 1],
            "title": self.titles[number - 1],
            "categories": self.categories[number - 1],
        }

    def similar_as_json(self, number: int, answer: Answer) -> dict[str, Any]:
        """Return the items similar to one, as `--json` and the server show them."""
        pairs = zip(answer.ids.tolist(), answer.scores.tolist(), strict=True)
        items = [self.item_as_json(other) | {"score": score} for other, score in pairs]
        return {"item": self.item_as_json(number), "items": items}

    def _items(self, answer: Answer) -> list[dict[str, Any]]:
        nothing = [None] * len(answer.ids)
        scores = nothing if answer.popular else answer.scores.tolist()
        interests = nothing if answer.popular else answer.interests.tolist()
        items = [
            {**self.item_as_json(number), "score": score, "interest": interest}
            for number, score, interest in zip(answer.ids.tolist(), scores, interests, strict=True)
        ]
        if answer.interest_scores is not None and answer.because is not None:
            for place, item in enumerate(items):
                own, because = answer.interest_scores[place], int(answer.because[place])
                item["scores"] = [None if np.isnan(one) else float(one) for one in own]
                item["because"] = None if because == NO_ITEM else self.item_ids[because - 1]
                if answer.memory is not None:
                    item["memory"] = float(answer.memory[place])
        return items

    def _code(self, category: object) -> int:
        name = spelled_one(category) or ""
        if not self._codes:
            raise UsageError("categories_unknown")
        if name not in self._codes:
            suggestion = suggest(self._codes, name)
            raise UsageError("category_unknown", category=category, suggestion=suggestion)
        return self._codes[name]


def _texts(items: pl.DataFrame, name: str) -> pl.Series:
    """Return a column as text; nulls where there is no such column."""
    if name not in items.columns:
        return pl.Series([None] * len(items), dtype=pl.String)
    return items[name].cast(pl.String)


def _category(items: pl.DataFrame) -> pl.Series:
    """Return the items' categories as text: their names or, without names, their codes."""
    if "category" in items.columns or "category_code" not in items.columns:
        return _texts(items, "category")
    code = pl.col("category_code")
    return items.select(pl.when(code >= 0).then(code.cast(pl.String)).alias("one"))["one"]


def _joined(parts: Sequence[NDArray[Any]], dtype: type[Any]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts])
