"""Evaluate a run's stored model on another data set, matching items by raw id."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.dataset import Dataset
from reprise.data.sequences import EvaluationUsers, Past, Sequences
from reprise.errors import DataError
from reprise.runs.evaluation import Measured, measure_users
from reprise.runs.results import Split
from reprise.runs.stored import StoredModel
from reprise.text.messages import Say


class _Mapped(NamedTuple):
    """Users in the model's item numbers. unknown: number of target items unknown to the model;
    counted: counts of unknown items and interactions by name.
    """

    users: EvaluationUsers
    unknown: int
    counted: dict[str, int]


def measure_on(
    stored: StoredModel,
    dataset: Dataset,
    split: Split,
    say: Say,
    coef: float | None = None,
    filter_seen: bool = False,
    cutoffs: tuple[int, ...] | None = None,
) -> Measured:
    """Evaluate a stored model on a split of another data set. Items unknown to the model are
    removed from histories; as targets they count, but cannot be hit.

    Raises:
        DataError: The model knows no item of the users' histories.
    """
    (measured,) = measure_each_on(stored, dataset, split, say, (coef,), filter_seen, cutoffs)
    return measured


def measure_each_on(
    stored: StoredModel,
    dataset: Dataset,
    split: Split,
    say: Say,
    coefs: Sequence[float | None],
    filter_seen: bool = False,
    cutoffs: tuple[int, ...] | None = None,
) -> list[Measured]:
    """Return what `measure_on` returns for each lambda (all None, or none), with one search."""
    if stored.retriever.reads_times and not dataset.has_times:
        raise DataError("dataset_untimed", dataset=dataset.folder)
    mapped = _mapped(stored, dataset, split)
    if mapped.counted["items"]:
        say("on_unknown", dataset=dataset.name, split=split, **mapped.counted)
    about = {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        **dataset.target_events,
        "unknown": mapped.counted,
    }
    found = measure_users(
        stored, mapped.users, dataset.evaluation, coefs, None, filter_seen, cutoffs
    )
    # What is not known was never trained on: in groups by popularity, it is in the tail.
    counts = np.pad(stored.dataset.training_counts, (0, mapped.unknown))
    return [replace(measured, training_counts=counts, about=about) for measured in found]


def _mapped(stored: StoredModel, dataset: Dataset, split: Split) -> _Mapped:
    """Return the users of a split in the model's item numbers; each unknown target item gets its
    own number above the model's.
    """
    number = _numbers(stored, dataset)
    users = dataset.evaluation_users(split, 1)
    past = users.past.whole()
    known = number[past.items] > 0
    owner = np.repeat(np.arange(len(users.lengths)), past.lengths)
    lengths = np.bincount(owner[known], minlength=len(users.lengths))
    if not known.any():
        raise DataError("on_nothing_shared", dataset=dataset.folder, run=stored.checkpoint.path)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    times = None if past.times is None else past.times[known]
    own = Sequences(offsets, number[past.items[known]], None, times)
    history, given = own.histories(np.arange(len(lengths)), lengths, stored.config.maxlen)
    new = np.setdiff1d(users.target_items, np.flatnonzero(number))
    number[new] = stored.num_items + 1 + np.arange(len(new), dtype=np.int32)
    targets = number[users.target_items]
    unknown = np.union1d(new, past.items[~known])
    counted = {
        "items": len(unknown),
        "of_histories": int((~known).sum()),
        "of_targets": int((targets > stored.num_items).sum()),
        "without_history": int((lengths == 0).sum()),
    }
    mapped = EvaluationUsers(
        history,
        given,
        users.target_offsets,
        targets,
        Past(own.items, offsets[:-1], lengths, times),
        users.held_out_time,
    )
    return _Mapped(mapped, len(new), counted)


def _numbers(stored: StoredModel, dataset: Dataset) -> NDArray[np.int32]:
    """Return the model's number of each item of a data set [V+1], 0 for unknown items."""
    raw_id = pl.col("raw_id").cast(pl.String)
    of_model = stored.items.select(raw_id, number="item")
    shared = dataset.about_items().select("item", raw_id).join(of_model, on="raw_id", how="inner")
    number = np.zeros(dataset.num_items + 1, np.int32)
    number[shared["item"].to_numpy()] = shared["number"].to_numpy()
    return number
