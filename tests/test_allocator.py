"""A step's memory is reused by the next step instead of being allocated again."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import ENVIRONMENT
from reprise.runtime import memory

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


@pytest.mark.parametrize("version", [1, 2])
def test_available_memory_is_what_a_container_leaves(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, used, inactive = memory._LIMITS[2 - version]
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    monkeypatch.setattr(memory, "_of_machine", lambda: 90_000_000)
    assert memory.available_memory() == 90_000_000
    (tmp_path / used).parent.mkdir(exist_ok=True)
    (tmp_path / limit).write_text("50000000\n")
    (tmp_path / used).write_text("30000000\n")
    assert memory.available_memory() == 20_000_000
    (tmp_path / used).with_name("memory.stat").write_text(f"anon 7\n{inactive} 5000000\nfile 9\n")
    assert memory.available_memory() == 25_000_000
    (tmp_path / limit).write_text("max\n")
    assert memory.available_memory() == 90_000_000
