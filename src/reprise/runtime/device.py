"""The device: accelerator settings that differ from a CPU's, and arrays in the device's own memory.

XLA is asked for sums in a fixed order before it starts, in `runtime.setup`.
"""

import math
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from reprise.errors import DeviceError
from reprise.text.messages import Phrase

# At the shape of Books, a GPU runs a step faster than Python dispatches it. The number is limited
# by how long a stop request may wait.
_STEPS = 16
_BORROWED_ALIGNMENT = 64  # bytes


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
    if array.ctypes.data % _BORROWED_ALIGNMENT == 0:
        with nullcontext() if on is None else jax.default_device(on):
            return jnp.array(array)  # copies twice, but copies
    owned: Array = jax.device_put(array, on, may_alias=False)
    return owned.block_until_ready()


def empty(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an array to be filled that JAX borrows without a copy, where it computes on a CPU."""
    size = math.prod(shape)
    room = np.empty(4 * size + _BORROWED_ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _BORROWED_ALIGNMENT
    return room[start:][: 4 * size].view(np.float32).reshape(shape)
