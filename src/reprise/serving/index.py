"""An index of the item vectors for inner products, by faiss: build, measure, open.

An index proposes candidates, each interest's nearest items, which are then scored as exact search
scores them. It knows nothing of what counts beside inner products: items that this concerns are
added to the candidates, and where it lowers scores, as many more are asked for.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reprise.checkpoints import store
from reprise.errors import ConfigMismatchError, DataError, UsageError
from reprise.retrieval.ranking import NO_ITEM, Ranking
from reprise.retrieval.search import (
    Chunk,
    falling,
    interest_scores,
    places,
    search,
    worker_threads,
)
from reprise.retrieval.terms import EVERYTHING, NOTHING_ADDED, Added, Terms
from reprise.retrieval.vectors import CHUNK
from reprise.runs.stored import StoredModel
from reprise.text.messages import Say, unsaid

if TYPE_CHECKING:
    import polars as pl

FILE, IDS_FILE, MANIFEST = "items.faiss", "item_ids.json", "manifest.json"
KINDS = ("faiss", "faiss:flat", "faiss:hnsw")
GOOD_RECALL = 0.98
EF_SEARCH = (64, 128, 256, 512, 1024)  # the first that reaches GOOD_RECALL is taken
LINKS = ("direction", "product")
_QUERIES = 16  # per call; fewer than 20, from which on faiss's flat search rounds by the batch
_STEP = 32  # lists of candidates are as long as a multiple of it
_TRIED_ITEMS = 20_000  # of which a graph is built to choose what links items: some 10 seconds
_IDS_AT_ONCE = 1 << 20  # written as JSON
_PART = 10_000  # items added to a graph in one call
_SAID_EVERY = 60.0  # seconds from one line on how far a graph is built to the next
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
        links: By which vectors items are linked: the items' own ("product"), or these normalised
            to norm 1 ("direction").
    """

    name: str
    m: int = 32
    ef_construction: int = 200
    ef_search: int | None = None
    links: str = LINKS[0]


