"""Several devices as one: a table's rows are dealt to them, a batch's examples are split.

Row i of a table is on device i % N, in place i // N: items are numbered by popularity or nearly so,
and blocks of numbers would put all rows that are used often on one device. Small arrays are on
every device. Inside the programs of a mesh (`jax.shard_map`), AXIS is the axis over its devices.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from numpy.typing import NDArray

from reprise.errors import DeviceError
from reprise.runtime import device
from reprise.runtime.environment import MESH
from reprise.runtime.processes import ALONE, Place, Processes, connect

AXIS = "devices"
DEALT: Any = PartitionSpec(AXIS)  # type: ignore[no-untyped-call]
_AT_ONCE = 1 << 16  # rows of each device that `blocks` has at a time
EVERYWHERE: Any = PartitionSpec()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Mesh:
    """The devices of a run, of which there are several, and the processes that have them."""

    devices: jax.sharding.Mesh
    processes: Processes = ALONE

    @property
    def size(self) -> int:
        """N, the number of devices."""
        return int(self.devices.size)

    def deal(self, table: NDArray[Any]) -> Array:
        """Deal the rows of table [V, ...]; return [N, ceil(V / N), ...], the last ones filled up
        with zeros.
        """
        room = -(-len(table) // self.size)
        return self._dealt(room, table.shape[1:], lambda place: table[place :: self.size])

    def dealt(self, shares: Mapping[int, NDArray[Any]]) -> Array:
        """Return the dealt table of shares by place, of this process's devices, each as long as the
        first device's, or one row shorter.
        """
        first = next(iter(shares.values()))
        longest = int(self.greatest(max(map(len, shares.values()))))
        return self._dealt(longest, first.shape[1:], lambda place: shares[place])

    def each(self, shape: tuple[int, ...], part_of: Callable[[int], NDArray[Any]]) -> Array:
        """Return the array [N, *shape] of each device's part_of(place); not to be donated."""
        whole = (self.size, *shape)
        return self._made(whole, DEALT, lambda place: part_of(place)[None], copied=False)

    @property
    def places(self) -> tuple[int, ...]:
        """The places of this process's devices."""
        own = set(self.devices.local_devices)
        return tuple(place for place, one in enumerate(self.devices.devices.flat) if one in own)

    def split(self, array: NDArray[Any]) -> Array:
        """Split an array's first axis into equal parts, one a device; not to be donated."""
        size = len(array) // self.size
        return self._made(array.shape, DEALT, lambda place: array[place * size :][:size], False)

    def everywhere(self, value: ArrayLike, copied: bool = True) -> Array:
        """Put an array on every device; if it is not copied, it is not to be donated."""
        array = np.asarray(value)
        return self._made(array.shape, EVERYWHERE, lambda place: array, copied)

    def added_up(self, own: NDArray[Any]) -> Array:
        """Return the sum of the processes' arrays, of one shape, on every device; it is under way
        when this returns.
        """
        leading = self.places[0]
        nothing = np.zeros_like(own)
        parts = self.each(own.shape, lambda place: own if place == leading else nothing)
        summed: Array = _over_all(lax.psum, self.devices)(parts)
        return summed

    def greatest(self, value: int) -> int:
        """Return the greatest of the processes' values."""
        own = np.full(len(self.devices.local_devices), value, np.int32)
        sharding = NamedSharding(self.devices, DEALT)
        make: Any = jax.make_array_from_process_local_data
        whole = make(sharding, own, (self.size,))
        return int(np.asarray(_over_all(lax.pmax, self.devices)(whole)))

    def _dealt(
        self, room: int, row: tuple[int, ...], share_of: Callable[[int], NDArray[Any]]
    ) -> Array:
        """Return the table of each device's share_of(place), filled up to `room` rows."""

        def part_of(place: int, on: jax.Device) -> Array:
            share = share_of(place)
            if len(share) == room and share.nbytes < device.LARGE:  # most are of small tables
                return device.own(share[None], on)
            return device.own_by_blocks(share, (1, room, *row), on)

        return self._put_together((self.size, room, *row), DEALT, part_of)

    def _made(
        self, shape: tuple[int, ...], spec: PartitionSpec, part_of: Any, copied: bool = True
    ) -> Array:
        """Return the array of this shape, of which part_of(place) is each device's part."""
        put: Any = device.own if copied else jax.device_put
        return self._put_together(shape, spec, lambda place, on: put(part_of(place), on))

    def _put_together(
        self,
        shape: tuple[int, ...],
        spec: PartitionSpec,
        part_of: Callable[[int, jax.Device], Array],
    ) -> Array:
        """Return the array of this shape, of which part_of(place, device) is each one's part."""
        sharding = NamedSharding(self.devices, spec)
        places = {one: place for place, one in enumerate(self.devices.devices.flat)}
        parts = [part_of(places[one], one) for one in sharding.addressable_devices]
        return jax.make_array_from_single_device_arrays(shape, sharding, parts)


@cache
def _over_all(combine: Any, devices: jax.sharding.Mesh) -> Any:
    """Return what combines the devices' parts [N, ...] by lax.psum or lax.pmax, on every device."""
    return jax.jit(
        jax.shard_map(
            lambda own: combine(own[0], AXIS),
            mesh=devices,
            in_specs=DEALT,
            out_specs=EVERYWHERE,
            check_vma=False,
        )
    )


