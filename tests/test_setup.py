"""`runtime.setup`: what it sets, and whether it was called in time."""

import subprocess
import sys

import pytest

from helpers.commands import ENVIRONMENT
from reprise.errors import UsageError
from reprise.runtime.setup import PINNED, setup, xla_threads

# Where JAX is imported only, there is time; where it computes already, its threads are given.
STARTED = """
import os
import jax
from reprise.runtime.environment import current
from reprise.runtime.setup import setup
if {started}:
    jax.devices()
threads = os.environ.get
print(setup(), threads("NPROC"), setup(), current()["xla threads"] == threads("NPROC"))
"""


def printed(code: str, **changes: str) -> str:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "NPROC"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | changes,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_setup_sets_the_threads_of_a_jax_that_is_only_imported() -> None:
    assert printed(STARTED.format(started=False)) == "True 2 True True"


def test_setup_leaves_a_jax_that_has_started_as_it_is_and_reports_it() -> None:
    assert printed(STARTED.format(started=True)) == "False None False False"


def test_setup_accepts_a_jax_that_started_with_the_same_threads() -> None:
    assert printed(STARTED.format(started=True), NPROC="2") == "True 2 True True"


def test_setup_refuses_a_bad_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRISE_XLA_THREADS", "many")
    with pytest.raises(UsageError, match="REPRISE_XLA_THREADS = 'many' is invalid"):
        setup()
    monkeypatch.setenv("REPRISE_XLA_THREADS", " 4 ")
    assert xla_threads() == 4


PINS = """
import os
{before}
from reprise.runtime.setup import PINNED, setup
setup()
import jax
print([name for name in PINNED if jax.config.values.get(name, PINNED[name]) != PINNED[name]])
print(jax.random.bits(jax.random.key(0), (3,)).tolist())
"""
OTHERS = {
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_ENABLE_X64": "1",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
}


def test_setup_pins_the_options_that_decide_bits() -> None:
    """Whatever the environment says, before JAX is imported and after."""
    plain = printed(PINS.format(before=""))
    assert plain.startswith("[]\n")
    for before in ("", "import jax"):
        assert printed(PINS.format(before=before), **OTHERS) == plain


def test_setup_pins_options_that_this_jax_has() -> None:
    import jax

    assert set(PINNED) <= set(jax.config.values)
