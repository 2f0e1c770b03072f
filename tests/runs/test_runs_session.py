"""Complete sessions in this process: best, patience, branches and budgets over restarts."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.checkpoints import no_warning
from helpers.commands import Recorder, run_small, state_digest, stopping_at
from reprise.checkpoints import store
from reprise.data.dataset import open_dataset
from reprise.errors import UsageError
from reprise.evaluation.evaluate import evaluate
from reprise.runs.folder import RunFolder, find_checkpoint
from reprise.runs.manage.inspect import describe
from reprise.runs.stored import load
from reprise.training.state import Best


def test_session_stopped_at_any_step_resumes_bitwise_the_same(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    for stop_at in (1, 4, 7, 19):
        runs = tmp_path / str(stop_at)
        outcome, _, folder = run_small(small_data, runs, stopping_at(stop_at))
        assert (outcome.exit_code, outcome.progress.step) == (143, stop_at)
        assert outcome.results is None
        outcome, _, _ = run_small(small_data, runs)
        assert outcome.exit_code == 0
        assert state_digest(folder) == state_digest(undisturbed)
        assert folder.metrics.read_bytes() == undisturbed.metrics.read_bytes()


def test_session_extended_equals_the_longer_budget_from_the_start(
    small_data: Path, tmp_path: Path
) -> None:
    _, _, whole = run_small(small_data, tmp_path / "a", max_steps=18)
    for steps in (4, 6, 18):  # 6 and 18 are not multiples of test_iter
        _, _, grown = run_small(small_data, tmp_path / "b", max_steps=steps)
    assert state_digest(grown) == state_digest(whole)
    assert grown.metrics.read_bytes() == whole.metrics.read_bytes()


def test_session_resumed_from_best_loads_it_and_opens_a_branch(
    small_data: Path, tmp_path: Path, scripted: Callable[[dict[int, float]], None]
) -> None:
    """The seed's scenario: the best at one evaluation, worse ones after it, stop, start again."""
    scripted({4: 0.3, 8: 0.5, 12: 0.4, 16: 0.2})
    _, _, folder = run_small(small_data, tmp_path, max_steps=16)
    before = describe(folder.path, "best", no_warning)
    record = folder.metrics.read_text()

    scripted({12: 0.45, 16: 0.49, 20: 0.48})
    outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=20, resume_from="best")
    resumption = recorder.resumption
    assert resumption is not None
    assert resumption.rewound
    assert resumption.snapshot.progress.step == 8
    assert [line["step"] for line in recorder.lines] == [12, 16, 20]
    assert {line["branch"] for line in recorder.lines} == {1}
    assert outcome.progress.best == Best(0.5, 8, 0)
    assert folder.metrics.read_text().startswith(record)
    assert describe(folder.path, "best", no_warning)["state_digest"] == before["state_digest"]


def test_session_branch_takes_another_path_and_is_itself_resumable(
    small_data: Path, tmp_path: Path, scripted: Callable[[dict[int, float]], None]
) -> None:
    digests = []
    for name in ("undisturbed", "stopped"):
        scripted({4: 0.5, 8: 0.4})
        _, _, folder = run_small(small_data, tmp_path, name=name, max_steps=8)
        original = state_digest(folder)
        scripted({8: 0.3, 12: 0.2})
        recorder = stopping_at(7) if name == "stopped" else Recorder()
        run_small(small_data, tmp_path, recorder, name=name, max_steps=12, resume_from="best")
        run_small(small_data, tmp_path, name=name, max_steps=12)
        digests.append(state_digest(folder))
    assert digests[0] == digests[1] != original


def test_session_resumed_from_best_continues_exactly_if_it_is_the_latest(
    small_data: Path, tmp_path: Path, scripted: Callable[[dict[int, float]], None]
) -> None:
    scripted({4: 0.3, 8: 0.5, 12: 0.6})
    _, _, whole = run_small(small_data, tmp_path, name="whole", max_steps=12)
    run_small(small_data, tmp_path, name="two", max_steps=8)
    _, recorder, grown = run_small(
        small_data, tmp_path, name="two", max_steps=12, resume_from="best"
    )
    assert recorder.resumption is not None
    assert not recorder.resumption.rewound
    assert state_digest(grown) == state_digest(whole)


def test_session_of_a_finished_run_reports_so_and_writes_nothing(
    small_data: Path, tmp_path: Path
) -> None:
    _, _, folder = run_small(small_data, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.checkpoints.rglob("*")}
    record = folder.record.read_text()
    outcome, recorder, _ = run_small(small_data, tmp_path)
    assert recorder.keys == ["restored", "finished_already"]
    assert outcome.exit_code == 0
    assert outcome.results is not None
    assert folder.record.read_text() == record  # it does not count as a start
    assert {path: path.stat().st_mtime_ns for path in folder.checkpoints.rglob("*")} == before


