"""Reprise: train multi-interest recommenders, stop at any instant, take up again exactly."""

import os
import re
from importlib.util import find_spec

from reprise.allocator import share_one_heap

__version__ = "0.2.0"

# XLA cuts sums into as many pieces as its pool has threads, by default one a core: a fixed number
# gives the same bytes on any number of cores. It reads the variable when its backend starts.
# What is no such number is refused by the commands, which can say so: until then, the default.
_DEFAULT_THREADS, MOST_THREADS = 2, 999
THREADS_ASKED = os.environ.get("REPRISE_XLA_THREADS", "").strip() or str(_DEFAULT_THREADS)
THREADS_KNOWN = re.fullmatch("[1-9][0-9]{0,2}", THREADS_ASKED) is not None
XLA_THREADS = int(THREADS_ASKED) if THREADS_KNOWN else _DEFAULT_THREADS
os.environ["NPROC"] = str(XLA_THREADS)

# A GPU is to sum in a fixed order, by kernels that are not chosen by how fast each was just now.
# Nothing is asked for where there is none: XLA refuses to start where it does not know a flag.
if any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
    _FLAGS = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in _FLAGS:
        os.environ["XLA_FLAGS"] = f"{_FLAGS} --xla_gpu_deterministic_ops=true".lstrip()

share_one_heap()
