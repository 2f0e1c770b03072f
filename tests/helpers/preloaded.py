"""Faults of the system in a real process: `faults.c`, built once and preloaded."""

import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("faults.c")


def built(folder: Path) -> Path:
    """Return the library of faults, built in `folder`; skip the test where nothing builds it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) builds the library of faults")
    library = folder / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cc does not build {_SOURCE.name} here: {done.stderr.strip()[:200]}")
    return library
