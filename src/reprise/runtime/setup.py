"""Set up the process before JAX starts: XLA's threads and flags, JAX's options, the allocator.

Importing the package changes nothing. The command line calls `setup` first; in Python, the
functions that train call it. A run's results depend on it, bitwise.
"""

import os
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from reprise.errors import UsageError
from reprise.runtime.memory import share_one_heap
from reprise.text.messages import Phrase

_DEFAULT_THREADS, MOST_THREADS = 2, 999
_VARIABLE = "REPRISE_XLA_THREADS"
# JAX's options that decide a result's bits, at its defaults whatever the environment says. Another,
# the precision of products, depends on the device: `runtime.device`.
PINNED: Mapping[str, Any] = {
    "jax_threefry_partitionable": True,
    "jax_default_prng_impl": "threefry2x32",
    "jax_enable_custom_prng": False,
    "jax_random_seed_offset": 0,
    "jax_high_dynamic_range_gumbel": False,
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_softmax_custom_jvp": False,
    "jax_use_direct_linearize": True,
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_compiler_enable_remat_pass": True,
    "jax_optimization_level": "UNKNOWN",
    "jax_exec_time_optimization_effort": 0.0,
    "jax_memory_fitting_level": "O2",
    "jax_memory_fitting_effort": 0.0,
}


def setup() -> bool:
    """Set up this process, and return whether it was in time: before JAX started a backend.

    If JAX has started with other threads or flags, XLA keeps those, and results may differ by
    rounding from those of the command line. Calling it again changes nothing. Raise UsageError for
    an invalid REPRISE_XLA_THREADS.
    """
    threads, flags = str(xla_threads()), _flags()
    ready = os.environ.get("NPROC") == threads and os.environ.get("XLA_FLAGS", "") == flags
    in_time = ready or not _jax_has_started()
    if in_time and not ready:
        # XLA splits sums by the number of its threads, by default one per core: a fixed number
        # gives the same bytes on any number of cores. XLA reads NPROC when it starts.
        os.environ["NPROC"] = threads
        if flags:
            os.environ["XLA_FLAGS"] = flags
    _pin()
    share_one_heap()
    return in_time


def xla_threads() -> int:
    """Return the number of XLA threads; raise UsageError if the variable is invalid."""
    asked = os.environ.get(_VARIABLE, "").strip() or str(_DEFAULT_THREADS)
    if not re.fullmatch("[1-9][0-9]{0,2}", asked):
        expected = Phrase("good_whole_within", low=1, high=MOST_THREADS)
        raise UsageError("bad_value", option=_VARIABLE, value=asked, expected=expected)
    return int(asked)


def _pin() -> None:
    """Give JAX's options their pinned values: by the environment, which JAX reads when it is
    imported; where it was already, in its configuration.
    """
    if "jax" not in sys.modules:
        os.environ |= {name.upper(): str(value) for name, value in PINNED.items()}
        return
    import jax

    for name, value in PINNED.items():
        if jax.config.values.get(name, value) != value:
            jax.config.update(name, value)  # type: ignore[no-untyped-call]


def _flags() -> str:
    """Return XLA's flags. On a GPU they ask for sums in a fixed order, by kernels not chosen by
    timing. Without a GPU they are unchanged, since XLA refuses to start with an unknown flag.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    has_gpu = any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    if has_gpu and "xla_gpu_deterministic_ops" not in flags:
        flags = f"{flags} --xla_gpu_deterministic_ops=true".lstrip()
    return flags


def _jax_has_started() -> bool:
    if "jax" not in sys.modules:
        return False
    from jax._src import xla_bridge

    return bool(xla_bridge.backends_are_initialized())
