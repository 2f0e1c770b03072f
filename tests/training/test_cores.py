"""The train step gives the same bytes on one core and on two."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import COMPILED, ENVIRONMENT

pytestmark = pytest.mark.users_bits

# At ComiRec's sizes: smaller sums are not cut into pieces. The last program, the largest, is
# compiled anew whatever is kept of the others.
STEPS = """
import os, sys
from reprise.runtime.setup import setup; setup()
os.sched_setaffinity(0, [int(core) for core in sys.argv[2].split(",")])
from pathlib import Path
import jax
from reprise.config.schema import TrainConfig
from reprise.data.dataset import open_dataset
from reprise.models.registry import REGISTRY
from reprise.training.setup import fresh_state, make_task, up_to_date
from reprise.training.optimizers import make_update
from reprise.training.state import take_snapshot
encoder = {"encoder_layers": 2, "encoder_heads": 2, "dropout": 0.2}
models = sys.argv[3].split() or REGISTRY
for model, more in [*((model, {}) for model in models), ("ComiRec-SA", encoder)]:
    config = TrainConfig(dataset="demo", name="cores", model=model, **more)
    jax.config.update("jax_enable_compilation_cache", not more)
    task = make_task(config, open_dataset(Path(sys.argv[1])))
    state = fresh_state(task)
    for step in range(1, 4):
        update = make_update(0.001, step)
        state = state.at(task.step(state.arrays, task.sampler.batch(0, step), update))
        state = up_to_date(task, state.at(state.arrays, step=step))
    print(model, more, take_snapshot(state).digest())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
@pytest.mark.parametrize(
    ("models", "compiled"),
    [
        ("ComiRec-DR", "by the first"),
        pytest.param("", "by the first", marks=pytest.mark.long),
        pytest.param("", "by each", marks=pytest.mark.long),
    ],
)
def test_step_is_bitwise_equal_on_one_core_and_two(
    demo_data: Path, tmp_path: Path, models: str, compiled: str
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("there is one core only")
    environment = {name: value for name, value in ENVIRONMENT.items() if name != COMPILED}
    if compiled == "by the first":
        environment |= {COMPILED: str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    printed = [
        subprocess.run(
            [sys.executable, "-c", STEPS, demo_data / "demo", ",".join(map(str, used)), models],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for used in (cores[:1], cores[:2])
    ]
    assert printed[0]
    assert printed[0] == printed[1]
