"""A model that is served, with what requests look up in it. Nothing in it changes."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise import __version__
from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint
from reprise.errors import CheckpointError, DataError, UsageError
from reprise.retrieval.ranking import NO_ITEM
from reprise.runs.folder import Source, find_checkpoint
from reprise.runs.stored import Locate, StoredModel, from_checkpoint
from reprise.serving import lists
from reprise.serving.lists import Answer, Query
from reprise.serving.recommender import Recommender
from reprise.serving.server.errors import RefusedError
from reprise.text.messages import Phrase, Say

FIXED = 64  # histories that a model is warmed up with and compared on
_FIXED_LENGTH, _FIXED_LIST, _FIXED_SEED = 10, 50, 0

# Of requests in a valid form: what the model does not have.
_STATUS = {"category_unknown": 404, "categories_unknown": 409, "diversity_no_categories": 409}

Numbers = NDArray[np.int32]  # a history as item numbers


class ServedModel:
    """A loaded model that is ready to answer.

    Attributes:
        recommender: The model in terms of raw ids.
        which: Whether it is its run's best or latest.
        digest: The digest of its checkpoint.
        about: What `/v1/model` says of it.
        catalogue: Its items by raw id.
    """

    def __init__(self, recommender: Recommender, which: Source) -> None:
        """Warm up a model: what it compiles and computes once is ready for the first request."""
        self.recommender = recommender
        self.which = which
        self.digest = store.digest_of(self.checkpoint.path)
        self.catalogue = recommender.catalogue
        self._model = recommender.model
        stored = recommender.stored
        self._stored_at = (self.checkpoint.path / store.MANIFEST).stat().st_mtime
        self.about = _about(stored, self._model.num_interest)
        length = min(_FIXED_LIST, -(-stored.num_items // 2))  # some items are not listed
        made = [Query(one, length) for one in fixed_histories(stored.num_items)]
        self._fixed = [set(one.ids.tolist()) for one in self.answers(made)]
        self.titles([("a", 1)])

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint."""
        return self.recommender.stored.checkpoint

    @property
    def age(self) -> float:
        """Seconds since the checkpoint was written."""
        return max(0.0, time.time() - self._stored_at)

    def queries(self, body: Any) -> list[Query]:
        """Return a request's queries (`schemas.Bodies.recommend`), one for each history;
        RefusedError for what the model cannot do.
        """
        own = ("histories", "times", "request_time")
        asked = {name: value for name, value in body if name not in own and value is not None}
        try:
            query = self.recommender.query(**asked)
            return self.recommender.queries(body.histories, query, body.times, body.request_time)
        except (UsageError, DataError) as error:
            status = _STATUS.get(error.key, 422)
            raise RefusedError(status, error.key, **error.values) from error

    def number(self, raw_id: str) -> int:
        """Return an item's number; RefusedError for an unknown one."""
        try:
            return self.catalogue.known(raw_id)
        except UsageError as error:
            raise RefusedError(404, error.key, **error.values) from error

    # What follows takes time: it is work of the batcher.

    def answers(self, queries: list[Query]) -> Sequence[Answer]:
        """Answer queries."""
        return lists.answer(self._model, queries)

    def vectors(self, queries: list[Query]) -> list[Any]:
        """Return the interests [K, d] of each query's history, as lists of numbers."""
        return [one.tolist() for one in lists.interests(self._model, queries)]

    def fed(self, queries: list[Query]) -> list[NDArray[np.int32]]:
        """Return the interest that each item of each query's history feeds."""
        return lists.fed_interests(self._model, queries)

    @property
    def has_categories(self) -> bool:
        """Whether lists can be diversified."""
        return self._model.has_categories

    def similar(self, asked: list[tuple[int, int]]) -> list[dict[str, Any]]:
        """Return the items similar to each of (item number, length of the list)."""
        found = [lists.similar(self._model, item, n) for item, n in asked]
        pairs = zip(asked, found, strict=True)
        return [self.catalogue.similar_as_json(item, answer) for (item, _), answer in pairs]

    def titles(self, asked: list[tuple[str, int]]) -> list[dict[str, Any]]:
        """Return the items found by each of (text, most)."""
        return [self._find(text, most) for text, most in asked]

    def _find(self, text: str, most: int) -> dict[str, Any]:
        """Return the items whose title has all words of a text, the most popular first, after the
        one whose id it is. Where no item has a title, ids are searched so.
        """
        places = np.zeros(0, np.int64)
        words = text.lower().split()
        if words:
            has = [pl.col("text").str.contains(word, literal=True) for word in words]
            found = self._titles.select(pl.all_horizontal(has).fill_null(False)).to_series()
            places = np.flatnonzero(found.to_numpy()) + 1
        if (own := self.catalogue.number(text)) != NO_ITEM:
            places = np.concatenate([[own], places[places != own]])
        items = [self.catalogue.item_as_json(int(place)) for place in places[:most]]
        return {"items": items, "matches": len(places)}

    @cached_property
    def _titles(self) -> pl.DataFrame:
        """Titles in lower case, in the column text; ids where no item has a title."""
        items = self.recommender.stored.items
        titled = "title" in items.columns and items["title"].count()
        column = pl.col("title" if titled else "raw_id")
        return items.select(text=column.cast(pl.String).str.to_lowercase())

    def overlap(self, other: "ServedModel") -> float:
        """Return the share of items that the two models' lists for the fixed histories share."""
        pairs = zip(self._fixed, other._fixed, strict=True)
        return float(np.mean([len(a & b) / max(1, len(a), len(b)) for a, b in pairs]))

    def require_same_items(self, found: Checkpoint) -> None:
        """Raise CheckpointError for a checkpoint that was trained on other data."""
        own, other = self.checkpoint.identity, found.identity
        if any(own.get(name) != other.get(name) for name in ("dataset_fingerprint", "item_ids")):
            raise CheckpointError("serve_other_items", checkpoint=found.path)