class ItemIndex:
    """An index of items [V, d], numbered from 1. What a user gets depends neither on other users
    nor on the number of threads.
    """

    def __init__(self, index: Any, items: _Scores) -> None:
        self.index, self.items = index, items
        self._pool = ThreadPoolExecutor(worker_threads(), "index", initializer=_one_thread)

    @property
    def ef_search(self) -> int | None:
        """Candidates of an HNSW search; None for a flat index."""
        return int(self.index.hnsw.efSearch) if hasattr(self.index, "hnsw") else None

    def best(
        self, interests: _Scores, terms: Terms, top_n: int, rows: int = 0
    ) -> tuple[_Ids, _Scores]:
        """Return the best `top_n` ids and scores of each user, [u, top_n], of interests [u, K, d],
        as `retrieval.search` asks for them, by the index; `rows` has no effect.
        """
        users, count, _ = interests.shape
        size = max(1, _QUERIES // count)

        def search(start: int) -> tuple[_Ids, _Scores]:
            own = terms.of(start, min(start + size, users))
            return self._best_of_some(interests[start:][:size], own, top_n)

        found = list(self._pool.map(search, range(0, users, size)))
        nothing = np.zeros((0, top_n))
        ids = np.concatenate([nothing.astype(np.int64), *(one[0] for one in found)])
        return ids, np.concatenate([nothing.astype(np.float32), *(one[1] for one in found)])

    def _best_of_some(self, interests: _Scores, terms: Terms, top_n: int) -> tuple[_Ids, _Scores]:
        """Return the best items of a few users: of each one's candidates."""
        added, allowed = terms.added or NOTHING_ADDED, terms.allowed
        users = len(interests)
        lowered = np.bincount(added.user[added.value < 0], minlength=users)
        wanted = _STEP * -(-(top_n + lowered) // _STEP)  # few lengths: a call for each
        if allowed is None:
            pairs = [self._candidates(interests, np.arange(users), wanted)]
        else:
            pairs = []
            for number in np.unique(allowed.mask_of):
                rows = np.flatnonzero(allowed.mask_of == number)
                mask = None if number == EVERYTHING else allowed.masks[number]
                pairs.append(self._candidates(interests[rows], rows, wanted[rows], mask))
            own, item = allowed.mask_of[added.user], added.item - 1
            fits = (own == EVERYTHING) | allowed.masks[own, item]
            added = Added(*(one[fits] for one in added))
        return _best_of(interests, self.items, np.concatenate(pairs), added, top_n)

    def _candidates(
        self, interests: _Scores, rows: _Ids, wanted: _Ids, mask: NDArray[np.bool_] | None = None
    ) -> _Ids:
        """Return users' candidates as pairs (`_paired`), the nearest items of each interest, of
        which several interests may have the same. An interest of NaN has none.

        Args:
            interests: [u, K, d].
            rows: [u], the numbers of the users in the pairs.
            wanted: [u], items for each of the user's interests.
            mask: [V], whether item n + 1 may be listed; None: all may. Of few that may, all are
                candidates.
        """
        few = None if mask is None else np.flatnonzero(mask) + 1
        if few is not None and len(few) * _EXACT_SHARE <= len(self.items):
            return _paired(rows[:, None], few, len(self.items)).ravel()
        parameters = None if mask is None else self._within(mask)
        most = len(self.items) if few is None else len(few)
        lengths = np.minimum(wanted, most)
        found = [np.zeros(0, np.int64)]
        for length in np.unique(lengths[lengths > 0]):  # HNSW searches wider for longer lists
            (own,) = np.nonzero(lengths == length)
            ids, lost = self._nearest(interests[own], int(length), parameters)
            found.append(_paired(rows[own, None], ids, len(self.items))[ids != NO_ITEM])
            if few is not None and lost.any():
                found.append(_paired(rows[own[lost], None], few, len(self.items)).ravel())
        return np.concatenate(found)

    def _nearest(
        self, interests: _Scores, length: int, parameters: Any
    ) -> tuple[_Ids, NDArray[np.bool_]]:
        """Return the `length` nearest items of each interest, [u, K * length], NO_ITEM for none,
        and of which users [u] a search found fewer, as it may among allowed items.
        """
        users, count, dim = interests.shape
        asked = np.ascontiguousarray(interests.reshape(users * count, dim), np.float32)
        (on,) = np.nonzero(np.isfinite(asked).all(axis=1))
        ids = np.full((users * count, length), NO_ITEM, np.int64)
        lost = np.zeros(users * count, bool)
        for start in range(0, len(on), _QUERIES):
            rows = on[start:][:_QUERIES]
            ids[rows] = 1 + self.index.search(asked[rows], length, params=parameters)[1]
            lost[rows] = ids[rows, -1] == NO_ITEM  # faiss fills up with -1
        return ids.reshape(users, -1), np.logical_or.reduce(lost.reshape(users, count), axis=1)

    def _within(self, allowed: NDArray[np.bool_]) -> Any:
        """Return faiss's parameters for a search among the allowed items."""
        faiss = _faiss()
        selected = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if self.ef_search is None:
            return faiss.SearchParameters(sel=selected)
        # Items that are not allowed are passed on the way, and take their share of candidates.
        wider = -(-self.ef_search * len(self.items) // max(1, int(allowed.sum())))
        return faiss.SearchParametersHNSW(sel=selected, efSearch=wider)


def _paired(user: _Ids, item: _Ids, items: int) -> _Ids:
    """Return a number for each pair of a user's row and one of so many items: they ascend by user,
    and then by item.
    """
    return user * (items + 1) + item


def _best_of(
    interests: _Scores, items: _Scores, candidates: _Ids, added: Added, top_n: int
) -> tuple[_Ids, _Scores]:
    """Return the best `top_n` of users' candidates, which are pairs (`_paired`), and of the items
    with added values: ids and scores [u, top_n], by interests [u, K, d].
    """
    users, count = len(interests), len(items)
    ids = np.full((users, top_n), NO_ITEM, np.int64)
    scores = np.full((users, top_n), -np.inf, np.float32)
    own = _paired(added.user, added.item, count)
    pairs = np.unique(np.concatenate([candidates, own]))
    user, item = np.divmod(pairs, count + 1)
    with np.errstate(all="ignore"):  # non-finite values
        each = interest_scores(interests[user], items[item - 1, None])
        best = np.fmax.reduce(each[..., 0], axis=1)  # it ignores interests whose score is NaN
        best[np.searchsorted(pairs, own)] += added.value
    # Ties: items ascend.
    order = np.argsort(user.astype(np.uint64) << np.uint64(32) | falling(best), kind="stable")
    order = order[best[order] > -np.inf]
    place = places(user[order], users)
    order, place = order[place < top_n], place[place < top_n]
    ids[user[order], place], scores[user[order], place] = item[order], best[order]
    return ids, scores


def require() -> None:
    """Raise UsageError with the extra to install if faiss is missing."""
    try:
        import faiss  # noqa: F401
    except ImportError as error:
        values = {"what": "--index faiss", "extra": "export", "reason": error}
        raise UsageError("extra_missing", **values) from error


def build(items: _Scores, kind: Kind, say: Say = unsaid) -> ItemIndex:
    """Return the index of item vectors [V, d], finite, telling now and then how far it is built. It
    is the same each time: one thread builds, and faiss draws from a fixed seed.

    An HNSW graph holds the item vectors themselves, however they are linked.
    """
    faiss, dim = _faiss(), items.shape[1]
    vectors = np.ascontiguousarray(items, np.float32)
    if kind.name == "flat":
        index, linked = faiss.IndexFlatIP(dim), vectors
    else:
        index = faiss.IndexHNSWFlat(dim, kind.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = kind.ef_construction
        index.hnsw.efSearch = kind.ef_search or EF_SEARCH[0]
        linked = _unit(vectors) if kind.links == "direction" else vectors
    with ThreadPoolExecutor(1, initializer=_one_thread) as builder:  # faiss's number is a thread's
        builder.submit(_add, index, linked, say).result()
    if kind.name == "hnsw":
        stored = faiss.downcast_index(index.storage).codes
        faiss.copy_array_to_vector(vectors.view(np.uint8).ravel(), stored)
    return ItemIndex(index, vectors)


def _add(index: Any, linked: _Scores, say: Say) -> None:
    start = said = time.perf_counter()
    for end in range(_PART, len(linked) + _PART, _PART):
        index.add(linked[end - _PART : end])
        now = time.perf_counter()
        if now - said >= _SAID_EVERY and end < len(linked):
            said, left = now, (now - start) / end * (len(linked) - end)
            facts = {"done": end, "items": len(linked), "minutes": math.ceil(left / 60)}
            say("index_built_so_far", **facts)


def _unit(vectors: _Scores) -> _Scores:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    made: _Scores = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return made


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


def choose(
    items: _Scores, kind: Kind, interests: _Scores, n: int, queries: str, say: Say = unsaid
) -> tuple[ItemIndex, Kind, Measured]:
    """Return the index of items [V, d] with its measures, see `measure`. Of HNSW, a graph by each
    of LINKS is tried, of every k-th item where there are many, and the links are taken that are
    good with fewer candidates.

    Neither is better for all models. Linked by products, the items of a trained MIND all link to
    the few of the largest norm: 0.68 of the lists were found, by directions 0.99. Where norms
    differ at random, products need a quarter of the candidates.
    """
    if kind.name != "hnsw":
        return _built_and_measured(items, kind, interests, n, queries)
    some = items[:: -(-len(items) // _TRIED_ITEMS)]
    tried = [
        _built_and_measured(some, replace(kind, links=links), interests, n, queries)
        for links in LINKS
    ]
    best = min(tried, key=_worse)
    if len(some) == len(items):
        return best
    say("index_building", items=len(items))
    return _built_and_measured(items, best[1], interests, n, queries, say)


def _built_and_measured(
    items: _Scores, kind: Kind, interests: _Scores, n: int, queries: str, say: Say = unsaid
) -> tuple[ItemIndex, Kind, Measured]:
    built = build(items, kind, say)
    return built, kind, measure(built, kind, interests, n, queries)


def _worse(tried: tuple[ItemIndex, Kind, Measured]) -> tuple[bool, int, float]:
    """Return by what indexes are compared: the least is the best."""
    index, _, measured = tried
    return measured.recall < GOOD_RECALL, index.ef_search or 0, -measured.recall


def measure(index: ItemIndex, kind: Kind, interests: _Scores, n: int, queries: str) -> Measured:
    """Compare the lists of interests [u, K, d], by inner products, with those of exact search, and
    choose ef_search where `kind` leaves it open.
    """
    chunks = [Chunk(interests[at:][:CHUNK], n) for at in range(0, len(interests), CHUNK)]
    next(search(chunks, index.items))  # what is compiled or allocated once is not measured
    expected, exact_seconds = _timed(lambda: _ids(search(chunks, index.items)))
    users, n = expected.shape
    open_choice = kind.name == "hnsw" and kind.ef_search is None
    for ef_search in EF_SEARCH if open_choice else (kind.ef_search,):
        if kind.name == "hnsw":
            index.index.hnsw.efSearch = ef_search
        found, seconds = _timed(lambda: _ids(search(chunks, index.items, index.best)))
        same = sum(len(np.intersect1d(a, b)) for a, b in zip(found, expected, strict=True))
        recall = same / expected.size
        if recall >= GOOD_RECALL:
            break
    speeds = (_rounded(users / seconds), _rounded(users / exact_seconds))
    return Measured(queries, users, n, recall, *speeds, worker_threads())


def _ids(rankings: Iterator[Ranking]) -> _Ids:
    return np.concatenate([ranking.ids for ranking in rankings])


def write(index: ItemIndex, folder: Path) -> None:
    """Write the index into `folder`; through memory, because faiss reports no full disk."""
    (folder / FILE).write_bytes(_faiss().serialize_index(index.index).data)


def write_ids(raw_ids: "pl.Series", folder: Path) -> None:
    """Write the raw ids [V], texts in the index's order, into `folder`: a list of JSON, by parts,
    as millions of texts take much more memory in Python than in the file.
    """
    with (folder / IDS_FILE).open("w", encoding="utf-8") as file:
        for start in range(0, len(raw_ids), _IDS_AT_ONCE):
            own = raw_ids[start : start + _IDS_AT_ONCE].to_list()
            text = json.dumps(own, ensure_ascii=False, separators=(",", ":"))
            file.write(("," if start else "[") + text[1:-1])
        file.write("]\n")


def described(index: ItemIndex, kind: Kind, measured: Measured) -> dict[str, Any]:
    """Return what a manifest says of an index."""
    hnsw = {
        "links": kind.links,
        "m": kind.m,
        "ef_construction": kind.ef_construction,
        "ef_search": index.ef_search,
    }
    return {
        "file": FILE,
        "ids": IDS_FILE,
        "kind": kind.name,
        **(hnsw if kind.name == "hnsw" else {}),
        "faiss": version(),
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
    manifest = _manifest(folder)
    if manifest["checkpoint_digest"] != store.digest_of(stored.checkpoint.path):
        values = {"own": manifest["checkpoint"], "asked": stored.checkpoint.path}
        raise ConfigMismatchError("index_of_other", folder=folder, **values)
    for name in (FILE, IDS_FILE):
        _verify(folder / name, manifest["files"][name]["sha256"])
    index = _faiss().read_index(str(folder / FILE))
    items = stored.retriever.candidates()
    if (index.ntotal, index.d) != items.shape:
        raise DataError("index_damaged", path=folder / FILE)
    return ItemIndex(index, items)


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


def version() -> str:
    """Return faiss's version."""
    return str(_faiss().__version__)


def _faiss() -> Any:
    """Return the library, which is an extra, and whose types are not those of its functions."""
    return import_module("faiss")


def _one_thread() -> None:
    _faiss().omp_set_num_threads(1)


def _timed(work: Callable[[], _Value]) -> tuple[_Value, float]:
    start = time.perf_counter()
    value = work()
    return value, time.perf_counter() - start


def _rounded(rate: float) -> float:
    """Round to three digits: more of a speed is noise."""
    return float(f"{rate:.3g}")
