"""Evaluate another system's lists on the same users, by the same protocol and metrics as a run."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.config.schema import SETTINGS, cutoffs_of
from reprise.data.dataset import Dataset
from reprise.data.ids import spelled
from reprise.data.readers import tables
from reprise.data.readers.columns import UNNAMED, find, plain, some
from reprise.errors import DataError
from reprise.evaluation.evaluate import Evaluation, score
from reprise.evaluation.metrics import METRICS, Lists
from reprise.runs.evaluation import Measured
from reprise.runs.results import Split
from reprise.text.messages import Phrase, Say

_RANK, _SCORE = ("rank", "position", "place"), ("score", "prediction", "pred", "value", "rating")


def measure_lists(
    path: Path, dataset: Dataset, split: Split, say: Say, cutoffs: tuple[int, ...] | None = None
) -> Measured:
    """Evaluate the lists in a table on a split; users without a list count as 0.

    Args:
        path: Parquet, CSV or JSON lines with raw user and item ids: one row per item, with a rank
            (1 is best) or a score (highest is best), or one row per user with a list of items, best
            first.
        dataset: The data set of the users.
        split: The users to evaluate.
        say: Called with counts of rows that could not be used.
        cutoffs: The cutoffs of the metrics; None: 20 and 50.

    Raises:
        DataError: The table cannot be used, or contains none of the users.
    """
    cutoffs = cutoffs or cutoffs_of(SETTINGS["top_n"].default)
    users = dataset.evaluation_users(split, 1)
    ids, counted = _lists(_read(path), path, dataset, split, max(cutoffs))
    for key in ("lists_unknown_users", "lists_unknown_items", "lists_repeated", "lists_none"):
        if count := counted[key.removeprefix("lists_")]:
            say(key, path=path, count=count, dataset=dataset.name, split=split)
    if (longest := int((ids != 0).sum(axis=1).max())) < max(cutoffs):
        say("lists_short", path=path, longest=longest, cutoff=max(cutoffs))
    category, counts = dataset.known_categories, dataset.training_counts
    targets = users.target_offsets, users.target_items
    truth = dataset.truth(split)
    listed = Lists(ids, *targets, dataset.num_items, category, truth, counts)
    means, by_user = score(listed, cutoffs, METRICS)
    about = {
        "lists": str(path),
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        **dataset.target_events,
        "seen_items": "given",
        "unknown": {name.removeprefix("unknown_"): count for name, count in counted.items()},
    }
    evaluation = Evaluation(means, ids, by_user, 0.0)
    return Measured(None, evaluation, users, cutoffs, dataset.evaluation, counts, category, about)


def _read(path: Path) -> pl.DataFrame:
    """Read user, item (String), order (Float64, lowest is best) and line, one row per item."""
    names = tables.names_of(path)
    by_plain = {plain(name): name for name in names[::-1]}
    order = next((by_plain[name] for name in (*_RANK, *_SCORE) if name in by_plain), None)
    found = find(path, names, UNNAMED)
    if order is None and "time" in found:
        raise DataError("lists_no_order", path=path, columns=some(names))
    if not {"user", "item"} <= found.keys():
        raise DataError("lists_no_column", path=path, columns=some(names))
    frame = tables.read(path, ("user", "item"), UNNAMED._replace(time=order))
    if "time" not in frame.columns:
        raise DataError("lists_no_order", path=path, columns=some(names))
    sign = -1 if order is not None and plain(order) in _SCORE else 1
    number = pl.col("time").cast(pl.Float64, strict=False)
    rows = frame.select(
        "line",
        *(spelled(pl.col(what), frame.schema[what]) for what in ("user", "item")),
        order=pl.when(number.is_nan()).then(None).otherwise(sign * number),
        given=pl.col("time").cast(pl.String),
    )
    wrong = rows.filter(pl.any_horizontal(pl.col("user", "item", "order").is_null()))
    if not wrong.is_empty():
        row = wrong.row(0, named=True)
        what = next(name for name in ("user", "item", "order") if row[name] is None)
        raise DataError(
            "bad_value_in_row",
            path=path,
            line=row["line"],
            column=order if what == "order" else what,
            value=row["given"] if what == "order" else None,
            expected=Phrase("good_number" if what == "order" else "good_id"),
        )
    return rows.drop("given")


def _lists(
    rows: pl.DataFrame, path: Path, dataset: Dataset, split: Split, length: int
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the lists [U, length] of item numbers, and counts of what could not be used: users,
    items, repeated items of a list, and users without a list. Unknown items keep their place, as 0.
    """
    known, _ = dataset.evaluated(split)
    raw_users = dataset.raw_users(split).gather(known).cast(pl.String)
    users = pl.DataFrame({"user": raw_users, "row": pl.int_range(len(known), eager=True)})
    items = dataset.about_items().select("item", raw_id=pl.col("raw_id").cast(pl.String))
    placed = rows.join(users, on="user", how="left")
    of_users = placed.drop_nulls("row")
    if of_users.is_empty():
        raise DataError("lists_of_others", path=path, split=split, dataset=dataset.name)
    numbered = of_users.join(
        items.rename({"item": "number"}), left_on="item", right_on="raw_id", how="left"
    ).sort("row", "order", "number", "item", nulls_last=True)
    once = numbered.unique(["row", "item"], keep="first", maintain_order=True)
    ranked = once.with_columns(rank=pl.int_range(pl.len()).over("row")).filter(
        pl.col("rank") < length
    )
    ids = np.zeros((len(known), length), np.int64)
    ids[ranked["row"], ranked["rank"]] = ranked["number"].fill_null(0)
    counted = {
        "unknown_users": placed.filter(pl.col("row").is_null())["user"].n_unique(),
        "unknown_items": once.filter(pl.col("number").is_null())["item"].n_unique(),
        "repeated": len(numbered) - len(once),
        "none": len(known) - once["row"].n_unique(),
    }
    return ids, counted
