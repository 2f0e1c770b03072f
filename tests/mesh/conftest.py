"""The tests of this folder need four devices; `make test` gives them to a process of their own."""

from pathlib import Path

import jax
import pytest

from helpers.commands import run_small
from reprise.runs.folder import RunFolder


@pytest.fixture(autouse=True)
def four_devices() -> None:
    if len(jax.devices()) != 4:
        pytest.skip("needs JAX_NUM_CPU_DEVICES=4")


@pytest.fixture(scope="session")
def on_four(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of 20 steps on four devices, never stopped."""
    _, _, folder = run_small(small_data, tmp_path_factory.mktemp("on_four"), devices=4)
    return folder
