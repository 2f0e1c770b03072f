"""A run's copy of its items: raw ids, titles and categories, stored when the run starts.

    items/items.parquet        item, raw_id; category and title where known: the data set's own file
    items/item_category.npy    [V+1] int32, -1 where unknown
    items/rank.npy             [V+1] int32, by popularity, where the items are not numbered by it
    items/MANIFEST.json        SHA-256 and size of each

So a model can be used without its data set, and a data set that was relabelled meanwhile cannot
change its results.
"""

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reprise import durable
from reprise.checkpoints import store
from reprise.checkpoints.store import DamagedCheckpointError
from reprise.data.dataset import Dataset
from reprise.errors import DataError
from reprise.runs.folder import RunFolder
from reprise.text.messages import Say

if TYPE_CHECKING:
    import polars as pl

_FILES = ("items.parquet", "item_category.npy")
_RANK = "rank.npy"


def keep(folder: RunFolder, dataset: Dataset, warn: Say) -> None:
    """Copy the data set's items into the run, all or nothing. An intact copy is kept, a damaged one
    is replaced.
    """
    if folder.items.is_dir():
        try:
            _read(folder)
            return
        except DamagedCheckpointError as damage:
            warn("items_damaged", path=folder.items, reason=damage)
            durable.discard(folder.items)
    content = {name: (dataset.folder / name).read_bytes() for name in _FILES}
    if not dataset.is_numbered_by_rank:
        content[_RANK] = (dataset.folder / "items" / _RANK).read_bytes()
    durable.publish_folder(folder.items, lambda draft: store.fill(draft, content))


def read(folder: RunFolder, num_items: int) -> "pl.DataFrame":
    """Return the run's items 1..V, one row each, see `runs.stored.StoredModel.items`."""
    import polars as pl

    if not folder.items.is_dir():
        raise DataError("items_missing", path=folder.path)
    try:
        content = _read(folder)
    except DamagedCheckpointError as damage:
        raise DataError("items_unusable", path=folder.items, reason=damage) from damage
    table = pl.read_parquet(io.BytesIO(content["items.parquet"]))
    code = np.load(io.BytesIO(content["item_category.npy"]))
    if (len(table), len(code)) != (num_items, num_items + 1):
        reason = DamagedCheckpointError("damage_data_counts", name="items.parquet")
        raise DataError("items_unusable", path=folder.items, reason=reason)
    table = with_codes(table, code)
    if _RANK not in content:
        return table
    return table.with_columns(rank=np.load(io.BytesIO(content[_RANK]))[1:])


def with_codes(table: "pl.DataFrame", code: NDArray[np.int32]) -> "pl.DataFrame":
    """Return a table of items 1..V with the column category_code from the codes [V+1], if any
    category is known.
    """
    import polars as pl

    known = (code >= 0).any()
    return table.insert_column(2, pl.Series("category_code", code[1:])) if known else table


def _read(folder: RunFolder) -> dict[str, bytes]:
    """Return the files' contents, verified against the manifest."""
    manifest = store.read_manifest(folder.items)
    names = [*_FILES, *([_RANK] if _RANK in manifest else [])]
    return {name: store.verified(folder.items, name, manifest) for name in names}
