"""Checkpoints of older schemas, lifted to today's."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from commands import run_small, small_config
from reprise.runs import legacy, store
from reprise.runs.run import RunFolder

SAMPLES = Path(__file__).parent / "samples"
SCHEMA_2_DIGEST = "8547c671e2ccbb6d14aa73c4819a779c0fdd343f59b967aa0e7cbdcbc897a111"
MEASURED = 0.38333333333333336  # valid recall@10 of the samples' model


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
