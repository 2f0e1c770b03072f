"""Build a dataset from a reader's result: filter, number by popularity, order by time, split.

Of ordered interactions, equally popular items and the users stand in order of first appearance, and
a user's items of one time as they stand. Of others, equally popular items and the users stand by
their ids, and a user's items of one time by a hash: nothing depends on the order of the rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data import PROTOCOLS
from reprise.data.dataset import LAST, LATER, SHARE, SPLITS
from reprise.data.draft import Draft, totals_of
from reprise.data.ordering import (
    Codes,
    Mask,
    TieKeys,
    are_of,
    by_popularity,
    chosen,
    chunks_of,
    codes_of,
    counts_of,
    first_rows,
    gathered,
    in_order,
    k_core,
    looked_up,
    numbering,
    size_of,
)
from reprise.data.readers.format import FoundSplit, OnProgress, ignore_progress
from reprise.data.readers.interactions import Interactions, described
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
from reprise.data.targets import targets_told, with_targets
from reprise.data.ties import hashes_of, tie_hashes
from reprise.errors import DataError

FILTER_SIZE = 5  # one filtering pass, as ComiRec's
_EVALUATION = dict(zip(PROTOCOLS, (SHARE, LAST, LATER), strict=True))


class _Column:
    """Users or items of a frame: their codes, and what these stand for."""

    def __init__(self, column: pl.Series, ordered: bool) -> None:
        self.codes: Codes = codes_of(column)
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
) -> Draft:
    """Return interactions filtered as ComiRec does (`preprocess/data.py` of the original): items
    with at least 5 occurrences, then users with at least 5 of these left; with `core`, the
    `core`-core takes the place of the filter. Item ids fall by popularity.

    comirec: users split 8:1:1, shuffled with seed 1230. leave-one-out: users in their order.
    time-split: popularity is that before the first cut, and items not met before it are left out.
    """
    on_progress("filter", len(found.frame))
    frame = found.frame
    users, items = _columns(frame, found.ordered)
    read = {"users": users.count, "items": items.count, "interactions": len(frame)}
    if core is not None:
        frame = frame.filter(pl.Series(k_core(users.codes, items.codes, core)))
        if frame.is_empty():
            raise DataError("no_core", path=path, size=core)
        users, items = _columns(frame, found.ordered)
    counts, kept, active = _filtered(users, items, FILTER_SIZE if core is None else 1)
    if not kept.any():
        raise DataError("empty_split", split=SPLITS[0], where=path)

    on_progress("order", len(frame))
    times = chosen(chunks_of(frame["time"]), kept)
    facts: dict[str, Any] = {}
    if protocol == "time-split":
        facts["cut"] = list(cut_times(cut or CUT, times, found.unit))
        counts, kept, times = _met_before(facts["cut"][0], items, kept, times)
    catalogue = by_popularity(counts, items.ties)
    order = _user_order(protocol, users, active)
    ranks = looked_up(numbering(order, users.size, 0), users.codes, kept)
    ids = looked_up(numbering(catalogue, items.size, 1), items.codes, kept)
    raw_users, raw_items = users.names(order), items.names(catalogue)
    ties = _tie_keys(found.ties, (ranks, raw_users), (ids, raw_items), times)
    offsets, rows = in_order(ranks, times, len(order), ties)
    sequences = Sequences(offsets, gathered(ids, rows))
    in_file_order = found.ties == "order"
    sequences = with_targets(sequences, frame, kept, rows, times, in_file_order)
    whole = Users(raw_users, sequences)
    splits = _split(protocol, whole, times, rows, facts.get("cut"))
    about = _about(found, frame, items, catalogue)
    matched = _matched(found, raw_items, path)
    return _draft(
        protocol,
        _evaluable(splits, path),
        raw_items=raw_items,
        category=_codes(about, len(catalogue)),
        source={
            "format": found.format_name,
            "path": str(path),
            "protocol": _done(protocol, core),
            **facts,
            **targets_told(splits, _EVALUATION[protocol], found.taken, path),
            "times": [times.min().item(), times.max().item()],
            "time_unit": found.unit,
            "ties": found.ties,
            "read": read,
            "kept": (kept_of_all := _kept(splits, len(catalogue))),
            "taken": dict(found.taken) | matched,
            "warnings": _warnings(found, read, kept_of_all, matched),
        },
        about_items=about,
    )


def _tie_keys(
    rule: str,
    users: tuple[NDArray[np.int32], pl.Series],
    items: tuple[NDArray[np.int32], pl.Series],
    times: NDArray[Any],
) -> TieKeys | None:
    """Return what sorts rows of one user and time by a rule of `data.ties`; None: they stay. users,
    items: of each row, its number, from 0 and from 1; and the own ids of these.
    """
    (ranks, raw_users), (ids, raw_items) = users, items
    if rule == "order":
        return None
    if rule == "popularity":
        return lambda rows: [ids[rows]]
    of_users, of_items = hashes_of(raw_users), hashes_of(raw_items)

    def keys(rows: NDArray[np.integer]) -> list[NDArray[Any]]:
        own, met = ranks[rows], ids[rows]
        return [tie_hashes(of_users[own], of_items[met - 1], times[rows]), met]

    return keys


def _user_order(protocol: str, users: _Column, active: Mask) -> NDArray[np.int64]:
    """Return the codes of the `active` users in the order that they are split in."""
    order = np.flatnonzero(active)
    order = order[np.argsort(users.ties[order])]
    return np.array(shuffled(order.tolist())) if protocol == "comirec" else order


def _split(
    protocol: str, whole: Users, times: NDArray[Any], rows: NDArray[np.integer], cut: Any
) -> dict[str, Users]:
    """Return a protocol's splits of all users, whose interactions are the `rows` of the times."""
    if protocol == "comirec":
        return by_users(whole)
    if protocol == "leave-one-out":
        return leave_one_out(whole)
    return by_time(whole, gathered(times, rows), cut)


