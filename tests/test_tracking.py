"""Trackers: every evaluation once, despite kills, rewinds and damage."""

import json
import re
import signal
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from helpers.checkpoints import no_warning
from helpers.commands import (
    ENVIRONMENT,
    QUICK,
    RUN,
    check_refusal,
    evaluating,
    reprise,
    reprise_command,
    scripted_evaluation,
    small_config,
)
from reprise.checkpoints import store
from reprise.data.dataset import open_dataset
from reprise.errors import UsageError
from reprise.runs import results
from reprise.runs.folder import RunFolder, locked
from reprise.runs.loop import evaluate_state
from reprise.runs.manage import archive, remove
from reprise.runs.session import Outcome, Request, run_session
from reprise.show.run import RunConsole, Voice
from reprise.text.messages import Messages
from reprise.text.shown import shown
from reprise.tracking import MARKER, points_of, points_of_results, require
from reprise.tracking.tensorboard import TensorBoardLog
from reprise.training.setup import Task
from reprise.training.state import TrainState

Points = Counter[tuple[str, str, int]]


HOSTILE = "a\x1b[31m\x07\r\u202e@5"


class KilledError(Exception):
    """Stands for SIGKILL: nothing of the session runs after it but its clean-up."""


def points_in(folder: Path) -> dict[tuple[str, str, int], float]:
    """Every point of every file by (branch, tag, step); no reader's rules, and none twice."""
    points: dict[tuple[str, str, int], float] = {}
    for path in sorted(folder.glob("*/events.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + size])
            at += 12 + size + 4
            for value in event.summary.value:
                point = path.parent.name, value.tag, event.step
                assert point not in points, point
                points[point] = value.simple_value
    return points


def check_against_the_record(folder: RunFolder) -> None:
    """The files hold the record's points, and the times of each evaluation."""
    points = points_in(folder.path / "tensorboard")
    expected = {}
    for line in map(json.loads, folder.metrics.read_text().splitlines()):
        branch = f"branch-{line['branch']}"
        for tag, value in points_of(line).items():
            expected[branch, tag, line["step"]] = float(np.float32(value))
        assert points[branch, "time/seconds", line["step"]] > 0
    of_results = {
        (tag, step): points.pop((branch, tag, step))
        for branch, tag, step in list(points)
        if branch == "results"
    }
    assert {key: value for key, value in points.items() if key[1][:5] != "time/"} == expected
    kept = {entry["split"]: entry for entry in results.read(folder.path).entries}  # the newest
    for (tag, step), value in of_results.items():
        _, split, name = tag.split("/")
        assert kept[split]["step"] == step
        assert value == np.float32(kept[split][name])


def session(
    data: Path, runs: Path, config: Any = None, trackers: tuple[str, ...] = (), **asked: Any
) -> tuple[Outcome, RunFolder]:
    """One start of a small run, with everything a user's has."""
    config = config or small_config()
    request = Request(config, data / "small", RunFolder(runs / config.folder_name), **asked)
    console = RunConsole(Voice(Messages("en")), request.config, trackers, live=False)
    try:
        return run_session(request, console, scripted_evaluation()), request.folder
    finally:
        console.close()


def test_tensorboard_has_no_control_characters_of_a_hostile_run(tmp_path: Path) -> None:
    """A run that was imported may have any names in its log."""
    line = {"train_loss": 1.0, "evaluations_without_improvement": 0, f"valid_{HOSTILE}": 0.5}
    log = TensorBoardLog(tmp_path, 1, {0: {4: points_of(line)}, 1: {4: points_of(line)}})
    log.results(4, points_of_results({f"test{HOSTILE}": {HOSTILE: 0.5}}))
    log.close()
    points = points_in(tmp_path)
    tags = {tag for _, tag, _ in points}
    assert f"valid/{shown(HOSTILE)}" in tags
    assert f"result/test{shown(HOSTILE)}/{shown(HOSTILE)}" in tags
    assert all(tag == shown(tag) for tag in tags)
    past = list((tmp_path / "branch-0").iterdir())
    TensorBoardLog(tmp_path, 1, {0: {4: points_of(line)}, 1: {}}).close()
    assert list((tmp_path / "branch-0").iterdir()) == past  # as it is: not written again


@pytest.fixture
def falling() -> Iterator[None]:
    """Makes the first evaluation the best one; all else of it is real."""

    def evaluate(task: Task, state: TrainState, stop: Any) -> dict[str, float]:
        return evaluate_state(task, state, stop) | {"recall@10": 1 / state.progress.step}

    with evaluating(evaluate):
        yield


@pytest.fixture
def killed_before_saving(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a session that is killed when its trackers are ahead of the store."""

    def start(at: int, *arguments: Any, **keywords: Any) -> None:
        real = store.save

        def save(folder: Path, snapshot: Any, *about: Any) -> Path:
            if snapshot.progress.step == at:
                raise KilledError
            return real(folder, snapshot, *about)

        with monkeypatch.context() as patch:
            patch.setattr(store, "save", save)
            with pytest.raises(KilledError):
                session(*arguments, **keywords)

    return start


def test_tensorboard_has_each_point_once_after_kills_and_rewinds(
    small_data: Path,
    tmp_path: Path,
    falling: None,
    monkeypatch: pytest.MonkeyPatch,
    killed_before_saving: Callable[..., None],
) -> None:
    start = small_data, tmp_path
    killed_before_saving(8, *start)
    killed_before_saving(12, *start)
    session(*start, small_config(max_steps=12))
    killed_before_saving(8, *start, resume_from="best")  # a branch that nothing stored knows
    folder = tmp_path / small_config().folder_name
    assert ("branch-1", "train/loss", 8) in points_in(folder / "tensorboard")
    killed_before_saving(16, *start)
    _, run = session(*start, small_config(max_steps=14))
    check_against_the_record(run)
    assert not (folder / "tensorboard" / "branch-1").exists()
    session(*start, resume_from="best")
    check_against_the_record(run)
    steps = sorted(point[::2] for point in points_in(folder / "tensorboard") if point[1] == MARKER)
    assert steps == [
        *(("branch-0", step) for step in (4, 8, 12)),
        *(("branch-1", step) for step in (8, 12, 16, 20)),
    ]


def test_tensorboard_has_each_point_once_after_sigkill(small_data: Path, tmp_path: Path) -> None:
    where = "--data-dir", small_data, "--runs-dir", tmp_path
    command = reprise_command("train", *QUICK, "--steps", 9999999, "--patience", 999999, *where)
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("step 20/") for line in process.stdout)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    folder = RunFolder(tmp_path / RUN)
    last = json.loads(folder.metrics.read_text().splitlines()[-1])["step"]
    as_the_command = {"learning_rate": 0.001, "test_iter": 5, "top_n": 50, "max_steps": last + 10}
    session(small_data, tmp_path, small_config(**as_the_command))
    check_against_the_record(folder)


RECORD = {0: {4: {"a": 0.5, MARKER: 0.0}, 8: {"a": 0.25, MARKER: 1.0}}, 1: {8: {"a": 1.0}}}


@pytest.mark.parametrize("harm", ["cut", "flipped", "deleted", "folder", "doubled", "older"])
def test_tensorboard_rewrites_a_damaged_file_with_its_times(tmp_path: Path, harm: str) -> None:
    log = TensorBoardLog(tmp_path, 0, {0: {}})
    for step, points in RECORD[0].items():
        log.log(step, points | {"time/seconds": step / 2})
    log.log(12, {"a": 9.0})  # ahead of the store
    log.close()
    (path,) = tmp_path.glob("branch-0/events.*")
    whole = path.read_bytes()
    if harm == "cut":
        path.write_bytes(whole[:-7])
    elif harm == "flipped":
        path.write_bytes(whole[:-3] + b"x" + whole[-2:])
    elif harm == "doubled":
        (path.parent / f"{path.name}.host").write_bytes(whole)
    elif harm == "older":  # its own tags, as tensorboardX wrote them
        other = whole.replace(b"\x0a\x01a", b"\x0a\x01b")
        assert other != whole
        path.write_bytes(other)
    else:
        path.unlink()
    if harm == "folder":
        path.mkdir()
    for branch in (1, 0):  # as a branch of the past, and as its own
        TensorBoardLog(tmp_path, branch, RECORD).close()
        found = points_in(tmp_path)
        spent = {key: found.pop(key) for key in list(found) if key[1] == "time/seconds"}
        assert found == {
            (f"branch-{number}", tag, step): value
            for number, evaluations in RECORD.items()
            for step, points in evaluations.items()
            for tag, value in points.items()
        }
        if harm in ("cut", "flipped", "doubled"):
            assert list(spent.values()) == [2.0, 4.0]


def test_tensorboard_leaves_intact_files_of_past_branches_alone(tmp_path: Path) -> None:
    TensorBoardLog(tmp_path, 0, RECORD).close()
    before = {path: path.read_bytes() for path in tmp_path.glob("branch-1/events.*")}
    TensorBoardLog(tmp_path, 0, RECORD).close()
    assert {path: path.read_bytes() for path in tmp_path.glob("branch-1/events.*")} == before


class FakeMlflow:
    """MLflow's client as far as it is used, its store in memory, its refusals real."""

    def __init__(self) -> None:
        self.runs: dict[str, SimpleNamespace] = {}
        self.down = False
        self.module = ModuleType("mlflow")
        entities = ModuleType("mlflow.entities")
        entities.Metric = lambda *values: SimpleNamespace(  # type: ignore[attr-defined]
            **dict(zip(("key", "value", "timestamp", "step"), values, strict=True))
        )
        entities.Param = lambda key, value: (key, value)  # type: ignore[attr-defined]
        self.module.MlflowClient = lambda: self  # type: ignore[attr-defined]
        self.modules = {"mlflow": self.module, "mlflow.entities": entities}

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return name

    def search_runs(self, ids: list[str], query: str, max_results: int) -> list[SimpleNamespace]:
        asked = re.fullmatch(r"tags\.`reprise\.key` (=|LIKE) '([^']+)'", query)
        assert asked is not None
        pattern = re.escape(asked[2]).replace("%", ".*") if asked[1] == "LIKE" else asked[2]
        found = self.runs.values()
        return [run for run in found if re.fullmatch(pattern, run.data.tags["reprise.key"])]

    def get_run(self, run_id: str) -> SimpleNamespace:
        return self.runs[run_id]

    def create_run(self, experiment: str, tags: dict[str, str], run_name: str) -> SimpleNamespace:
        info = SimpleNamespace(run_id=f"id{len(self.runs)}", status="RUNNING", run_name=run_name)
        data = SimpleNamespace(tags=tags, params={})
        self.runs[info.run_id] = SimpleNamespace(info=info, data=data, metrics=[])
        return self.runs[info.run_id]

    def get_metric_history(self, run_id: str, key: str) -> list[SimpleNamespace]:
        return [metric for metric in self.runs[run_id].metrics if metric.key == key]

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        if self.down:
            raise RuntimeError("no\nserver")
        for metric in metrics:
            assert set(metric.key) <= set("abcdefghijklmnopqrstuvwxyz0123456789_/")
            self.runs[run_id].metrics.append(metric)
        assert len(metrics) <= 1_000
        for key, value in params:
            assert self.runs[run_id].data.params.setdefault(key, value) == value

    def update_run(self, run_id: str, status: str, name: str) -> None:
        self.runs[run_id].info.status = status
        self.runs[run_id].info.run_name = name

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        self.runs[run_id].data.tags[key] = value

    def set_terminated(self, run_id: str, status: str) -> None:
        self.runs[run_id].info.status = status

    def steps(self) -> dict[str, list[int]]:
        """The steps of one metric by run."""
        return {name: list(points) for name, points in self.points("train/loss").items()}

    def points(self, tag: str) -> dict[str, dict[int, float]]:
        """The points of a metric by run; each step once."""
        found = {}
        for run in self.runs.values():
            own = [(m.step, m.value) for m in run.metrics if m.key == tag.replace("@", "_at_")]
            name = run.info.run_name.removeprefix(small_config().run_name)
            assert len(dict(own)) == len(own)
            assert name not in found
            found[name] = dict(own)
        return found

    def settings(self) -> list[dict[str, str]]:
        """The settings that are shown, of each run."""
        return [{**run.data.params, **run.data.tags} for run in self.runs.values()]

    def still_running(self) -> list[str]:
        return [run.info.run_name for run in self.runs.values() if run.info.status == "RUNNING"]


class FakeWandb:
    """W&B's module as far as it is used: its steps go up only, and a resumed run knows its own."""

    def __init__(self) -> None:
        self.runs: dict[str, SimpleNamespace] = {}
        self.module = ModuleType("wandb")
        self.module.init = self.init  # type: ignore[attr-defined]
        self.module.Settings = dict  # type: ignore[attr-defined]
        self.modules = {"wandb": self.module}

    def init(self, *, id: str, name: str, resume: str, **other: Any) -> SimpleNamespace:  # noqa: A002
        assert resume == "allow"
        shown: dict[str, Any] = {}
        config = SimpleNamespace(update=lambda values, allow_val_change: shown.update(values))
        fresh = SimpleNamespace(
            name=name, step=0, history={}, config=config, shown=shown, summary={}, **other
        )
        run = self.runs.setdefault(id, fresh)

        def log(points: dict[str, float], step: int, commit: bool) -> None:
            assert commit
            assert step >= run.step  # or it would be dropped
            run.history[step] = points
            run.step = step + 1

        run.log, run.open = log, True
        run.finish = lambda exit_code: vars(run).update(open=False)
        return run

    def settings(self) -> list[dict[str, str]]:
        """The settings that are shown, of each run."""
        return [{key: str(value) for key, value in run.shown.items()} for run in self.runs.values()]

    def still_running(self) -> list[str]:
        return [run.name for run in self.runs.values() if run.open]

    def steps(self) -> dict[str, list[int]]:
        """The steps by run."""
        return {name: list(points) for name, points in self.points("train/loss").items()}

    def points(self, tag: str) -> dict[str, dict[int, float]]:
        """The points of a metric by run."""
        prefix = small_config().run_name
        return {
            run.name.removeprefix(prefix): {
                step: points[tag] for step, points in run.history.items()
            }
            for run in self.runs.values()
        }


@pytest.fixture(params=[FakeMlflow, FakeWandb])
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A tracker's package, in place of the one that may be installed."""
    fake = request.param()
    fake.name = "mlflow" if isinstance(fake, FakeMlflow) else "wandb"
    for name, module in fake.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, f"reprise.tracking.{fake.name}", raising=False)
    yield fake
    sys.modules.pop(f"reprise.tracking.{fake.name}", None)


def test_tracker_has_each_evaluation_once(
    small_data: Path,
    tmp_path: Path,
    service: Any,
    falling: None,
    killed_before_saving: Callable[..., None],
) -> None:
    start: dict[str, Any] = {
        "data": small_data,
        "runs": tmp_path,
        "trackers": (service.name,),
    }
    session(**start, config=small_config(max_steps=4))
    killed_before_saving(12, **start)
    session(small_data, tmp_path, small_config(max_steps=16))  # without it: to be filled in
    session(**start)
    assert service.steps() == {"": [4, 8, 12, 16, 20]}
    session(**start, config=small_config(max_steps=24))
    assert service.steps() == {"": [4, 8, 12, 16, 20, 24]}


def test_tracker_has_a_separate_run_per_branch(
    small_data: Path,
    tmp_path: Path,
    service: Any,
    falling: None,
) -> None:
    start: dict[str, Any] = {
        "data": small_data,
        "runs": tmp_path,
        "trackers": (service.name,),
    }
    session(**start, config=small_config(max_steps=12))
    session(**start, config=small_config(max_steps=16), resume_from="best")
    assert service.steps() == {"": [4, 8, 12], "-b1": [8, 12, 16]}


def test_tracker_that_fails_is_dropped_and_completed_later(
    small_data: Path,
    tmp_path: Path,
    falling: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = FakeMlflow()
    for name, module in fake.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "reprise.tracking.mlflow", raising=False)
    start: dict[str, Any] = {
        "data": small_data,
        "runs": tmp_path,
        "trackers": ("mlflow",),
    }
    session(**start, config=small_config(max_steps=4))
    assert [run.info.status for run in fake.runs.values()] == ["FINISHED"]
    fake.down = True
    outcome, _ = session(**start, config=small_config(max_steps=8))
    assert outcome.progress.step == 8
    warning = "⚠️ mlflow failed (no server); training continues without it."
    assert capsys.readouterr().out.count(warning) == 1
    fake.down = False
    session(**start, config=small_config(max_steps=12))
    assert fake.steps() == {"": [4, 8, 12]}
    sys.modules.pop("reprise.tracking.mlflow", None)


def test_tracker_that_does_not_answer_costs_neither_time_nor_a_checkpoint(
    small_data: Path,
    tmp_path: Path,
    falling: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake, answer, asked = FakeMlflow(), threading.Event(), threading.Event()

    def wait(*arguments: Any, **values: Any) -> None:
        asked.set()
        answer.wait(60)
        raise RuntimeError("gone")

    for name, module in fake.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "reprise.tracking.mlflow", raising=False)
    monkeypatch.setattr("reprise.tracking.sender._SECONDS", {True: 0.1, False: 0.1})
    start: dict[str, Any] = {"data": small_data, "runs": tmp_path, "trackers": ("mlflow",)}
    before = set(threading.enumerate())
    with monkeypatch.context() as silent:
        silent.setattr(fake, "log_batch", wait)
        outcome, folder = session(**start, config=small_config(max_steps=8))
        assert asked.is_set()
        assert "mlflow failed (no answer for 0.1 s)" in capsys.readouterr().out
        answer.set()
        for thread in set(threading.enumerate()) - before:
            thread.join(60)
    assert outcome.progress.step == 8
    assert store.scan(folder.checkpoints)[-1].progress.step == 8
    monkeypatch.setattr("reprise.tracking.sender._SECONDS", {True: 30, False: 30})
    session(**start, config=small_config(max_steps=12))
    assert [steps for steps in fake.steps().values() if steps] == [[4, 8, 12]]
    sys.modules.pop("reprise.tracking.mlflow", None)


def recorded(folder: RunFolder, key: str) -> dict[int, float]:
    """The values of a metric of the current branch, as the run has them."""
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    return {line["step"]: line[key] for line in lines if line["branch"] == lines[-1]["branch"]}


def test_tracker_shows_what_the_run_holds_after_a_state_was_thrown_away(
    small_data: Path, tmp_path: Path, service: Any
) -> None:
    """The latest checkpoint is damaged, and its step made anew with another learning rate."""
    start: dict[str, Any] = {"data": small_data, "runs": tmp_path, "trackers": (service.name,)}
    _, folder = session(**start, config=small_config(max_steps=12))
    before = service.points("train/loss")[""]
    (folder.checkpoints / "ckpt-12" / "rows.npy").write_bytes(b"")
    session(**start, config=small_config(max_steps=16), new_learning_rate=0.05)
    points = service.points("train/loss")
    now = recorded(folder, "train_loss")
    assert now[12] != before[12]
    assert points == {"": before, " (2)": now}
    assert service.still_running() == []
    session(**start, config=small_config(max_steps=20))
    assert service.points("train/loss")[" (2)"] == recorded(folder, "train_loss")
    assert len(service.runs) == 2


def test_tracker_shows_no_step_that_a_shorter_run_no_longer_has(
    small_data: Path, tmp_path: Path, service: Any
) -> None:
    start: dict[str, Any] = {"data": small_data, "runs": tmp_path, "trackers": (service.name,)}
    _, folder = session(**start, config=small_config(max_steps=16))
    for name in ("ckpt-16", "ckpt-12"):
        (folder.checkpoints / name / "rows.npy").write_bytes(b"")
    session(**start, config=small_config(max_steps=8))
    assert service.steps()[" (2)"] == sorted(recorded(folder, "train_loss"))
    assert max(service.steps()[" (2)"]) < 12


def test_tracker_has_an_imported_copy_as_a_run_of_its_own(
    small_data: Path, tmp_path: Path, service: Any
) -> None:
    start: dict[str, Any] = {"data": small_data, "trackers": (service.name,)}
    runs, others = tmp_path / "runs", tmp_path / "others"
    _, folder = session(**start, runs=runs, config=small_config(max_steps=8))
    archive.export(folder, tmp_path / "run.tar", no_warning)
    copy = archive.import_(tmp_path / "run.tar", others)
    session(**start, runs=runs, config=small_config(max_steps=16))
    longer = small_config(max_steps=16, name="u")
    remove.rename(copy, "u")
    _, copy = session(**start, runs=others, config=longer, new_learning_rate=0.05)
    loss = [dict(points) for points in service.points("train/loss").values()]
    assert loss == [recorded(folder, "train_loss"), recorded(copy, "train_loss")]
    assert loss[0][8] == loss[1][8]
    assert loss[0][16] != loss[1][16]


def test_tracker_shows_settings_as_they_are_now(
    small_data: Path, tmp_path: Path, service: Any
) -> None:
    start: dict[str, Any] = {"data": small_data, "runs": tmp_path, "trackers": (service.name,)}
    session(**start, config=small_config(max_steps=4))
    session(**start, config=small_config(max_steps=8, patience=3), new_learning_rate=0.05)
    (shown,) = service.settings()
    now = {"max_steps": "8", "patience": "3", "learning_rate": "0.05", "batch_size": "16"}
    assert {key: shown[key] for key in now} == now
    # Runs on other data stand beside it, maybe of one name.
    assert shown["dataset_fingerprint"] == open_dataset(small_data / "small").fingerprint


def test_tracker_ends_what_a_kill_left_as_running(
    small_data: Path, tmp_path: Path, falling: None, service: Any
) -> None:
    """A branch that was killed before its first save, and is not gone on with, and one that was."""
    start: dict[str, Any] = {"data": small_data, "runs": tmp_path, "trackers": (service.name,)}
    session(**start, config=small_config(max_steps=12))
    if service.name == "mlflow":
        (run,) = service.runs.values()
        run.info.status = "RUNNING"  # as SIGKILL leaves it
        lost = service.create_run("reprise", {**run.data.tags}, "lost")
        lost.data.tags["reprise.key"] = run.data.tags["reprise.key"].removesuffix("0") + "7"
    session(**start, config=small_config(max_steps=16), resume_from="best")
    assert service.still_running() == []


def test_track_fills_in_a_run_that_finished_while_the_tracker_was_away(
    small_data: Path, tmp_path: Path, falling: None, service: Any
) -> None:
    session(small_data, tmp_path, small_config(max_steps=12))
    _, folder = session(small_data, tmp_path, small_config(max_steps=16), resume_from="best")
    where = ("--runs-dir", tmp_path)
    check_refusal(reprise("track", "t", *where), 2, "was not logged to a tracker yet")
    asked = reprise("track", "t", *where, "--track", service.name)
    assert asked.returncode == 0, asked.stderr
    assert f"{service.name} and TensorBoard have all 3 evaluations" in asked.stdout
    assert service.steps() == {"": [4, 8, 12], "-b1": [8, 12, 16]}
    assert service.still_running() == []
    if service.name == "mlflow":
        assert [run.info.status for run in service.runs.values()] == ["KILLED", "FINISHED"]
    before = {name: dict(points) for name, points in service.points("train/loss").items()}
    assert reprise("track", "t", *where).returncode == 0  # the trackers of before, and all known
    assert service.points("train/loss") == before
    with locked(folder):
        check_refusal(reprise("track", "t", *where), 5, "in use")


def test_track_says_that_a_tracker_failed(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeMlflow()
    for name, module in fake.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "reprise.tracking.mlflow", raising=False)
    session(small_data, tmp_path, small_config(max_steps=4))
    fake.down = True
    done = reprise("track", "t", "--runs-dir", tmp_path, "--track", "mlflow")
    check_refusal(done, 10, "mlflow did not take the run's numbers: no server")
    sys.modules.pop("reprise.tracking.mlflow", None)


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_tracker_that_is_not_installed_is_named_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError) as refusal:
        require((name,))
    assert f"--track {name} needs a package" in str(refusal.value)
    assert f"pip install 'reprise-rec[{name}]'" in str(refusal.value)
