"""A model whose item rows are dealt to the devices of a mesh: each process searches its own items,
and the lists of all are merged. No process has the rows of all items.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array, lax
from jax.experimental import multihost_utils
from numpy.typing import NDArray

from reprise.retrieval.ranking import NO_INTEREST, NO_ITEM, Ranking, merge
from reprise.retrieval.search import Chunk, search
from reprise.retrieval.terms import Added, Terms
from reprise.retrieval.vectors import Retriever
from reprise.runtime import device
from reprise.runtime import mesh as meshes
from reprise.runtime.mesh import AXIS, DEALT, EVERYWHERE, Mesh, own_places

if TYPE_CHECKING:
    from reprise.models.registry import Model, Params
    from reprise.models.scoring import Scoring


# Chunks whose lists are merged at once: the same in all processes, while how far a search is ahead
# of its chunks depends on the cores.
_TOGETHER = 16


@dataclass(frozen=True)
class DealtRetriever(Retriever):
    """A model with the rows of this process's items.

    Attributes:
        rows: [at least first + n, at least width], with the rows of these items, ascending.
        places: Those of this process's devices, which have the items of these numbers modulo N.
        mesh: The devices.
        table: [N, R, at least width], the dealt rows of all items.
        count: V.
    """

    places: tuple[int, ...] = ()
    mesh: Mesh | None = None
    table: Array | None = None
    count: int = 0

    @property
    def num_items(self) -> int:
        """Items of the catalogue, V."""
        return self.count

    def interests(
        self,
        history: NDArray[np.int32],
        lengths: NDArray[np.int32],
        times: NDArray[np.int32] | None = None,
    ) -> NDArray[np.float32]:
        """Return `Retriever.interests`; all processes have to ask for the same."""
        assert self.mesh is not None
        look_up = _make_look_up(self.mesh, self.width)
        found = np.asarray(
            look_up(self.table, self.mesh.everywhere(history.reshape(-1), copied=False))
        )
        places = np.arange(history.size, dtype=np.int32).reshape(history.shape)
        of_batch = Retriever(**{**_fields(self), "rows": device.own(found)})
        return of_batch.interests(places, lengths, times)

    def candidates(self) -> NDArray[np.float32]:
        """Return the vectors [n, d] of this process's items."""
        return self.item_vectors()[self._first :][: self._own_count]

    def item_blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield the vectors [n, d] of all items in blocks, those of the padding first; all
        processes have to take the same of them.
        """
        assert self.mesh is not None
        assert self.table is not None
        for rows in meshes.blocks(self.mesh, self.table, self.count + 1, self.width):
            yield self._compared(rows)

    def is_finite(self, items: NDArray[np.float32]) -> bool:
        """Return whether the vectors of all processes are finite."""
        assert self.mesh is not None
        return not self.mesh.greatest(int(not super().is_finite(items)))

    def rankings(self, chunks: Iterable[Chunk], items: NDArray[np.float32]) -> Iterator[Ranking]:
        """Yield the ranking of each chunk over all items, as `search` does; `items` are the vectors
        of this process's. All processes have to ask for the same chunks.
        """
        source = iter(chunks)
        while some := list(islice(source, _TOGETHER)):
            yield from self._ranked(some, items)

    def _ranked(self, chunks: list[Chunk], items: NDArray[np.float32]) -> Iterator[Ranking]:
        asked = max(chunk.top_n for chunk in chunks)
        own = [self._numbered(one) for one in search(map(self._of_own, chunks), items)]
        found = _merged(self.mesh, [_padded(one, asked) for one in own], asked)
        for chunk, ranking in zip(chunks, found, strict=True):
            length = min(chunk.top_n, self.count)
            best = _part(ranking, np.s_[:, :length])
            if not chunk.by_interest:
                yield best
                continue
            shape = (*chunk.interests.shape[:2], length)
            yield merge(best.ids.reshape(shape), best.scores.reshape(shape))

    def _of_own(self, chunk: Chunk) -> Chunk:
        """Return what to search this process's items for: where each interest has a list of its
        own, as a user's.
        """
        interests, terms = chunk.interests, chunk.terms
        if chunk.by_interest:
            users, count, dim = interests.shape
            interests, terms = interests.reshape(users * count, 1, dim), terms.repeated(count)
        allowed = terms.allowed
        if allowed is not None:
            own = self._numbers(np.arange(self._own_count))
            allowed = allowed._replace(masks=allowed.masks[:, own - 1])
        return Chunk(interests, chunk.top_n, Terms(self._own(terms.added), allowed))

    def _own(self, added: Added | None) -> Added | None:
        """Return the values of this process's items, by their places among these."""
        if added is None:
            return None
        rank = np.full(self._devices, -1)
        rank[list(self.places)] = np.arange(len(self.places))
        row, device_of = np.divmod(added.item, self._devices)
        own = rank[device_of] >= 0
        place = row[own] * len(self.places) + rank[device_of[own]] - self._first
        return Added(added.user[own], place + 1, added.value[own])

    def _numbered(self, ranking: Ranking) -> Ranking:
        """Return a ranking of this process's items, by their places from 1 on, as one of items."""
        numbers = self._numbers(ranking.ids - 1)
        return ranking._replace(ids=np.where(ranking.ids == NO_ITEM, NO_ITEM, numbers))

    def _numbers(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of this process's items by their places from 0 on."""
        row, rank = np.divmod(places + self._first, len(self.places))
        numbers: NDArray[np.int64] = row * self._devices + np.array(self.places)[rank]
        return numbers

    @property
    def _first(self) -> int:
        """Where the rows of items begin: behind the padding, if this process has it."""
        return int(0 in self.places)

    @property
    def _own_count(self) -> int:
        """How many of the items are this process's."""
        own = (range(place, self.count + 1, self._devices) for place in self.places)
        return sum(map(len, own)) - self._first

    @property
    def _devices(self) -> int:
        assert self.mesh is not None
        return self.mesh.size


def retriever_of_table(
    model: "Model",
    scoring: "Scoring",
    mesh: Mesh,
    table: Array,
    width: int,
    count: int,
    params: "Params",
    request_time: str | None = None,
) -> DealtRetriever:
    """Return the retriever of dealt rows [N, R, at least width] of `count` items."""
    shards = {shard.index[0].start or 0: shard.data for shard in table.addressable_shards}
    places = tuple(sorted(shards))
    rows = _in_order([np.asarray(shards[place])[0] for place in places], width)
    here = {name: device.own(np.asarray(value)) for name, value in params.items()}
    own = (model, scoring, jax.device_put(rows), width, here, request_time)
    return DealtRetriever(*own, places=places, mesh=mesh, table=table, count=count)


def _in_order(shares: list[NDArray[np.float32]], width: int) -> NDArray[np.float32]:
    """Return the rows of the devices of a process, row by row of each in turn; those of one device
    without a copy.
    """
    if len(shares) == 1:
        return shares[0]
    rows = device.empty((sum(map(len, shares)), width))
    for place, share in enumerate(shares):
        rows[place :: len(shares)] = share[:, :width]
    return rows


def _fields(retriever: DealtRetriever) -> dict[str, Any]:
    """Return what a retriever of other rows takes over."""
    names = ("model", "scoring", "width", "params", "request_time")
    return {name: getattr(retriever, name) for name in names}


@cache
def _make_look_up(mesh: Mesh, width: int) -> Any:
    """Return look_up(table, ids [n]) -> values [n, width], on every device."""

    def look_up(table: Array, ids: Array) -> Array:
        places = own_places(ids, mesh.size, table.shape[1])
        values = table[0, :, :width].at[places].get(mode="fill", fill_value=0)
        add_up: Any = lax.psum
        summed: Array = add_up(values, AXIS)
        return summed

    specs = (DEALT, EVERYWHERE)
    return jax.jit(
        jax.shard_map(
            look_up, mesh=mesh.devices, in_specs=specs, out_specs=EVERYWHERE, check_vma=False
        )
    )


def _padded(ranking: Ranking, length: int) -> Ranking:
    """Return a ranking of this length."""
    more = ((0, 0), (0, length - ranking.ids.shape[1]))
    return Ranking(
        np.pad(ranking.ids, more, constant_values=NO_ITEM),
        np.pad(ranking.scores, more, constant_values=-np.inf),
        np.pad(ranking.interests, more, constant_values=NO_INTEREST),
    )


def _part(ranking: Ranking, index: Any) -> Ranking:
    """Return a part of a ranking, of the same index of its arrays."""
    return Ranking(ranking.ids[index], ranking.scores[index], ranking.interests[index])


def _merged(mesh: Mesh | None, own: list[Ranking], length: int) -> list[Ranking]:
    """Return the best `length` of all processes' rankings, ties by ascending id."""
    assert mesh is not None
    if mesh.processes.count == 1 or not own:
        return [_part(one, np.s_[:, :length]) for one in own]
    ids, scores, interests = (np.concatenate(each) for each in zip(*own, strict=True))
    whole = multihost_utils.process_allgather((ids.astype(np.int32), scores, interests))
    ids, scores, interests = (np.concatenate(list(each), axis=1) for each in whole)
    order = np.lexsort((ids, -scores))[:, :length]
    taken = [np.take_along_axis(each, order, 1) for each in (ids, scores, interests)]
    together = Ranking(taken[0].astype(np.int64), taken[1], taken[2])
    ends = np.cumsum([len(one.ids) for one in own])
    return [
        _part(together, np.s_[end - len(one.ids) : end]) for one, end in zip(own, ends, strict=True)
    ]
