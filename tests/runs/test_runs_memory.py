"""A run with a memory: bound to its edges, which it keeps beside its checkpoints."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from helpers.builders_data import following
from helpers.checkpoints import harm_file, no_warning
from helpers.commands import (
    Recorder,
    run_small,
    small_config,
    state_digest,
    stopping_at,
    train,
)
from helpers.pages import readme_code
from reprise.data.dataset import open_dataset
from reprise.data.prepare import publish
from reprise.errors import ConfigMismatchError, DataError, UsageError
from reprise.memory.rules import counted_edges
from reprise.runs import results
from reprise.runs.evaluation import evaluate_run, measure
from reprise.runs.folder import RunFolder
from reprise.runs.naming import Named, for_final_fit, for_resuming
from reprise.runs.session import Request, run_session
from reprise.runs.stored import load
from reprise.serving import export, index
from reprise.serving.lists import Query, answer, model_of
from reprise.serving.recommender import Recommender
from reprise.training.setup import make_task

ITEMS = 60
WITH: dict[str, Any] = {
    "model": "DNN",
    "memory": "rules",
    "memory_edges": 8,
    "temperature": 0.2,
    "repeat_bias": True,
    "max_steps": 10,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users most of whose items follow the one before."""
    path = tmp_path_factory.mktemp("data")
    publish(following(ITEMS), "small", path / "small")
    return path


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of ten steps, evaluated at 4 and 8; only to be looked at."""
    _, _, folder = run_small(data, tmp_path_factory.mktemp("runs"), **WITH)
    return folder


@pytest.fixture
def own_run(run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the run, to be changed."""
    return RunFolder(Path(shutil.copytree(run.path, tmp_path / "runs" / run.path.name)))


def recall_of(folder: RunFolder, data: Path) -> float:
    locate = lambda name: data / name  # noqa: E731
    return evaluate_run(folder.path, locate, "test", "latest", no_warning).evaluation.metrics[
        "recall@10"
    ]


def test_memory_adds_to_the_lists_and_nothing_to_training(
    run: RunFolder, data: Path, tmp_path: Path
) -> None:
    asked = {**WITH, "memory": "none"}
    _, _, plain = run_small(data, tmp_path, **asked)
    assert recall_of(run, data) > 1.5 * recall_of(plain, data)
    found, other = (load(one.path, "latest", no_warning).retriever for one in (run, plain))
    assert_array_equal(found.item_vectors(), other.item_vectors())
    assert found.memory is not None
    assert found.memory.weight > 0
    assert (
        found.memory.edges.digest
        == counted_edges(open_dataset(data / "small").splits["train"], ITEMS, 8).digest
    )
    assert other.memory is None


@pytest.mark.parametrize("stop_at", [3, 4, 6, 8])
def test_memory_resumes_exactly(run: RunFolder, data: Path, tmp_path: Path, stop_at: int) -> None:
    _, _, folder = run_small(data, tmp_path, stopping_at(stop_at), **WITH)
    shutil.rmtree(folder.memory)  # the same edges are counted again
    run_small(data, tmp_path, **WITH)
    assert state_digest(folder) == state_digest(run)
    assert folder.metrics.read_bytes() == run.metrics.read_bytes()


def test_results_of_the_end_are_those_of_what_is_stored(run: RunFolder, data: Path) -> None:
    """Of the best state, and of the last one, which was not evaluated while training."""
    kept = results.read(run.path)
    final = kept.final
    assert final is not None
    assert final.step == 10
    told = [(one["checkpoint"], one["split"], one["recall@10"]) for one in kept.entries]
    for checkpoint, split, recall in [*told, (final.checkpoint, "valid", final.metric)]:
        path = run.checkpoints / Path(checkpoint).name
        stored = load(path, "latest", no_warning, lambda name: data / name)
        assert measure(stored, split).evaluation.metrics["recall@10"] == recall


