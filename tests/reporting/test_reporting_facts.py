"""The training history read from a run's folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import Recorder, small_config
from reprise.errors import CheckpointError
from reprise.report import facts
from reprise.report.facts import Run, read_runs
from reprise.runs.events import kept_lines, kept_path
from reprise.runs.folder import RunFolder
from reprise.training.state import Best

RECALL = "valid_recall@10"


def read(folder: RunFolder, *keys: str) -> Run:
    """Read one run; `keys` are what must be said of it."""
    recorder = Recorder()
    (run,) = read_runs([folder.path], recorder.say)
    assert recorder.keys == list(keys)
    return run


def logged(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


def test_facts_list_every_start_and_where_it_resumed(eventful: RunFolder) -> None:
    starts = [
        (start.number, start.event, start.step, start.branch, start.came_from, start.parent)
        for start in read(eventful).starts
    ]
    assert starts == [
        (1, "created", 0, 0, None, None),
        (2, "resumed", 8, 0, "ckpt-8", 0),
        (3, "resumed", 14, 0, "ckpt-14", 0),
        (4, "rewound", 8, 1, "ckpt-8", 0),
        (5, "rewound", 16, 2, "ckpt-16-b1", 1),
    ]


def test_facts_separate_the_current_path_from_discarded_branches(eventful: RunFolder) -> None:
    run = read(eventful)
    assert [dict(line) for line in run.lines] == logged(eventful)
    assert run.best == Best(0.4, 16, 1)
    assert (run.step, run.patience_used, run.cutoff) == (24, 2, 10)
    assert kept_path(run.starts, run.lines) == [(0, 8), (1, 16), (2, None)]
    kept = [
        (line["branch"], line["step"], line[RECALL]) for line in kept_lines(run.starts, run.lines)
    ]
    assert kept == [
        *((0, 4, 0.1), (0, 8, 0.3), (1, 12, 0.35), (1, 16, 0.4)),
        *((2, 20, 0.39), (2, 24, 0.37)),
    ]
    assert facts.left_behind(run, RECALL) == [
        (0, [(8, 0.3), (12, 0.2), (16, 0.25)]),
        (1, [(16, 0.4), (20, 0.38)]),
    ]


def test_facts_interpolate_between_evaluations(eventful: RunFolder) -> None:
    run = read(eventful)
    assert facts.height(facts.branch_curve(run, RECALL, 0), 8) == 0.3
    assert facts.height(facts.branch_curve(run, RECALL, 0), 14) == pytest.approx(0.225)
    assert facts.height(facts.branch_curve(run, RECALL, 1), 10) == pytest.approx(
        0.325
    )  # from where it goes out
    assert facts.height(facts.branch_curve(run, RECALL, 0), 2) == 0.1
    assert facts.height(facts.branch_curve(run, RECALL, 0), 90) == 0.25
    assert facts.height(facts.branch_curve(run, "valid_unknown@10", 0), 8) is None


def test_facts_list_a_lost_branch_without_a_path(harmed: RunFolder) -> None:
    """Killed before it saved anything, and gone on from the branch before."""
    record = json.loads(harmed.record.read_text())
    lost = {"event": "resumed", "from": "ckpt-16-b1", "step": 16, "branch": 3}
    back = {"event": "resumed", "from": "ckpt-24-b2", "step": 24, "branch": 2}
    record["events"] += [lost, back]
    harmed.record.write_text(json.dumps(record))
    run = read(harmed)
    assert [start.event for start in run.starts[-2:]] == ["rewound", "resumed"]
    assert kept_path(run.starts, run.lines) == [(0, 8), (1, 16), (2, None)]


def test_facts_ignore_a_line_that_is_being_written(harmed: RunFolder) -> None:
    whole = logged(harmed)
    with harmed.metrics.open("a") as file:
        file.write('{"step": 28, "bra')
    assert [dict(line) for line in read(harmed).lines] == whole


@pytest.mark.parametrize("content", [None, "nonsense\n", "[1]\n", '{"step": 4, "branch": null}\n'])
def test_facts_take_damaged_metrics_from_their_copy(harmed: RunFolder, content: str | None) -> None:
    whole = logged(harmed)
    harmed.metrics.unlink()
    if content is not None:
        harmed.metrics.write_text(content)
    run = read(harmed, "page_metrics_damaged")
    assert [dict(line) for line in run.lines] == whole
    assert run.best == Best(0.4, 16, 1)


def test_facts_list_what_can_be_read_of_metrics_that_are_damaged_twice(harmed: RunFolder) -> None:
    whole = logged(harmed)
    for copy, line in ((harmed.metrics, 0), (harmed.log.stored, 2)):
        lines = copy.read_bytes().splitlines(keepends=True)
        copy.write_bytes(b"".join([*lines[:line], b"nonsense\n", *lines[line + 1 :]]))
    run = read(harmed, "page_log_damaged")
    assert [dict(line) for line in run.lines] == whole  # each is in one copy
    harmed.log.stored.unlink()
    run = read(harmed, "page_log_damaged")
    assert [dict(line) for line in run.lines] == whole[1:]
    assert dict(run.notes)["page_log_damaged"] == {"kept": len(whole) - 1, "lines": len(whole)}


@pytest.mark.parametrize("content", ["{", '{"identity": {}, "events": [{"step": "x"}]}'])
def test_facts_take_a_damaged_record_from_the_checkpoints(harmed: RunFolder, content: str) -> None:
    harmed.record.write_text(content)
    run = read(harmed, "page_record_damaged")
    assert run.starts == ()
    assert run.config["model"] == "ComiRec-SA"
    assert run.best == Best(0.4, 16, 1)
    assert [line["branch"] for line in kept_lines(run.starts, run.lines)] == [2, 2]


def test_facts_name_a_damaged_checkpoint_by_its_relative_path(harmed: RunFolder) -> None:
    (harmed.checkpoints / "ckpt-24-b2" / "state.json").write_text("{}")
    run = read(harmed, "damaged_ignored")
    ((_, values),) = run.notes
    assert values["path"] == "ckpt-24-b2"
    assert run.best == Best(0.4, 16, 1)


def test_facts_label_runs_by_the_shortest_distinct_names(
    eventful: RunFolder, undisturbed: RunFolder, harmed: RunFolder
) -> None:
    def labels(*folders: RunFolder) -> list[str]:
        runs = read_runs([folder.path for folder in folders], Recorder().say)
        return [run.label for run in runs]

    name = small_config().folder_name
    assert labels(eventful, eventful) == ["t"]
    assert labels(eventful, undisturbed) == [
        f"{folder.path.parent.name}/{name}" for folder in (eventful, undisturbed)
    ]
    other = RunFolder(harmed.path.with_name("other"))
    harmed.path.rename(other.path)
    assert labels(eventful, other) == [name, "other"]


def test_facts_refuse_what_is_not_a_run(tmp_path: Path) -> None:
    for made, key in (("nowhere", "run_missing"), ("empty/checkpoints", "no_checkpoint")):
        if key == "no_checkpoint":
            (tmp_path / made).mkdir(parents=True)
        with pytest.raises(CheckpointError) as error:
            read_runs([tmp_path / made.partition("/")[0]], Recorder().say)
        assert error.value.key == key
