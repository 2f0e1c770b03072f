"""Sweeps: search spaces, deterministic proposals, and resuming."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from helpers.commands import (
    ENVIRONMENT,
    Recorder,
    check_refusal,
    reprise,
    reprise_command,
    small_config,
    state_digest,
    stopping_at,
)
from reprise.cli.commands.sweep import show_results
from reprise.cli.commands.sweep import sweep as sweep_command
from reprise.config.schema import TrainConfig
from reprise.errors import (
    CheckpointError,
    ConfigMismatchError,
    DataError,
    RepriseError,
    RunInUseError,
    UsageError,
)
from reprise.runs.folder import RunFolder
from reprise.runs.lock import held
from reprise.sweeps.space import parse_search, parse_searches
from reprise.sweeps.study import Sweep, distributions, propose, results, run_sweep
from reprise.text.messages import Messages

RATE = ("--search", "learning_rate=0.1,0.2")
SEARCHES = ("learning_rate=1e-3..1e-1:log", "num_interest=1,2,3", "temperature=0,0.1")
TRIALS = 3


class Watcher:
    """Keeps the numbers of the trials; `recorder` is told of the runs of those it is for."""

    def __init__(self, recorder: Recorder | None = None, at: int = -1) -> None:
        self.begun: list[int] = []
        self.ended_with: list[FrozenTrial] = []
        self.covered_by = 0
        self._recorder, self._at = recorder, at

    def began(self, number: int, params: Mapping[str, Any], config: TrainConfig) -> Recorder:
        self.begun.append(number)
        return self._recorder if self._recorder and number == self._at else Recorder()

    def ended(self, number: int, trial: FrozenTrial) -> None:
        self.ended_with.append(trial)

    def covered(self, number: int) -> None:
        self.covered_by = number

    def close(self) -> None:
        pass


def sweep_of(data: Path, place: Path, *searches: str, **changes: Any) -> Sweep:
    """A sweep of the small run in `place`."""
    parsed = parse_searches(searches or SEARCHES)
    given = {"max_steps": 8} | changes
    config = vars(small_config(**given))
    values = {key: value for key, value in config.items() if key not in {s.field for s in parsed}}
    return Sweep(place / "sweeps" / "s", "s", parsed, values, data / "small", place / "runs")


def digests(place: Path) -> dict[str, str]:
    """The digest of each run's final state."""
    return {path.name: state_digest(RunFolder(path)) for path in sorted(place.glob("runs/*"))}


