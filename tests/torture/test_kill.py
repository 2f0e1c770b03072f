"""A run killed at random instants and restarted ends bitwise identical."""

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from helpers.checkpoints import no_warning
from helpers.commands import COMPILED, ENVIRONMENT, reprise_command
from reprise.runs.manage.inspect import describe

pytestmark = pytest.mark.users_bits

SEED = 2026
RUN = "demo_"


def start(data: Path, runs: Path, name: str, cores: int) -> subprocess.Popen[bytes]:
    """Start the run on the first `cores` cores."""
    options = (
        "--dataset demo --model ComiRec-DR --learning-rate 0.005 --steps 200 --test-iter 20"
        " --batch-size 64 --embedding-dim 32 --hidden-size 32"
    )
    available = sorted(os.sched_getaffinity(0))[:cores]
    command = reprise_command(
        *("train", *options.split(), "--name", name, "--data-dir", data, "--runs-dir", runs),
        before=f"os.sched_setaffinity(0, {available})",
    )
    # Each process compiles its steps itself, as users' do.
    environment = {name: value for name, value in ENVIRONMENT.items() if name != COMPILED}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
@pytest.mark.parametrize("most_kills", [1, pytest.param(20, marks=pytest.mark.long)])
def test_train_killed_repeatedly_equals_an_uninterrupted_run(
    demo_data: Path, tmp_path: Path, most_kills: int
) -> None:
    """Scenarios 20, 36, 37, 43 (lightning#688, Keras BackupAndRestore, lightning#19367,
    tensorboard#3732): SIGKILL at random instants; one core against two.
    """
    began = time.monotonic()
    assert start(demo_data, tmp_path, "undisturbed", cores=1).wait(300) == 0
    duration = time.monotonic() - began

    instants = random.Random(SEED)
    kills = 0
    for _ in range(most_kills):
        process = start(demo_data, tmp_path, "killed", cores=2)
        try:
            assert process.wait(instants.uniform(0.2, 0.8) * duration) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert start(demo_data, tmp_path, "killed", cores=2).wait(300) == 0

    assert kills > 0
    undisturbed, killed = tmp_path / f"{RUN}undisturbed", tmp_path / f"{RUN}killed"
    expected, found = (describe(run, "latest", no_warning) for run in (undisturbed, killed))
    assert found["step"] == 200
    assert found["state_digest"] == expected["state_digest"]
    assert found["best"] == expected["best"]
    assert (killed / "metrics.jsonl").read_bytes() == (undisturbed / "metrics.jsonl").read_bytes()
