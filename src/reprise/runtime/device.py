"""The device: accelerator settings that differ from a CPU's, and arrays in the device's own memory.

XLA is asked for sums in a fixed order before it starts, in `runtime.setup`.
"""

import math
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from reprise.errors import DeviceError
from reprise.runtime.memory import forget
from reprise.text.messages import Phrase

# At the shape of Books, a GPU runs a step faster than Python dispatches it. The number is limited
# by how long a stop request may wait.
_STEPS = 16
_BORROWED_ALIGNMENT = 64  # bytes
LARGE = 1 << 26  # bytes: arrays from this on are copied by blocks of rows
_AT_ONCE = 1 << 24  # bytes of a block


def present() -> bool:
    """Return whether JAX computes on an accelerator; DeviceError where it cannot use any device
    that JAX_PLATFORMS names.
    """
    try:
        return jax.default_backend() != "cpu"
    except (RuntimeError, AssertionError) as error:  # AssertionError: of CUDA without its plugin
        platforms = jax.config.jax_platforms  # type: ignore[attr-defined]
        if not platforms:
            raise
        reason = str(error).partition("\n")[0].partition(" (set JAX_PLATFORMS")[0].rstrip(".")
        raise DeviceError(
            "device_refused", platforms=platforms, reason=reason or Phrase("device_none")
        ) from error


def steps_at_once() -> int:
    """Return the maximum number of steps per dispatch."""
    return _STEPS if present() else 1


def multiply_in_float32() -> None:
    """Multiply in full float32 in everything traced from now on. By default a GPU uses 10 bits of
    the mantissa, a precision at which none of the documented results were measured; a CPU uses all.
    """
    precision = "highest" if present() else None
    jax.config.update("jax_default_matmul_precision", precision)  # type: ignore[no-untyped-call]


def own(array: NDArray[Any], on: jax.Device | None = None) -> Array:
    """Put an array on a device (None: the default one), in memory that JAX owns: aligned NumPy
    memory, which JAX would borrow, cannot be donated to the step.
    """
    if array.ndim and array.nbytes >= LARGE:
        return own_by_blocks(array, array.shape, on)
    if array.ctypes.data % _BORROWED_ALIGNMENT == 0:
        with nullcontext() if on is None else jax.default_device(on):
            return jnp.array(array)  # copies twice, but copies
    owned: Array = jax.device_put(array, on, may_alias=False)
    return owned.block_until_ready()


def own_by_blocks(
    array: NDArray[Any], shape: tuple[int, ...], on: jax.Device | None = None
) -> Array:
    """Return `own` of rows [n, ...] in an array [room, ...] or [1, room, ...], behind which there
    are zeros. It is copied by blocks of rows, so that a large array is in memory once beside the
    one that is made, or, if it is mapped, a block of it.
    """
    made, axis = jnp.zeros(shape, array.dtype, device=on), len(shape) - array.ndim
    size = min(len(array), max(1, _AT_ONCE * len(array) // max(1, array.nbytes)))
    for first in (min(at, len(array) - size) for at in range(0, len(array), max(1, size))):
        block = np.ascontiguousarray(array[first:][:size])
        made = _put(made, block.reshape(*[1] * axis, *block.shape), first, axis)
        forget(array)
    return made.block_until_ready()


@partial(jax.jit, static_argnums=3, donate_argnums=0)
def _put(made: Array, rows: NDArray[Any], first: int, axis: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(made, rows, first, axis)


def empty(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an array to be filled that JAX borrows without a copy, where it computes on a CPU."""
    size = math.prod(shape)
    room = np.empty(4 * size + _BORROWED_ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _BORROWED_ALIGNMENT
    return room[start:][: 4 * size].view(np.float32).reshape(shape)