@pytest.fixture(scope="module")
def whole(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a sweep was made without being disturbed; only to be looked at."""
    place = tmp_path_factory.mktemp("whole")
    assert run_sweep(sweep_of(small_data, place), TRIALS, Watcher()) == 0
    return place


def test_parse_searches_converts_values_to_their_types() -> None:
    rate = parse_search("learning-rate=1e-4..1e-2:log")
    assert (rate.field, rate.low, rate.high, rate.log) == ("learning_rate", 1e-4, 1e-2, True)
    assert (rate.settle(0.00123456), rate.settle(0.01000001)) == (0.001235, 0.01)
    assert parse_search("num_interest=2,4,8").choices == (2, 4, 8)
    assert parse_search("steps=50,100").field == "max_steps"
    assert parse_search("model=ComiRec-SA,DNN").choices == ("ComiRec-SA", "DNN")
    whole_numbers = parse_search("embedding_dim=8..64")
    assert whole_numbers.is_whole
    assert str(whole_numbers) == "embedding_dim=8..64"
    assert parse_search("temperature=0,0.1").choices == (0.0, 0.1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rate", "FIELD=LOW..HIGH"),
        ("learning_rate=", "FIELD=LOW..HIGH"),
        ("learning_rate=a..b", "FIELD=LOW..HIGH"),
        ("learning_rate=0.1..0.01", "FIELD=LOW..HIGH"),
        ("learning_rate=0.01..0.1:lin", "FIELD=LOW..HIGH"),
        ("num_interest=2,2", "FIELD=LOW..HIGH"),
        ("num_interest=2.5,3", "FIELD=LOW..HIGH"),
        ("learning_rate=-1,1", "-1.0 is invalid: expected a number from 1e-30 to 1e+30"),
        ("num_interest=0..4", "num_interest = 0 is invalid"),
        ("temperature=0..1:log", "above 0"),
        ("learnin_rate=1,2", "Did you mean 'learning_rate'?"),
        ("top_n=20,50", "--search top_n: trials are told apart or rated by it"),
        ("valid-users=5,10", "--search valid-users: trials are told apart or rated by it"),
        ("train_users=split,all", "--search train_users: trials are told apart or rated by it"),
        ("sampler=uniform,unifrom", "sampler = 'unifrom' is invalid"),
    ],
)
def test_parse_searches_refuses_invalid_searches(text: str, said: str) -> None:
    with pytest.raises(RepriseError) as refusal:
        parse_search(text)
    assert refusal.value.exit_code == 2
    assert said in str(refusal.value)


def test_propose_depends_on_the_seed_and_past_trials_alone(whole: Path) -> None:
    searches = parse_searches(SEARCHES)
    first = propose(searches, 19, [])
    propose(searches, 3, [])
    assert propose(searches, 19, []) == first
    assert propose(searches, 20, []) != first
    found = [trial["params"] for trial in results(whole / "sweeps" / "s")["trials"]]
    assert found[0] == first
    assert len({json.dumps(params) for params in found}) == TRIALS


def test_sweep_tries_each_value_of_a_small_space_once(small_data: Path, tmp_path: Path) -> None:
    sweep, watcher = sweep_of(small_data, tmp_path, "num_interest=2,4,3"), Watcher()
    assert run_sweep(sweep, 7, watcher) == 0
    tried = [trial.params["num_interest"] for trial in watcher.ended_with]
    assert sorted(tried) == [2, 3, 4]
    assert watcher.covered_by == 3
    again = Watcher()
    assert run_sweep(sweep, 7, again) == 0
    assert (again.begun, again.covered_by) == ([], 3)


def test_propose_never_repeats_and_finds_the_last_of_a_grid() -> None:
    searches = parse_searches(("num_interest=1..6", "temperature=0,0.1"))
    ended: list[FrozenTrial] = []
    while (params := propose(searches, 19, ended)) is not None:
        assert params not in [trial.params for trial in ended]
        ended.append(
            optuna.trial.create_trial(
                params=params, distributions=distributions(searches), value=float(len(ended))
            )
        )
    assert len(ended) == 12


def test_sweep_without_any_value_says_so(small_data: Path, tmp_path: Path) -> None:
    done = reprise(
        *("sweep", "--dataset", "small", "--name", "s", "--data-dir", small_data, "--steps", 4),
        *("--search", "batch_size=100000,200000", "--sweeps-dir", tmp_path / "sweeps"),
        *("--runs-dir", tmp_path / "runs", "--test-iter", 4),
    )
    check_refusal(done, 2, "has a value")


def test_sweep_trials_are_ordinary_runs_rated_by_their_best_validation(whole: Path) -> None:
    facts = results(whole / "sweeps" / "s")
    assert facts["metric"] == "recall@10"
    for number, trial in enumerate(facts["trials"]):
        assert trial["number"] == number
        folder = RunFolder(whole / "runs" / trial["run"])
        assert folder.path.name.endswith(f"_s-{number:03d}")
        lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
        assert trial["value"] == max(line["valid_recall@10"] for line in lines)
        identity = json.loads(folder.record.read_text())["identity"]
        for field, value in trial["params"].items():
            assert identity[field] == (value or None)
    values = [trial["value"] for trial in facts["trials"]]
    assert facts["best"] == values.index(max(values))


def test_sweep_stopped_and_killed_ends_as_if_uninterrupted(
    small_data: Path, tmp_path: Path, whole: Path
) -> None:
    sweep = sweep_of(small_data, tmp_path)
    assert run_sweep(sweep, TRIALS, Watcher(stopping_at(3), at=0)) == 128 + signal.SIGTERM
    assert results(sweep.folder)["trials"] == []
    kill_in_trial_1(sweep, small_data, tmp_path)
    watcher = Watcher()
    assert run_sweep(sweep, 2, watcher) == 0
    assert watcher.begun == [1]  # what has ended is not repeated
    assert run_sweep(sweep, TRIALS, Watcher()) == 0  # more trials, later
    assert results(sweep.folder) == results(whole / "sweeps" / "s")
    assert digests(tmp_path) == digests(whole)
    (killed,) = tmp_path.glob("runs/*_s-001")
    resumed = [event["from"] for event in json.loads((killed / "run.json").read_text())["events"]]
    assert resumed == [None, "ckpt-4"]


def kill_in_trial_1(sweep: Sweep, data: Path, place: Path) -> None:
    """Go on with the sweep by its command, and SIGKILL it after an evaluation of trial 1."""
    flags: list[object] = []
    for name, value in sweep.values.items():
        default = getattr(TrainConfig, name, None)
        if name not in ("name", "max_steps") and value != default:
            flags += [f"--{name.replace('_', '-')}", value]
    for search in SEARCHES:
        flags += ["--search", search]
    where = ("--data-dir", data, "--runs-dir", place / "runs", "--sweeps-dir", place / "sweeps")
    command = reprise_command(
        "sweep", "--name", "s", "--steps", 8, "--trials", TRIALS, *flags, *where
    )
    slow = (
        "import sys, time; from reprise.show.run import RunConsole\n"
        "def stepped(self, state): time.sleep(0.2 if '-001' in self.config.name else 0)\n"
        "RunConsole.stepped = stepped; from reprise.cli.main import main; main()"
    )
    command = [command[0], "-c", slow, *command[3:]]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        in_trial_1 = False
        for line in process.stdout:
            in_trial_1 |= line.startswith("Trial 1 ")
            if in_trial_1 and line.startswith("step 4/"):
                break
        checkpoint = "runs/*_s-001/checkpoints/ckpt-4"
        while not list(place.glob(checkpoint)) and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_sweep_rebuilds_a_lost_study_from_the_runs(
    small_data: Path, tmp_path: Path, whole: Path
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    sweep = sweep_of(small_data, tmp_path)
    before, found = digests(tmp_path), results(sweep.folder)
    (sweep.folder / "trials.db").write_bytes(b"not a database" * 100)
    with pytest.raises(CheckpointError, match=r"trials\.db is damaged"):
        run_sweep(sweep, TRIALS, Watcher())
    (sweep.folder / "trials.db").unlink()
    trained = Recorder()
    assert run_sweep(sweep, TRIALS, Watcher(trained, at=1)) == 0
    assert results(sweep.folder) == found
    assert digests(tmp_path) == before
    assert trained.lines == []  # nothing was trained again


def test_sweep_refuses_another_definition_and_a_second_writer(
    small_data: Path, tmp_path: Path
) -> None:
    sweep = sweep_of(small_data, tmp_path, "learning_rate=0.01,0.1", max_steps=4)
    run_sweep(sweep, 1, Watcher())
    for other, said in (
        (sweep_of(small_data, tmp_path, "learning_rate=0.01,0.2", max_steps=4), "search: learning"),
        (sweep_of(small_data, tmp_path, "learning_rate=0.01,0.1"), "max_steps: 4 -> 8"),
    ):
        with pytest.raises(ConfigMismatchError, match=said):
            run_sweep(other, 1, Watcher())
    with held(sweep.folder), pytest.raises(RunInUseError, match=str(os.getpid())):
        run_sweep(sweep, 2, Watcher())


def test_sweep_trains_the_same_values_once_and_fails_bad_ones_alone(
    small_data: Path, tmp_path: Path
) -> None:
    """Three members cannot share the eight dimensions out."""
    sweep = sweep_of(small_data, tmp_path, "ensemble=1,3", max_steps=4)
    watcher = Watcher()
    assert run_sweep(sweep, 6, watcher) == 0
    facts = results(sweep.folder)
    states = {trial["params"]["ensemble"]: trial["state"] for trial in facts["trials"]}
    assert states == {1: "complete", 3: "failed"}
    assert len(watcher.begun) == 1  # of three members there is no run
    assert len(watcher.ended_with) == 2
    good = [trial for trial in facts["trials"] if trial["state"] == "complete"]
    assert len({trial["run"] for trial in good}) == 1
    bad = next(trial for trial in facts["trials"] if trial["state"] == "failed")
    assert bad["reason"].startswith("ensemble = 3 is invalid")
    bad = next(one for one in results(sweep.folder, "zh")["trials"] if one["state"] == "failed")
    assert bad["reason"].startswith("ensemble = 3 无效: 应为 嵌入维度与隐藏层大小 8 的约数")


@pytest.mark.parametrize("search", ["batch_size=16,5000", "min_history=2,900"])
def test_sweep_fails_only_the_trials_with_too_few_users(
    search: str, small_data: Path, tmp_path: Path
) -> None:
    sweep = sweep_of(small_data, tmp_path, search, max_steps=4)
    assert run_sweep(sweep, 6, Watcher()) == 0
    trials = results(sweep.folder)["trials"]
    states = {*(trial["state"] for trial in trials)}
    assert states == {"complete", "failed"}
    bad = next(trial for trial in trials if trial["state"] == "failed")
    assert bad["reason"].startswith("Only ")
    assert bad["params"] in ({"batch_size": 5000}, {"min_history": 900})


def test_sweep_ends_if_no_trial_can_fill_a_batch(small_data: Path, tmp_path: Path) -> None:
    sweep = sweep_of(small_data, tmp_path, "learning_rate=0.1,0.2", batch_size=5000)
    with pytest.raises(DataError, match="Only"):
        run_sweep(sweep, 2, Watcher())
    assert results(sweep.folder)["trials"] == []


def test_sweep_results_are_a_table_a_plot_and_json(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = whole / "sweeps" / "s"
    sweep_command.main(
        ["show", "s", "--sweeps-dir", str(folder.parent), "--json"], standalone_mode=False
    )
    facts = json.loads(capsys.readouterr().out)
    assert facts == results(folder)
    show_results(folder, Messages("zh"), as_json=False)
    shown = capsys.readouterr().out
    ranked = sorted(facts["trials"], key=lambda trial: -trial["value"])
    places = [shown.index(f" {trial['run']} ") for trial in ranked]
    assert places == sorted(places)
    page = (folder / "sweep.html").read_text()
    assert page.count('class="plotly-graph-div"') == 3
    assert "src=" not in page.split("<script", 1)[0]
    assert '<html lang="zh">' in page
    assert "最优: 试验" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--name", "s"], 2, "Missing: --dataset"),
        (["--dataset", "small"], 2, "Missing: --name"),
        (["--name", "s", "--dataset", "small"], 2, "Missing: --search"),
        (["--name", "../s", "--dataset", "small"], 2, "cannot be used as a folder name"),
        (["--name", "s", "--dataset", "small", *RATE, "--learning-rate", "1"], 2, "only one of"),
        (["--name", "s", "--dataset", "small", *RATE, "--trials", "0"], 2, "trials = 0"),
        (["show", "none"], 6, "No sweep at"),
    ],
)
def test_sweep_refuses_bad_requests_in_one_line(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reprise.cli.commands.sweep.end_at_once_on_interrupt", lambda: None)
    with pytest.raises(RepriseError) as refusal:
        sweep_command.main(arguments, standalone_mode=False)
    assert refusal.value.exit_code == code
    assert said in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_sweep_without_optuna_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'reprise-rec\[sweep\]'"):
        sweep_command.main(["show", "s"], standalone_mode=False)
