"""TrainState: the one value that determines the rest of a run.

Saving it is checkpointing, restoring it is resuming.
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jax import Array

    from reprise.models.registry import Params
    from reprise.runtime.mesh import Mesh


TABLES = ("rows", "row_steps", "average.rows")  # the arrays with a row an item
_SHARE = re.compile(rf"({'|'.join(map(re.escape, TABLES))})\.(\d+)-of-(\d+)")
_SINGLE = ("rows", "row_steps", "loss_sum")  # the fields that are single arrays
_GROUPS = ("params", "m", "v", "steps", "average")  # those that are arrays by name


class Arrays(NamedTuple):
    """The arrays on the device, consumed and returned by the train step; float32 but `row_steps`.

    On a mesh, TABLES are dealt, [N, ceil((V+1) / N), ...] (`runtime.mesh`).

    Attributes:
        rows: [V+1, 3*d] item table (value | m | v).
        row_steps: [V+1] int32, the last update applied to each row; zeros where the optimizer
            leaves no update pending (`optimizers`).
        params, m, v: The network's parameters and their Adam moments, by name.
        steps: By name, what `row_steps` are of the item rows, of those parameters whose rows are
            updated as these are (`feature_rows`).
        average: The averages of rows and parameters by name (`averaging`); empty without.
        loss_sum: [] sum of the step losses since the last evaluation.
    """

    rows: "Array"
    row_steps: "Array"
    params: "Params"
    m: "Params"
    v: "Params"
    steps: "Params"
    average: "Params"
    loss_sum: "Array"

    def by_table(self, of_table: Callable[[Any], Any]) -> "Arrays":
        """Return the arrays with of_table(array) in the place of each of TABLES."""
        average = dict(self.average)
        if "rows" in average:
            average["rows"] = of_table(average["rows"])
        rows, row_steps = map(of_table, (self.rows, self.row_steps))
        return self._replace(rows=rows, row_steps=row_steps, average=average)


@dataclass(frozen=True)
class Best:
    """The best evaluation so far: its metric, step and branch."""

    metric: float
    step: int
    branch: int


@dataclass(frozen=True)
class LogMark:
    """How far a log of evaluations goes: its lines, its bytes, and their digest, which is chained
    from line to line, so that a line costs the same however many there are.
    """

    lines: int = 0
    size: int = 0
    digest: str = ""

    @classmethod
    def of(cls, content: bytes) -> "LogMark":
        """Return the mark of a log's content."""
        mark = cls()
        for line in io.BytesIO(content):
            mark = mark.after(line)
        return mark

    def after(self, line: bytes) -> "LogMark":
        """Return the mark with one more line, its newline included."""
        digest = hashlib.sha256(self.digest.encode() + line).hexdigest()
        return LogMark(self.lines + 1, self.size + len(line), digest)


@dataclass(frozen=True)
class Progress:
    """The values on the host.

    Attributes:
        learning_rate: The current one.
        step: Updates made.
        branch: How often the run was rewound to its best.
        evaluated_step: Step of the last evaluation; 0: none.
        metric: Its result; None if there is none or it is not finite.
        best: The best evaluation; None before the first finite metric.
        evaluations_without_improvement: Patience used.
        seconds: Time spent training, over all starts.
        logged: How far the log of evaluations goes that led here (`checkpoints.log`).
    """

    learning_rate: float
    step: int = 0
    branch: int = 0
    evaluated_step: int = 0
    metric: float | None = None
    best: Best | None = None
    evaluations_without_improvement: int = 0
    seconds: float = 0.0
    logged: LogMark = LogMark()

    @property
    def is_best(self) -> bool:
        """Whether this state is the best one."""
        best = self.best
        return best is not None and (best.branch, best.step) == (self.branch, self.step)

    @property
    def is_rated(self) -> bool:
        """Whether `metric` was measured on this state."""
        return self.step > 0 and self.evaluated_step == self.step

    def trajectory(self) -> dict[str, Any]:
        """Return the fields that determine the rest of the run: all but time spent and the log."""
        values = asdict(self)
        del values["seconds"], values["logged"]
        return values


@dataclass(frozen=True)
class TrainState:
    """The complete state of a run: `arrays` on the device, `progress` on the host."""

    arrays: Arrays
    progress: Progress

    def at(self, arrays: Arrays, **changes: Any) -> "TrainState":
        """Return the state with other arrays and changed progress fields."""
        return TrainState(arrays, replace(self.progress, **changes))


