"""The dataset folder: memory-mapped interactions by split, checked on opening.

meta.json              schema, counts, source, evaluation (of `EVALUATIONS`; SHARE where there is
                       none), fingerprint (SHA-256 over the arrays below but times and items/, and
                       over any evaluation other than SHARE), digests (of what it leaves out)
train/ valid/ test/    offsets.npy [U+1] int64, items.npy [N] int32 (ids 1..V, oldest first)
                       targets.npy [N] bool, where not all are to be found: which are
                       times.npy [N] int64, nanoseconds since 1970, where the source has them
valid/ test/           known.npy [U] int64, of LATER alone: items of each user that are given
item_category.npy      [V+1] int32, -1 where unknown
items/                 rank, counts, cold items and features (`item_files`); not of schema 1
items.parquet          item, raw_id; category and title (text) where the source tells them
users.parquet          split, user (row in its split), raw_id
aside/                 what the filter left out: Parquet of user and item (raw ids), time (as in the
                       source), and target where the splits have targets
truth/                 demo data only: the true interests
"""

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.data import item_files
from reprise.data.features import Feature
from reprise.data.npy import MAPPED_FROM, open_array
from reprise.data.sequences import EvaluationUsers, Past, Sequences
from reprise.errors import ContentError, DataError
from reprise.text.messages import Phrase

if TYPE_CHECKING:
    import polars as pl

