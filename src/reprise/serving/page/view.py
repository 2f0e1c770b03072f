"""What the page shows of a history: the interest that each item feeds, each interest by itself, the
merged list, and metrics where a test user's held-out items are known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.errors import RepriseError
from reprise.retrieval.ranking import NO_INTEREST
from reprise.serving.lists import Answer, Query
from reprise.serving.page.users import EvaluatedUsers, FoundUser
from reprise.serving.server.model import ServedModel, fixed_histories
from reprise.text.messages import Phrase

MOST_USERS = 20  # listed at once
_ROW = 12  # items shown of an interest
_STEPS = 50  # of the slider for diversity


@dataclass(frozen=True)
class Asked:
    """A history to show: the query of its list, and the row of the test user whose items it is to
    find, None without one.
    """

    query: Query
    row: int | None = None


class Page:
    """What the page asks of a served model. All of it is work of the batcher."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model

    @cached_property
    def users(self) -> EvaluatedUsers | Phrase:
        """The test users, or why there are none."""
        try:
            if self.model.recommender.stored.config.is_final_fit:
                return Phrase("serve_page_final_fit")
            return EvaluatedUsers(self.model.recommender.stored.dataset)
        except RepriseError as error:
            return error

    def about(self, asked: Sequence[None]) -> list[dict[str, Any]]:
        """Return what the page must know before it shows a history."""
        return [self._about] * len(asked)

    def found_users(self, asked: Sequence[str]) -> list[dict[str, Any]]:
        """Return the first test users whose id contains each text, and how many there are."""
        found = []
        for text in asked:
            matches: list[FoundUser] = []
            if isinstance(self.users, EvaluatedUsers):
                matches = self.users.find(text)
            users = [one._asdict() for one in matches[:MOST_USERS]]
            found.append({"users": users, "matches": len(matches)})
        return found

    def next_user(self, asked: Sequence[str]) -> list[dict[str, Any] | None]:
        """Return the id of the user after each of these, None where there are no users."""
        users = self.users
        if not isinstance(users, EvaluatedUsers):
            return [None] * len(asked)
        return [{"user_id": users.after(user_id)} for user_id in asked]

    def user(self, asked: Sequence[str]) -> list[dict[str, Any] | None]:
        """Return each test user, None of who is not one: history, held-out items, and the true
        interests where they are known.
        """
        return [self._user(user_id) for user_id in asked]

    def views(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """Return what is shown of each history."""
        count = self.model.about["interests"]
        asked = [self._timed(one) for one in asked]
        queries: list[Query] = []
        for one in asked:
            plain = replace(one.query, diversity=0.0, weights=None, filter_seen=False)
            alone = [
                replace(one.query, n=_ROW, diversity=0.0, weights=_only(k, count))
                for k in range(count)
            ]
            queries += [one.query, plain, *alone]
        answers = self.model.answers(queries)
        fed = self.model.fed([one.query for one in asked])
        size = count + 2
        return [
            self._view(one, answers[place * size :][:size], fed[place])
            for place, one in enumerate(asked)
        ]

    def rows(self, asked: Sequence[str]) -> list[int | None]:
        """Return the row of each test user, None of who is not one."""
        return [self._row(user_id) for user_id in asked]

    def _timed(self, asked: Asked) -> Asked:
        """Return what is asked at the times of an evaluation, if it is a test user's history as it
        is.
        """
        users, query, retriever = self.users, asked.query, self.model.recommender.stored.retriever
        if asked.row is None or not retriever.reads_times or not isinstance(users, EvaluatedUsers):
            return asked
        same = np.array_equal(users.history(asked.row), query.history)
        if query.when.items is not None or not same:
            return asked
        when = users.when(asked.row, retriever.request_time)
        return replace(asked, query=replace(query, when=when))

    def _row(self, user_id: str) -> int | None:
        users = self.users
        return users.row(user_id) if isinstance(users, EvaluatedUsers) else None

    @cached_property
    def _about(self) -> dict[str, Any]:
        users, model = self.users, self.model
        known = isinstance(users, EvaluatedUsers)
        return {
            "model": model.about,
            "users": len(users.raw_ids) if isinstance(users, EvaluatedUsers) else None,
            "users_missing": None if isinstance(users, EvaluatedUsers) else users,
            "truth": known and self._truth is not None,
            "titles": any(title is not None for title in model.catalogue.titles),
            "most_diversity": self._most_diversity() if model.has_categories else None,
            "steps": _STEPS,
        }

    @property
    def _truth(self) -> NDArray[np.int32] | None:
        """The true interest of each item [V+1], -1 where it has none; None where not known."""
        truth = self.users.truth if isinstance(self.users, EvaluatedUsers) else None
        return None if truth is None else truth.item_interest

    def _most_diversity(self) -> float:
        """Return a round lambda that subtracts about as much for one item of the same category as a
        list's scores differ in all: beyond, lists hardly change.
        """
        queries = [Query(one) for one in fixed_histories(self.model.recommender.stored.num_items)]
        spreads = [float(one.scores[0] - one.scores[-1]) for one in self.model.answers(queries)]
        widest = max(float(np.median(spreads)), 1e-6)
        unit = 10.0 ** math.floor(math.log10(widest))
        return next(step * unit for step in (1, 2, 5, 10) if step * unit >= widest)

    def _user(self, user_id: str) -> dict[str, Any] | None:
        users, row = self.users, self._row(user_id)
        if row is None or not isinstance(users, EvaluatedUsers):
            return None
        return {
            "user_id": user_id,
            "history": [self._item(int(one)) for one in users.history(row)],
            "targets": [self._item(int(one)) for one in users.targets(row)],
            "interests": users.interests(row),
        }

    def _view(
        self, asked: Asked, answers: Sequence[Answer], fed: NDArray[np.int32]
    ) -> dict[str, Any]:
        found, plain, *alone = answers
        users, row, query = self.users, asked.row, asked.query
        shares = np.bincount(found.interests[found.interests >= 0], minlength=len(alone))
        view: dict[str, Any] = {
            "history": [
                self._item(int(item)) | {"interest": None if k == NO_INTEREST else int(k)}
                for item, k in zip(query.history, fed, strict=True)
            ],
            "interests": [
                {"listed": int(shares[k]), "items": [] if one.popular else self._items(one)}
                for k, one in enumerate(alone)
            ],
            "items": self._items(found),
            "unknown_items": query.unknown,
            "popular": found.popular,
            "metrics": None,
        }
        if row is not None and isinstance(users, EvaluatedUsers):
            targets = set(users.targets(row).tolist())
            for item, number in zip(view["items"], found.ids, strict=True):
                item["hit"] = int(number) in targets
            view["metrics"] = users.metrics(row, found.ids, query.n)
            view["plain_metrics"] = users.metrics(row, plain.ids, query.n)
        return view

    def _items(self, answer: Answer) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.model.catalogue.as_json(answer)["items"]
        truth = self._truth
        if truth is not None:
            for item, number in zip(items, answer.ids, strict=True):
                item["truth"] = int(truth[number])
        return items

    def _item(self, number: int) -> dict[str, Any]:
        truth = self._truth
        known = {} if truth is None else {"truth": int(truth[number])}
        return self.model.catalogue.item_as_json(number) | known


def _only(k: int, count: int) -> tuple[float, ...]:
    """Return the weights that leave one interest alone."""
    return tuple(float(one == k) for one in range(count))
