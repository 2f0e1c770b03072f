"""Runs of several seeds as one group: trained and resumed by one command, compared as one."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest

import reprise as api
from helpers.checkpoints import no_warning
from helpers.commands import QUICK, Done, check_refusal, inspect_json, reprise, train
from reprise.errors import CheckpointError, UsageError
from reprise.evaluation import intervals
from reprise.runs import results, session
from reprise.runs.evaluation import evaluate_run
from reprise.runs.folder import RunFolder
from reprise.runs.loop import evaluate_state
from reprise.runs.manage.groups import find_group, seeds_of, statistics
from reprise.runs.session import Outcome, Request, run_session
from reprise.views import Group

FLAGS = ("--steps", 10, "--top-n", 10)


def train_group(data: Path, runs: Path, *options: object) -> Done:
    return train(data, runs, *FLAGS, "--seeds", "3,4", *options)


@pytest.fixture(scope="module")
def trained(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A folder of the runs of a group "t" of seeds 3 and 4, and what the training printed."""
    runs = tmp_path_factory.mktemp("group")
    done = train_group(small_data, runs)
    assert done.returncode == 0, done.stderr
    return runs, done


def numbers(line: str, metric: str) -> list[float]:
    found = re.search(rf"{re.escape(metric)} ([\d.]+)(?: ± ([\d.]+))?", line)
    assert found, line
    return [float(number) for number in found.groups() if number]


def test_seeds_train_ordinary_runs(
    trained: tuple[Path, Done], small_data: Path, tmp_path: Path
) -> None:
    runs, _ = trained
    assert {path.name for path in runs.iterdir() if path.name[0] != "."} == {
        "small_t-s3",
        "small_t-s4",
    }
    alone = train(small_data, tmp_path, *FLAGS, "--seed", 4, "--name", "t-s4")
    assert alone.returncode == 0, alone.stderr
    of_group, of_itself = (inspect_json(folder / "small_t-s4") for folder in (runs, tmp_path))
    assert of_group["state_digest"] == of_itself["state_digest"]


def test_seeds_end_with_mean_and_deviation(trained: tuple[Path, Done]) -> None:
    lines = trained[1].stdout.splitlines()
    place = lines.index("Mean ± standard deviation of 2 seeds:")
    each = [line for line in lines[:place] if line.startswith("test  ")]
    (line,) = [line for line in lines[place:] if line.startswith("test  ")]
    for metric in ("Recall@10", "NDCG@50"):
        values = [numbers(one, metric)[0] for one in each]
        assert len(values) == 2
        mean, deviation = numbers(line, metric)
        assert mean == pytest.approx(fmean(values), abs=2e-6)
        assert deviation == pytest.approx(stdev(values), abs=2e-6)


def test_seeds_stop_and_resume_by_the_same_command(
    trained: tuple[Path, Done], small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(request: Request, console: Any, own_process: bool) -> Outcome:
        def evaluate(*given: Any) -> dict[str, float]:
            if request.config.name == "t-s3":
                os.kill(os.getpid(), signal.SIGINT)
            return evaluate_state(*given)

        return run_session(request, console, evaluate, own_process)

    with monkeypatch.context() as patched:
        patched.setattr(session, "run_session", interrupted)
        stopped = train_group(small_data, tmp_path)
    assert stopped.returncode == 130
    assert not (tmp_path / "small_t-s4").exists()
    (command,) = [line for line in stopped.stdout.splitlines() if "reprise train" in line]
    words = shlex.split(command[command.index("reprise train") :])
    done = reprise(*words[1:])
    assert done.returncode == 0, done.stderr
    for name in ("small_t-s3", "small_t-s4"):
        of_group, resumed = (inspect_json(folder / name) for folder in (trained[0], tmp_path))
        assert of_group["state_digest"] == resumed["state_digest"]
    assert (
        train_group(small_data, tmp_path).stdout.splitlines()[-2:]
        == (trained[1].stdout.splitlines()[-2:])
    )


def test_seeds_resume_by_the_groups_name(
    trained: tuple[Path, Done], small_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    where = ("--runs-dir", tmp_path, "--data-dir", small_data)
    done = reprise("resume", "t", *where)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == trained[1].stdout.splitlines()[-2:]
    refused = reprise("resume", "t", *where, "--change-learning-rate", 0.1)
    check_refusal(refused, 2, "'t' is a group of runs", "small_t-s3")
    check_refusal(reprise("resume", "nobody", *where), 6, "nobody")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--seeds", "3,x"), "seeds = '3,x' is invalid: expected integers >= 0, such as"),
        (("--seeds", "4294967296"), "seed = 4294967296 is invalid"),
        (("--seeds", "3", "--seed", 4), "Give only one of --seeds, --seed."),
        (("--seeds", "3", "--new"), "Give only one of --seeds, --new."),
    ],
)
def test_seeds_refuse_what_is_no_group(
    small_data: Path, tmp_path: Path, options: tuple[object, ...], said: str
) -> None:
    check_refusal(train(small_data, tmp_path, *options), 2, said)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", ["19, 20,19", [19, 20, 19], np.array([19, 20])])
