"""Checkpoints of older schemas: they load with a warning, and their true best is measured."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from checkpoints import rewrite_state
from commands import run_small, small_config
from reprise.runs import legacy, store
from reprise.runs.run import RunFolder
from reprise.runs.session import evaluate_run

SAMPLES = Path(__file__).parent / "samples"
SCHEMA_2_DIGEST = "8547c671e2ccbb6d14aa73c4819a779c0fdd343f59b967aa0e7cbdcbc897a111"
MEASURED = 0.38333333333333336  # valid recall@10 of the samples' model
BEST_FIELDS = ("evaluated_step", "metric", "best", "evaluations_without_improvement")


def without_best(state: dict[str, Any]) -> dict[str, Any]:
    """What schema 1 held."""
    progress = {key: value for key, value in state["progress"].items() if key not in BEST_FIELDS}
    return {"schema": 1, "progress": progress, "identity": state["identity"]}


def test_each_schema_gains_the_fields_of_the_next() -> None:
    lifted = legacy.migrate({"schema": 1, "progress": {"step": 7}, "identity": {}})
    assert lifted == {
        "schema": legacy.SCHEMA,
        "progress": {
            "step": 7,
            "evaluated_step": 0,
            "metric": None,
            "best": None,
            "evaluations_without_improvement": 0,
        },
        "identity": {},
        "environment": {},
    }


@pytest.mark.parametrize("schema", range(1, legacy.SCHEMA))
def test_checkpoints_as_older_versions_stored_them_go_on(
    small_data: Path, tmp_path: Path, schema: int
) -> None:
    """Scenario 42 (Reprise's own older schemas): samples written by the code of their time."""
    config: dict[str, Any] = {
        "model": "ComiRec-DR",
        "embedding_dim": 4,
        "hidden_size": 4,
        "maxlen": 3,
        "negatives": 8,
    }
    runs = tmp_path / "runs"
    folder = RunFolder(runs / small_config(**config).run_name)
    shutil.copytree(SAMPLES / f"schema-{schema}", folder.checkpoints)
    before = store.load(store.read(folder.checkpoints / "ckpt-8"))
    assert before.arrays["rows"].shape == (41, 12)
    assert (schema != 2) or before.digest() == SCHEMA_2_DIGEST

    outcome, recorder, _ = run_small(small_data, runs, **config, max_steps=12)
    assert recorder.resumption is not None
    assert recorder.resumption.checkpoint.path.name == "ckpt-8"
    assert recorder.keys.count("old_checkpoint") == (schema < legacy.FIRST_SCHEMA_WITH_BEST)
    assert "environment_changed" not in recorder.keys  # theirs is not known
    assert outcome.progress.step == 12
    assert outcome.progress.best is not None
    assert outcome.progress.best.metric >= MEASURED - 0.05  # on any processor
    newest = store.scan(folder.checkpoints, on_damage=lambda path, reason: None)[-1]
    assert (newest.schema, newest.progress.step) == (legacy.SCHEMA, 12)


@pytest.mark.parametrize("given", [None, 0.9])
def test_an_old_checkpoint_loads_with_a_warning_and_its_best_is_measured(
    small_data: Path, tmp_path: Path, given: float | None
) -> None:
    """Scenario 42, and the seed's last section."""
    _, _, folder = run_small(small_data, tmp_path, max_steps=8)
    for path in folder.checkpoints.glob("ckpt-*"):
        rewrite_state(path, without_best)
    _, truth = evaluate_run(
        folder.path, lambda name: small_data / name, "valid", "latest", lambda key, **_: None
    )
    outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=8, best_metric=given)
    best = outcome.progress.best
    assert best is not None
    assert (best.metric, best.step) == (truth["recall@10"] if given is None else given, 8)
    assert ("old_checkpoint" in recorder.keys) == (given is None)
    # The weights that were measured are stored as the best's.
    stored = store.best_of(store.scan(folder.checkpoints, lambda path, reason: None))
    assert stored is not None
    assert stored.progress.best == best
