"""results.json: results of stored models, and the evaluation of the last step."""

import csv
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.checkpoints import no_warning
from helpers.commands import (
    Recorder,
    check_refusal,
    check_same_end,
    reprise,
    run_small,
    stopping_at,
    train,
)
from reprise import api, durable, views
from reprise.checkpoints import store
from reprise.errors import WriteError
from reprise.runs import results
from reprise.runs.evaluation import evaluate_run, evaluation_facts
from reprise.runs.folder import RunFolder, find_checkpoint
from reprise.runs.manage.groups import Group
from reprise.runs.manage.survey import summary, survey
from reprise.runs.manage.table import table
from reprise.tracking.tensorboard import read_events
from reprise.training.state import Best

Scripted = Callable[[dict[int, float]], None]


@pytest.fixture
def ended(undisturbed: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the run that was never stopped, to be measured anew."""
    return RunFolder(Path(shutil.copytree(undisturbed.path, tmp_path / "runs" / "small_t")))


def test_results_of_a_finished_run_equal_those_of_evaluate(
    small_data: Path, ended: RunFolder
) -> None:
    kept = results.read(ended.path, pytest.fail)
    assert [entry["split"] for entry in kept.entries] == ["valid", "test"]
    assert kept.final is None
    best = find_checkpoint(ended.path, "best", no_warning)
    for split in ("valid", "test"):
        measured = evaluate_run(
            ended.path, lambda name: small_data / name, split, "best", no_warning
        )
        facts = evaluation_facts(measured, split, None)
        entry = kept.of(best, split)
        assert entry is not None
        assert {key: entry[key] for key in facts} == facts | {"checkpoint": best.path.name}
        assert entry["dataset_fingerprint"] == best.identity["dataset_fingerprint"]
        assert (entry["branch"], entry["manifest"]) == (0, store.digest_of(best.path))


def test_results_keep_one_entry_per_way_of_evaluating(small_data: Path, ended: RunFolder) -> None:
    def evaluate(*options: object) -> None:
        where = ("--runs-dir", ended.path.parent, "--data-dir", small_data)
        done = reprise("evaluate", "t", *where, *options)
        assert done.returncode == 0, done.stderr
        # The catalogue has 40 items, and the lists 50.
        assert [line[:8] for line in done.stderr.splitlines()] == ["⚠️ At 50"]

    before = results.read(ended.path).entries
    evaluate()
    kept = results.read(ended.path).entries
    assert [entry["cutoffs"] for entry in kept] == [[10, 20, 50]] * 2
    assert [entry["split"] for entry in kept] == ["valid", "test"]
    assert [{**entry, "at": ""} for entry in kept] == [{**entry, "at": ""} for entry in before]
    evaluate("--top-n", 5)
    evaluate("--filter-seen")
    evaluate("--lambda", 1)
    evaluate("--which", "latest", "--split", "valid")
    kept = results.read(ended.path).entries
    latest = find_checkpoint(ended.path, "latest", no_warning).path.name
    assert [(entry["cutoffs"][0], entry["lambda"], entry["seen_items"]) for entry in kept[2:5]] == [
        (5, None, "kept"),
        (10, None, "filtered"),
        (10, 1.0, "kept"),
    ]
    assert (kept[-1]["checkpoint"], kept[-1]["split"]) == (latest, "valid")
    best = find_checkpoint(ended.path, "best", no_warning)
    plain = results.read(ended.path).of(best, "test")
    assert plain is not None
    assert plain["cutoffs"] == [5, 10, 20, 50]  # of both evaluations
    assert {"recall@5", "recall@10"} <= plain["confidence"]["intervals"].keys()
    assert plain["recall@10"] == before[1]["recall@10"]
    assert {"recall@5", "recall@10"} <= plain["groups"]["popularity"]["tail"].keys()
    assert not list(ended.path.glob(".*"))


def test_results_at_other_cutoffs_alone_are_not_used_by_the_report(
    small_data: Path, ended: RunFolder
) -> None:
    (ended.path / results.FILE).unlink()
    api.evaluate(ended.path, cutoffs=(3,), data_dir=small_data)
    done = reprise("report", ended.path, "--no-evaluation")
    assert done.returncode == 0, done.stderr


def test_results_of_another_state_under_the_same_name_are_ignored(ended: RunFolder) -> None:
    best = find_checkpoint(ended.path, "best", no_warning)
    content = json.loads((ended.path / results.FILE).read_text())
    for entry in content["results"]:
        entry["manifest"] = "0" * 64
    (ended.path / results.FILE).write_text(json.dumps(content))
    assert results.read(ended.path, pytest.fail).of(best, "test") is None


def test_results_of_earlier_versions_are_read_in_todays_names(ended: RunFolder) -> None:
    path, today = ended.path / results.FILE, results.read(ended.path)
    text = path.read_text()
    assert text.count('"held_out"') == 2  # valid and test
    path.write_text(text.replace('"held_out"', '"hidden"'))
    assert results.read(ended.path, pytest.fail) == today
    results.keep(find_checkpoint(ended.path, "best", no_warning), (), no_warning)
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 99, "final": null, "results": []}'])
def test_results_that_are_damaged_are_reported_and_measured_again(
    small_data: Path, tmp_path: Path, ended: RunFolder, text: str
) -> None:
    (ended.path / results.FILE).write_text(text)
    said: list[str] = []
    assert results.read(ended.path, lambda key, **_: said.append(key)) == results.Results()
    assert said == ["results_damaged"]
    _, recorder, folder = run_small(small_data, tmp_path / "runs")
    assert folder == ended
    assert "results_damaged" in recorder.keys
    assert len(results.read(ended.path, pytest.fail).entries) == 2


def test_results_that_cannot_be_written_do_not_fail_the_evaluation(
    ended: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise WriteError("write_refused", path=path, reason="full")

    monkeypatch.setattr(durable, "replace_file", refuse)
    said: list[str] = []
    best = find_checkpoint(ended.path, "best", no_warning)
    results.keep(best, [], lambda key, **_: said.append(key))
    assert said == ["results_unwritten"]


def test_results_of_two_writers_are_both_kept(ended: RunFolder) -> None:
    best = find_checkpoint(ended.path, "best", no_warning)
    facts = results.read(ended.path).entries[0]

    def write(number: int) -> None:
        results.keep(best, [{**facts, "lambda": float(number)}], pytest.fail)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = {entry["lambda"] for entry in results.read(ended.path, pytest.fail).entries}
    assert kept == {None, *map(float, range(8))}


def test_evaluate_of_a_checkpoint_outside_a_run_stores_nothing(
    ended: RunFolder, tmp_path: Path
) -> None:
    best = find_checkpoint(ended.path, "best", no_warning)
    alone = store.read(Path(shutil.copytree(best.path, tmp_path / "a" / best.path.name)))
    results.keep(alone, [results.read(ended.path).entries[0]], pytest.fail)
    assert [path.name for path in tmp_path.rglob(results.FILE)] == [results.FILE]


def test_final_evaluation_between_two_evaluations_does_not_affect_resuming(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    for budget in (2, 7, 10, 12):
        outcome, recorder, folder = run_small(small_data, tmp_path, max_steps=budget)
        assert ("final_rated" in recorder.keys) == (budget != 12)
        assert outcome.results is not None
        assert [line["step"] for line in recorder.lines] == {7: [4], 10: [8], 12: [12]}.get(
            budget, []
        )
        rated = results.read(folder.path).final
        assert rated is not None
        assert rated.step == (10 if budget == 12 else budget)
    outcome, _, folder = run_small(small_data, tmp_path)
    check_same_end(folder, undisturbed)
    assert outcome.best == outcome.progress.best
    stored, expected = (store.best_of(store.scan(run.checkpoints)) for run in (folder, undisturbed))
    assert stored is not None
    assert expected is not None
    assert store.load(stored).digest() == store.load(expected).digest()


def test_final_evaluation_may_be_the_best_until_the_run_is_extended(
    small_data: Path, tmp_path: Path, scripted: Scripted
) -> None:
    scripted({4: 0.3, 8: 0.2, 10: 0.5, 12: 0.4})
    outcome, recorder, folder = run_small(small_data, tmp_path, max_steps=10)
    assert outcome.best == Best(0.5, 10, 0)
    assert outcome.progress.best == Best(0.3, 4, 0)  # what training goes on from knows of no other
    assert recorder.measured_step == 10
    assert find_checkpoint(folder.path, "best", pytest.fail).path.name == "ckpt-10"
    found = survey(folder)
    assert not found.best_lost
    assert summary(found)["best"] == {"metric": 0.5, "step": 10, "branch": 0}
    assert summary(found)["results"]["test"]["checkpoint"] == "ckpt-10"
    assert views.Run(folder.path, small_data).best == {"step": 10, "branch": 0, "recall@10": 0.5}
    done = reprise("evaluate", folder.path, "--data-dir", small_data, "--json")
    assert json.loads(done.stdout)["step"] == 10

    again, recorder, _ = run_small(small_data, tmp_path, max_steps=10)  # nothing is left to do
    assert again.best == outcome.best
    outcome, _, _ = run_small(small_data, tmp_path, max_steps=12)
    assert outcome.best == outcome.progress.best == Best(0.4, 12, 0)
    assert find_checkpoint(folder.path, "best", pytest.fail).path.name == "ckpt-12"


def test_final_evaluation_that_is_worse_is_not_the_best(
    small_data: Path, tmp_path: Path, scripted: Scripted
) -> None:
    scripted({4: 0.3, 6: 0.3})
    outcome, recorder, folder = run_small(small_data, tmp_path, max_steps=6)
    assert outcome.best == Best(0.3, 4, 0)
    assert recorder.measured_step == 4
    assert find_checkpoint(folder.path, "best", pytest.fail).path.name == "ckpt-4"
    assert results.read(folder.path).final is not None


def test_final_evaluation_that_is_nan_is_not_the_best(
    small_data: Path, tmp_path: Path, scripted: Scripted
) -> None:
    scripted({2: float("nan")})
    outcome, _, folder = run_small(small_data, tmp_path, max_steps=2)
    assert outcome.best is None
    assert find_checkpoint(folder.path, "best", pytest.fail).path.name == "ckpt-2"
    assert summary(survey(folder))["best"] is None


def test_final_evaluation_is_left_to_the_end_after_a_stop(small_data: Path, tmp_path: Path) -> None:
    outcome, recorder, folder = run_small(small_data, tmp_path, stopping_at(6), max_steps=10)
    assert (outcome.results, recorder.measured_step) == (None, None)
    assert results.read(folder.path) == results.Results()


def test_results_table_has_the_same_content_in_every_form(
    small_data: Path, tmp_path: Path, ended: RunFolder
) -> None:
    _, _, other = run_small(small_data, tmp_path / "runs", max_steps=4, name="a_b|c")
    facts = table([Group("t", (ended,)), Group("a_b|c", (other,))], "test")
    assert facts["same_data"]
    assert [run["users"] for run in facts["runs"]] == [20, 20]
    cell = facts["metrics"]["recall@10"][0]
    assert cell["low"] <= cell["value"] <= cell["high"]

    def compare(*options: object) -> str:
        names = ("t", "a_b|c", "--runs-dir", tmp_path / "runs")
        done = reprise("runs", "compare", *names, *options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert json.loads(compare("--split", "test", "--json")) == {**facts, "baselines": []}
    shown = f"{cell['value']:.6f} [{cell['low']:.6f}, {cell['high']:.6f}]"
    assert shown in compare("--split", "test")
    markdown = compare("--markdown").splitlines()
    assert markdown[0] == r"|  | t | a_b\|c |"
    assert markdown[1] == "| :-- | --: | --: |"
    assert any(shown in line and line.startswith("| Recall@10 |") for line in markdown)
    latex = compare("--latex").splitlines()
    assert latex[0] == r"\begin{tabular}{lrr}"
    assert latex[2] == r" & t & a\_b|c \\"
    lines = list(csv.DictReader(compare("--csv", "--split", "valid").splitlines()))
    assert {line["run"] for line in lines} == {"t", "a_b|c"}
    assert {line["split"] for line in lines} == {"valid"}
    valid = table([Group("t", (ended,))], "valid")["metrics"]
    for line in lines:
        if line["run"] == "t":
            assert float(line["value"]) == valid[line["metric"]][0]["value"]

    (ended.path / results.FILE).unlink()
    told = reprise("runs", "compare", "t", "a_b|c", "--csv", "--runs-dir", tmp_path / "runs")
    assert "reprise evaluate t --split test" in told.stderr
    assert "t,small_t" not in told.stdout


def test_table_of_one_run_is_its_results(ended: RunFolder) -> None:
    where = ("--runs-dir", ended.path.parent)
    cell = table([Group("t", (ended,))], "test")["metrics"]["recall@10"][0]
    shown = reprise("runs", "compare", "t", "--markdown", *where).stdout.splitlines()
    assert shown[0] == "|  | t |"
    value = f"{cell['value']:.6f} [{cell['low']:.6f}, {cell['high']:.6f}]"
    assert f"| Recall@10 | {value} |" in shown
    assert value in reprise("runs", "compare", "t", "--split", "test", *where).stdout
    check_refusal(reprise("runs", "compare", "t", *where), 2, "at least two", "runs show")
    check_refusal(reprise("runs", "compare", "--csv", *where), 2, "at least two")


def test_runs_show_includes_results(small_data: Path, tmp_path: Path, ended: RunFolder) -> None:
    best = find_checkpoint(ended.path, "best", no_warning)
    entry: Any = results.read(ended.path).of(best, "test")
    where = ("--runs-dir", ended.path.parent)
    assert f"{entry['recall@10']:.6f}" in reprise("runs", *where).stdout
    shown = reprise("runs", "show", "t", *where).stdout
    low, high = entry["confidence"]["intervals"]["recall@10"]
    assert f"{entry['recall@10']:.6f} [{low:.4f}, {high:.4f}]" in shown
    recorder = Recorder()
    run_small(small_data, tmp_path / "again", recorder, max_steps=4)
    assert recorder.measured_step == 4


def test_results_are_logged_to_trackers_once(small_data: Path, tmp_path: Path) -> None:
    where = ("--data-dir", small_data, "--runs-dir", tmp_path)
    assert train(small_data, tmp_path, "--steps", 5).returncode == 0
    folder = tmp_path / "small_t"
    for _ in range(2):
        events, whole = read_events(folder / "tensorboard" / "results")
        assert whole
        found = {
            (event.step, value.tag): value.simple_value
            for event in events
            for value in event.summary.value
        }
        entry: Any = summary(survey(RunFolder(folder)))["results"]["test"]
        assert found[5, "result/test/recall@50"] == np.float32(entry["recall@50"])
        assert reprise("resume", "t", "--steps", 5, *where).returncode == 0