def _filtered(users: _Column, items: _Column, least: int) -> tuple[NDArray[np.int64], Mask, Mask]:
    """Return how often each item occurs (0: fewer than `least`), and which rows and which users are
    kept: those with so many rows of such items.
    """
    counts = counts_of(items.codes, items.size)
    counts[counts < least] = 0
    kept = are_of(items.codes, counts > 0)
    active = counts_of(users.codes, users.size, kept) >= least
    kept &= are_of(users.codes, active)
    return counts, kept, active


def _met_before(
    time: float, items: _Column, kept: Mask, times: NDArray[Any]
) -> tuple[NDArray[np.int64], Mask, NDArray[Any]]:
    """Return how often each item occurs before `time`, the rows of items that do, and their times.
    times: of the rows `kept`.
    """
    early = kept.copy()
    early[kept] = times < time
    counts = counts_of(items.codes, items.size, early)
    known = are_of(items.codes, counts > 0)
    return counts, kept & known, times[known[kept]]


def of_split(found: FoundSplit, name: str, path: Path, protocol: str = PROTOCOLS[0]) -> Draft:
    """Return a source of the format `name` as it is split: by ComiRec's protocol, users by their
    first lines. Leave-one-out puts the users of its files together.
    """
    if protocol == "leave-one-out":
        _refuse_users_in_two_files(found)
        together = pl.concat(found.frames.values()).with_row_index("row")
        splits = _evaluable(leave_one_out(_users_of(together, order="row")), path)
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
    )


def _evaluable(splits: dict[str, Users], where: Path) -> dict[str, Users]:
    """Return the splits; DataError where one of them has no users."""
    for split in SPLITS:
        if splits[split].raw_ids.is_empty():
            raise DataError("empty_split", split=split, where=where)
    return splits


def _columns(frame: pl.DataFrame, ordered: bool) -> tuple[_Column, _Column]:
    return _Column(frame["user"], ordered), _Column(frame["item"], ordered)


def _about(
    found: Interactions, frame: pl.DataFrame, items: _Column, catalogue: NDArray[np.int64]
) -> pl.DataFrame:
    """Return what is known of items 1..V beside their ids: category, title, both or none. Of what
    the rows themselves tell, an item's first row counts, or the least text where they have no
    order; what they do not tell, the table of items does.
    """
    about = pl.DataFrame({"item": items.names(catalogue)})
    told = [name for name in ("category", "title") if name in frame.columns]
    tables = [] if found.items is None else [found.items.drop(told, strict=False)]
    if told and found.ordered:
        about = about.hstack(described(_first_told(frame, items, catalogue, told)))
    elif told:
        rows = frame.lazy().select("item", *told).unique().cast(pl.String)
        tables.append(described(rows.group_by("item").min().collect(engine="streaming")))
    for table in tables:
        about = about.join(table, on="item", how="left", maintain_order="left")
    return about.drop("item")


def _first_told(
    frame: pl.DataFrame, items: _Column, catalogue: NDArray[np.int64], told: Sequence[str]
) -> pl.DataFrame:
    """Return what the first row of each item that tells it has in the columns `told`."""
    found = frame[items.rows[catalogue]].select("item", *told)
    for name in told:
        if found[name].null_count():
            rows = frame.lazy().select("item", name).filter(pl.col(name).is_not_null())
            first = rows.unique("item", keep="first", maintain_order=True).collect()
            column = found.select("item").join(first, on="item", how="left", maintain_order="left")
            found = found.with_columns(column[name])
    return found.drop("item")


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


def _kept(splits: Mapping[str, Users], num_items: int) -> dict[str, int]:
    users, interactions = totals_of((own.raw_ids, own.sequences.lengths) for own in splits.values())
    return {"users": users, "items": num_items, "interactions": interactions}
