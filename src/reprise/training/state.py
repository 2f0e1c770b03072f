"""TrainState: the one value that all of a run's future depends on. Saving it is checkpointing,
restoring it is resuming.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jax import Array

    from reprise.models.registry import Params


_BORROWED_ALIGNMENT = 64  # bytes
_SINGLE = ("rows", "row_steps", "loss_sum")  # the arrays that are no groups by name


class Arrays(NamedTuple):
    """The device part, consumed and returned by the train step; float32 but for `row_steps`.

    rows [V+1, 3*d] (value | m | v); row_steps [V+1] int32: the update each row stands at, where
    the optimizer lets rows wait (`optimizers`), zeros elsewhere; params, m and v: the network's
    parameters and their Adam moments by name; loss_sum []: sum of the step losses since the last
    evaluation.
    """

    rows: "Array"
    row_steps: "Array"
    params: "Params"
    m: "Params"
    v: "Params"
    loss_sum: "Array"


@dataclass(frozen=True)
class Best:
    """The best evaluation so far: its metric and where on the trajectory it stands."""

    metric: float
    step: int
    branch: int


@dataclass(frozen=True)
class Progress:
    """The host part.

    step: updates made. branch: how often the run was rewound to its best. learning_rate: in force.
    evaluated_step: step of the last evaluation (0: none), metric: its result, None where there is
    none or it was not a number. best: None before the first finite metric.
    evaluations_without_improvement: patience used. seconds: time spent training, over all starts.
    evaluations: the lines of metrics.jsonl up to here.
    """

    learning_rate: float
    step: int = 0
    branch: int = 0
    evaluated_step: int = 0
    metric: float | None = None
    best: Best | None = None
    evaluations_without_improvement: int = 0
    seconds: float = 0.0
    evaluations: tuple[str, ...] = ()

    @property
    def is_best(self) -> bool:
        """Whether this very state is the best one."""
        best = self.best
        return best is not None and (best.branch, best.step) == (self.branch, self.step)

    @property
    def is_rated(self) -> bool:
        """Whether `metric` is of this very state."""
        return self.step > 0 and self.evaluated_step == self.step

    def trajectory(self) -> dict[str, Any]:
        """Return the fields that decide what follows: all but time spent and the record."""
        values = asdict(self)
        del values["seconds"], values["evaluations"]
        return values


@dataclass(frozen=True)
class TrainState:
    """Everything a run is: `arrays` on the device, `progress` on the host."""

    arrays: Arrays
    progress: Progress

    def at(self, arrays: Arrays, **changes: Any) -> "TrainState":
        """Return the state with other arrays and changed progress fields."""
        return TrainState(arrays, replace(self.progress, **changes))


@dataclass(frozen=True)
class Snapshot:
    """A host copy of a TrainState: `arrays` by flat name ("rows", "params.bilinear", ...)."""

    arrays: Mapping[str, NDArray[Any]]
    progress: Progress

    def digest(self) -> str:
        """Return SHA-256 over the canonical bytes of all that decides the trajectory: the arrays
        by name with dtype and shape, little-endian, and `Progress.trajectory` as sorted JSON.
        """
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays.items()):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{name} {little.dtype.str} {array.shape}\n".encode())
            digest.update(little.data)
        digest.update(json.dumps(self.progress.trajectory(), sort_keys=True).encode())
        return digest.hexdigest()


def take_snapshot(state: TrainState, into: Snapshot | None = None) -> Snapshot:
    """Copy the state to the host; later steps, which reuse the device memory, cannot touch it.

    `into`: an earlier snapshot of the same run, whose memory is used again (finding fresh memory
    takes longer than the copy).
    """
    held = {name: getattr(state.arrays, name) for name in _SINGLE}
    for group in ("params", "m", "v"):
        for name, array in getattr(state.arrays, group).items():
            held[f"{group}.{name}"] = array
    if into is None:
        return Snapshot({name: np.array(array) for name, array in held.items()}, state.progress)
    for name, array in held.items():
        np.copyto(into.arrays[name], np.asarray(array), casting="no")
    return Snapshot(into.arrays, state.progress)


def restore(snapshot: Snapshot) -> TrainState:
    """Put a snapshot back on the device, as `own` does."""
    groups: dict[str, dict[str, Array]] = {"params": {}, "m": {}, "v": {}}
    for name, array in snapshot.arrays.items():
        group, _, key = name.partition(".")
        if key:
            groups[group][key] = own(array)
    rows, row_steps, loss_sum = (own(snapshot.arrays[name]) for name in _SINGLE)
    arrays = Arrays(rows=rows, row_steps=row_steps, loss_sum=loss_sum, **groups)
    return TrainState(arrays, snapshot.progress)


def own(array: NDArray[Any]) -> "Array":
    """Put an array on the device, in memory of the device's own: what JAX borrows from NumPy, as it
    does with aligned memory, it cannot let the step write in place.
    """
    import jax
    import jax.numpy as jnp

    if array.ctypes.data % _BORROWED_ALIGNMENT == 0:
        return jnp.array(array)  # copies twice, but copies
    owned: Array = jax.device_put(array, may_alias=False)
    return owned.block_until_ready()
