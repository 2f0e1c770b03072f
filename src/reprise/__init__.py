"""Reprise: train multi-interest recommenders, stop at any instant, take up again exactly."""

import os

from reprise.allocator import share_one_heap

__version__ = "0.2.0"

# XLA cuts sums into as many pieces as its pool has threads, by default one a core: a fixed number
# gives the same bytes on any number of cores. It reads the variable when its backend starts.
XLA_THREADS = int(os.environ.get("REPRISE_XLA_THREADS", "2"))
os.environ["NPROC"] = str(XLA_THREADS)

share_one_heap()
