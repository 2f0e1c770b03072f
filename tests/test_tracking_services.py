"""MLflow, Weights & Biases and TensorBoard themselves, without a network: each evaluation once, in
one run, whatever the run is called by then.
"""

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