def test_session_of_a_finished_run_does_not_rewind_to_an_older_best(
    small_data: Path, tmp_path: Path, scripted: Callable[[dict[int, float]], None]
) -> None:
    scripted({4: 0.5, 8: 0.4})
    run_small(small_data, tmp_path, max_steps=8)
    outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=8, resume_from="best")
    assert recorder.keys == ["restored", "finished_already"]
    assert (outcome.progress.step, outcome.progress.branch) == (8, 0)


@pytest.mark.parametrize(
    "asked", [{"new_learning_rate": math.nan}, {"new_learning_rate": -5.0}, {"best_metric": 7.0}]
)
def test_session_refuses_impossible_requests(
    small_data: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        run_small(small_data, tmp_path, **asked)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", ["ComiRec-DR", "MIND", "DNN"])
def test_session_refuses_a_penalty_on_models_without_attention(
    small_data: Path, tmp_path: Path, model: str
) -> None:
    with pytest.raises(UsageError, match=model):
        run_small(small_data, tmp_path, model=model, routing_penalty=3)
    assert list(tmp_path.iterdir()) == []


def test_session_records_and_keeps_a_changed_learning_rate(
    small_data: Path, tmp_path: Path
) -> None:
    run_small(small_data, tmp_path, max_steps=8)
    _, recorder, folder = run_small(small_data, tmp_path, max_steps=12, new_learning_rate=0.5)
    assert "learning_rate_changed" in recorder.keys
    # The change is durable at once: had the run been killed here, it would stand.
    changed = store.read(folder.checkpoints / "ckpt-12")
    assert changed.progress.learning_rate == 0.5
    outcome, _, _ = run_small(small_data, tmp_path, max_steps=16)
    assert outcome.progress.learning_rate == 0.5
    events = json.loads(folder.record.read_text())["events"]
    assert [event["event"] for event in events] == [
        "created",
        "resumed",
        "learning rate changed",
        "resumed",
    ]


def test_session_keeps_a_learning_rate_changed_back_before_any_step(
    small_data: Path, tmp_path: Path
) -> None:
    """Though a checkpoint of the same step and rate is there from before the change."""

    class KilledError(Exception):
        pass

    def kill(step: int) -> None:
        raise KilledError

    outcome, _, _ = run_small(small_data, tmp_path, max_steps=8)
    for rate in (0.5, outcome.progress.learning_rate):
        with pytest.raises(KilledError):
            run_small(small_data, tmp_path, Recorder(kill), max_steps=12, new_learning_rate=rate)
        _, recorder, folder = run_small(small_data, tmp_path, stopping_at(9), max_steps=12)
        assert "learning_rate_changed" not in recorder.keys
        latest = find_checkpoint(folder.path, "latest", no_warning)
        assert latest.progress.learning_rate == rate
        shutil.rmtree(latest.path)  # back to where no step was made since the change


def test_session_with_valid_users_selects_by_the_sample_and_ends_with_all(
    small_data: Path, tmp_path: Path
) -> None:
    """The sample is the same after a stop, and the output says that it is one."""
    asked: dict[str, Any] = {"valid_users": 6, "max_steps": 8}
    outcome, recorder, folder = run_small(small_data, tmp_path / "a", **asked)
    assert recorder.keys.count("valid_sample") == 1
    dataset = open_dataset(small_data / "small")
    stored = load(folder.path, "latest", no_warning)
    users = dataset.evaluation_users("valid", 6)
    expected = {
        len(some.lengths): evaluate(stored.retriever, some, (10,)).metrics["recall@10"]
        for some in (users, users.sample(6, seed=19))
    }
    assert list(expected) == [20, 6]
    assert recorder.lines[-1]["valid_recall@10"] == expected[6] != expected[20]
    assert outcome.results is not None
    assert stored.checkpoint.progress.is_best
    assert outcome.results["valid"]["recall@10"] == expected[20]

    run_small(small_data, tmp_path / "b", stopping_at(5), **asked)
    _, _, resumed = run_small(small_data, tmp_path / "b", **asked)
    assert resumed.metrics.read_bytes() == folder.metrics.read_bytes()
    _, recorder, _ = run_small(small_data, tmp_path / "c", valid_users=20, max_steps=4)
    assert "valid_sample" not in recorder.keys
