"""Build a dataset from a reader's result: filter, number by popularity, order by time, split.

Of ordered interactions, equally popular items and the users stand in order of first appearance, and
a user's items of one time as they stand. Of others, equally popular items and the users stand by
their ids, and a user's items of one time by a hash: nothing depends on the order of the rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data import PROTOCOLS, cold
from reprise.data.clock import fits_nanoseconds, nanoseconds
from reprise.data.dataset import LAST, LATER, SHARE, SPLITS
from reprise.data.draft import Draft, totals_of
from reprise.data.item_files import Described
from reprise.data.ordering import (
    Codes,
    Mask,
    TieKeys,
    by_popularity,
    chunks_of,
    counts_of,
    first_rows,
    gathered,
    in_order,
    k_core,
    numbering,
    size_of,
)
from reprise.data.readers import features as item_features
from reprise.data.readers.format import FoundSplit, OnProgress, ignore_progress
from reprise.data.readers.interactions import Interactions, described
from reprise.data.rows import Rows
from reprise.data.sequences import Sequences
from reprise.data.splits import (
    CUT,
    SHUFFLE_SEED,
    Users,
    by_time,
    by_users,
    cut_times,
    leave_one_out,
    shuffled,
)
from reprise.data.store import Portion, Store
from reprise.data.targets import TargetCounts, with_targets
from reprise.data.ties import hashes_of, tie_hashes
from reprise.errors import DataError
from reprise.text.messages import Phrase

FILTER_SIZE = 5  # one filtering pass, as ComiRec's


class More(NamedTuple):
    """What else a dataset is to have: features of its items, a share of the items that is held out
    of training (None: none), and what the filter leaves out, aside.
    """

    features: item_features.FeaturesAsked | None = None
    cold_items: float | None = None
    aside: bool = True


NO_MORE = More()
_EVALUATION = dict(zip(PROTOCOLS, (SHARE, LAST, LATER), strict=True))
# The message that tells what a protocol needs for each split to have users.
_NEEDS = {
    "comirec": "empty_comirec",
    "leave-one-out": "empty_leave_one_out",
    "time-split": "empty_time_split",
}


class _Column:
    """Users or items of a frame: their codes, and what these stand for."""

    def __init__(self, column: pl.Series, ordered: bool, store: Store) -> None:
        self.codes: Codes = store.codes(column)
        self.size = size_of(self.codes)
        self.rows = first_rows(self.codes, self.size)
        self._column = column
        seen = np.flatnonzero(self.rows < len(column))
        self.count = len(seen)
        # Equals stand by first appearance, or where the rows' order says nothing, by their ids.
        self.ties = self.rows
        if not ordered:
            by_id = self.names(seen).arg_sort().to_numpy()
            self.ties = numbering(seen[by_id], self.size, 0).astype(np.int64)

    def names(self, codes: NDArray[np.integer]) -> pl.Series:
        """Return the raw ids of codes that occur."""
        return self._column.gather(self.rows[codes]).cast(pl.String)


def of_interactions(
    found: Interactions,
    path: Path,
    protocol: str = PROTOCOLS[0],
    core: int | None = None,
    cut: Sequence[str] | None = None,
    on_progress: OnProgress = ignore_progress,
    more: More = NO_MORE,
) -> Draft:
    """Return interactions filtered as ComiRec does (`preprocess/data.py` of the original): items
    with at least 5 occurrences, then users with at least 5 of these left; with `core`, the
    `core`-core takes the place of the filter. Item ids fall by popularity.

    comirec: users split 8:1:1, shuffled with seed 1230. leave-one-out: users in their order.
    time-split: popularity is that before the first cut, and items not met before it are left out.
    Cold items stand behind all others, and are in no training sequence.
    """
    on_progress("filter", 0, len(found.frame))
    frame, store = found.frame, found.store
    (users, items), aside = _columns(frame, found), []
    read = {"users": users.count, "items": items.count, "interactions": len(frame)}
    if core is not None:
        rows = _rows(frame, users, items, *k_core(users.codes, items.codes, core))
        aside += [store.left(frame, rows)] if more.aside else []
        frame, users, items = _cored(found, frame, rows, core, path)
    least = FILTER_SIZE if core is None else 1
    counts, active = _filtered(users, items, least)
    if not active.any():
        raise DataError("filter_left_nothing", path=path, least=least, **read)

    on_progress("order", 0, len(frame))
    rows = _rows(frame, users, items, active, counts > 0)
    facts: dict[str, Any] = {}
    if protocol == "time-split":
        facts["cut"] = list(cut_times(cut or CUT, rows.all_times(), found.unit))
        counts = rows.counts_before(facts["cut"][0])
        rows = replace(rows, popular=counts > 0)
    aside += [store.left(frame, rows)] if more.aside else []
    catalogue, raw_items, held_out = _catalogue(counts, items, more.cold_items)
    about = _about(found, frame, items, catalogue, raw_items)
    matched = _matched(found, raw_items, path)
    features, about = _features(more, raw_items, about, found, path, facts)
    order = _user_order(protocol, users, active)
    ids = users.names(order), raw_items
    made = _Made(found, protocol, ids, facts, on_progress, held_out)
    rows = rows.with_targets(store.targets(frame))
    numbers = numbering(order, users.size, 0), numbering(catalogue, items.size, 1)
    splits = store.joined(map(made.splits_of, store.portions(rows, *numbers, len(order))))
    kept = {"users": made.users, "items": len(catalogue), "interactions": made.interactions}
    return _draft(
        protocol,
        _evaluable(splits, path, protocol, cut or CUT),
        raw_items=raw_items,
        category=_codes(about, len(catalogue)),
        source=_source(found, path, _done(protocol, core), made, read, kept, matched)
        | made.cold_told(more.cold_items)
        | ({"aside_rows": sum(map(len, aside))} if more.aside else {})
        | facts,
        about_items=about,
        features=features,
        cold=held_out,
        aside=[table for table in aside if not table.is_empty()],
    )


def _cored(
    found: Interactions, frame: pl.DataFrame, rows: Rows, core: int, path: Path
) -> tuple[pl.DataFrame, _Column, _Column]:
    """Reduce a frame to the rows of its core; return it, its users and its items."""
    frame = found.store.filtered(frame, rows)
    if frame.is_empty():
        raise DataError("no_core", path=path, size=core)
    return frame, *_columns(frame, found)


def _source(
    found: Interactions,
    path: Path,
    done: str,
    made: "_Made",
    read: Mapping[str, int],
    kept: Mapping[str, int],
    matched: dict[str, int],
) -> dict[str, Any]:
    """Return what meta.json keeps of any source: what was read and kept, and how."""
    return {
        "format": found.format_name,
        "path": str(path),
        "protocol": done,
        **made.targets_told(path),
        "times": made.times,
        "time_unit": found.unit,
        "timed": made.timed,
        "ties": found.ties,
        "read": read,
        "kept": kept,
        "taken": {**found.taken, **matched},
        "warnings": _warnings(found, read, kept, matched),
    }


def _features(
    more: More,
    raw_items: pl.Series,
    about: pl.DataFrame,
    found: Interactions,
    path: Path,
    facts: dict[str, Any],
) -> tuple[list[Described], pl.DataFrame]:
    """Return the features that are asked for, and what is known of the items, with the titles of
    their table where the source has none; `facts` get the columns that are left out.
    """
    if more.features is None:
        return [], about
    called = found.taken.get("columns", {}).get("item", {}).get("column")
    taken = item_features.read(more.features, raw_items, about, path, called)
    if taken.left_out:
        facts["features_left_out"] = taken.left_out
    if taken.titles is not None:
        assert more.features.table is not None
        facts["titles_from"] = {"column": taken.titles.name, "file": more.features.table.name}
        about = about.with_columns(taken.titles.alias("title"))
    return taken.features, about


def _catalogue(
    counts: NDArray[np.int64], items: _Column, cold_items: float | None
) -> tuple[NDArray[np.int64], pl.Series, Mask | None]:
    """Return the codes and the ids of the catalogue's items by falling popularity, those that are
    held out of training behind the others, and which these are, [V+1] (None: none are).
    """
    catalogue = by_popularity(counts, items.ties)
    raw_items = items.names(catalogue)
    if not cold_items:
        return catalogue, raw_items, None
    held_out = cold.drawn(raw_items, cold_items)
    order = np.argsort(held_out, kind="stable")
    mask = np.concatenate([[False], held_out[order]])
    return catalogue[order], raw_items.gather(order), mask


class _Made:
    """The splits of portions of users, and what all of them together are."""

    def __init__(
        self,
        found: Interactions,
        protocol: str,
        raw_ids: tuple[pl.Series, pl.Series],
        facts: Mapping[str, Any],
        on_progress: OnProgress,
        held_out: Mask | None = None,
    ) -> None:
        self._held_out, self._held_out_rows = held_out, 0
        self._rows, self._on_progress = 0, on_progress
        self._found, self._protocol = found, protocol
        self._raw_ids, self._raw_items = raw_ids
        self._cut = facts.get("cut")
        time = found.frame["time"]
        fits = fits_nanoseconds(found.unit, time.min(), time.max())  # type: ignore[arg-type]
        self._unit = found.unit if fits else None
        self.timed = fits
        self._targets: TargetCounts | None = None
        self.users = self.interactions = 0
        self.times: list[Any] = []  # the first and the last

    def splits_of(self, portion: Portion) -> dict[str, Users]:
        """Return a protocol's splits of the users of a portion."""
        raw_ids = self._raw_ids[portion.first : portion.first + portion.users]
        ties = self._tie_keys(portion, raw_ids)
        offsets, rows = in_order(portion.ranks, portion.times, portion.users, ties)
        times = gathered(portion.times, rows)
        sequences = Sequences(offsets, gathered(portion.ids, rows), times=self._nanoseconds(times))
        in_file_order = self._found.ties == "order"
        sequences = with_targets(sequences, portion.targets, rows, portion.times, in_file_order)
        splits = self._split(Users(raw_ids, sequences), portion, times)
        if self._held_out is not None:
            whole = splits["train"]
            splits["train"] = cold.without(whole, self._held_out)
            left = len(splits["train"].sequences.items)
            self._held_out_rows += len(whole.sequences.items) - left
        if portion.targets is not None:
            self._targets = self._targets or TargetCounts(_EVALUATION[self._protocol])
            self._targets.add(splits)
        users, interactions = totals_of(
            (own.raw_ids, own.sequences.lengths) for own in splits.values()
        )
        self.users, self.interactions = self.users + users, self.interactions + interactions
        self._rows += len(rows)
        self._on_progress("order", self._rows, portion.total_rows)
        if len(rows):
            seen = [portion.times.min().item(), portion.times.max().item(), *self.times]
            self.times = [min(seen), max(seen)]
        return splits

    def targets_told(self, where: Path) -> dict[str, Any]:
        """Return what meta.json keeps of targets: nothing where all interactions are."""
        return {} if self._targets is None else self._targets.told(self._found.taken, where)

    def cold_told(self, share: float | None) -> dict[str, Any]:
        """Return what meta.json keeps of cold items: nothing where none are held out."""
        if self._held_out is None:
            return {}
        items = int(self._held_out.sum())
        return {"cold": {"share": share, "items": items, "interactions": self._held_out_rows}}

    def _tie_keys(self, portion: Portion, raw_ids: pl.Series) -> TieKeys | None:
        """Return what sorts rows of one user and time by a rule of `data.ties`; None: they stay."""
        ranks, ids, times = portion.ranks, portion.ids, portion.times
        if self._found.ties == "order":
            return None
        if self._found.ties == "popularity":
            return lambda rows: [ids[rows]]
        of_users, of_items = hashes_of(raw_ids), self._item_hashes

        def keys(rows: NDArray[np.integer]) -> list[NDArray[Any]]:
            own, met = ranks[rows], ids[rows]
            return [tie_hashes(of_users[own], of_items[met - 1], times[rows]), met]

        return keys

    @cached_property
    def _item_hashes(self) -> NDArray[np.uint64]:
        return hashes_of(self._raw_items)

    def _nanoseconds(self, times: NDArray[Any]) -> NDArray[np.int64] | None:
        """Return times as a dataset has them; None where they are of no clock."""
        if self._unit is None:
            return None
        # Those that are cut at are needed as they are.
        return nanoseconds(times, self._unit, in_place=self._cut is None)

    def _split(self, whole: Users, portion: Portion, times: NDArray[Any]) -> dict[str, Users]:
        """Split; `times` [N] are as in the source where the protocol cuts at times."""
        if self._protocol == "comirec":
            return by_users(whole, portion.first, portion.total)
        if self._protocol == "leave-one-out":
            return leave_one_out(whole)
        assert self._cut is not None
        return by_time(whole, times, (self._cut[0], self._cut[1]))


