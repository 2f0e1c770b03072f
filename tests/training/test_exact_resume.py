"""Every model's run, stopped and resumed, ends as one that was never stopped."""

import os
import signal
from pathlib import Path

import pytest

from commands import Recorder, run_small
from reprise.models import REGISTRY
from reprise.runs.inspection import describe
from reprise.runs.run import RunFolder

STOPS = (1, 4, 6, 9)  # before, at and after the evaluations of a run of ten steps


def digest(folder: RunFolder) -> str:
    def no_warning(key: str, **values: object) -> None:
        raise AssertionError(f"{key}: {values}")

    return str(describe(folder.path, "latest", no_warning)["state_digest"])


@pytest.mark.parametrize("model", REGISTRY)
def test_stopped_again_and_again_equals_undisturbed(
    small_data: Path, tmp_path: Path, model: str
) -> None:
    _, _, undisturbed = run_small(small_data, tmp_path / "a", model=model, max_steps=10)
    for stop_at in STOPS:

        def stop(step: int, at: int = stop_at) -> None:
            if step == at:
                os.kill(os.getpid(), signal.SIGTERM)

        outcome, _, _ = run_small(
            small_data, tmp_path / "b", Recorder(stop), model=model, max_steps=10
        )
        assert (outcome.exit_code, outcome.progress.step) == (143, stop_at)
    outcome, _, folder = run_small(small_data, tmp_path / "b", model=model, max_steps=10)
    assert outcome.exit_code == 0
    assert digest(folder) == digest(undisturbed)
    assert folder.metrics.read_bytes() == undisturbed.metrics.read_bytes()
