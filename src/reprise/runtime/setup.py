"""Set a process up before JAX starts: XLA's threads and flags, and the allocator.

Importing the package changes nothing. The command line calls `setup` first thing; whoever uses the
package from Python has it called by what trains. The bits of a run depend on it.
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
    """Set up this process, and return whether it came in time: JAX had not started a backend yet.

    Where it had, with other threads or flags, XLA keeps those, and bits may differ from those of
    the command line. Calling it again changes nothing. UsageError for a bad REPRISE_XLA_THREADS.
    """
    threads, flags = str(xla_threads()), _flags()
    ready = os.environ.get("NPROC") == threads and os.environ.get("XLA_FLAGS", "") == flags
    in_time = ready or not _jax_has_started()
    if in_time and not ready:
        # XLA cuts sums into as many pieces as its pool has threads, by default one a core: a fixed
        # number gives the same bytes on any number of cores. It reads NPROC when it starts.
        os.environ["NPROC"] = threads
        if flags:
            os.environ["XLA_FLAGS"] = flags
    share_one_heap()
    return in_time


def xla_threads() -> int:
    """Return how many threads XLA is given; UsageError where the variable is no such number."""
    asked = os.environ.get(_VARIABLE, "").strip() or str(_DEFAULT_THREADS)
    if not re.fullmatch("[1-9][0-9]{0,2}", asked):
        expected = Phrase("good_whole_within", low=1, high=MOST_THREADS)
        raise UsageError("bad_value", option=_VARIABLE, value=asked, expected=expected)
    return int(asked)


def _flags() -> str:
    """Return XLA's flags: on a GPU it is to sum in a fixed order, by kernels that are not chosen by
    how fast each was just now. Elsewhere they are left alone: XLA refuses to start where it does
    not know a flag.
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