def _rows(frame: pl.DataFrame, users: _Column, items: _Column, active: Mask, popular: Mask) -> Rows:
    return Rows(users.codes, items.codes, chunks_of(frame["time"]), active, popular)


def _user_order(protocol: str, users: _Column, active: Mask) -> NDArray[np.int64]:
    """Return the codes of the `active` users in the order that they are split in."""
    order = np.flatnonzero(active)
    order = order[np.argsort(users.ties[order])]
    return np.array(shuffled(order.tolist())) if protocol == "comirec" else order


def _filtered(users: _Column, items: _Column, least: int) -> tuple[NDArray[np.int64], Mask]:
    """Return how often each item occurs (0: fewer than `least`), and which users have so many rows
    of such items.
    """
    counts = counts_of(items.codes, items.size)
    counts[counts < least] = 0
    return counts, counts_of(users.codes, users.size, items.codes, counts > 0) >= least


def of_split(found: FoundSplit, name: str, path: Path, protocol: str = PROTOCOLS[0]) -> Draft:
    """Return a source of the format `name` as it is split: by ComiRec's protocol, users by their
    first lines. Leave-one-out puts the users of its files together.
    """
    if protocol == "leave-one-out":
        _refuse_users_in_two_files(found)
        together = pl.concat(found.frames.values()).with_row_index("row")
        splits = _evaluable(leave_one_out(_users_of(together, order="row")), path, protocol)
        done = "users of the three files together, not filtered, leave-one-out"
    else:
        splits = {split: _users_of(frame) for split, frame in found.frames.items()}
        done = "as split in the source"
    source = {"format": name, "path": str(path), "protocol": done, "ties": "order"}
    return _draft(protocol, splits, found.raw_items, found.category, source)


