"""A step's memory is reused by the next step instead of being allocated again."""

import platform
import subprocess
import sys

import pytest

from helpers.commands import ENVIRONMENT

# Page faults of twenty calls that each need a temporary array of 64 MB. What is freed late, by
# another thread, lets the heap grow at first: thirty calls go before.
FAULTS = """
import sys
from reprise.runtime.setup import setup; setup()
from resource import RUSAGE_SELF, getrusage
import jax, jax.numpy as jnp
from reprise.runtime.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
call = jax.jit(lambda x: (x @ x.T) @ x)
rows = jnp.ones((4096, 8))
for count in range(50):
    if count == 30:
        before = getrusage(RUSAGE_SELF).ru_minflt
    call(rows).block_until_ready()
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_keep_freed_memory_reuses_memory() -> None:
    assert faults("kept") < faults("left alone") / 4
