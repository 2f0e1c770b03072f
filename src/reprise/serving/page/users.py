"""The users of the data set's test split, whom the page shows beside what was held out of them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data import REQUEST_TIMES
from reprise.data.dataset import Dataset, Truth
from reprise.data.moments import whole_seconds
from reprise.evaluation.evaluate import score
from reprise.evaluation.metrics import BY_NAME, Lists
from reprise.serving.times import NEVER, When

_SHOWN = tuple(
    BY_NAME[name] for name in ("recall", "ndcg", "hitrate", "diversity", "interest_coverage")
)


class FoundUser(NamedTuple):
    """A user of the test split: raw id, and how many items the history has."""

    user_id: str
    items: int


class EvaluatedUsers:
    """The evaluated users of a data set's test split; items are numbers, as the model's.

    truth: the interests of generated data; None of other data.
    """

    def __init__(self, dataset: Dataset) -> None:
        rows, _ = dataset.evaluated("test")
        self._users = dataset.evaluation_users("test", 1)
        self._num_items = dataset.num_items
        self._times = dataset.splits["test"].times
        self._category = dataset.known_categories
        self.truth = dataset.truth("test")
        self.raw_ids: list[str] = dataset.raw_users("test").gather(rows).cast(str).to_list()
        self._row = {raw_id: row for row, raw_id in enumerate(self.raw_ids)}

    def find(self, text: str) -> list[FoundUser]:
        """Return the users whose id contains a text."""
        lengths = self._users.past.lengths.tolist()
        pairs = zip(self.raw_ids, lengths, strict=True)
        return [FoundUser(raw_id, length) for raw_id, length in pairs if text in raw_id]

    def after(self, user_id: str) -> str:
        """Return the user after one, the first after the last or after no user."""
        row = self._row.get(user_id, -1) + 1
        return self.raw_ids[row % len(self.raw_ids)]

    def row(self, user_id: str) -> int | None:
        """Return a user's row; None of who is not of the split."""
        return self._row.get(user_id)

    def history(self, row: int) -> NDArray[np.int32]:
        """Return the history that evaluations give of a user, oldest item first."""
        return self._users.past.of(row, row + 1).items

    def when(self, row: int, request_time: str | None) -> When:
        """Return when a user's items were, and their request, one of `REQUEST_TIMES`."""
        past, first, last = self._users.past, self._users.held_out_time, self._users.last_known_time
        if self._times is None or first is None or last is None:
            return NEVER
        start = past.starts[row]
        items = whole_seconds(np.asarray(self._times[start : start + past.lengths[row]]))
        if request_time is None:
            return When(items)
        asked = first if request_time == REQUEST_TIMES[0] else last
        return When(items, int(whole_seconds(asked[row])))

    def targets(self, row: int) -> NDArray[np.int32]:
        """Return a user's held-out items."""
        start, end = self._users.target_offsets[row : row + 2]
        return self._users.target_items[start:end]

    def interests(self, row: int) -> list[int] | None:
        """Return a user's true interests; None where they are not known."""
        if self.truth is None:
            return None
        held = self.truth.user_interests[row]
        return [int(one) for one in held[held >= 0]]

    def metrics(self, row: int, ids: NDArray[np.int64], n: int) -> dict[str, float]:
        """Return the metrics at n of a user's list of at most n items, by key ("recall@50")."""
        targets, truth = self.targets(row), None
        if self.truth is not None:
            own = self.truth.user_interests[row : row + 1]
            truth = Truth(self.truth.item_interest, own)
        lists = Lists(
            np.pad(ids, (0, n - len(ids)))[None],
            np.array([0, len(targets)]),
            targets,
            self._num_items,
            self._category,
            truth,
        )
        means, _ = score(lists, (n,), _SHOWN)
        return means
