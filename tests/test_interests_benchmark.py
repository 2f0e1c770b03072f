"""The benchmark of single and multiple interests: its numbers against those of `evaluate`."""

import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interests
from helpers.builders_data import draft_of
from helpers.checkpoints import no_warning
from helpers.commands import Recorder, run_small, small_config
from reprise.data.dataset import open_dataset
from reprise.data.prepare import publish
from reprise.runs.evaluation import evaluation_facts, measure
from reprise.runs.folder import RunFolder
from reprise.runs.session import Request, run_session
from reprise.runs.stored import load

SHARES = [0.0, 0.1]
RUNS: Mapping[str, dict[str, Any]] = {
    "two": {"num_interest": 2},
    "one": {"num_interest": 1, "temperature": 0.1},  # scored by cosines
}


@pytest.fixture(scope="module")
def runs(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of a few steps on the demo data."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for name, changes in RUNS.items():
        values = {"name": name, "test_iter": 20, "optimizer": "lazy-adam", **changes}
        config = small_config(dataset="demo", **values)
        request = Request(config, demo_data / "demo", RunFolder(folder / config.folder_name))
        run_session(request, Recorder())
        found[name] = request.folder.path
    return found


def compare(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["interests.py", *map(str, arguments)])
    interests.main()


@pytest.fixture(scope="module")
def compared(
    runs: dict[str, Path], demo_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], str]:
    """What the benchmark writes, and what it prints."""
    file = tmp_path_factory.mktemp("compared") / "json"
    named = [f"{name}={path}" for name, path in runs.items()]
    options = ["--data-dir", demo_data, "--lambdas", *SHARES, "--json", file, "--markdown"]
    with pytest.MonkeyPatch.context() as monkeypatch, redirect_stdout(StringIO()) as shown:
        compare(monkeypatch, *named, *options)
    return json.loads(file.read_text()), shown.getvalue()


@pytest.mark.long
def test_benchmark_numbers_equal_those_of_evaluate(
    compared: tuple[dict[str, Any], str], runs: dict[str, Path], demo_data: Path
) -> None:
    content, shown = compared

    assert [run["run"] for run in content["runs"]] == list(RUNS)
    assert (content["candidates"], content["absolute"]) == (100, False)
    by_name = {run["run"]: run for run in content["runs"]}
    for name, changes in RUNS.items():
        stored = load(runs[name], "best", no_warning, demo_data.joinpath)
        facts = evaluation_facts(measure(stored, "test"), "test", None)
        assert {key: by_name[name][key] for key in facts} == facts
        assert facts["interest_coverage@50"] > 0
        assert by_name[name]["interests"] == changes["num_interest"]
        assert [point["share"] for point in by_name[name]["curve"]] == SHARES
        for point in by_name[name]["curve"]:
            assert point["lambda"] == point["share"] * by_name[name]["unit"]
            # A single vector brings as many candidates as two interests do: 100 for a list of 50.
            cutoffs = (50,) if name == "two" else (50, 100)
            measured = measure(stored, "test", point["lambda"], cutoffs=cutoffs)
            metrics = measured.evaluation.metrics
            assert {key: point[key] for key in interests.CURVE} == {
                key: metrics[key] for key in interests.CURVE
            }
        assert by_name[name]["curve"][1]["diversity@50"] > facts["diversity@50"]
    lines = shown.splitlines()
    assert lines[0] == "demo, 500 test users"
    headers = [above for above, line in pairwise(lines) if "| --- |" in line]
    assert [line.split(" | ")[0] for line in headers] == ["| run", "| beside", "| run"]


@pytest.mark.long
def test_benchmark_differences_are_paired_and_by_group(
    compared: tuple[dict[str, Any], str],
) -> None:
    content, _ = compared
    first, *others = content["runs"]
    for other in others:
        lines = [one for one in content["differences"] if one["beside"] == other["run"]]
        assert lines[0]["kind"] == "all"
        assert lines[0]["first"] == pytest.approx(first["recall@50"])
        assert lines[0]["other"] == pytest.approx(other["recall@50"])
        found: dict[str, list[str]] = {}
        for line in lines:
            low, high = line["interval"]
            assert line["difference"] == pytest.approx(line["first"] - line["other"])
            assert low <= line["difference"] <= high
            if line["kind"] == "all":
                continue
            found.setdefault(line["kind"], []).append(line["group"])
            for key, run in (("first", first), ("other", other)):
                group = run["groups"][line["kind"]][line["group"]]
                assert group["users"] == line["users"]
                assert group["recall@50"] == pytest.approx(line[key])
        for kind, names in found.items():
            assert names == list(first["groups"][kind])
        assert set(found) == {"mixture", "history_length"}


@pytest.mark.long
def test_benchmark_scales_lambda_by_the_spread_of_the_scores(
    compared: tuple[dict[str, Any], str], runs: dict[str, Path], demo_data: Path
) -> None:
    for run in compared[0]["runs"]:
        name = run["run"]
        stored = load(runs[name], "best", no_warning, demo_data.joinpath)
        users = stored.dataset.evaluation_users("test", stored.config.maxlen)
        made = stored.retriever.interests(users.history, users.lengths)
        items = np.asarray(stored.retriever.rows)[1:, :8].astype(np.float64)
        if name == "one":
            items /= np.linalg.norm(items, axis=1, keepdims=True)
        deviations = [np.std(np.sort((items @ own.T).max(axis=1))[-50:]) for own in made]
        assert run["unit"] == pytest.approx(np.mean(deviations), rel=1e-4)


def test_benchmark_interpolates_curves_and_never_extrapolates() -> None:
    points: list[dict[str, float | None]] = [
        {"diversity@50": 0.6, "recall@50": 0.1},
        {"diversity@50": 0.2, "recall@50": 0.3},
        {"diversity@50": None, "recall@50": None},
    ]
    at = {
        diversity: interests.recall_at(points, {"diversity@50": diversity})
        for diversity in (0.1, 0.2, 0.3, 0.6, 0.7, None)
    }
    assert at == {
        **dict.fromkeys((0.1, 0.7, None)),
        0.2: 0.3,
        0.3: pytest.approx(0.25),
        0.6: 0.1,
    }
    assert interests.recall_at([], {"diversity@50": 0.2}) is None


@pytest.mark.long
def test_benchmark_refuses_runs_that_cannot_be_compared(
    runs: dict[str, Path],
    demo_data: Path,
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        compare(monkeypatch, runs["two"])
    with pytest.raises(SystemExit, match="not found"):
        compare(monkeypatch, runs["two"], runs["one"], "--data-dir", tmp_path)
    _, _, other = run_small(small_data, tmp_path / "runs", max_steps=4)
    data = tmp_path / "both"
    data.mkdir()
    (data / "demo").symlink_to(demo_data / "demo")
    (data / "small").symlink_to(small_data / "small")
    with pytest.raises(SystemExit, match="different data sets"):
        compare(monkeypatch, runs["two"], other.path, "--data-dir", data)


@pytest.mark.long
def test_benchmark_without_categories_has_no_curve(
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    splits = open_dataset(small_data / "small").splits
    (tmp_path / "data").mkdir()
    draft = draft_of(splits, np.full(41, -1, np.int32))
    publish(draft, "small", tmp_path / "data" / "small")
    paths = [
        run_small(tmp_path / "data", tmp_path / "runs", name=name, max_steps=4)[2].path
        for name in ("a", "b")
    ]
    compare(monkeypatch, *paths, "--data-dir", tmp_path / "data")
    shown = capsys.readouterr().out
    assert "share" not in shown
    assert "categories:" not in shown
    assert "length: 1-9" in shown
