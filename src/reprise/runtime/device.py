"""Accelerator settings that differ from a CPU's: steps per dispatch, and full float32 products.

XLA is asked for sums in a fixed order before it starts, in `runtime.setup`.
"""

import jax

from reprise.errors import DeviceError
from reprise.text.messages import Phrase

# At the shape of Books, a GPU runs a step faster than Python dispatches it. The number is limited
# by how long a stop request may wait.
_STEPS = 16


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
