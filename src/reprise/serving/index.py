"""An index of the item vectors for inner products, by faiss: build, measure, open.

An index proposes candidates, each interest's nearest items; whoever asks scores them exactly. It
knows nothing of what counts beside inner products: items that this can lift into a list are added
to the candidates, and for items that it takes out, as many more are asked for.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reprise.checkpoints import store
from reprise.errors import ConfigMismatchError, DataError, UsageError
from reprise.retrieval.search import worker_threads
from reprise.runs.stored import StoredModel

FILE, IDS_FILE, MANIFEST = "items.faiss", "item_ids.json", "manifest.json"
KINDS = ("faiss", "faiss:flat", "faiss:hnsw")
GOOD_RECALL = 0.98
EF_SEARCH = (64, 128, 256, 512, 1024)  # the first that reaches GOOD_RECALL is taken
_QUERIES = 16  # a call; fewer than 20, from which on faiss's flat search rounds by the batch
_EXACT_SHARE = 8  # 1 / share of the items, up to which it is cheaper to score all that is allowed

_Scores = NDArray[np.float32]
_Ids = NDArray[np.int64]
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Kind:
    """An index to build.

    Attributes:
        name: "flat", exact, or "hnsw", a graph of neighbours (arXiv 1603.09320).
        m: Links of an item to others.
        ef_construction: Candidates for these links, while building.
        ef_search: Candidates of a search; None: the first of EF_SEARCH that finds GOOD_RECALL.
    """

    name: str
    m: int = 32
    ef_construction: int = 200
    ef_search: int | None = None


class ItemIndex:
    """An index of items 1..V. Searches use several threads; what a user gets does not depend on
    their number, nor on other users.
    """

    def __init__(self, index: Any) -> None:
        self.index = index
        self._workers = worker_threads()
        self._pool = ThreadPoolExecutor(self._workers, "index", initializer=_one_thread)

    @property
    def size(self) -> int:
        """Items, V."""
        return int(self.index.ntotal)

    @property
    def ef_search(self) -> int | None:
        """Candidates of an HNSW search; None for a flat index."""
        return int(self.index.hnsw.efSearch) if hasattr(self.index, "hnsw") else None

    def candidates(
        self,
        interests: _Scores,
        wanted: Sequence[int] | NDArray[np.integer],
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[_Ids]:
        """Return each user's candidates: distinct item numbers, ascending, the union of each
        interest's nearest `wanted` items. They are to be scored again, exactly.

        Args:
            interests: [u, K, d].
            wanted: [u], items for each of the user's interests: the list's length, and as many
                more as the user has items that are taken out of the list.
            allowed: [V], whether item n + 1 may be listed; None: all may. Of few allowed items, all
                are candidates.
        """
        few = None if allowed is None else np.flatnonzero(allowed) + 1
        if few is not None and len(few) * _EXACT_SHARE <= self.size:
            return [few] * len(interests)
        parameters = None if allowed is None else self._within(allowed)
        most = self.size if few is None else len(few)
        lengths = np.minimum(np.asarray(wanted, np.int64), most)
        found: list[_Ids] = [np.zeros(0, np.int64)] * len(interests)
        for length in np.unique(lengths[lengths > 0]):  # HNSW searches wider for longer lists
            rows = np.flatnonzero(lengths == length)
            for row, ids in zip(
                rows, self._nearest(interests[rows], int(length), parameters), strict=True
            ):
                own = np.unique(ids)
                own = own[own > 0]  # faiss fills up with -1
                found[row] = own if few is None or len(own) >= length else few
        return found

    def _nearest(self, interests: _Scores, length: int, parameters: Any) -> _Ids:
        """Return the `length` nearest items of each interest, [u, K * length]; 0: none."""
        users, count, dim = interests.shape
        size = max(1, _QUERIES // count)

        def search(start: int) -> _Ids:
            some = np.ascontiguousarray(interests[start:][:size].reshape(-1, dim), np.float32)
            ids: _Ids = self.index.search(some, length, params=parameters)[1]
            return ids.reshape(-1, count * length) + 1

        parts = list(self._pool.map(search, range(0, users, size)))
        return np.concatenate(parts)

    def _within(self, allowed: NDArray[np.bool_]) -> Any:
        """Return faiss's parameters for a search among the allowed items."""
        import faiss

        selected = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if self.ef_search is None:
            return faiss.SearchParameters(sel=selected)
        # Items that are not allowed are passed on the way, and take their share of candidates.
        wider = -(-self.size // max(1, int(allowed.sum())))
        return faiss.SearchParametersHNSW(sel=selected, efSearch=self.ef_search * wider)


def require() -> None:
    """Raise UsageError with the extra to install if faiss is missing."""
    try:
        import faiss  # noqa: F401
    except ImportError as error:
        values = {"what": "--index faiss", "extra": "export", "reason": error}
        raise UsageError("extra_missing", **values) from error


def build(items: _Scores, kind: Kind) -> ItemIndex:
    """Return the index of item vectors [V, d], finite. It is the same each time: one thread builds,
    and faiss draws from a fixed seed.
    """
    import faiss

    dim = items.shape[1]
    if kind.name == "flat":
        index = faiss.IndexFlatIP(dim)
    else:
        index = faiss.IndexHNSWFlat(dim, kind.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = kind.ef_construction
        index.hnsw.efSearch = kind.ef_search or EF_SEARCH[0]
    vectors = np.ascontiguousarray(items, np.float32)
    with ThreadPoolExecutor(1, initializer=_one_thread) as builder:  # faiss's number is a thread's
        builder.submit(index.add, vectors).result()
    return ItemIndex(index)


@dataclass(frozen=True)
class Measured:
    """An index compared with exact search, for lists of `n` items by inner products alone.

    Attributes:
        queries: Whose lists: "test" users of the data set, or "random" histories.
        users: How many.
        n: Length of the lists.
        recall: Fraction of the exact lists' items that are in the index's.
        users_per_second: Lists a second by the index, their exact scores included.
        exact_per_second: Lists a second by exact search.
        threads: Threads of both.
    """

    queries: str
    users: int
    n: int
    recall: float
    users_per_second: float
    exact_per_second: float
    threads: int


def measure(
    index: ItemIndex,
    kind: Kind,
    items: _Scores,
    interests: _Scores,
    exact: Callable[[], _Ids],
    queries: str,
) -> Measured:
    """Compare the lists of interests [u, K, d] over items [V + 1, d] with `exact`'s [u, n], and
    choose ef_search where `kind` leaves it open.
    """
    expected, exact_seconds = _timed(exact)
    users, n = expected.shape
    open_choice = kind.name == "hnsw" and kind.ef_search is None
    for ef_search in EF_SEARCH if open_choice else (kind.ef_search,):
        if kind.name == "hnsw":
            index.index.hnsw.efSearch = ef_search
        found, seconds = _timed(partial(lists, index, items, interests, n))
        same = sum(len(np.intersect1d(a, b)) for a, b in zip(found, expected, strict=True))
        recall = same / expected.size
        if recall >= GOOD_RECALL:
            break
    speeds = (_rounded(users / seconds), _rounded(users / exact_seconds))
    return Measured(queries, users, n, recall, *speeds, worker_threads())


def lists(index: ItemIndex, items: _Scores, interests: _Scores, n: int) -> list[_Ids]:
    """Return each user's best `n` of the index's candidates by inner products: item numbers, best
    first, ties by ascending number.
    """
    found = index.candidates(interests, [n] * len(interests))
    return [
        ids[np.argsort(-(items[ids] @ own.T).max(axis=1), kind="stable")[:n]]
        for own, ids in zip(interests, found, strict=True)
    ]


def write(index: ItemIndex, folder: Path) -> None:
    """Write the index into `folder`; through memory, because faiss reports no full disk."""
    import faiss

    (folder / FILE).write_bytes(faiss.serialize_index(index.index).data)


def write_ids(raw_ids: Sequence[str], folder: Path) -> None:
    """Write the raw ids, in the index's order, into `folder`."""
    text = json.dumps(list(raw_ids), ensure_ascii=False, separators=(",", ":"))
    (folder / IDS_FILE).write_text(text + "\n", encoding="utf-8")


def described(index: ItemIndex, kind: Kind, measured: Measured) -> dict[str, Any]:
    """Return what a manifest says of an index."""
    import faiss

    hnsw = {"m": kind.m, "ef_construction": kind.ef_construction, "ef_search": index.ef_search}
    return {
        "file": FILE,
        "ids": IDS_FILE,
        "kind": kind.name,
        **(hnsw if kind.name == "hnsw" else {}),
        "faiss": faiss.__version__,
        "measured": {
            "queries": measured.queries,
            "users": measured.users,
            "n": measured.n,
            "recall": measured.recall,
            "users_per_second": measured.users_per_second,
            "exact_users_per_second": measured.exact_per_second,
            "threads": measured.threads,
        },
    }


def open_index(folder: Path, stored: StoredModel) -> ItemIndex:
    """Open the index of an exported folder, for the model it was exported from.

    Raises:
        UsageError: The folder holds no index, or faiss is not installed.
        DataError: A file is damaged.
        ConfigMismatchError: The index is of another checkpoint.
    """
    require()
    import faiss

    manifest = _manifest(folder)
    if manifest["checkpoint_digest"] != store.digest_of(stored.checkpoint.path):
        values = {"own": manifest["checkpoint"], "asked": stored.checkpoint.path}
        raise ConfigMismatchError("index_of_other", folder=folder, **values)
    for name in (FILE, IDS_FILE):
        _verify(folder / name, manifest["files"][name]["sha256"])
    index = faiss.read_index(str(folder / FILE))
    dim = stored.config.embedding_dim
    if (index.ntotal, index.d) != (stored.num_items, dim):
        raise DataError("index_damaged", path=folder / FILE)
    return ItemIndex(index)


def _manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an exported folder with an index."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        if manifest.get("index") is not None:
            str(manifest["checkpoint"] + manifest["checkpoint_digest"])
            [manifest["files"][name]["sha256"] for name in (FILE, IDS_FILE)]
            return dict(manifest)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError("index_damaged", path=path) from error
    raise UsageError("index_missing", folder=folder)


def _verify(path: Path, digest: str) -> None:
    """Raise DataError unless a file has this SHA-256."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError("index_damaged", path=path) from error
    if found != digest:
        raise DataError("index_damaged", path=path)


def _one_thread() -> None:
    import faiss

    faiss.omp_set_num_threads(1)


def _timed(work: Callable[[], _Value]) -> tuple[_Value, float]:
    start = time.perf_counter()
    value = work()
    return value, time.perf_counter() - start


def _rounded(rate: float) -> float:
    """Round to three digits: more of a speed is noise."""
    return float(f"{rate:.3g}")
