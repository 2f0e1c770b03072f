"""MLflow, Weights & Biases and TensorBoard themselves, without a network: each evaluation once, in
one run, whatever the run is called by then.
"""

import json
import math
import struct
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import RUN, reprise, train
from reprise.runs.manage import remove
from reprise.runs.manage.survey import find, measured, survey
from reprise.tracking import TRACKERS


@pytest.fixture(autouse=True)
def without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keeps what services write in the test's folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb"))
    monkeypatch.chdir(tmp_path)
    yield
    for name in TRACKERS:
        sys.modules.pop(f"reprise.tracking.{name}", None)


def train_and_rename(data: Path, tracker: str) -> dict[str, float]:
    """Train to an end, give the run another name, train on, and return its test results."""
    track = ("--track", tracker) if tracker in TRACKERS else ()
    done = train(data, Path("runs"), "--steps", 10, *track)
    assert done.returncode == 0, done.stderr
    remove.rename(find(Path("runs"), "t"), "better")
    done = reprise("resume", "better", "--steps", 20, *track, "--data-dir", data)
    assert done.returncode == 0, done.stderr
    assert "continues without it" not in done.stdout
    found = measured(survey(find(Path("runs"), "better")), "test")
    assert found is not None
    return {key: value for key, value in found.items() if "@" in key and math.isfinite(value)}


@pytest.mark.filterwarnings("ignore")  # of the services' own libraries
def test_mlflow_has_each_evaluation_and_the_results_of_a_renamed_run(small_data: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    pytest.importorskip("sqlalchemy", reason="MLflow's local store needs sqlalchemy")
    found = train_and_rename(small_data, "mlflow")
    client = import_module("mlflow").MlflowClient()
    experiment = client.get_experiment_by_name("reprise")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name.endswith("_better")
    assert run.data.tags["reprise.run"] == run.info.run_name
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "ComiRec-SA"
    history = client.get_metric_history(run.info.run_id, "valid/recall_at_50")
    assert [metric.step for metric in history] == [5, 10, 15, 20]
    for key, value in found.items():
        name = f"result/test/{key.replace('@', '_at_')}"
        assert run.data.metrics[name] == pytest.approx(value)


@pytest.mark.filterwarnings("ignore")
def test_wandb_has_each_evaluation_and_the_results_of_a_renamed_run(small_data: Path) -> None:
    """Offline, each start writes all that is known under the run's one id, to be sent later."""
    pytest.importorskip("wandb", reason="wandb is not installed")
    found = train_and_rename(small_data, "wandb")
    files = sorted(Path("runs").glob("*/wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({path.name for path in files}) == 1
    first, second = (records(path) for path in files)
    assert (steps(first), steps(second)) == ([5, 10], [5, 10, 15, 20])
    assert [record.run.display_name for record in second if record.HasField("run")][-1].endswith(
        "_better"
    )
    summary = {
        item.key or "/".join(item.nested_key): item.value_json
        for record in second
        if record.HasField("summary")
        for item in record.summary.update
    }
    for key, value in found.items():
        assert float(summary[f"result/test/{key}"]) == pytest.approx(value)


def records(path: Path) -> list[Any]:
    """Return the records of a file of W&B: pieces of LevelDB's log, behind seven bytes."""
    kind = import_module("wandb.proto.wandb_internal_pb2").Record
    content, at, block, found, data = path.read_bytes(), 7, 32768, [], b""
    while at + 7 <= len(content):
        if block - at % block < 7:  # a piece's head is never parted
            at += block - at % block
            continue
        _, size, part = struct.unpack_from("<IHB", content, at)
        data += content[at + 7 : at + 7 + size]
        at += 7 + size
        if part in (1, 4):  # whole, or the last of several
            found.append(kind.FromString(data))
            data = b""
    return found


def steps(found: list[Any]) -> list[int]:
    return [record.history.step.num for record in found if record.HasField("history")]


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_each_evaluation_and_the_results(small_data: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    found = train_and_rename(small_data, "tensorboard")
    reader = import_module("tensorboard.backend.event_processing.event_accumulator")
    folder = Path("runs") / RUN.replace("_t", "_better") / "tensorboard"
    read = {}
    for place in ("branch-0", "results"):
        read[place] = reader.EventAccumulator(str(folder / place))
        read[place].Reload()
    points = read["branch-0"].Scalars("valid/recall@50")
    assert [point.step for point in points] == [5, 10, 15, 20]
    for key, value in found.items():
        (point,) = read["results"].Scalars(f"result/test/{key}")
        assert point.value == pytest.approx(value, rel=1e-6)


def throw_away_and_go_on(data: Path, tracker: str) -> list[dict[str, Any]]:
    """Damage the latest checkpoint, make its step anew with another learning rate, and finish
    without the tracker, which is filled in; return the run's log.
    """
    assert train(data, Path("runs"), "--steps", 10, "--track", tracker).returncode == 0
    (Path("runs") / RUN / "checkpoints" / "ckpt-10" / "rows.npy").write_bytes(b"")
    again = ("--steps", 15, "--change-learning-rate", 0.1)
    done = train(data, Path("runs"), *again, "--track", tracker)
    assert "continues without it" not in done.stdout
    assert train(data, Path("runs"), "--steps", 20).returncode == 0
    filled = reprise("track", "t")
    assert filled.returncode == 0, filled.stderr
    lines = (Path("runs") / RUN / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_shows_what_the_run_holds_after_a_state_was_thrown_away(small_data: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    pytest.importorskip("sqlalchemy", reason="MLflow's local store needs sqlalchemy")
    log = throw_away_and_go_on(small_data, "mlflow")
    client = import_module("mlflow").MlflowClient()
    experiment = client.get_experiment_by_name("reprise")
    now, before = client.search_runs([experiment.experiment_id])  # the newest first
    assert (now.info.status, before.info.status) == ("FINISHED", "KILLED")
    assert now.info.run_name == f"{before.info.run_name} (2)"
    assert (now.data.tags["learning_rate"], now.data.tags["max_steps"]) == ("0.1", "20")
    history = client.get_metric_history(now.info.run_id, "train/loss")
    assert [(one.step, one.value) for one in sorted(history, key=lambda one: one.step)] == [
        (line["step"], line["train_loss"]) for line in log
    ]
    assert any(name.startswith("result/test/") for name in now.data.metrics)


@pytest.mark.filterwarnings("ignore")
def test_wandb_shows_what_the_run_holds_after_a_state_was_thrown_away(small_data: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    throw_away_and_go_on(small_data, "wandb")
    files = list(Path("runs").glob("*/wandb/offline-run-*/*.wandb"))
    first = min(path.stem for path in files)
    sent = sorted((path.stem.removeprefix(first), steps(records(path))) for path in files)
    assert sent == [
        ("", [5]),  # the step that was kept, until the one that was made anew differed
        ("", [5, 10]),
        ("-2", [5, 10, 15]),
        ("-2", [5, 10, 15, 20]),
    ]
