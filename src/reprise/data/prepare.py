"""`reprise prepare`: from a source in a known format to a dataset folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise import durable
from reprise.data import FORMATS, PROTOCOLS
from reprise.data.build import draft_of_users, evaluable, of_interactions
from reprise.data.dataset import SPLITS, Split
from reprise.data.draft import Draft, write_dataset
from reprise.data.readers import recognise, texts
from reprise.data.readers.interactions import Tell, silent
from reprise.data.readers.recognise import NOTHING_ASKED, Asked
from reprise.data.readers.sources import matching
from reprise.data.splits import Users, leave_one_out
from reprise.errors import DataError, UsageError
from reprise.text.messages import Phrase

# A catalogue with far more ids than items seen is not one of ranks 1..V.
_SPARSE_FACTOR, _SPARSE_ALLOWANCE = 10, 10_000


def read_source(
    source: Path,
    protocol: str = PROTOCOLS[0],
    core: int | None = None,
    asked: Asked = NOTHING_ASKED,
    cut: Sequence[str] | None = None,
    tell: Tell = silent,
) -> Draft:
    """Read a ComiRec folder, or a source of one of `readers.FORMATS`, split by a protocol of
    `PROTOCOLS`; with `core`, of the `core`-core of its interactions; at the times of `cut`
    (`protocols.cut_times`), where time-split is asked for.
    """
    if core is not None and core < 1:
        raise UsageError(
            "bad_value", option="k-core", value=core, expected=Phrase("good_whole", low=1)
        )
    if protocol not in PROTOCOLS:
        expected = " | ".join(PROTOCOLS)
        raise UsageError("bad_value", option="protocol", value=protocol, expected=expected)
    if cut is not None and protocol != "time-split":
        raise UsageError(
            "bad_value", option="cut", value=",".join(cut), expected=Phrase("good_cut_protocol")
        )
    if asked.layout is not None and asked.layout not in FORMATS:
        expected = " | ".join(FORMATS)
        raise UsageError("bad_value", option="format", value=asked.layout, expected=expected)
    if not source.exists():
        raise DataError("source_missing", path=source)
    try:
        layout = asked.layout or recognise.recognise(source)
    except PermissionError as error:
        raise DataError("unreadable", path=source, reason=error.strerror) from error
    if layout == "comirec":
        recognise.refuse_unused(layout, asked)
        if core is not None:
            raise UsageError("core_of_split", path=source)
        if protocol == "time-split":
            raise UsageError("no_times", path=source)
        return read_comirec(source, protocol)
    if layout is None:
        raise DataError("unknown_format", path=source, formats=" | ".join(FORMATS))
    found = recognise.read(source, layout, asked, tell)
    if protocol == "time-split" and not found.clocked:
        raise UsageError("no_times", path=source)
    return of_interactions(found, source, protocol, core, cut, tell)


def read_comirec(folder: Path, protocol: str = PROTOCOLS[0]) -> Draft:
    """Read `<x>_train.txt`, `<x>_valid.txt`, `<x>_test.txt`, and where present `<x>_item_cate.txt`
    and `<x>_item_map.txt`. Item ids stay as they are: the format promises popularity ranks.

    The files are the splits of ComiRec's protocol. Leave-one-out puts their users together.
    """
    train_files = matching(folder, "*_train.txt")
    if len(train_files) != 1:
        raise DataError("several_train_files", path=folder, files=[f.name for f in train_files])
    prefix = train_files[0].name.removesuffix("_train.txt")
    paths = {split: folder / f"{prefix}_{split}.txt" for split in SPLITS}
    frames = {split: texts.read_comirec_split(path) for split, path in paths.items()}
    raw_items = _comirec_catalogue(folder, prefix, paths, frames)
    category = _categories(folder / f"{prefix}_item_cate.txt", len(raw_items))
    if protocol == "leave-one-out":
        _refuse_users_in_two_files(paths, frames)
        together = pl.concat(frames.values()).with_row_index("row")
        splits = evaluable(leave_one_out(_sequences(together, order="row")), folder)
        done = "users of the three files together, not filtered, leave-one-out"
    else:
        splits = {split: _sequences(frame) for split, frame in frames.items()}
        done = "as split in the source"
    source = {"format": "comirec", "path": str(folder), "protocol": done}
    return draft_of_users(protocol, splits, raw_items, category, source)


def _refuse_users_in_two_files(paths: dict[str, Path], frames: dict[str, pl.DataFrame]) -> None:
    """Refuse a user whose items are not all in one file: nothing says how to order them."""
    for split, later in (("train", "valid"), ("train", "test"), ("valid", "test")):
        again = frames[later].join(frames[split], on="user", how="semi", maintain_order="left")
        if not again.is_empty():
            line, user = again.select("line", "user").row(0)
            other = paths[split].name
            raise DataError(
                "user_in_two_files", path=paths[later], line=line, user=user, other=other
            )


def _comirec_catalogue(
    folder: Path, prefix: str, paths: dict[str, Path], frames: dict[str, pl.DataFrame]
) -> pl.Series:
    """Return the raw ids of items 1..V, refusing ids beyond the catalogue."""
    map_path = folder / f"{prefix}_item_map.txt"
    seen = pl.concat([frame["item"] for frame in frames.values()])
    if map_path.is_file():
        item_map = texts.read_comirec_item_map(map_path).sort("item")
        num_items = len(item_map)
        wrong = item_map.filter(item_map["item"] != pl.int_range(1, num_items + 1, eager=True))
        if not wrong.is_empty():
            line = wrong["line"][0]
            raise DataError("item_map_ids", path=map_path, line=line, items=num_items)
        raw_items = item_map["raw_id"]
    else:
        num_items = int(seen.max())  # type: ignore[arg-type]
        if num_items > _SPARSE_FACTOR * seen.n_unique() + _SPARSE_ALLOWANCE:
            raise _beyond(paths, frames, _SPARSE_FACTOR * seen.n_unique() + _SPARSE_ALLOWANCE)
        raw_items = pl.int_range(1, num_items + 1, eager=True).cast(pl.String)
    if int(seen.max()) > num_items:  # type: ignore[arg-type]
        raise _beyond(paths, frames, num_items)
    return raw_items


def _beyond(paths: dict[str, Path], frames: dict[str, pl.DataFrame], most: int) -> DataError:
    """Return the error that names the first line with an id above `most`."""
    bad = {split: frame.filter(pl.col("item") > most) for split, frame in frames.items()}
    split = next(split for split, rows in bad.items() if len(rows))
    line, item = bad[split].select("line", "item").row(0)
    return DataError("item_out_of_range", path=paths[split], line=line, item=item, most=most)


def _categories(path: Path, num_items: int) -> NDArray[np.int32]:
    category = np.full(num_items + 1, -1, np.int32)
    if path.is_file():
        frame = texts.read_comirec_categories(path)
        beyond = frame.filter((pl.col("item") > num_items) | (pl.col("item") < 1))
        # The original keeps categories of items that the filter dropped; they are not needed.
        frame = frame.filter(~pl.col("line").is_in(beyond["line"].implode()))
        category[frame["item"].to_numpy()] = frame["category"].to_numpy()
    return category


def _sequences(frame: pl.DataFrame, order: str = "line") -> Users:
    """Group rows into users, by each user's least `order`; inside a user by time, ties as given."""
    ranked = frame.with_columns(pl.col(order).min().over("user").alias("first"))
    ordered = ranked.sort(["first", "time"], maintain_order=True)
    users = ordered.group_by("user", maintain_order=True).len()
    offsets = np.concatenate([[0], np.cumsum(users["len"].to_numpy())]).astype(np.int64)
    return Users(users["user"], Split(offsets, ordered["item"].to_numpy().astype(np.int32)))


def prepare(
    source: Path,
    name: str,
    data_dir: Path,
    protocol: str = PROTOCOLS[0],
    core: int | None = None,
    asked: Asked = NOTHING_ASKED,
    cut: Sequence[str] | None = None,
    tell: Tell = silent,
) -> Path:
    """Turn `source` into the dataset folder `data_dir/name` by a protocol of `PROTOCOLS`, filtered
    to its `core`-core where that is given, and return it; `read_source` tells of the rest. An
    interrupted or failed preparation leaves nothing under that name.
    """
    folder = data_dir / name
    if folder.exists():
        raise DataError("dataset_exists", folder=folder)
    draft = read_source(source, protocol, core, asked, cut, tell)
    tell("write", sum(len(split.items) for split in draft.splits.values()))
    return publish(draft, name, folder)


def publish(draft: Draft, name: str, folder: Path) -> Path:
    """Write `draft` as the dataset folder `folder`, all or nothing; DataError where it exists."""
    if folder.exists():
        raise DataError("dataset_exists", folder=folder)

    def fill(target: Path) -> None:
        write_dataset(draft, target, name)
        durable.sync_tree(target)

    durable.make_folder(folder.parent)
    durable.publish_folder(folder, fill)
    return folder