def test_resume_rebuilds_damaged_edges_that_load_refuses(own_run: RunFolder, data: Path) -> None:
    harm_file(own_run.memory / "value.npy", "flip")
    with pytest.raises(DataError, match="to rebuild it"):
        load(own_run.path, "latest", no_warning)
    run_small(data, own_run.path.parent, **{**WITH, "max_steps": 11})
    assert load(own_run.path, "latest", no_warning).retriever.memory is not None
    shutil.rmtree(own_run.memory)
    with pytest.raises(DataError, match="reprise resume"):
        load(own_run.path, "latest", no_warning)


def test_run_is_bound_to_its_edges(own_run: RunFolder, data: Path) -> None:
    with pytest.raises(ConfigMismatchError, match="memory_edges: 8 -> 9"):
        run_small(data, own_run.path.parent, **{**WITH, "memory_edges": 9})
    record = json.loads(own_run.record.read_text())
    record["identity"]["edges"] = "0" * 64
    own_run.record.write_text(json.dumps(record))
    shutil.rmtree(own_run.checkpoints)
    with pytest.raises(ConfigMismatchError, match="beside its model"):
        run_small(data, own_run.path.parent, **WITH)


def test_memory_without_users_to_fit_it_to_or_of_too_many_items_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="validation users"):
        run_small(data, tmp_path, **{**WITH, "train_users": "all"})
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("reprise.memory.ridge.MOST_SOLVED", ITEMS - 1)
    with pytest.raises(UsageError, match="Use --memory rules"):
        run_small(data, tmp_path, **{**WITH, "memory": "ridge"})


