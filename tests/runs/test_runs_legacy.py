"""Migration of checkpoints of older schemas."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.checkpoints import fail, names, rewrite_state
from helpers.commands import run_small, small_config
from reprise.checkpoints import store
from reprise.checkpoints.migrate import (
    FIRST_SCHEMA_WITH_BEST,
    FIRST_SCHEMA_WITH_ROW_STEPS,
    SCHEMA,
    migrate,
)
from reprise.errors import ConfigMismatchError, ContentError
from reprise.runs.folder import RunFolder
from reprise.training.state import Snapshot

SAMPLES = Path(__file__).parent / "samples"
SAMPLES_DIGEST = "8547c671e2ccbb6d14aa73c4819a779c0fdd343f59b967aa0e7cbdcbc897a111"
CONFIG: dict[str, Any] = {
    "model": "ComiRec-DR",
    "embedding_dim": 4,
    "hidden_size": 4,
    "maxlen": 3,
    "negatives": 8,
}
SWITCHES: dict[str, Any] = {
    "temperature": 0.1,
    "neg_score": "max",
    "sampler": "mixed",
    "next_n": 7,
    "hard_negatives": 1.0,
    "warmup": 5,
    "decay": "linear",
    "encoder_layers": 1,
    "embedding_scale": 0.1,
    "embeddings": "untied",
    "normalize_history": True,
    "item_dropout": 0.5,
    "min_history": 1,
    "next_share": 0.2,
    "interest_count": "by-length",
    "ensemble": 2,
    "repeat_bias": True,
    "valid_users": 9,
}
MEASURED = 0.38333333333333336  # valid recall@10 of the samples' model


def stored_state(schema: int) -> dict[str, Any]:
    path = SAMPLES / f"schema-{schema}" / "ckpt-8" / "state.json"
    state: dict[str, Any] = json.loads(path.read_text())
    return state


def _with_identity(identity: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    return state | {"identity": identity}


def test_migrate_completes_the_first_schema() -> None:
    first = stored_state(1)["identity"]
    lifted = migrate({"schema": 1, "progress": {"step": 7}, "identity": first})
    assert lifted == {
        "schema": SCHEMA,
        "progress": {
            "step": 7,
            "evaluated_step": 0,
            "metric": None,
            "best": None,
            "evaluations_without_improvement": 0,
        },
        "identity": {
            **first,
            "selection": "argmax",
            "temperature": None,
            "neg_score": "selected",
            "sampler": "log-uniform",
            "next_n": 1,
            "hard_negatives": 0.0,
            "routing_penalty": 0.0,
            "warmup": 0,
            "decay": "none",
            "decay_steps": 0,
            "encoder_layers": 0,
            "encoder_heads": 1,
            "encoder_blocks": "plain",
            "average_decay": 0.0,
            "loss": "softmax",
            "calibration": 0.75,
            "interest_penalty": 0.0,
            "dropout": 0.0,
            "embedding_scale": None,
            "item_init": "random",
            "embeddings": "tied",
            "normalize_history": False,
            "targets": 1,
            "item_dropout": 0.0,
            "min_history": 4,
            "next_share": 0.0,
            "interest_count": "fixed",
            "ensemble": 1,
            "repeat_bias": False,
            "valid_users": 0,
            "train_users": "train",
            "item_features": "none",
            "id_dropout": 0.0,
            "memory": "none",
            "memory_edges": 64,
            "time_bias": "none",
            "request_clock": "none",
            "request_time": "first-held-out",
        },
        "environment": {},
    }


@pytest.mark.parametrize("schema", range(1, SCHEMA))
def test_migrate_resumes_checkpoints_of_older_versions(
    small_data: Path, tmp_path: Path, schema: int
) -> None:
    """Scenario 42 (Reprise's own older schemas): samples written by the code of their time."""
    config = CONFIG
    runs = tmp_path / "runs"
    folder = RunFolder(runs / small_config(**config).folder_name)
    shutil.copytree(SAMPLES / f"schema-{schema}", folder.checkpoints)
    before = store.load(store.read(folder.checkpoints / "ckpt-8"))
    assert before.arrays["rows"].shape == (41, 12)
    assert (before.arrays["row_steps"] == 8).all()
    as_stored = {name: array for name, array in before.arrays.items() if name != "row_steps"}
    digest = Snapshot(as_stored, before.progress).digest()
    assert (digest == SAMPLES_DIGEST) == (schema >= FIRST_SCHEMA_WITH_BEST)

    outcome, recorder, _ = run_small(small_data, runs, **config, max_steps=12)
    assert recorder.resumption is not None
    assert recorder.resumption.checkpoint.path.name == "ckpt-8"
    assert recorder.keys.count("old_checkpoint") == (schema < FIRST_SCHEMA_WITH_BEST)
    if schema < 3:
        assert "environment_changed" not in recorder.keys  # theirs is not known
    assert recorder.keys.count("old_optimizer") == (schema < FIRST_SCHEMA_WITH_ROW_STEPS)
    assert outcome.progress.step == 12
    assert outcome.progress.best is not None
    assert outcome.progress.best.metric >= MEASURED - 0.05  # on any processor
    newest = store.scan(folder.checkpoints, on_damage=lambda path, reason: None)[-1]
    assert (newest.schema, newest.progress.step) == (SCHEMA, 12)
    assert newest.identity["optimizer"] == "row-adam"
    assert run_small(small_data, runs, **config, max_steps=16)[1].keys.count("old_optimizer") == 0


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_migrate_refuses_a_setting_of_a_newer_version(schema: int) -> None:
    state = stored_state(min(schema, SCHEMA - 1))
    for value in (3, None):
        newer = state | {"schema": schema, "identity": state["identity"] | {"novelty": value}}
        with pytest.raises(ContentError, match="setting novelty is unknown to this version"):
            migrate(newer)


def test_migrate_refuses_a_newer_versions_run_and_names_the_setting(
    small_data: Path, tmp_path: Path
) -> None:
    """Whatever its value: None, too, is not what this version does."""
    _, _, folder = run_small(small_data, tmp_path, max_steps=4)
    (checkpoint,) = folder.checkpoints.glob("ckpt-*")
    record = json.loads(folder.record.read_text())
    for value in (3, None):
        newer = record["identity"] | {"novelty": value}
        folder.record.write_text(json.dumps(record | {"identity": newer}))
        rewrite_state(checkpoint, partial(_with_identity, newer))
        with pytest.raises(ConfigMismatchError, match=f"novelty: {value} -> None"):
            run_small(small_data, tmp_path, max_steps=8)
        assert names(folder) == [checkpoint.name]  # left as it is


def test_migrate_refuses_an_encoder_of_schema_6() -> None:
    for layers, expected in ((0, 0), (2, "2, by added positions")):
        old = {"schema": 6, "progress": {"step": 7}, "identity": {"encoder_layers": layers}}
        assert migrate(old)["identity"]["encoder_layers"] == expected


@pytest.mark.parametrize("schema", range(1, SCHEMA))
def test_migrate_refuses_new_settings_for_an_older_run(
    small_data: Path, tmp_path: Path, schema: int
) -> None:
    folder = RunFolder(tmp_path / small_config(**CONFIG).folder_name)
    shutil.copytree(SAMPLES / f"schema-{schema}", folder.checkpoints)
    for switch, value in SWITCHES.items():
        asked = {switch: value, "decay_steps": 9}  # which says nothing without a decay
        with pytest.raises(ConfigMismatchError) as caught:
            run_small(small_data, tmp_path, **CONFIG, **asked)
        assert f"{switch}: " in str(caught.value)


def test_migrate_keeps_the_optimizer_of_an_older_run(small_data: Path, tmp_path: Path) -> None:
    """Asked for by name, lazy Adam goes on from a sample as the code of its time would have."""
    config = {**CONFIG, "optimizer": "lazy-adam"}
    whole = run_small(small_data, tmp_path / "whole", **config, max_steps=12)[2]
    resumed = RunFolder(tmp_path / "resumed" / whole.path.name)
    shutil.copytree(SAMPLES / "schema-3", resumed.checkpoints)
    _, recorder, _ = run_small(small_data, tmp_path / "resumed", **config, max_steps=12)
    assert "old_optimizer" not in recorder.keys
    ends = [store.load(store.scan(f.checkpoints, fail)[-1]).arrays for f in (whole, resumed)]
    # Elsewhere the sample's bits are another processor's: close, not the same.
    np.testing.assert_allclose(ends[1]["rows"], ends[0]["rows"], atol=1e-4)
