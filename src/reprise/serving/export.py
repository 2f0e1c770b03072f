"""Export a stored model for an index or a service (`reprise export`).

README.md           how to serve the folder from Python, and how items are scored
manifest.json       what was exported, and how to score (see `_manifest`)
items.npy           [V+1, d] float32 item vectors; row 0 is padding
items.parquet       item (its row in items.npy), raw_id; where known category_code, category, title
item_ids.json       raw ids in the index's order: entry p is of item p + 1
interests.npy       [U, K, d] float32 interests of the requested users
users.parquet       row (of interests.npy), user (raw id, where known), history (item numbers,
                    oldest first: the whole history, not only the items the model sees)
interests.onnx      where requested, the user tower (`serving.tower`)
items.faiss         where requested, an index of the item vectors (`serving.index`)
memory_*.npy        of a model with a memory, the edges: offsets, to and value (`memory.edges`)

The score of an item is its largest inner product with one of the user's interests, plus the
manifest's repeat_worth if the item is in the user's history, else plus what the memory adds.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise import __version__, durable
from reprise.checkpoints import store
from reprise.data import REQUEST_TIMES
from reprise.data.dataset import Dataset
from reprise.data.moments import UNKNOWN
from reprise.data.npy import save_array, save_parts
from reprise.errors import CheckpointError, RepriseError, UsageError
from reprise.memory.memory import AGES, MOST
from reprise.retrieval.on_mesh import DealtRetriever
from reprise.retrieval.vectors import user_vectors
from reprise.runs.stored import StoredModel
from reprise.serving import index, readme, tower
from reprise.serving.histories import Users, users_of_array
from reprise.serving.index import Kind
from reprise.text.messages import Messages, Say, unsaid

SCHEMA = 1
_GIVEN = "given"  # the time of a request, with a history in a file
_QUERIES, _LIST = 1000, 50  # users, and length of their lists, to measure an index with


@dataclass(frozen=True)
class Extras:
    """What is exported beside vectors: the user tower, with the largest difference from JAX that is
    allowed, and an index of the items; None: not.
    """

    tower_tolerance: float | None = None
    index: Kind | None = None

    def require(self) -> None:
        """Raise UsageError with what to install if a library is missing."""
        if self.tower_tolerance is not None:
            tower.require()
        if self.index is not None:
            index.require()


@dataclass(frozen=True)
class Exported:
    """What was written: number of items, users and vectors per user, and their dimension; the
    manifest's part on the tower and on the index.
    """

    items: int
    dim: int
    users: int
    interests: int
    tower: dict[str, Any] | None = None
    index: dict[str, Any] | None = None


def write(
    stored: StoredModel,
    users: Users | None,
    folder: Path,
    extras: Extras = Extras(),
    messages: Messages | None = None,
    say: Say = unsaid,
) -> Exported:
    """Write a stored model's item vectors, and the interests of `users`, to a new folder,
    atomically; README.md in the language of `messages`, or else in English.
    """
    extras.require()
    if folder.exists():
        raise UsageError("export_exists", folder=folder)
    retriever, memory = stored.retriever, stored.retriever.memory
    numbers = np.zeros(0) if memory is None else memory.numbers
    _require_finite(stored, np.float64(retriever.repeat_bias), numbers)
    manifest: dict[str, Any] = {}

    def fill(target: Path) -> None:
        shape = save_parts(target / "items.npy", stored.num_items + 1, _items(stored))
        _write_table(stored.items, target / "items.parquet")
        index.write_ids(stored.items["raw_id"].cast(pl.String), target)
        interests = 0 if users is None else _write_users(stored, users, target)
        manifest.update(_manifest(stored, users, shape[1], interests))
        manifest.update(_write_memory(stored, target))
        manifest["onnx"] = _write_tower(stored, extras, target)
        manifest["index"] = _write_index(stored, extras, target, say)
        page = readme.written(manifest, messages or Messages("en"))
        (target / "README.md").write_text(page, encoding="utf-8")
        manifest["files"] = {path.name: _file(path) for path in sorted(target.iterdir())}
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (target / index.MANIFEST).write_text(text, encoding="utf-8")
        durable.sync_tree(target)

    durable.make_folder(folder.absolute().parent)
    durable.publish_folder(folder, fill)
    count = 0 if users is None else len(users.histories.lengths)
    parts = (manifest["onnx"], manifest["index"])
    interests = manifest["users"]["interests"] if users is not None else 0
    return Exported(stored.num_items, manifest["dim"], count, interests, *parts)


def follow(stored: StoredModel, users: Users | None) -> None:
    """Take part in `write` in another process than the one that writes: each has its own items'
    rows alone. Nothing is to be done of a model that each has whole.
    """
    if isinstance(stored.retriever, DealtRetriever):
        for _ in _items(stored):
            pass
        for _ in () if users is None else _vectors(stored, users):
            pass


def _items(stored: StoredModel) -> Iterator[NDArray[np.float32]]:
    """Yield the item vectors [n, d] of one block after another."""
    padding = 1
    for vectors in stored.retriever.item_blocks():
        _require_finite(stored, vectors[padding:])
        padding = 0
        yield vectors


def _manifest(stored: StoredModel, users: Users | None, dim: int, interests: int) -> dict[str, Any]:
    """Return the manifest's part on vectors: what was exported, and how to score.

    scores: "inner product" or "cosine" (vectors have norm 1, so the inner product is the cosine;
    for an ensemble, the mean of its members' cosines). repeat_worth: added to the scores of items
    in the user's history. history_length: number of last items that the model sees.
    """
    checkpoint, config = stored.checkpoint, stored.config
    return {
        "schema": SCHEMA,
        "reprise": __version__,
        "run": checkpoint.path.resolve().parent.parent.name,
        "checkpoint": checkpoint.path.name,
        "checkpoint_digest": store.digest_of(checkpoint.path),
        "step": checkpoint.progress.step,
        "is_best": checkpoint.progress.is_best,
        "model": config.model,
        "dataset": config.dataset,
        "dataset_fingerprint": checkpoint.identity["dataset_fingerprint"],
        "items": stored.num_items,
        "dim": dim,
        "scores": "cosine" if config.scoring.cosine else "inner product",
        "members": config.ensemble,
        "repeat_worth": stored.retriever.repeat_bias,
        "history_length": config.maxlen,
        "users": None
        if users is None
        else {
            "source": users.source,
            "as_evaluated": users.as_evaluated,
            **_asked_at(stored, users),
            "count": len(users.histories.lengths),
            "interests": interests,
        },
    }


def _asked_at(stored: StoredModel, users: Users) -> dict[str, Any]:
    """Return what a time bias knows of the users: whether of their times, and when they ask."""
    if not stored.retriever.reads_times:
        return {}
    asked_at, timed = stored.retriever.request_time, users.histories.times is not None
    if users.times is not None:
        asked = asked_at is not None and bool((users.times[:, -1] != UNKNOWN).any())
        timed = bool((users.times != UNKNOWN).any())
        return {"timed": timed, "request_time": _GIVEN if asked else None}
    known = timed and (asked_at != REQUEST_TIMES[0] or users.histories.held_out_time is not None)
    return {"timed": timed, "request_time": asked_at if known else None}


def _write_memory(stored: StoredModel, target: Path) -> dict[str, Any]:
    """Write the edges of a memory that adds something, and return the manifest's part on it: see
    `Memory`.
    """
    memory = stored.retriever.memory
    if memory is None or not memory.weight:
        return {}
    for part in fields(memory.edges):
        save_array(target / f"memory_{part.name}.npy", getattr(memory.edges, part.name))
    weight, bend, *factors = memory.numbers.tolist()
    facts = {"weight": weight, "bend": bend, "ages": list(AGES), "factors": factors, "most": MOST}
    return {"memory": facts}


def _write_tower(stored: StoredModel, extras: Extras, target: Path) -> dict[str, Any] | None:
    """Write the user tower if it is asked for, and return the manifest's part on it."""
    if extras.tower_tolerance is None:
        return None
    return tower.write(stored, target, extras.tower_tolerance)


def _write_index(
    stored: StoredModel, extras: Extras, target: Path, say: Say
) -> dict[str, Any] | None:
    """Write the index if one is asked for, and return the manifest's part on it."""
    if extras.index is None:
        return None
    source, interests = _queries(stored)
    items = stored.retriever.candidates()
    built, kind, measured = index.choose(items, extras.index, interests, _LIST, source, say)
    index.write(built, target)
    return index.described(built, kind, measured)


def _queries(stored: StoredModel) -> tuple[str, NDArray[np.float32]]:
    """Return whose interests an index is measured with, and these [U, K, d]: test users of the data
    set, as they are evaluated, or random histories where it is not at hand.
    """
    length, dataset = stored.config.maxlen, _dataset_at_hand(stored)
    if dataset is not None:
        source, every = "test", dataset.evaluation_users("test", length)
        users = every.sample(_QUERIES, seed=0)
    else:
        history, lengths = tower.random_histories(stored.num_items, length, _QUERIES)
        source, users = "random", users_of_array(history[lengths > 0], length)
    made = np.concatenate(list(user_vectors(stored.retriever, users)))[: len(users.lengths)]
    _require_finite(stored, made)
    return source, made


def _dataset_at_hand(stored: StoredModel) -> Dataset | None:
    """Return the model's data set; None where it is missing or not what it was."""
    try:
        return stored.dataset if stored.locate is not None else None
    except RepriseError:
        return None


def _write_users(stored: StoredModel, users: Users, target: Path) -> int:
    """Write the users' vectors chunk by chunk, and return the number of vectors per user."""
    count = len(users.histories.lengths)
    shape = save_parts(target / "interests.npy", count, _vectors(stored, users))
    _write_table(_about_users(users), target / "users.parquet")
    return shape[1]


def _vectors(stored: StoredModel, users: Users) -> Iterator[NDArray[np.float32]]:
    """Yield the interests [u, K, d] of one chunk of users after another; zero without items."""
    known, start = users.histories.past.lengths > 0, 0
    for made in user_vectors(stored.retriever, users.histories, times=users.times):
        some = known[start:][: len(made)]  # the last chunk is padded
        part = np.where(some[:, None, None], made[: len(some)], np.float32(0))
        _require_finite(stored, part)
        yield part
        start += len(made)


def _about_users(users: Users) -> pl.DataFrame:
    """Return one row per user: row, raw id and whole history."""
    past = users.histories.past
    count = len(past.lengths)
    table = pl.DataFrame({"row": np.arange(count)})
    if users.raw_ids is not None:
        table = table.with_columns(user=users.raw_ids)
    row = np.repeat(np.arange(count), past.lengths)
    met = pl.DataFrame({"row": row, "history": past.of(0, count).items})
    lists = met.group_by("row", maintain_order=True).agg("history")
    nothing = pl.lit([], pl.List(pl.Int32))
    return table.join(lists, on="row", how="left", maintain_order="left").with_columns(
        pl.col("history").fill_null(nothing)
    )


def _write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table through memory, because polars reports a full disk as a damaged file."""
    content = io.BytesIO()
    table.write_parquet(content)
    path.write_bytes(content.getbuffer())


def _require_finite(stored: StoredModel, *vectors: Any) -> None:
    if not all(np.isfinite(part).all() for part in vectors):
        raise CheckpointError("export_not_finite", checkpoint=stored.checkpoint.path)


def _file(path: Path) -> dict[str, Any]:
    """Return a file's SHA-256 and size in bytes."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "size": path.stat().st_size}