def test_seeds_are_each_taken_once(given: Any) -> None:
    assert seeds_of(given) == (19, 20)


@pytest.mark.parametrize("given", ["", (), "1.5", (1.5,), (True,), 19])
def test_seeds_of_refuses_what_is_not_a_list_of_seeds(given: Any) -> None:
    with pytest.raises(UsageError, match="seeds = "):
        seeds_of(given)


def test_find_group_prefers_a_run_of_that_name(trained: tuple[Path, Done]) -> None:
    runs, _ = trained
    group = find_group(runs, "t")
    assert [folder.path.name for folder in group.folders] == ["small_t-s3", "small_t-s4"]
    assert [folder.path.name for folder in find_group(runs, "t-s4").folders] == ["small_t-s4"]
    with pytest.raises(CheckpointError):
        find_group(runs, "t-")
    said = "'t' is a group of runs: give one of t-s3, t-s4."
    check_refusal(reprise("inspect", "t", "--runs-dir", runs, "--lang", "en"), 6, said)


def test_statistics_skip_metrics_that_a_run_lacks() -> None:
    found = statistics([{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": None}])
    assert found == {"a": {"mean": 1.5, "deviation": pytest.approx(0.5**0.5)}}
    assert statistics([{"a": 1.0}]) == {"a": {"mean": 1.0, "deviation": None}}


def compare(runs: Path, data: Path, *options: object) -> str:
    done = reprise("runs", "compare", *options, "--runs-dir", runs, "--data-dir", data)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_compare_pairs_groups_and_runs_on_the_same_users(
    trained: tuple[Path, Done], small_data: Path
) -> None:
    runs, _ = trained
    facts = json.loads(compare(runs, small_data, "t-s3", "t", "--paired", "--json"))
    three, group = facts["groups"]
    assert (three["runs"], group["runs"]) == (["t-s3"], ["t-s3", "t-s4"])
    values = facts["metrics"]["recall@10"][1:]
    assert group["metrics"]["recall@10"] == {"mean": fmean(values), "deviation": stdev(values)}
    assert three["metrics"]["recall@10"]["deviation"] is None

    def by_user(name: str) -> Any:
        folder = RunFolder(runs / f"small_{name}")
        found = evaluate_run(
            folder.path, lambda data: small_data / data, "test", "best", no_warning
        )
        return found.evaluation.by_user["recall@20"]

    paired = facts["paired"]
    assert (paired["split"], paired["users"]) == ("test", 20)
    assert [len(subject["runs"]) for subject in paired["subjects"]] == [1, 2]
    found = paired["metrics"]["recall@20"]
    first, both = by_user("t-s3"), (by_user("t-s3") + by_user("t-s4")) / 2
    assert found["values"] == pytest.approx([first.mean(), both.mean()])
    (difference,) = found["differences"]
    assert difference["difference"] == pytest.approx((both - first).mean())
    bounds = intervals.bootstrap({"": both - first})[""]
    assert difference["interval"] == pytest.approx(list(bounds))
    shown = compare(runs, small_data, "t-s3", "t", "--paired")
    assert re.search(r"^Seeds +1 +2$", shown, re.M)
    assert "The best models on the same 20 test users" in shown
    low, high = difference["interval"]
    assert f"{difference['difference']:.6f} [{low:.6f}, {high:.6f}]" in shown


def test_table_shows_a_group_as_its_mean_and_deviation(
    trained: tuple[Path, Done], small_data: Path
) -> None:
    runs, _ = trained
    facts = json.loads(compare(runs, small_data, "t-s3", "t", "--split", "test", "--json"))
    assert [run["name"] for run in facts["runs"]] == ["t-s3", "t-s3", "t-s4"]
    assert [group["runs"] for group in facts["groups"]] == [["t-s3"], ["t-s3", "t-s4"]]
    first, *values = [cell["value"] for cell in facts["metrics"]["recall@10"]]
    assert first == values[0]
    mean, deviation = fmean(values), stdev(values)
    found = facts["groups"][1]["metrics"]["recall@10"]
    assert found == {"mean": mean, "deviation": deviation}

    beside = compare(runs, small_data, "t-s4", "t", "--markdown").splitlines()
    assert beside[0] == "|  | t-s4 | t |"
    (row,) = [line for line in beside if line.startswith("| Recall@10 |")]
    assert f"{mean:.6f} ± {deviation:.6f}" in row
    alone = compare(runs, small_data, "t", "--latex").splitlines()
    assert alone[2] == r" & t-s3 & t-s4 & t \\"
    (row,) = [line for line in alone if line.startswith("Recall@10")]
    assert row.endswith(rf" & {mean:.6f} ± {deviation:.6f} \\")
    assert "textbf" not in "".join(alone)
    shown = compare(runs, small_data, "t", "--split", "test")
    assert "groups: mean ± standard deviation over seeds" in shown
    assert f"{mean:.6f} ± {deviation:.6f}" in shown

    text = compare(runs, small_data, "t-s3", "t", "--csv")
    lines = [line for line in csv.DictReader(text.splitlines()) if line["metric"] == "recall@10"]
    assert [(line["run"], line["seeds"]) for line in lines] == [
        *(("t-s3", "1"), ("t-s3", "1"), ("t-s4", "1"), ("t", "2"))
    ]
    assert (float(lines[-1]["value"]), float(lines[-1]["deviation"])) == (mean, deviation)
    assert (lines[-1]["folder"], lines[-1]["users"], lines[-1]["low"]) == ("", "20", "")


def test_table_has_no_mean_of_a_group_that_is_not_fully_measured(
    trained: tuple[Path, Done], small_data: Path, tmp_path: Path
) -> None:
    runs = Path(shutil.copytree(trained[0], tmp_path / "runs"))
    (runs / "small_t-s4" / results.FILE).unlink()
    done = reprise("runs", "compare", "t", "--markdown", "--runs-dir", runs)
    assert done.returncode == 0
    assert "reprise evaluate t-s4 --split test" in done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| Recall@10 |")]
    assert row.endswith(" | - | - |")


def test_compare_refuses_to_pair_a_single_group(
    trained: tuple[Path, Done], small_data: Path
) -> None:
    shown = compare(trained[0], small_data, "t")  # two runs
    assert "mean ± standard deviation" in shown
    done = reprise("runs", "compare", "t", "--paired", "--runs-dir", trained[0])
    check_refusal(done, UsageError.exit_code, "Give at least two runs to compare.")
    both = ("t-s3", "t", "--paired", "--csv", "--runs-dir", trained[0])
    done = reprise("runs", "compare", *both)
    check_refusal(done, UsageError.exit_code, "Give only one of --paired, --csv.")


def train_from_python(data: Path, runs: Path, **changes: Any) -> Group:
    """Call `reprise.train` for the group of `train_group`."""
    named = zip(QUICK[::2], QUICK[1::2], strict=True)
    given = {flag.removeprefix("--").replace("-", "_"): text for flag, text in named}
    values: dict[str, Any] = {k: int(v) if v.isdigit() else v for k, v in given.items()}
    asked = {"steps": 10, "top_n": 10, "seeds": (3, 4), **values, **changes}
    group: Group = api.train(asked.pop("dataset"), data_dir=data, runs_dir=runs, **asked)
    return group


def test_group_from_python_equals_that_of_the_command_line(
    trained: tuple[Path, Done],
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs, printed = trained
    group = train_from_python(small_data, tmp_path)
    assert capsys.readouterr().out == ""
    for name, run in zip(("small_t-s3", "small_t-s4"), group.runs, strict=True):
        assert run.path == tmp_path / name
        digests = [inspect_json(folder / name)["state_digest"] for folder in (runs, tmp_path)]
        assert digests[0] == digests[1]
    again = train_from_python(small_data, tmp_path, progress=True, lang="en")
    assert again == group
    assert capsys.readouterr().out.splitlines()[-2:] == printed.stdout.splitlines()[-2:]


def test_group_from_python_stops_and_resumes_as_one(
    trained: tuple[Path, Done], small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(request: Request, console: Any, own_process: bool) -> Outcome:
        def evaluate(*given: Any) -> dict[str, float]:
            if request.config.name == "t-s4":
                os.kill(os.getpid(), signal.SIGINT)
            return evaluate_state(*given)

        return run_session(request, console, evaluate, own_process)

    with monkeypatch.context() as patched:
        patched.setattr(session, "run_session", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_from_python(small_data, tmp_path)
    group = train_from_python(small_data, tmp_path)
    for run in group.runs:
        found = [inspect_json(place / run.path.name) for place in (trained[0], tmp_path)]
        assert found[0]["state_digest"] == found[1]["state_digest"]


def test_group_shows_mean_and_deviation(trained: tuple[Path, Done], small_data: Path) -> None:
    runs, _ = trained
    group = Group("t", tuple(api.Run(runs / f"small_t-s{n}", small_data) for n in (3, 4)))
    for found, each in (
        (group.best, [run.best for run in group.runs]),
        (group.results["test"], [run.results["test"] for run in group.runs]),
    ):
        assert found is not None
        values = [one["recall@10"] for one in each if one is not None]
        assert found["recall@10"] == {"mean": fmean(values), "deviation": stdev(values)}
        assert "step" not in found
    assert group.best is not None
    mean, deviation = group.best["recall@10"].values()
    shown = f"recall@10 {mean:.6f} ± {deviation:.6f}"
    assert repr(group) == f"Group('t': seeds 3, 4, best {shown})"
    assert f"<td>{shown}</td>" in group._repr_html_()
    assert "<th style='text-align:left'>t-s4</th>" in group._repr_html_()
    nothing = Group("t", (*group.runs, api.Run(runs, small_data)))
    assert nothing.best is None
    assert nothing.results == {"valid": None, "test": None}
    assert repr(nothing).endswith("best -)")


def test_evaluate_of_a_group_is_the_mean_over_its_runs(
    trained: tuple[Path, Done], small_data: Path
) -> None:
    runs, _ = trained
    where = ("--runs-dir", runs, "--data-dir", small_data, "--cutoffs", "5,10", "--lang", "en")
    done = reprise("evaluate", "t", *where, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["name"], list(facts["runs"])) == ("t", ["t-s3", "t-s4"])
    alone = {name: api.evaluate(name, cutoffs=(5, 10), runs_dir=runs) for name in facts["runs"]}
    assert facts["runs"] == json.loads(json.dumps(alone))
    for key in ("recall@5", "gini@10"):
        values = [of_run[key] for of_run in alone.values()]
        assert facts["metrics"][key] == {"mean": fmean(values), "deviation": stdev(values)}
    group = Group("t", tuple(api.Run(runs / f"small_t-s{n}", small_data) for n in (3, 4)))
    for asked in (group, "t"):
        found = api.evaluate(asked, cutoffs=(5, 10), metrics="recall", runs_dir=runs)
        assert set(found["metrics"]) == {"recall@5", "recall@10"}
        assert found["metrics"]["recall@5"] == facts["metrics"]["recall@5"]
    shown = reprise("evaluate", "t", *where)
    mean, deviation = (facts["metrics"]["recall@5"][one] for one in ("mean", "deviation"))
    assert "Group: t (t-s3, t-s4)" in shown.stdout, shown.stderr
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("Recall@5 ")]
    assert line.endswith(f"{mean:.6f} ± {deviation:.6f}")
    said = "'t' is a group of runs: the curve over several --lambda is drawn for one run."
    check_refusal(reprise("evaluate", "t", *where, "--lambda", "0,1"), 2, said)
    with pytest.raises(UsageError, match="over several diversity is drawn for one run"):
        api.evaluate(group, diversity=(0, 1))


def test_group_from_python_is_refused_where_one_run_is_needed(
    trained: tuple[Path, Done], small_data: Path, tmp_path: Path
) -> None:
    runs, _ = trained
    group: Any = Group("t", tuple(api.Run(runs / f"small_t-s{n}", small_data) for n in (3, 4)))
    for call in (
        lambda: api.load(group),
        lambda: api.train("small", name="x", final_fit=group, runs_dir=tmp_path),
    ):
        with pytest.raises(UsageError, match=r"'t' is a group of 2 runs.*group\.runs\[0\]"):
            call()
    with pytest.raises(UsageError, match="Give only one of seeds, seed, new"):
        train_from_python(small_data, tmp_path, seed=1, new=True)
    assert not list(tmp_path.iterdir())