def _refuse_users_in_two_files(found: FoundSplit) -> None:
    """Refuse a user whose items are not all in one file: nothing says how to order them."""
    for split, later in (("train", "valid"), ("train", "test"), ("valid", "test")):
        again = found.frames[later].join(
            found.frames[split], on="user", how="semi", maintain_order="left"
        )
        if not again.is_empty():
            line, user = again.select("line", "user").row(0)
            other = found.paths[split].name
            raise DataError(
                "user_in_two_files", path=found.paths[later], line=line, user=user, other=other
            )


def _users_of(frame: pl.DataFrame, order: str = "line") -> Users:
    """Group rows into users, by each user's least `order`; inside a user by time, ties as given."""
    ranked = frame.with_columns(pl.col(order).min().over("user").alias("first"))
    ordered = ranked.sort(["first", "time"], maintain_order=True)
    users = ordered.group_by("user", maintain_order=True).len()
    offsets = np.concatenate([[0], np.cumsum(users["len"].to_numpy())]).astype(np.int64)
    return Users(users["user"], Sequences(offsets, ordered["item"].to_numpy().astype(np.int32)))


def _draft(
    protocol: str,
    splits: Mapping[str, Users],
    raw_items: pl.Series,
    category: NDArray[np.int32],
    source: Mapping[str, Any],
    about_items: pl.DataFrame | None = None,
    cold: Mask | None = None,
    aside: Sequence[pl.DataFrame] = (),
    features: Sequence[Described] = (),
) -> Draft:
    """Return the draft of a protocol's splits."""
    return Draft(
        splits={split: users.sequences for split, users in splits.items()},
        raw_users={split: users.raw_ids.cast(pl.String) for split, users in splits.items()},
        raw_items=raw_items,
        item_category=category,
        source=source,
        truth={},
        evaluation=_EVALUATION[protocol],
        about_items=about_items,
        known={split: own.known for split, own in splits.items() if own.known is not None},
        features=features,
        cold=cold,
        aside=aside,
    )