def test_memory_auto_is_ridge_of_few_items_that_occur_often_or_rules_or_none_of_many(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, dataset = small_config(**{**WITH, "memory": "auto"}), open_dataset(data / "small")
    assert make_task(asked, dataset).config.memory == "rules"  # items occur 33 times on average
    monkeypatch.setattr("reprise.config.by_data._DENSE", 33)
    made = make_task(asked, dataset)
    assert made.config == replace(asked, memory="ridge")
    assert made.identity["memory"] == "ridge"
    monkeypatch.setattr("reprise.memory.ridge.MOST_SOLVED", ITEMS - 1)
    assert make_task(asked, dataset).config.memory == "rules"
    monkeypatch.setattr("reprise.config.by_data._MOST_ITEMS", ITEMS - 1)
    assert make_task(asked, dataset).config.memory == "none"


def fit_of(run: RunFolder, runs: Path, **asked: Any) -> Named:
    return for_final_fit(run, {"name": "fit", **asked}, runs)


def start(data: Path, named: Named, stop: Any = None) -> RunFolder:
    """Train a final fit, up to a step if one is given."""
    request = Request(named.config, data / "small", named.folder, fit_of=named.fit_of)
    run_session(request, stop or Recorder())
    return named.folder


def test_final_fit_takes_over_what_was_fitted_and_counts_all_users(
    run: RunFolder, data: Path, tmp_path: Path
) -> None:
    best = load(run.path, "best", no_warning).retriever.memory
    fit = load(start(data, fit_of(run, tmp_path)).path, "latest", no_warning).retriever.memory
    assert best is not None
    assert fit is not None
    assert best.weight > 0
    assert_array_equal(fit.numbers, best.numbers)
    everyone = open_dataset(data / "small").whole_sequences()
    assert fit.edges.digest == counted_edges(everyone, ITEMS, WITH["memory_edges"]).digest


def test_final_fit_with_a_memory_resumes_exactly_by_its_name_alone(
    run: RunFolder, data: Path, tmp_path: Path
) -> None:
    """Also before its first checkpoint: the run's record has the numbers."""
    whole = start(data, fit_of(run, tmp_path / "whole"))
    begun = start(data, fit_of(run, tmp_path / "torn"), stopping_at(1))
    shutil.rmtree(begun.checkpoints)
    named = for_resuming("fit", {}, tmp_path / "torn")
    assert named.fit_of is None
    assert state_digest(start(data, named)) == state_digest(whole)


def test_final_fit_with_a_memory_that_the_run_has_not_is_refused(
    data: Path, tmp_path: Path
) -> None:
    _, _, plain = run_small(data, tmp_path / "plain", **{**WITH, "memory": "none"})
    with pytest.raises(UsageError, match="validation users"):
        start(data, fit_of(plain, tmp_path / "fit", memory="rules"))


def test_ridge_adds_to_the_lists(run: RunFolder, data: Path, tmp_path: Path) -> None:
    _, _, folder = run_small(data, tmp_path, **{**WITH, "memory": "ridge"})
    assert recall_of(folder, data) > 0.8 * recall_of(run, data)


def test_explained_answer_names_the_item_that_leads_to_one(run: RunFolder, data: Path) -> None:
    model = model_of(load(run.path, "latest", no_warning))
    memory = model.retriever.memory
    assert memory is not None
    history, brought = np.array([11, 30], np.int32), set()
    (found,) = answer(model, [Query(history, n=4, explain=True)])
    (plain,) = answer(model, [Query(history, n=4)])
    assert found.memory is not None
    assert found.because is not None
    assert found.interest_scores is not None
    assert plain.memory is None
    assert_array_equal(found.ids, plain.ids)
    leads = memory.because(history, found.ids)
    for at, item in enumerate(found.ids.tolist()):
        inner = found.interest_scores[at].max()
        bias = model.retriever.repeat_bias if item in history else 0
        assert found.scores[at] == pytest.approx(inner + found.memory[at] + bias, abs=1e-6)
        if found.memory[at] > 0 and found.scores[at] - found.memory[at] < found.scores[-1]:
            assert found.because[at] == leads[at]
            brought.add((item, int(found.because[at])))
    assert {(12, 11), (31, 30)} & brought
    shown = Recommender(model.stored).recommend([["i11", "i30"]], 4, explain=True)
    assert shown["memory"].to_list() == found.memory.tolist()


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_index_finds_what_the_memory_leads_to(kind: str, run: RunFolder, tmp_path: Path) -> None:
    from dataclasses import replace

    stored = load(run.path, "latest", no_warning)
    model = model_of(stored)
    built = index.build(model.items, index.Kind(kind, ef_search=64))
    queries = [Query(np.array([n, 7 * n % ITEMS + 1], np.int32), n=10) for n in range(1, 40)]
    exact = answer(model, queries)
    for one, other in zip(answer(replace(model, best=built.best), queries), exact, strict=True):
        assert_array_equal(one.ids, other.ids)
        assert one.scores == pytest.approx(other.scores, abs=1e-6)


@pytest.mark.parametrize("kind", [None, "flat"])
def test_readme_lines_of_an_export_give_the_lists_of_the_model(
    kind: str | None, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = load(run.path, "latest", no_warning)
    extras = export.Extras(index=index.Kind(kind) if kind else None)
    export.write(stored, None, tmp_path / "export", extras)
    served = readme_code(tmp_path / "export", monkeypatch)["recommend"]
    model = Recommender(stored)
    histories = [["i1"], ["i11", "i30"], [f"i{n}" for n in range(20, 40)]]
    for history, interests in zip(histories, model.user_vectors(histories), strict=True):
        assert served(history, 12, interests) == model.recommend([history], 12)["item_id"].to_list()


@pytest.mark.parametrize("most", [ITEMS, ITEMS - 1])
def test_the_same_command_goes_on_where_auto_has_chosen(
    most: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reprise.config.by_data._MOST_ITEMS", most)
    asked = ("--memory", "auto", "--memory-edges", 32, "--item-init", "auto", "--steps", 6)
    for said in ("starting at step 0", "Already finished"):
        done = train(data, tmp_path, *asked)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
