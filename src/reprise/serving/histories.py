"""The users whose interests are exported, and their histories."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.dataset import SPLITS, Dataset
from reprise.data.files import require_file
from reprise.data.ids import spelled_series
from reprise.data.npy import open_array
from reprise.data.sequences import EvaluationUsers, Past, Sequences
from reprise.errors import ContentError, DataError, UsageError
from reprise.runs.stored import StoredModel
from reprise.serving.times import NEVER, TIMES, When, as_read, known_ones, whens_of
from reprise.text.messages import Say

EVERYONE = "all"


@dataclass(frozen=True)
class Users:
    """Users to export: their source ("valid", the name of a file), raw ids [U] where known, and
    histories. as_evaluated: whether these exclude the held-out items. times [U, L + 1] int32: as
    `data.moments` has them, where they were given; None: as `histories` has them.
    """

    source: str
    raw_ids: pl.Series | None
    histories: EvaluationUsers
    as_evaluated: bool = False
    times: NDArray[np.int32] | None = None


def users_of_split(dataset: Dataset, split: str, length: int, as_evaluated: bool) -> Users:
    """Return the users of one of SPLITS with all their items or, `as_evaluated`, without the
    held-out ones.

    Args:
        split: EVERYONE stands for the users of all splits, each once, with their longest sequence.
        length: Number of last items that the model sees.
        as_evaluated: Whether to use only the history that an evaluation uses.
    """
    if not as_evaluated:
        raw_ids, sequences = (
            _everyone(dataset)
            if split == EVERYONE
            else (dataset.raw_users(split), dataset.splits[split])
        )
        return Users(split, raw_ids, all_history(sequences, length))
    if split not in ("valid", "test"):
        raise UsageError("evaluated_of_what")
    known, _ = dataset.evaluated(split)
    users = dataset.evaluation_users(split, length)
    return Users(split, dataset.raw_users(split).gather(known), users, as_evaluated=True)


def users_of_file(path: Path, stored: StoredModel, say: Say) -> Users:
    """Read a file of histories, oldest item first.

    .npy: item numbers [U, L], 0 being padding at any position. .parquet: one row per user, with a
    column `items` (lists of item numbers) or `raw_ids` (lists of raw item ids) and, optionally,
    `user`, `times` (lists of as many times) and `request_time`. Unknown raw ids are left out, which
    is said, and so it is whose times a model lacks, or does not read.
    """
    require_file(path)
    try:
        users, sequences, whens = (
            (None, _of_array(open_array(path)), None)
            if path.suffix == ".npy"
            else _of_table(path, pl.read_parquet(path, glob=False), stored, say)
        )
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise DataError("histories_unreadable", path=path, reason=error) from error
    outside = (sequences.items < 1) | (sequences.items > stored.num_items)
    if outside.any():
        place = int(np.argmax(outside))
        row = int(np.searchsorted(sequences.offsets, place, side="right"))
        item, most = int(sequences.items[place]), stored.num_items
        raise DataError("histories_bad_item", path=path, row=row, item=item, most=most)
    if len(sequences.items) == 0:
        raise DataError("no_interactions", path=path)
    if missing := int((sequences.lengths == 0).sum()):
        say("histories_empty", path=path, users=missing)
    times = _as_read(stored, whens or [NEVER] * len(sequences.lengths), say)
    histories = all_history(sequences, stored.config.maxlen)
    return Users(path.name, users, histories, times=times)


def _as_read(stored: StoredModel, whens: list[When], say: Say) -> NDArray[np.int32] | None:
    """Return times as the model reads them; None where it reads none. Say whose are missing."""
    asks, reads = stored.retriever.request_time is not None, stored.retriever.reads_times
    timed = [when for when in whens if when.items is not None]
    counts = {"times_unread": len(timed)}
    if reads:
        unasked = sum(when.request is None for when in timed) if asks else 0
        counts = {"times_missing": len(whens) - len(timed), "request_time_missing": unasked}
    for key, some in counts.items():
        if some:
            say(key, some=some, histories=len(whens))
    return as_read(whens, stored.config.maxlen) if reads else None


def user_of(dataset: Dataset, raw_id: str) -> Sequences:
    """Return the longest sequence of the user of this raw id, item numbers, oldest first, and their
    times; UsageError where there is none.
    """
    raw_ids, sequences = _everyone(dataset)
    found = np.flatnonzero((raw_ids.cast(pl.String) == raw_id.strip()).to_numpy())
    if not len(found):
        raise UsageError("user_unknown", user=raw_id, dataset=dataset.name)
    return sequences.users(int(found[0]), int(found[0]) + 1)


def _everyone(dataset: Dataset) -> tuple[pl.Series, Sequences]:
    """Return the users of all splits by raw id, each with their longest sequence."""
    raw_ids = pl.concat(dataset.raw_users(split) for split in SPLITS)
    lengths = np.concatenate([dataset.splits[split].lengths for split in SPLITS])
    parts = [dataset.splits[split] for split in SPLITS]
    items = np.concatenate([one.items for one in parts])
    own = [one.times for one in parts if one.times is not None]
    times = np.concatenate(own) if len(own) == len(parts) else None
    by_length = pl.DataFrame({"user": raw_ids, "length": lengths}).with_row_index("row")
    longest = (
        by_length.sort("length", descending=True, maintain_order=True)
        .unique("user", keep="first", maintain_order=True)["row"]
        .sort()
        .to_numpy()
    )
    starts = np.cumsum(lengths) - lengths
    everything = Sequences(np.array([0, len(items)]), items, None, times)
    return raw_ids.gather(longest), everything.slices(starts[longest], lengths[longest])


def users_of_array(histories: NDArray[np.integer], length: int) -> EvaluationUsers:
    """Return users with these histories [U, L] of item numbers, without the padding 0."""
    return all_history(_of_array(histories), length)


def _of_array(histories: NDArray[Any]) -> Sequences:
    """Return the sequences of item numbers [U, L], without the padding 0."""
    if histories.ndim != 2 or not np.issubdtype(histories.dtype, np.integer):
        raise ContentError("histories_array", dtype=histories.dtype, shape=list(histories.shape))
    return _sequences((histories != 0).sum(axis=1), histories[histories != 0])


def _of_table(
    path: Path, table: pl.DataFrame, stored: StoredModel, say: Say
) -> tuple[pl.Series | None, Sequences, list[When]]:
    """Return the users' raw ids, if there are any, their sequences, and the times of these."""
    column = next((name for name in ("items", "raw_ids") if name in table.columns), None)
    if column is None:
        raise ContentError("histories_columns", columns=", ".join(table.columns))
    kind = table.schema[column]
    inner = kind.inner if isinstance(kind, pl.List) else None
    if inner is None or (column == "items" and not inner.is_integer()):
        raise ContentError("histories_kind", column=column, kind=kind)
    given = table[column].list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = table[column].filter(given > 0).explode()
    if column == "items":
        numbers = flat.cast(pl.Int64)
    else:
        own = stored.items.select("item", pl.col("raw_id").cast(pl.String))
        ids = pl.DataFrame({"raw_id": spelled_series(flat)})
        numbers = ids.join(own, on="raw_id", how="left", maintain_order="left")["item"]
        if unknown := numbers.null_count() - flat.null_count():
            items = len(flat) - flat.null_count()
            say("histories_unknown", path=path, unknown=unknown, items=items)
    known = numbers.is_not_null().to_numpy()
    lengths = np.bincount(np.repeat(np.arange(len(table)), given)[known], minlength=len(table))
    users = spelled_series(table["user"]) if "user" in table.columns else None
    masks = np.split(known, np.cumsum(given)[:-1])
    whens = map(known_ones, _whens(path, table, given), masks)
    return users, _sequences(lengths, numbers.drop_nulls().to_numpy()), list(whens)


def _whens(path: Path, table: pl.DataFrame, items: NDArray[np.int64]) -> Iterator[When]:
    """Return the times of each row of a table, as far as it has some."""
    times, requests = (
        table[name].to_list() if name in table.columns else [None] * len(table) for name in TIMES
    )
    return whens_of(path, range(1, len(table) + 1), times, requests, items.tolist())


def _sequences(lengths: NDArray[np.integer], items: NDArray[Any]) -> Sequences:
    """Return sequences of `lengths` items; invalid item numbers are kept."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    small = not len(items) or (items.min() >= 0 and items.max() < 2**31)
    return Sequences(offsets, items.astype(np.int32) if small else items)


def all_history(sequences: Sequences, length: int) -> EvaluationUsers:
    """Return users whose sequences are all history, without targets."""
    lengths = sequences.lengths
    history, known = sequences.histories(np.arange(len(lengths)), lengths, length)
    past = Past(sequences.items, np.asarray(sequences.offsets[:-1]), lengths, sequences.times)
    nothing = np.zeros(len(lengths) + 1, np.int64)
    return EvaluationUsers(history, known, nothing, np.empty(0, np.int32), past)