# The first has no times and no items/, and its interactions are all targets.
SCHEMAS = (1, 2)
SCHEMA = SCHEMAS[-1]
SPLITS = ("train", "valid", "test")
# What ties a run to its data: the arrays' fingerprint, the digest of the items' own ids (which runs
# of older versions do not know), and, where the run uses them, of the times, of the item features
# by name, of the edges of its memory, and of the ranks where items are not numbered by popularity.
DATA_KEYS = ("dataset_fingerprint", "item_ids", "times", "features", "edges", "rank")
# What an evaluation hides of a user's items, to be found: all after the first 80%, the last, or all
# from a time on, that is after the first `known`.
SHARE, LAST, LATER = "share-0.8", "last", "later"
EVALUATIONS = (SHARE, LAST, LATER)
# The message that tells it.
HELD_OUT = {SHARE: "held_out_share", LAST: "held_out_last", LATER: "held_out_later"}
_FIRST_VALUES = 5  # of a feature, that are shown
_HISTORY_SHARE = 0.8
_REFUSALS = {errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


@dataclass(frozen=True)
class Truth:
    """What generated data knows of itself: the interest each item belongs to [V+1] (-1: padding)
    and the interests each user holds [U, T] (padded with -1), int32.
    """

    item_interest: NDArray[np.int32]
    user_interests: NDArray[np.int32]


class Mark(NamedTuple):
    """What tells whether a file has changed, without reading it."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True)
class Dataset:
    """An opened dataset folder."""

    name: str
    folder: Path
    num_items: int
    fingerprint: str
    splits: Mapping[str, Sequences]
    item_category: NDArray[np.int32]
    meta: Mapping[str, Any]
    evaluation: str = SHARE
    known: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    marks: Mapping[Path, "Mark"] = field(default_factory=dict)

    def refuse_short(self) -> None:
        """Raise DataError where a file that is mapped is shorter than when it was opened: to read
        what it lacks would end the process, see `runtime.bus`.
        """
        for path, mark in self.marks.items():
            if mark.size >= MAPPED_FROM and _mark_of(path).size < mark.size:
                raise DataError("data_changed", folder=self.folder)

    def refuse_changed(self, thoroughly: bool = False) -> None:
        """Raise DataError where the files hold anything else than when they were opened: by their
        marks, or if these differ or `thoroughly`, by their content.
        """
        if not thoroughly and all(_mark_of(path) == mark for path, mark in self.marks.items()):
            return
        try:
            same = open_dataset(self.folder).fingerprint == self.fingerprint
        except DataError as error:
            raise DataError("data_changed", folder=self.folder) from error
        if not same:
            raise DataError("data_changed", folder=self.folder)

    def __repr__(self) -> str:
        users = ", ".join(f"{name} {len(own.lengths):,}" for name, own in self.splits.items())
        interactions = sum(len(own.items) for own in self.splits.values())
        return (
            f"Dataset({self.name!r}: {self.num_items:,} items, users {users}, "
            f"{interactions:,} interactions, {self.folder})"
        )

    def raw_users(self, split: str) -> "pl.Series":
        """Return the own ids of a split's users, [U]."""
        import polars as pl  # training does without

        users = len(self.splits[split].lengths)
        with self._table("users.parquet", "split", "user", "raw_id") as table:
            own = table.filter(pl.col("split") == split).sort("user")["raw_id"]
            if len(own) != users:
                raise ContentError("damage_data_counts", name="users.parquet")
        return own

    def whole_sequences(self) -> Sequences:
        """Return each user's whole sequence once: the longest that any split has of the user."""
        parts = [self.splits[split] for split in SPLITS]
        if self.evaluation != SHARE:  # users are in several splits, the later the longer
            import polars as pl

            seen = pl.Series([], dtype=pl.String)
            for place, split in reversed(list(enumerate(SPLITS))):
                own, raw_ids = self.splits[split], self.raw_users(split)
                rows = np.flatnonzero(~raw_ids.is_in(seen.implode()).to_numpy())
                parts[place] = own.slices(own.offsets[rows], own.lengths[rows])
                seen = pl.concat([seen, raw_ids])
        lengths = np.concatenate([part.lengths for part in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        targets = [part.targets for part in parts if part.targets is not None]
        times = [part.times for part in parts if part.times is not None]
        return Sequences(
            offsets,
            np.concatenate([part.items for part in parts]),
            np.concatenate(targets) if targets else None,
            np.concatenate(times) if times else None,
        )

    def about_items(self) -> "pl.DataFrame":
        """Return what items.parquet has of the items 1..V, a row each."""
        with self._table("items.parquet", "item", "raw_id") as table:
            if len(table) != self.num_items:
                raise ContentError("damage_data_counts", name="items.parquet")
        return table

    @property
    def known_categories(self) -> NDArray[np.int32] | None:
        """The items' categories [V+1] int32; None where none is known."""
        category = np.asarray(self.item_category)
        return category if (category >= 0).any() else None

    @property
    def target_events(self) -> dict[str, list[str]]:
        """The events to be found, as facts of an evaluation tell it; nothing where all are."""
        told = self.meta.get("source", {}).get("targets")
        return {"target_events": list(told["events"])} if told else {}

    @cached_property
    def training_counts(self) -> NDArray[np.int64]:
        """Training interactions of each item, [V+1]."""
        counts = self._of_items("counts", np.int64)
        if counts is None:
            return np.bincount(self.splits["train"].items, minlength=self.num_items + 1)
        return counts

    @cached_property
    def rank(self) -> NDArray[np.int32]:
        """Each item's rank by popularity, [V+1] int32: 1 is the most popular; 0 of padding."""
        rank = self._of_items("rank", np.int32)
        return np.arange(self.num_items + 1, dtype=np.int32) if rank is None else rank

    @property
    def is_numbered_by_rank(self) -> bool:
        """Whether the items are numbered by their rank, as those of a fresh dataset are."""
        return bool(np.array_equal(self.rank, np.arange(self.num_items + 1)))

    @property
    def rank_digest(self) -> str | None:
        """The SHA-256 of the ranks, which a run is bound to; None where the items' numbers, which
        have a digest, are their ranks.
        """
        return None if self.is_numbered_by_rank else item_files.digest_of(self.rank)

    @cached_property
    def cold(self) -> NDArray[np.bool_] | None:
        """Which items were held out of training, [V+1]; None where none was."""
        return self._of_items("cold", np.bool_)

    @cached_property
    def features(self) -> item_files.Features:
        """The items' features by name, each read when it is first used."""
        with _damage_told(self.folder):
            digests = self._digests.get("features", {})
            return item_files.Features(self.folder / "items", self.num_items, digests)

    def feature(self, name: str) -> Feature:
        """Return a feature of the items; DataError where its file is damaged."""
        with _damage_told(self.folder):
            return self.features[name]

    @property
    def features_told(self) -> dict[str, Any]:
        """What is known of the features without reading them: of each what features.json has, and
        the most frequent values; the columns that were left out; and where titles are from, if
        their table has them.
        """
        told = []
        for name, own in self.features.told.items():
            with _damage_told(self.folder):
                vocabulary = self.features.vocabulary(name)
            values = [] if vocabulary is None else vocabulary[1 : _FIRST_VALUES + 1].to_list()
            told.append(own | ({} if vocabulary is None else {"first": values}))
        source = self.meta.get("source", {})
        titles = {"titles_from": source["titles_from"]} if "titles_from" in source else {}
        return {"features": told, "left_out": source.get("features_left_out", []), **titles}

    @property
    def has_times(self) -> bool:
        """Whether it is known when interactions were."""
        return "times" in self._digests

    @cached_property
    def times_digest(self) -> str:
        """The SHA-256 of all times, which must be known: a run that uses them is bound to it."""
        with _damage_told(self.folder):
            if times_digest(self.splits) != self._digests["times"]:
                raise ContentError("damage_digest_meta", name="times.npy")
        return str(self._digests["times"])

    @property
    def _digests(self) -> Mapping[str, Any]:
        digests: Mapping[str, Any] = self.meta.get("digests", {})
        return digests

    def _of_items(self, name: str, dtype: type[np.generic]) -> NDArray[Any] | None:
        """Return an array of items/, [V+1]; None where the dataset has none such."""
        if name not in self._digests:
            return None
        with _damage_told(self.folder):
            path = self.folder / "items" / f"{name}.npy"
            array = item_files.checked(path, dtype, self._digests[name])
            if array.shape != (self.num_items + 1,):
                raise ContentError("damage_data_counts", name=path.name)
        return array

    @property
    def item_ids_digest(self) -> str:
        """The SHA-256 of the items' own ids, which a run's answers are in terms of. meta.json has
        it, and the digest of the file that it was made of; folders of older versions do not.
        """
        if "item_ids" not in self._digests:
            return ids_digest(self.about_items()["raw_id"])
        with _damage_told(self.folder):
            if file_digest(self.folder / "items.parquet") != self._digests["items.parquet"]:
                raise ContentError("damage_digest_meta", name="items.parquet")
        return str(self._digests["item_ids"])

    @contextmanager
    def _table(self, name: str, *columns: str) -> "Iterator[pl.DataFrame]":
        """Yield a table of the folder that has these columns at least; what is wrong with it, by
        what is done with it too, is damage to the folder.
        """
        import polars as pl

        with _damage_told(self.folder):
            try:
                table = pl.read_parquet(self.folder / name, glob=False)
                if missing := [column for column in columns if column not in table.columns]:
                    column = ", ".join(missing)
                    raise ContentError("damage_data_column", name=name, column=column)
                yield table
            except pl.exceptions.PolarsError as error:
                reason = str(error).partition("\n")[0]
                raise ContentError("file_reason", name=name, reason=reason) from error

    def truth(self, split: str) -> Truth | None:
        """Return the true interests of the users whom `evaluation_users` returns, if known."""
        folder = self.folder / "truth"
        if not folder.is_dir():
            return None
        lengths = self.splits[split].lengths
        evaluated, _ = self.evaluated(split)
        with _damage_told(self.folder):
            item_interest = _open_array(folder / "item_interest.npy", np.int32)
            user_interests = _open_array(folder / f"{split}_interests.npy", np.int32, dimensions=2)
            if (len(item_interest), len(user_interests)) != (self.num_items + 1, len(lengths)):
                raise ContentError("damage_data_counts", name="truth")
        return Truth(item_interest, user_interests[evaluated])

    def evaluated(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the users of a split that are evaluated, as rows of it, and how many of the first
        items of each are given (`items_given`).
        """
        given = items_given(self.splits[split], self.evaluation, self.known.get(split))
        users = np.flatnonzero(given)
        return users, given[users]

    def evaluation_users(self, split: str, history_length: int) -> EvaluationUsers:
        """Return the users of `split` with their first items as history (its last `history_length`)
        and of the rest those that are to be found as targets, as `items_given` tells. Users without
        history or target are left out.
        """
        sequences = self.splits[split]
        users, position = self.evaluated(split)
        if len(users) == 0:
            raise DataError(
                "empty_split", split=split, where=self.folder, needs=Phrase("empty_stored")
            )
        history, known = sequences.histories(users, position, history_length)
        start = sequences.offsets[users]
        hidden = sequences.slices(start + position, sequences.lengths[users] - position)
        offsets, items = hidden.offsets, hidden.items
        if hidden.targets is not None:
            offsets = np.concatenate([[0], np.cumsum(hidden.targets)])[offsets]
            items = items[hidden.targets]
        times = sequences.times
        past = Past(sequences.items, start, position, times)
        held_out = None if times is None else np.asarray(times[start + position])
        return EvaluationUsers(history, known, offsets, items, past, held_out)


def items_given(
    sequences: Sequences, evaluation: str, known: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return how many of the first items of each user an evaluation gives, [U]; 0 of who is not
    evaluated, having no history before what is to be found, or nothing to be found behind it.

    Of n items the first int(0.8 n), n - 1 where `evaluation` is LAST, or as many as are `known`
    where it is LATER. Where not all items are to be found, but n targets: all items before target
    int(0.8 n), before the last one, or the `known`.
    """
    lengths = sequences.lengths
    if sequences.targets is None:
        given = {
            SHARE: (lengths * _HISTORY_SHARE).astype(np.int64),
            LAST: np.maximum(lengths - 1, 0),
            LATER: known,
        }[evaluation]
        assert given is not None
        return np.asarray(given)
    before = np.concatenate([[0], np.cumsum(sequences.targets)])
    first, end = before[sequences.offsets[:-1]], before[sequences.offsets[1:]]
    if evaluation == LATER:
        assert known is not None
        return np.where(end > before[sequences.offsets[:-1] + known], known, 0)
    hidden = end - 1
    if evaluation == SHARE:
        hidden = first + ((end - first) * _HISTORY_SHARE).astype(np.int64)
    places = np.append(np.flatnonzero(sequences.targets), 0)  # one more, for who has none
    place = places[np.where(end > first, hidden, -1)] - sequences.offsets[:-1]
    return np.where(end > first, place, 0)


def open_dataset(folder: Path) -> Dataset:
    """Open a dataset folder; DataError where it is missing, of another schema or damaged."""
    meta = read_meta(folder)
    with _damage_told(folder):
        return _open_arrays(folder, meta)


def stored_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint that a dataset folder says it has; None where it is none."""
    try:
        return str(read_meta(folder)["fingerprint"])
    except DataError:
        return None


@contextmanager
def _damage_told(folder: Path) -> Iterator[None]:
    """Tell what is wrong with a file of a dataset as damage to the folder."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise _unusable(folder, error, error) from error


def _unusable(folder: Path, error: Exception, reason: Phrase | Exception) -> DataError:
    """Return the refusal of a folder: damaged, or, where the system refuses to read what may be
    whole, unreadable.
    """
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return DataError(
            "checkpoint_unreadable", path=error.filename or folder, reason=error.strerror
        )
    return DataError("dataset_damaged", folder=folder, reason=reason)


def _open_arrays(folder: Path, meta: Mapping[str, Any]) -> Dataset:
    """Open and check all arrays; ValueError or OSError for what is wrong with them."""
    marks = {path: _mark_of(path) for path in sorted(folder.rglob("*.npy"))}
    splits = {
        split: Sequences(
            _open_array(folder / split / "offsets.npy", np.int64),
            _open_array(folder / split / "items.npy", np.int32),
            _open_array(folder / split / "targets.npy", np.bool_)
            if meta["schema"] > SCHEMAS[0] and (folder / split / "targets.npy").is_file()
            else None,
            _open_array(folder / split / "times.npy", np.int64)
            if "times" in meta.get("digests", {})
            else None,
        )
        for split in SPLITS
    }
    category = _open_array(folder / "item_category.npy", np.int32)
    known = {
        split: _open_array(folder / split / "known.npy", np.int64)
        for split in (SPLITS[1:] if meta.get("evaluation") == LATER else ())
    }
    for split, sequences in splits.items():
        _check_split(folder, split, sequences, meta)
    if len(category) != meta["num_items"] + 1:
        raise ContentError("damage_data_counts", name="item_category")
    for split, given in known.items():
        lengths = splits[split].lengths
        if len(given) != len(lengths) or np.any((given < 1) | (given >= lengths)):
            raise ContentError("damage_data_known", split=split)
    evaluation = meta.get("evaluation", SHARE)
    if fingerprint_of(splits, category, evaluation, known) != meta["fingerprint"]:
        raise ContentError("damage_data_fingerprint")
    return Dataset(
        name=meta["name"],
        folder=folder,
        num_items=meta["num_items"],
        fingerprint=meta["fingerprint"],
        splits=splits,
        item_category=category,
        meta=meta,
        evaluation=evaluation,
        known=known,
        marks=marks,
    )


def _mark_of(path: Path) -> Mark:
    """Return a file's mark; one of no bytes where it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return Mark(-1, 0, 0)
    return Mark(status.st_size, status.st_mtime_ns, status.st_ino)


def _open_array(path: Path, dtype: type[np.generic], dimensions: int = 1) -> NDArray[Any]:
    """Map an array of `dtype`; ValueError or OSError where the file holds anything else."""
    array = open_array(path)
    if array.dtype != dtype or array.ndim != dimensions:
        expected = {"dtype": np.dtype(dtype), "dimensions": dimensions}
        raise ContentError("damage_data_array", name=path.name, **expected)
    return array


def read_meta(folder: Path) -> dict[str, Any]:
    """Return a dataset folder's meta.json; DataError where there is none that can be used."""
    if not (folder / "meta.json").is_file():
        raise DataError("dataset_missing", folder=folder)
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        schema = meta["schema"]
        if schema in SCHEMAS:
            counts = [meta[count][split] for count in ("users", "interactions") for split in SPLITS]
            if not all(isinstance(count, int) for count in [meta["num_items"], *counts]):
                raise ContentError("damage_data_counts_whole")
            meta["name"], meta["fingerprint"], dict(meta.get("digests", {}))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = Phrase("file_content", name="meta.json", error=error)
        raise _unusable(folder, error, reason) from error
    if schema not in SCHEMAS:
        known = ", ".join(map(str, SCHEMAS))
        raise DataError("dataset_schema", folder=folder, found=schema, known=known)
    if (evaluation := meta.get("evaluation", SHARE)) not in EVALUATIONS:
        known = " | ".join(EVALUATIONS)
        raise DataError("dataset_evaluation", folder=folder, found=evaluation, known=known)
    return meta


def _check_split(folder: Path, split: str, sequences: Sequences, meta: Mapping[str, Any]) -> None:
    offsets, items, most = sequences.offsets, sequences.items, meta["num_items"]
    if len(offsets) != meta["users"][split] + 1 or len(items) != meta["interactions"][split]:
        raise ContentError("damage_data_counts_meta", name=split)
    for name, beside in (("targets", sequences.targets), ("times", sequences.times)):
        if beside is not None and len(beside) != len(items):
            raise ContentError("damage_data_counts", name=f"{split}/{name}")
    if len(items) == 0:
        raise DataError("empty_split", split=split, where=folder, needs=Phrase("empty_stored"))
    if offsets[0] != 0 or offsets[-1] != len(items) or np.any(np.diff(offsets) < 0):
        raise ContentError("damage_data_offsets", split=split, items=len(items))
    if items.min() < 1 or items.max() > most:
        bad = int(np.flatnonzero((items < 1) | (items > most))[0])
        raise ContentError("damage_data_item", split=split, item=items[bad], place=bad, most=most)


def times_digest(splits: Mapping[str, Sequences]) -> str:
    """Return the SHA-256 of the times of all splits, which are known."""
    times = [splits[split].times for split in SPLITS]
    return item_files.digest_of(*(own for own in times if own is not None))


def ids_digest(raw_ids: "pl.Series") -> str:
    """Return the SHA-256 of ids as text, in order: of all their lengths, then all their bytes."""
    import polars as pl

    text = raw_ids.cast(pl.String)
    digest = hashlib.sha256(text.str.len_bytes().cast(pl.Int64).to_numpy().tobytes())
    digest.update(text.str.join("").item().encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_of(
    splits: Mapping[str, Sequences],
    category: NDArray[np.int32],
    evaluation: str,
    known: Mapping[str, NDArray[np.int64]],
) -> str:
    """Return the SHA-256 of a dataset's arrays, which runs are bound to."""
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(np.ascontiguousarray(splits[split].offsets).data)
        digest.update(np.ascontiguousarray(splits[split].items).data)
        targets = splits[split].targets
        if targets is not None:
            digest.update(b"targets")
            digest.update(np.ascontiguousarray(targets).data)
    digest.update(np.ascontiguousarray(category).data)
    if evaluation != SHARE:  # which stands for itself: runs are bound to the digest it has had
        digest.update(f"evaluation={evaluation}".encode())
    for split in SPLITS:
        if split in known:
            digest.update(np.ascontiguousarray(known[split]).data)
    return digest.hexdigest()