class Loader:
    """Finds and loads the checkpoint that a server serves."""

    def __init__(
        self,
        path: Path,
        which: Source,
        say: Say,
        locate: Locate | None,
        index: Path | None = None,
    ) -> None:
        """Create a loader.

        Args:
            path: The run, or a checkpoint.
            which: Whether the run's best or its latest.
            say: Called with each warning once.
            locate: Returns the folder of the data set.
            index: An exported folder whose index finds candidates; None: search is exact.
        """
        self.path = path
        self.which = which
        self._say = say
        self._locate = locate
        self._index = index
        self._said: set[str] = set()

    def find(self) -> Checkpoint:
        """Return the checkpoint to serve; CheckpointError where there is none."""
        return find_checkpoint(self.path, self.which, self._say_once)

    def load(self, checkpoint: Checkpoint) -> ServedModel:
        """Load a checkpoint, ready to answer; CheckpointError where that cannot be."""
        recommender = Recommender(from_checkpoint(checkpoint, self._locate))
        if self._index is not None:
            from reprise.serving.index import open_index  # needs faiss

            best = open_index(self._index, recommender.stored).best
            recommender.model = replace(recommender.model, best=best)
        return ServedModel(recommender, self.which)

    def _say_once(self, key: str, **values: Any) -> None:
        line = str(Phrase(key, **values))
        if line not in self._said:
            self._said.add(line)
            self._say(key, **values)


def fixed_histories(num_items: int) -> list[Numbers]:
    """Return FIXED histories of item numbers, popular ones (of low numbers) more often: a function
    of the number of items alone.
    """
    rng = np.random.Generator(np.random.Philox(key=[_FIXED_SEED, num_items]))
    drawn = np.float64(num_items) ** rng.random((FIXED, _FIXED_LENGTH))
    return list(np.clip(drawn, 1, num_items).astype(np.int32))


def _about(stored: StoredModel, interests: int) -> dict[str, Any]:
    """Return what is served, as JSON."""
    checkpoint, config = stored.checkpoint, stored.config
    progress = checkpoint.progress
    return {
        "run": checkpoint.path.resolve().parent.parent.name,
        "checkpoint": checkpoint.path.name,
        "step": progress.step,
        "is_best": progress.is_best,
        "valid_recall": progress.metric if progress.is_rated else None,
        "cutoff": config.top_n,
        "model": config.model,
        "dataset": config.dataset,
        "items": stored.num_items,
        "interests": interests,
        "dim": config.embedding_dim,
        "history_length": config.maxlen,
        "scores": "cosine" if config.scoring.cosine else "inner product",
        "repeat_bias": stored.retriever.repeat_bias,
        "time_bias": config.time_bias,
        "reprise": __version__,
    }