def _evaluable(
    splits: dict[str, Users], where: Path, protocol: str, cut: Sequence[str] = ()
) -> dict[str, Users]:
    """Return the splits; DataError where one of them has no users, with what the protocol needs."""
    users = sum(len(own.raw_ids) for own in splits.values())
    needs = Phrase(_NEEDS[protocol], users=users, cut=", ".join(cut))
    for split in SPLITS:
        if splits[split].raw_ids.is_empty():
            raise DataError("empty_split", split=split, where=where, needs=needs)
    return splits


def _columns(frame: pl.DataFrame, found: Interactions) -> tuple[_Column, _Column]:
    users, items = (_Column(frame[name], found.ordered, found.store) for name in ("user", "item"))
    return users, items


def _about(
    found: Interactions,
    frame: pl.DataFrame,
    items: _Column,
    catalogue: NDArray[np.int64],
    raw_items: pl.Series,
) -> pl.DataFrame:
    """Return what is known of items 1..V beside their ids: category, title, both or none. Of what
    the rows themselves tell, an item's first row counts, or the least text where they have no
    order; what they do not tell, the table of items does.
    """
    about = pl.DataFrame({"item": raw_items})
    told = found.store.told(frame)
    tables = [] if found.items is None else [found.items.drop(told, strict=False)]
    if told and found.ordered:
        rows = items.rows[catalogue]
        about = about.hstack(
            described(found.store.first_told(frame, items.codes, rows, items.size))
        )
    elif told:
        tables.append(described(found.store.least_told(frame, items.codes)))
    for table in tables:
        about = about.join(table, on="item", how="left", maintain_order="left")
    return about.drop("item")


