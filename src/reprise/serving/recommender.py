"""A stored model in terms of raw ids: what `reprise.load` returns."""

import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reprise.data.ids import spelled_one
from reprise.data.sequences import Sequences
from reprise.retrieval.vectors import user_vectors
from reprise.runs.stored import StoredModel
from reprise.serving.histories import all_history
from reprise.text.messages import Phrase


class UnknownItemsWarning(UserWarning):
    """Warns of items in a history that are unknown to the model and were ignored."""


class Recommender:
    """A model that answers in raw ids.

    Attributes:
        stored: The checkpoint, its configuration and what is known of the items.
        item_ids: Raw ids of the items, in the order of `item_vectors`' rows.
    """

    def __init__(self, stored: StoredModel) -> None:
        self.stored = stored
        self.item_ids: list[str] = stored.items["raw_id"].cast(str).to_list()

    def item_vectors(self) -> NDArray[np.float32]:
        """Return the item vectors [V, d], without a padding row.

        An item's score is its largest inner product with one of a user's vectors, plus
        `repeat_bias` for items in the user's history.
        """
        return self.stored.retriever.item_vectors()[1:]

    def user_vectors(self, histories: Sequence[Iterable[object]]) -> NDArray[np.float32]:
        """Return the interests [U, K, d] of users, given their histories: raw ids, oldest first.

        Of a long history, the last `maxlen` items are used. Unknown items are ignored, with an
        UnknownItemsWarning that counts them; a history without known items has zero vectors.
        """
        sequences = self._numbered(histories)
        users = all_history(sequences, self.stored.config.maxlen)
        count = len(histories)
        if count == 0:
            return np.zeros((0, self.stored.config.num_interest, self._dim), np.float32)
        made = np.concatenate(list(user_vectors(self.stored.retriever, users)))[:count]
        known = sequences.lengths > 0
        return np.where(known[:, None, None], made, np.float32(0))

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

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Item numbers, from 1, by raw id."""
        return {raw_id: number for number, raw_id in enumerate(self.item_ids, start=1)}

    def _numbered(self, histories: Sequence[Iterable[object]]) -> Sequences:
        """Return histories as item numbers; warn of unknown items."""
        unknown, lengths, items = 0, [], list[int]()
        for history in histories:
            found = [self._numbers.get(spelled_one(raw_id) or "") for raw_id in history]
            known = [number for number in found if number is not None]
            unknown += len(found) - len(known)
            lengths.append(len(known))
            items += known
        if unknown:
            phrase = Phrase("items_unknown", unknown=unknown, items=unknown + len(items))
            warnings.warn(str(phrase), UnknownItemsWarning, stacklevel=3)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Sequences(offsets, np.array(items, np.int32))
