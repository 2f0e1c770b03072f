"""The tests of this folder need four devices; `make test` gives them to a process of their own."""

import jax
import pytest


@pytest.fixture(autouse=True)
def four_devices() -> None:
    if len(jax.devices()) != 4:
        pytest.skip("needs JAX_NUM_CPU_DEVICES=4")
