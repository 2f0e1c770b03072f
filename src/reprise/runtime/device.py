"""What an accelerator is given that a CPU is not: many steps at once, products of whole float32.

Sums in a fixed order are asked of XLA before it starts, in `reprise.__init__`.
"""

import jax

# A step at the shape of Books takes a GPU less than Python takes to send it off. As many are made
# at once as a stop may wait for.
_STEPS = 16


def present() -> bool:
    """Whether JAX computes on something else than the CPU."""
    return jax.default_backend() != "cpu"


def steps_at_once() -> int:
    """Return how many steps the device is given by one dispatch, at most."""
    return _STEPS if present() else 1


def multiply_in_float32() -> None:
    """Have what is traced from now on multiply float32 as float32: by default a GPU multiplies its
    first 10 bits, an accuracy at which none of the documented numbers were measured.
    """
    if present():
        jax.config.update("jax_default_matmul_precision", "highest")  # type: ignore[no-untyped-call]
