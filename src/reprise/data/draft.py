"""A dataset in memory, as built by `prepare` and `demo`, and writing it to a folder."""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data import item_files
from reprise.data.dataset import (
    SCHEMA,
    SHARE,
    SPLITS,
    file_digest,
    fingerprint_of,
    ids_digest,
    times_digest,
)
from reprise.data.item_files import Described
from reprise.data.npy import save_array
from reprise.data.sequences import Sequences

_BLOCK = 1 << 22  # interactions that are counted together
_ASIDE = 1 << 21  # rows of a file of aside/


@dataclass(frozen=True)
class Draft:
    """A dataset about to be written: what `prepare` and `demo` make.

    raw_users: for each split the users' own ids; raw_items: ids of items 1..V, in order;
    evaluation: one of EVALUATIONS; about_items: what else is known of items 1..V, a row each;
    known: of LATER, for valid and test how many of each user's items are given, [U] int64; cold
    [V+1]: the items that are held out of training, None: none; aside: what the filter left out,
    tables of the columns of aside/, user and item as they are held.
    """

    splits: Mapping[str, Sequences]
    raw_users: Mapping[str, pl.Series]
    raw_items: pl.Series
    item_category: NDArray[np.int32]
    source: Mapping[str, Any]
    truth: Mapping[str, NDArray[Any]]
    evaluation: str = SHARE
    about_items: pl.DataFrame | None = None
    known: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    features: Sequence[Described] = ()
    cold: NDArray[np.bool_] | None = None
    aside: Sequence[pl.DataFrame] = ()


def totals_of(splits: Iterable[tuple[pl.Series, NDArray[np.int64]]]) -> tuple[int, int]:
    """Return the users and interactions of splits, each counted once, from the users' own ids and
    how many items each has: the more he has in a split, he has the others' among them.
    """
    everyone = pl.concat(
        pl.DataFrame({"user": raw_ids, "items": lengths}) for raw_ids, lengths in splits
    )
    longest = everyone.group_by("user").max()["items"]
    return len(longest), int(longest.sum())


def write_dataset(draft: Draft, folder: Path, name: str) -> None:
    """Write `draft` into the existing, empty `folder`; it is hashed meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        _write(draft, folder, name, pool.submit(_digests_of, draft))


def _digests_of(draft: Draft) -> tuple[str, dict[str, str]]:
    """Return the fingerprint, and the digest of the times where there are any."""
    splits = draft.splits
    timed = splits[SPLITS[0]].times is not None
    fingerprint = fingerprint_of(splits, draft.item_category, draft.evaluation, draft.known)
    return fingerprint, {"times": times_digest(splits)} if timed else {}


def _write(
    draft: Draft, folder: Path, name: str, digests: Future[tuple[str, dict[str, str]]]
) -> None:
    for split in SPLITS:
        (folder / split).mkdir()
        save_array(folder / split / "offsets.npy", draft.splits[split].offsets)
        save_array(folder / split / "items.npy", draft.splits[split].items)
        for what in ("targets", "times"):
            if (array := getattr(draft.splits[split], what)) is not None:
                save_array(folder / split / f"{what}.npy", array)
    for split, known in draft.known.items():
        save_array(folder / split / "known.npy", known)
    save_array(folder / "item_category.npy", draft.item_category)
    for key, array in draft.truth.items():
        (folder / "truth").mkdir(exist_ok=True)
        save_array(folder / "truth" / f"{key}.npy", array)
    num_items = len(draft.raw_items)
    items = pl.DataFrame(
        {"item": np.arange(1, num_items + 1, dtype=np.int32), "raw_id": draft.raw_items}
    )
    if draft.about_items is not None:
        items = items.hstack(draft.about_items)
    items.write_parquet(folder / "items.parquet")
    pl.concat(
        pl.DataFrame(
            {
                "split": pl.repeat(split, len(raw), eager=True),
                "user": np.arange(len(raw)),
                "raw_id": raw,
            }
        )
        for split, raw in draft.raw_users.items()
    ).write_parquet(folder / "users.parquet")
    meta: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "num_items": num_items,
        "num_categories": len(np.unique(draft.item_category[draft.item_category >= 0])),
        "users": {split: len(draft.splits[split].lengths) for split in SPLITS},
        "interactions": {split: len(draft.splits[split].items) for split in SPLITS},
        "source": dict(draft.source),
        "evaluation": draft.evaluation,
        "fingerprint": digests.result()[0],
    }
    meta["digests"] = {
        "item_ids": ids_digest(items["raw_id"]),
        "items.parquet": file_digest(folder / "items.parquet"),
    }
    meta["digests"] |= digests.result()[1]
    counts = counted(draft.splits[SPLITS[0]].items, num_items)
    meta["digests"] |= item_files.write(folder / "items", counts, draft.cold, draft.features)
    if draft.aside:
        _write_aside(draft.aside, folder / "aside")
    text = json.dumps(meta, indent=2, ensure_ascii=False) + "\n"
    (folder / "meta.json").write_text(text, encoding="utf-8")


def counted(items: NDArray[np.int32], num_items: int) -> NDArray[np.int64]:
    """Return how often each item occurs, [V+1]; a block at a time, as items may be mapped."""
    counts = np.zeros(num_items + 1, np.int64)
    for start in range(0, len(items), _BLOCK):
        counts += np.bincount(items[start : start + _BLOCK], minlength=num_items + 1)
    return counts


def _write_aside(tables: Iterable[pl.DataFrame], folder: Path) -> None:
    """Write rows to files of `_ASIDE` rows at most."""
    folder.mkdir()
    files = (
        table[start : start + _ASIDE] for table in tables for start in range(0, len(table), _ASIDE)
    )
    for place, part in enumerate(files):
        named = part.with_columns(pl.col("user", "item").cast(pl.String))
        named.write_parquet(folder / f"{place:05}.parquet")
