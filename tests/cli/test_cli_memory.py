"""Memory that a device lacks, wherever XLA finds that out, is one line with what to do."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from helpers.commands import RUN, Done, check_refusal, inspect_json, reprise, train
from reprise.retrieval import vectors
from reprise.runs import loop
from reprise.runs.folder import RunFolder
from reprise.runtime import device
from reprise.training import dispatch, setup
from reprise.training.dispatch import Work

SAID = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 137438953472 bytes"
STEPS = ("--steps", 10)


def lacks_memory(*_: object, **__: object) -> None:
    """Fail as XLA does, whose error goes on for lines about buffers."""
    raise jax.errors.JaxRuntimeError(f"{SAID}.\nBufferAssignment OOM Debugging.\n...")


@pytest.fixture
def no_memory_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_make_interests", lambda *_: lacks_memory)


def check_one_line(done: Done) -> None:
    check_refusal(done, 8, SAID, "smaller")
    assert [line[:6] for line in done.stderr.splitlines()][-1:] == ["Error:"]
    assert "BufferAssignment" not in done.stderr
    assert ".." not in done.stderr.splitlines()[-1]


def at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_initial_arrays", lacks_memory)


def at_step_8(monkeypatch: pytest.MonkeyPatch) -> None:
    def making(*given: Any) -> Iterator[Work]:
        failing = Work(8, lambda arrays: lacks_memory())  # type: ignore[arg-type, return-value]
        for work in dispatch.work_of(*given):
            yield failing if work.last == 8 else work

    monkeypatch.setattr(loop, "work_of", making)


def at_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_make_interests", lambda *_: lacks_memory)


@pytest.mark.parametrize("fail", [at_the_start, at_step_8, at_the_evaluation])
def test_train_ends_in_one_line_and_resumes_exactly(
    fail: Callable[[pytest.MonkeyPatch], None],
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        fail(patch)
        check_one_line(train(small_data, tmp_path / "a", *STEPS))
    for runs in ("a", "b"):
        assert train(small_data, tmp_path / runs, *STEPS).returncode == 0
    digests = {inspect_json(tmp_path / runs / RUN)["state_digest"] for runs in ("a", "b")}
    assert len(digests) == 1


@pytest.mark.usefixtures("no_memory_for_users")
@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "RUN"),
        ("export", "RUN", "OUT", "--split", "test"),
        ("report", "RUN", "--output", "OUT"),
    ],
)
def test_commands_of_a_model_end_in_one_line(
    words: tuple[str, ...], undisturbed: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    named = {"RUN": undisturbed.path, "OUT": tmp_path / "out"}
    found = set(tmp_path.iterdir())
    check_one_line(reprise(*(named.get(word, word) for word in words), "--data-dir", small_data))
    assert set(tmp_path.iterdir()) == found  # nothing half written


@pytest.mark.usefixtures("no_memory_for_users")
def test_run_guarded_says_what_frees_an_accelerator(
    undisturbed: RunFolder, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "present", lambda: True)
    done = reprise("evaluate", undisturbed.path, "--data-dir", small_data)
    check_refusal(done, 8, SAID, "JAX_PLATFORMS=cpu")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "said",
    [
        "INTERNAL: CUDA_ERROR_OUT_OF_MEMORY",
        "INTERNAL: cuBLAS: CUBLAS_STATUS_ALLOC_FAILED",
        "FAILED_PRECONDITION: DNN library initialization failed: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_run_guarded_knows_what_cuda_says_of_no_memory(
    said: str, undisturbed: RunFolder, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise jax.errors.JaxRuntimeError(said)

    monkeypatch.setattr(vectors, "_make_interests", lambda *_: fails)
    check_refusal(reprise("evaluate", undisturbed.path, "--data-dir", small_data), 8, said)