def mesh_of(count: int, place: Place | None = None) -> Mesh | None:
    """Return the mesh of the first `count` devices; None for a single one. On CPUs, they are
    virtual ones: as many are made as are asked for, unless JAX has started. With a place, it is the
    mesh of as many devices of each process.

    Raises:
        DeviceError: There are fewer.
    """
    if count == 1 and place is None:
        return None
    has_started = _on_cpus(count)
    processes = connect(place)
    device.present()  # or refuse
    found = jax.local_devices()
    if len(found) < count:
        kind = found[0].platform
        key = "devices_started" if has_started and kind == "cpu" else "devices_too_few"
        raise DeviceError(key, asked=count, found=len(found), kind=kind)
    used = [one for each in _by_process().values() for one in each[:count]]
    return Mesh(jax.sharding.Mesh(np.array(used), (AXIS,)), processes)


def mesh_elsewhere(count: int, processes: int) -> Mesh | None:
    """Return the mesh of `count` devices of each process, none of which need be here: for shapes,
    and programs that are not run; None for a single device.
    """
    if count * processes == 1:
        return None
    devices: Any = jax.sharding.AbstractMesh((count * processes,), (AXIS,))
    return Mesh(devices, Processes(count=processes))


def at_hand(count: int) -> int:
    """Return how many of `count` devices there are here; of CPUs, as many virtual ones are made,
    unless JAX has started.
    """
    _on_cpus(count)
    device.present()  # or refuse
    return min(count, len(jax.local_devices()))


def _by_process() -> dict[int, list[jax.Device]]:
    """Return the devices of each process."""
    each: dict[int, list[jax.Device]] = {}
    for one in jax.devices():
        each.setdefault(one.process_index, []).append(one)
    return dict(sorted(each.items()))


def _on_cpus(count: int) -> bool:
    """Let CPUs be as many devices; return whether JAX has started, so that it is too late."""
    try:
        jax.config.update("jax_num_cpu_devices", count)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return True
    return False


def put_in_order(dealt: Array, into: NDArray[Any]) -> None:
    """Copy the rows of a table [V, ...] that are dealt to this process's devices,
    [N, ceil(V / N), ...], into `into`, in order.
    """
    for shard in dealt.addressable_shards:
        rows = into[shard.index[0].start or 0 :: dealt.shape[0]]
        rows[...] = np.asarray(shard.data)[0, : len(rows)]


def whole(mesh: Mesh, dealt: Array, count: int, width: int) -> NDArray[Any]:
    """Return the first `width` numbers of the `count` rows of a dealt table [N, R, ...] in order,
    on the host of each process; those of other processes are heard of by blocks.
    """
    made = np.empty((count, width), dealt.dtype)
    if mesh.processes.count == 1:
        put_in_order(dealt[..., :width], made)
        return made
    end = 0
    for rows in blocks(mesh, dealt, count, width):
        made[end : end + len(rows)] = rows
        end += len(rows)
    return made


def blocks(mesh: Mesh, dealt: Array, count: int, width: int) -> Iterator[NDArray[Any]]:
    """Yield the rows that `whole` returns in blocks, each on the host of each process: all have to
    take the same of them.
    """
    room = dealt.shape[1]
    size = min(room, _AT_ONCE)
    take = _block(mesh.devices, size, width)
    for at in range(0, room, size):
        first = min(at, room - size)
        of_devices = np.asarray(take(dealt, first))[:, at - first :]
        rows = of_devices.swapaxes(0, 1).reshape(-1, width)
        yield rows[: count - at * mesh.size]


@cache
def _block(devices: jax.sharding.Mesh, size: int, width: int) -> Any:
    """Return what gives every device the rows of all from a place on, [N, size, width]."""

    def of_device(dealt: Array, first: ArrayLike) -> Array:
        taken = lax.dynamic_slice(dealt[0], (first, 0), (size, width))
        gathered: Array = lax.all_gather(taken, AXIS)
        return gathered

    return jax.jit(
        jax.shard_map(
            of_device,
            mesh=devices,
            in_specs=(DEALT, EVERYWHERE),
            out_specs=EVERYWHERE,
            check_vma=False,
        )
    )


def own_places(ids: ArrayLike, devices: int, room: int) -> Array:
    """Return the places of the rows `ids` [M], which are distinct, in this device's part of a dealt
    table, [room, ...]; of rows that are another's, distinct places past its end.
    """
    ids = jnp.asarray(ids)
    is_own = ids % devices == lax.axis_index(AXIS)
    return jnp.where(is_own, ids // devices, room + jnp.arange(len(ids), dtype=ids.dtype))


def share() -> tuple[Array, int] | None:
    """Return which share of a batch this device has, and of how many; None outside the programs of
    a mesh, where batches are whole.
    """
    try:
        return lax.axis_index(AXIS), lax.axis_size(AXIS)
    except NameError:
        return None


def named(mesh: Mesh | None) -> dict[str, str]:
    """Return what an environment says of the devices; nothing where there is one. Of CPUs, also how
    many this process has: they share its threads, by whose number XLA splits sums.
    """
    count, every = 1 if mesh is None else mesh.size, jax.devices()
    if mesh is not None and mesh.processes.count > 1:
        return {MESH: f"{count} in {mesh.processes.count} processes"}
    if every[0].platform == "cpu" and len(every) != count:
        return {MESH: f"{count} of {len(every)}"}
    return {} if mesh is None else {MESH: str(count)}