def _matched(found: Interactions, items: pl.Series, path: Path) -> dict[str, int]:
    """Return of how many of the items the table of items tells, if there is one; DataError where it
    tells of none.
    """
    if found.items is None:
        return {}
    matched = int(items.is_in(found.items["item"].implode()).sum())
    if not matched:
        example = found.items["item"].drop_nulls()
        raise DataError(
            "no_item_matches",
            path=(path if path.is_dir() else path.parent) / found.taken.get("about", path.name),
            items=", ".join(items.head(2)),
            others=", ".join(example.head(2)),
        )
    return {"items_told": matched}


def _warnings(
    found: Interactions,
    read: Mapping[str, int],
    kept: Mapping[str, int],
    matched: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Return what may be wrong with what was read: each its message's key (warning), and values."""
    warnings = [dict(warning) for warning in found.warnings]
    if 2 * kept["interactions"] < read["interactions"]:
        shares = {"kept": kept["interactions"], "read": read["interactions"]}
        warnings.append({"warning": "few_kept", **shares})
    if 2 * kept["users"] < read["users"]:
        shares = {"kept": kept["users"], "read": read["users"]}
        warnings.append({"warning": "few_users_kept", **shares})
    if matched and 2 * matched["items_told"] < kept["items"]:
        told = {"told": matched["items_told"], "items": kept["items"]}
        warnings.append({"warning": "few_told", **told})
    return warnings


def _codes(about: pl.DataFrame, num_items: int) -> NDArray[np.int32]:
    """Return the items' categories as numbers [V+1]: those they are, if all are small numbers from
    0 and written in one way only (07 is not 7), or their places among all names, sorted; -1 where
    there is none.
    """
    code = np.full(num_items + 1, -1, np.int32)
    if "category" not in about.columns:
        return code
    names = about["category"]
    numbers = names.cast(pl.Int32, strict=False)
    if numbers.cast(pl.String).ne_missing(names).any() or (numbers < 0).any():
        known = names.drop_nulls().unique().sort()
        numbers = names.replace_strict(
            known, pl.int_range(len(known), eager=True), return_dtype=pl.Int32, default=None
        )
    code[1:] = numbers.fill_null(-1).to_numpy()
    return code


def _done(protocol: str, core: int | None) -> str:
    """Return the words for what was done."""
    filtered = f"items >= {FILTER_SIZE}, users >= {FILTER_SIZE}" if core is None else f"{core}-core"
    split = f"users 8:1:1 (seed {SHUFFLE_SEED})" if protocol == "comirec" else protocol
    return f"{filtered}, {split}"
