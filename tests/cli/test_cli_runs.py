"""`reprise runs` and `reprise config show` as a process."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from helpers.checkpoints import harm_file
from helpers.commands import ENVIRONMENT, check_refusal, reprise
from reprise.cli.main import cli
from reprise.errors import RepriseError, RunInUseError, UsageError
from reprise.runs.folder import RunFolder, locked
from reprise.show.runs import thinned


@pytest.fixture
def two(undisturbed: RunFolder, at_step_12: RunFolder, tmp_path: Path) -> Path:
    """A folder of two runs, "t" and "short", of which the second made fewer steps."""
    runs = tmp_path / "runs"
    shutil.copytree(undisturbed.path, runs / undisturbed.path.name)
    short = RunFolder(Path(shutil.copytree(at_step_12.path, runs / "x_short")))
    record = json.loads(short.record.read_text())
    record["config"]["name"] = "short"
    short.record.write_text(json.dumps(record))
    return runs


def say(*arguments: object, typed: str = "") -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli, words, input=typed, env={"REPRISE_LANG": "en"})


def told(*arguments: object, **keywords: Any) -> str:
    done = say(*arguments, **keywords)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def answer(*arguments: object) -> Any:
    return json.loads(told(*arguments, "--json"))


def refused(kind: type[RepriseError], *arguments: object) -> str:
    done = say(*arguments)
    assert isinstance(done.exception, kind), (done.output, done.exception)
    return str(done.exception)


def test_runs_lists_states_and_damage(two: Path) -> None:
    lines = told("runs", "--runs-dir", two).splitlines()
    assert lines[0].split()[:3] == ["Name", "State", "Dataset"]
    assert "Best Recall@10" in lines[0]
    by_name = {line.split()[0]: line for line in lines[1:]}
    assert set(by_name) == {"t", "short"}
    assert "finished" in by_name["short"]
    assert "12/12" in by_name["short"]
    facts = {run["name"]: run for run in answer("runs", "--runs-dir", two)}
    best = facts["t"]["best"]
    assert f"{best['metric']:.6f} @ {best['step']}" in by_name["t"]
    assert (facts["t"]["step"], facts["t"]["state"], facts["t"]["pid"]) == (20, "finished", None)

    short = RunFolder(two / "x_short")
    harm_file(short.checkpoints / "ckpt-12" / "rows.npy", "cut")
    with locked(RunFolder(Path(facts["t"]["folder"]))):
        shown = told("runs", "--runs-dir", two, "--lang", "zh")
    assert "运行中" in shown
    assert "已中断" in shown
    assert "short: 有 1 个损坏的 checkpoint" in shown
    assert "No runs in" in told("runs", "--runs-dir", two / "none")
    assert answer("runs", "--runs-dir", two / "none") == []


def test_runs_show_prints_one_run(two: Path) -> None:
    shown = told("runs", "show", "short", "--runs-dir", two)
    for part in ("State: finished", "Step 12 of 12, branch 0", "ckpt-12", "latest", "started at"):
        assert part in shown
    marked = {line.split()[0] for line in shown.splitlines() if line.endswith("*")}
    assert {"batch_size", "max_steps", "negatives", "dataset"} <= marked
    assert not {"seed", "optimizer", "patience"} & marked
    facts = answer("runs", "--runs-dir", two, "show", "short")  # the group's option counts
    assert [line["step"] for line in facts["evaluations"]] == [4, 8, 12]
    assert facts["config"]["batch_size"] == 16
    assert all(entry["whole"] for entry in facts["checkpoints"])
    (two / "x_short" / "run.json").write_text("{")
    stderr = say("runs", "show", "x_short", "--runs-dir", two).stderr
    assert f"Cannot read {two / 'x_short' / 'run.json'}" in stderr
    assert "Did you mean 'x_short'" in refused(
        RepriseError, "runs", "show", "shrt", "--runs-dir", two
    )


def test_runs_show_history_has_resumes_rewinds_and_changes(two: Path) -> None:
    short = RunFolder(two / "x_short")
    record = json.loads(short.record.read_text())
    record["events"] += [
        {"at": "a", "event": "resumed", "from": "ckpt-12", "step": 12, "branch": 0},
        {"at": "b", "event": "resumed", "from": "ckpt-8", "step": 8, "branch": 1},
        {"at": "c", "event": "resumed", "from": "ckpt-9-b1", "step": 9, "branch": 1},
        {"at": "d", "event": "learning rate changed", "old": 0.1, "new": 0.2, "step": 9},
        {"at": "e", "event": "environment changed", "changes": ["jax: 1 -> 2"], "step": 9},
        {"at": "f", "event": "of a later version", "what": 5},
    ]
    short.record.write_text(json.dumps(record))
    lines = told("runs", "show", "x_short", "--runs-dir", two).splitlines()
    history = lines[lines.index("History") :]
    said = {line.split()[0]: line.split(maxsplit=1)[1].strip() for line in history[2:9]}
    assert said["a"] == "resumed at step 12 of branch 0, from ckpt-12"
    assert said["b"] == "rewound to step 8, from ckpt-8: branch 1 begins"
    assert said["c"] == "resumed at step 9 of branch 1, from ckpt-9-b1"
    assert said["d"] == "learning rate changed from 0.1 to 0.2 at step 9"
    assert said["e"] == "environment changed at step 9: jax: 1 -> 2"
    assert said["f"] == "event of a later version, what 5"


def test_runs_compare_prints_runs_side_by_side(two: Path) -> None:
    shown = told("runs", "compare", "t", "short", "--runs-dir", two, "--metric", "ndcg@20")
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}
    assert rows["max_steps"] == ["20", "12"]
    assert rows["Step"] == ["t", "short"]  # of the curve, the last table
    assert rows["8"][0] == rows["8"][1]
    assert "ndcg@20 step by step (3 of 5 steps" in shown
    assert "trained on different data" not in shown
    state = two / "x_short" / "run.json"
    shutil.rmtree(two / "x_short" / "checkpoints")
    state.write_text(
        state.read_text().replace('"dataset_fingerprint": "', '"dataset_fingerprint": "0')
    )
    assert "trained on different data" in told("runs", "compare", "t", "short", "--runs-dir", two)
    assert "at least two runs" in refused(UsageError, "runs", "compare", "t", "--runs-dir", two)
    steps = [{"step": step, "values": [1.0, 1.0]} for step in range(1000)]
    shown_steps = [line["step"] for line in thinned(steps)]
    assert (len(shown_steps), shown_steps[0], shown_steps[-1]) == (20, 0, 999)


def test_runs_prune_lists_asks_and_deletes(two: Path) -> None:
    def stored() -> list[str]:
        return sorted(str(path) for path in two.glob("*/checkpoints/*"))

    before = stored()
    facts = answer("runs", "prune", "--dry-run", "--runs-dir", two)
    planned = [entry for removal in facts["removals"] for entry in removal["remove"]]
    assert planned
    shown = told("runs", "prune", "--runs-dir", two, typed="n\n")
    assert "Nothing was removed" in shown
    for entry in planned:
        assert Path(entry["path"]).name in shown
    assert "--yes" in refused(UsageError, "runs", "prune", "--json", "--runs-dir", two)
    assert "--yes" in refused(UsageError, "runs", "prune", "--runs-dir", two)  # nobody answers
    assert stored() == before

    with locked(RunFolder(two / "x_short")):
        assert "x_short is running" in told("runs", "prune", "--dry-run", "--runs-dir", two)
        refused(RunInUseError, "runs", "prune", "short", "--yes", "--runs-dir", two)
    assert stored() == before
    assert "Removed" in told("runs", "prune", "--runs-dir", two, typed="y\n")
    left = set(before) - {entry["path"] for entry in planned}
    assert set(stored()) == left
    assert "Nothing to remove" in told("runs", "prune", "--yes", "--runs-dir", two)


def test_runs_export_and_import_round_trip(two: Path, tmp_path: Path) -> None:
    shown = told("runs", "export", "short", tmp_path / "s.tgz", "--runs-dir", two)
    assert "Exported x_short" in shown
    assert "ckpt-12" in shown
    there = tmp_path / "there"
    assert "Imported" in told("runs", "import", tmp_path / "s.tgz", "--runs-dir", there)
    before = answer("runs", "show", "short", "--runs-dir", two)
    after = answer("runs", "show", "short", "--runs-dir", there)
    for key in ("config", "events", "evaluations", "state", "best"):
        assert before[key] == after[key]
    refused(UsageError, "runs", "import", tmp_path / "s.tgz", "--runs-dir", there)


def test_config_show_prints_values_and_sources(two: Path, tmp_path: Path) -> None:
    shown = told("config", "show", "--preset", "modern", "--seed", 7)
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines()[1:]}
    assert rows["seed"] == ["7", "flag"]
    assert rows["maxlen"] == ["50", "preset", "modern"]
    assert rows["top_n"] == ["50", "default"]
    facts = answer("config", "show", "short", "--runs-dir", two, "--patience", 3)
    assert facts["max_steps"] == {"value": 12, "source": "run", "name": "short"}
    assert facts["patience"] == {"value": 3, "source": "flag", "name": None}
    text = told("config", "show", "short", "--runs-dir", two, "--toml")
    recorded = json.loads((two / "x_short" / "run.json").read_text())["config"]
    known = {key: value for key, value in recorded.items() if value is not None}
    assert tomllib.loads(text) == known
    assert "--toml, --json" in refused(UsageError, "config", "show", "--toml", "--json")


def test_runs_works_without_jax_and_refuses_clearly(two: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['reprise', *sys.argv[1:]]\n"
        "from reprise.cli.main import main\n"
        "try: main()\n"
        "finally: print('jax' in sys.modules, 'polars' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "runs", "compare", "t", "short", "--runs-dir", str(two)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "False False", done.stderr
    unknown = reprise("runs", "show", "shrt", "--runs-dir", two, "--lang", "zh")
    check_refusal(unknown, 6, "没有实验 'shrt'。是否想用 'short'")
    (tmp_path / "bad.tar").write_text("bad")
    check_refusal(reprise("runs", "import", tmp_path / "bad.tar"), 3, "cannot be imported")
