"""Reprise: train multi-interest recommenders, stop at any instant, take up again exactly."""

import os
from importlib.util import find_spec

from reprise.allocator import share_one_heap

__version__ = "0.2.0"

# XLA cuts sums into as many pieces as its pool has threads, by default one a core: a fixed number
# gives the same bytes on any number of cores. It reads the variable when its backend starts.
XLA_THREADS = int(os.environ.get("REPRISE_XLA_THREADS", "2"))
os.environ["NPROC"] = str(XLA_THREADS)

# A GPU is to sum in a fixed order, by kernels that are not chosen by how fast each was just now.
# Nothing is asked for where there is none: XLA refuses to start where it does not know a flag.
if any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
    _FLAGS = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in _FLAGS:
        os.environ["XLA_FLAGS"] = f"{_FLAGS} --xla_gpu_deterministic_ops=true".lstrip()

share_one_heap()
