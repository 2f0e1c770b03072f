"""Set up the process before JAX starts: XLA's threads and flags, and the allocator.

Importing the package changes nothing. The command line calls `setup` first; in Python, the
functions that train call it. A run's results depend on it, bitwise.
"""

import os
import re
import sys
from importlib.util import find_spec

from reprise.errors import UsageError
from reprise.runtime.memory import share_one_heap
from reprise.text.messages import Phrase

_DEFAULT_THREADS, MOST_THREADS = 2, 999
_VARIABLE = "REPRISE_XLA_THREADS"


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
    share_one_heap()
    return in_time


def xla_threads() -> int:
    """Return the number of XLA threads; raise UsageError if the variable is invalid."""
    asked = os.environ.get(_VARIABLE, "").strip() or str(_DEFAULT_THREADS)
    if not re.fullmatch("[1-9][0-9]{0,2}", asked):
        expected = Phrase("good_whole_within", low=1, high=MOST_THREADS)
        raise UsageError("bad_value", option=_VARIABLE, value=asked, expected=expected)
    return int(asked)


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