@dataclass(frozen=True)
class Snapshot:
    """A host copy of a TrainState: `arrays` by flat name ("rows", "params.bilinear", ...). On a
    mesh, instead of tables, shares of devices: "rows.0-of-4" has the rows 0, 4, 8, ...
    """

    arrays: Mapping[str, NDArray[Any]]
    progress: Progress

    def joined(self) -> "Snapshot":
        """Return the snapshot with its tables whole, where it has all shares of them."""
        whole = {name: array for name, array in self.arrays.items() if share_of(name) is None}
        for name, array in self.arrays.items():
            if share := share_of(name):
                table, place, devices = share
                if table not in whole:
                    every = (self.arrays[share_name(table, one, devices)] for one in range(devices))
                    whole[table] = np.empty((sum(map(len, every)), *array.shape[1:]), array.dtype)
                whole[table][place::devices] = array
        return Snapshot(whole, self.progress)

    def digest(self) -> str:
        """Return the SHA-256 of all that determines the rest of the run: the arrays by name with
        dtype and shape, little-endian, and `Progress.trajectory` as sorted JSON.
        """
        digest = hashlib.sha256()
        for name, array in sorted(self.joined().arrays.items()):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{name} {little.dtype.str} {array.shape}\n".encode())
            digest.update(little.data)
        digest.update(json.dumps(self.progress.trajectory(), sort_keys=True).encode())
        return digest.hexdigest()


class Shaped(NamedTuple):
    """The shape and type of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def share_name(table: str, place: int, devices: int) -> str:
    """Return the name in snapshots of a device's share of a table."""
    return f"{table}.{place}-of-{devices}"


def share_of(name: str) -> tuple[str, int, int] | None:
    """Return the table, place and number of devices of a share's name; None of other names."""
    match = _SHARE.fullmatch(name)
    return None if match is None else (match[1], int(match[2]), int(match[3]))


def take_snapshot(
    state: TrainState,
    into: Snapshot | None = None,
    num_rows: int | None = None,
    copied: bool = True,
) -> Snapshot:
    """Copy the state to the host, out of reach of later steps, which reuse the device memory.

    Args:
        into: An earlier snapshot of the same run, whose memory is reused: allocating takes longer
            than copying.
        num_rows: V + 1, where the rows are dealt to several devices (`runtime.mesh`): a snapshot
            has the shares of this process's devices then.
        copied: False for a view, to be dropped before the next step.
    """
    held = {
        name: part
        for field, array in _named(state.arrays)
        for name, part in (
            _shares(field, array, num_rows)
            if num_rows is not None and field in TABLES
            else [(field, np.asarray(array))]
        )
    }
    if not copied:
        return Snapshot(held, state.progress)
    if into is None:
        return Snapshot({name: np.array(array) for name, array in held.items()}, state.progress)
    for name, array in held.items():
        np.copyto(into.arrays[name], array, casting="no")
    return Snapshot(into.arrays, state.progress)


def _shares(table: str, array: "Array", num_rows: int) -> "Iterator[tuple[str, NDArray[Any]]]":
    """Yield the shares of a dealt table on this process's devices, with their names."""
    devices = array.shape[0]
    for shard in array.addressable_shards:
        place = shard.index[0].start or 0
        count = share_length(place, num_rows, devices)
        yield share_name(table, place, devices), np.asarray(shard.data)[0, :count]


def share_length(place: int, num_rows: int, devices: int) -> int:
    """Return how many of a table's rows are dealt to the device in a place."""
    return len(range(place, num_rows, devices))


def snapshot_shapes(arrays: Arrays, num_rows: int | None = None) -> dict[str, "Shaped"]:
    """Return the shapes and types by name of what snapshots hold of arrays, or of their shapes:
    those of all processes. num_rows: as `take_snapshot` takes it.
    """
    shapes = {}
    for name, array in _named(arrays):
        if num_rows is None or name not in TABLES:
            shapes[name] = Shaped(tuple(array.shape), np.dtype(array.dtype))
            continue
        devices, _, *rest = array.shape
        for place in range(devices):
            shape = (share_length(place, num_rows, devices), *rest)
            shapes[share_name(name, place, devices)] = Shaped(shape, np.dtype(array.dtype))
    return shapes


def _named(arrays: Arrays) -> "Iterator[tuple[str, Array]]":
    """Yield the arrays with their flat names."""
    yield from ((name, getattr(arrays, name)) for name in _SINGLE)
    for group in _GROUPS:
        yield from ((f"{group}.{name}", array) for name, array in getattr(arrays, group).items())


def restore(snapshot: Snapshot, mesh: "Mesh | None" = None) -> TrainState:
    """Put a snapshot back on the device, in memory that JAX owns, or on the devices of a mesh, of
    which it has all rows or the shares of this process.
    """
    from reprise.runtime import device

    put = device.own if mesh is None else mesh.everywhere
    values: dict[str, Any] = {}
    shares: dict[str, dict[int, NDArray[Any]]] = {}
    for name, array in snapshot.arrays.items():
        if share := share_of(name):
            shares.setdefault(share[0], {})[share[1]] = array
        else:
            values[name] = mesh.deal(array) if mesh and name in TABLES else put(array)
    for table, own in shares.items():
        assert mesh is not None
        values[table] = mesh.dealt(own)
    groups: dict[str, dict[str, Array]] = {group: {} for group in _GROUPS}
    for name in [name for name in values if name not in _SINGLE]:
        group, _, key = name.partition(".")
        groups[group][key] = values.pop(name)
    return TrainState(Arrays(**values | groups), snapshot.progress)
