"""The store: exact round trips, detection of damage, and how latest and best are derived."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.checkpoints import (
    IDENTITY,
    fail,
    harm_file,
    names,
    rated,
    rewrite_state,
    save_all,
    snapshot,
    warnings_into,
)
from reprise.checkpoints import store
from reprise.errors import CheckpointError, ConfigMismatchError
from reprise.runs.folder import (
    RunFolder,
    Source,
    check_identity,
    load_checkpoint,
    record_events,
    resume,
)
from reprise.runs.manage import survey
from reprise.training.state import Best, Snapshot


def test_store_round_trip_is_bitwise_identical(folder: RunFolder) -> None:
    saved = snapshot(7, 0.25, Best(0.25, 7, 0))
    path = store.save(folder.checkpoints, saved, IDENTITY)
    checkpoint = store.read(path)
    loaded = store.load(checkpoint)
    assert loaded.digest() == saved.digest()
    assert loaded.progress == saved.progress
    assert checkpoint.identity == IDENTITY
    for name, array in saved.arrays.items():
        assert loaded.arrays[name].tobytes() == array.tobytes()
        assert np.array_equal(np.load(path / f"{name}.npy"), array)  # plain NumPy reads them too


def test_store_keeps_a_state_once_and_never_reuses_a_name(folder: RunFolder) -> None:
    plain = snapshot(4)
    path = store.save(folder.checkpoints, plain, IDENTITY)
    assert store.save(folder.checkpoints, plain, IDENTITY) == path
    known = Snapshot(plain.arrays, replace(plain.progress, best=Best(0.5, 4, 0), metric=0.5))
    assert store.save(folder.checkpoints, known, IDENTITY).name == "ckpt-4.1"
    assert store.scan(folder.checkpoints, fail)[-1].progress.metric == 0.5


def test_store_orders_a_repeated_step_after_its_earlier_checkpoint(folder: RunFolder) -> None:
    plain = snapshot(4)
    for repetition, rate in enumerate([0.1, 0.2, 0.1, 0.2]):
        again = Snapshot(plain.arrays, replace(plain.progress, learning_rate=rate))
        path = store.save(folder.checkpoints, again, IDENTITY)
        latest = store.scan(folder.checkpoints, fail)[-1]
        assert (latest.path, latest.order[2]) == (path, repetition)
        assert latest.progress.learning_rate == rate
    assert not (folder.checkpoints / "ckpt-4").exists()  # two are kept


@pytest.mark.parametrize("place", ["start", "middle", "end"])
@pytest.mark.parametrize("harm", ["flip", "cut", "zero", "delete"])
def test_store_sets_checkpoints_with_a_damaged_file_aside(
    folder: RunFolder, harm: str, place: str
) -> None:
    save_all(folder, rated({1: 0.1, 2: 0.2}))
    for name in sorted(path.name for path in (folder.checkpoints / "ckpt-2").iterdir()):
        trial = RunFolder(folder.path.parent / f"trial-{name}")
        shutil.copytree(folder.path, trial.path)
        harm_file(trial.checkpoints / "ckpt-2" / name, harm, place)
        said: list[str] = []
        resumption = resume(trial, IDENTITY, "latest", warnings_into(said))
        assert resumption is not None, name
        assert resumption.snapshot.progress.step == 1, name
        assert said == ["quarantined"], name
        assert (trial.checkpoints / "quarantine" / "ckpt-2").is_dir()


@pytest.mark.parametrize("place", ["start", "middle", "end"])
@pytest.mark.parametrize("harm", ["flip", "cut", "zero", "delete"])
def test_load_in_blocks_refuses_damaged_rows(
    folder: RunFolder, harm: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(folder, rated({1: 0.1}))
    stored = store.read(folder.checkpoints / "ckpt-1")
    monkeypatch.setattr(store, "_BLOCK", 200)
    whole = store.load(stored).arrays["rows"]
    assert np.array_equal(
        store.load(stored, lambda rows: rows[:, 1:3]).arrays["rows"], whole[:, 1:3]
    )
    harm_file(stored.path / "rows.npy", harm, place)
    with pytest.raises(store.DamagedCheckpointError, match="rows"):
        store.load(stored, lambda rows: rows)


def test_store_does_not_report_a_checkpoint_superseded_while_read_as_damaged(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(folder, [snapshot(4), snapshot(8)])
    read = store.read

    def superseded_first(path: Path) -> store.Checkpoint:
        monkeypatch.setattr(store, "read", read)
        store.save(folder.checkpoints, snapshot(12), IDENTITY)
        return read(path)

    monkeypatch.setattr(store, "read", superseded_first)
    found = store.scan(folder.checkpoints, fail)
    assert [checkpoint.path.name for checkpoint in found] == ["ckpt-8", "ckpt-12"]
    store.save(folder.checkpoints, snapshot(16), IDENTITY)
    with pytest.raises(CheckpointError, match="ckpt-8 changed while it was read"):
        load_checkpoint(found[0])


def test_store_detects_files_swapped_between_checkpoints(folder: RunFolder) -> None:
    save_all(folder, rated({1: 0.1, 2: 0.2}))
    one, two = folder.checkpoints / "ckpt-1", folder.checkpoints / "ckpt-2"
    content = (one / "rows.npy").read_bytes(), (two / "rows.npy").read_bytes()
    (one / "rows.npy").write_bytes(content[1])
    (two / "rows.npy").write_bytes(content[0])
    said: list[str] = []
    assert resume(folder, IDENTITY, "latest", warnings_into(said)) is None
    assert said == ["quarantined", "quarantined", "nothing_whole"]


def test_store_detects_a_renamed_checkpoint(folder: RunFolder) -> None:
    save_all(folder, rated({1: 0.1}))
    (folder.checkpoints / "ckpt-1").rename(folder.checkpoints / "ckpt-9")
    reasons: list[str] = []
    assert store.scan(folder.checkpoints, lambda path, reason: reasons.append(str(reason))) == []
    assert reasons == ["holds step 1"]


def test_store_reports_a_lost_best_keeps_its_metric_and_uses_the_next(folder: RunFolder) -> None:
    save_all(folder, rated({1: 0.2, 2: 0.5, 3: 0.3, 4: 0.4}))
    shutil.rmtree(folder.checkpoints / "ckpt-2")
    said: list[str] = []
    resumption = resume(folder, IDENTITY, "best", warnings_into(said))
    assert resumption is not None
    assert said == ["best_lost"]
    assert resumption.checkpoint.path.name == "ckpt-4"
    assert resumption.snapshot.progress.best == Best(0.5, 2, 0)


@pytest.mark.parametrize("source", ["latest", "best"])
def test_store_finds_a_damaged_best_on_every_start(folder: RunFolder, source: Source) -> None:
    save_all(folder, rated({1: 0.2, 2: 0.5, 3: 0.3, 4: 0.4}))
    harm_file(folder.checkpoints / "ckpt-2" / "rows.npy", "flip", "middle")
    said: list[str] = []
    resumption = resume(folder, IDENTITY, source, warnings_into(said))
    assert resumption is not None
    assert said == ["quarantined", "best_lost"]
    assert resumption.snapshot.progress.step == 4
    assert names(folder) == ["ckpt-3", "ckpt-4"]


def test_store_sets_a_checkpoint_of_another_run_aside(folder: RunFolder) -> None:
    save_all(folder, rated({1: 0.1}))
    store.save(folder.checkpoints, snapshot(9), IDENTITY | {"seed": 20})
    said: list[str] = []
    resumption = resume(folder, IDENTITY, "latest", warnings_into(said))
    assert resumption is not None
    assert (resumption.snapshot.progress.step, said) == (1, ["quarantined"])


DAMAGED_RECORDS = [
    *("[]", "null", '{"identity": [1]}', "{", '{"events": 5}'),
    *(
        json.dumps({"identity": {}, "events": []} | changed)
        for changed in (
            {"config": [1]},
            {"config": {"patience": "50"}},
            {"config": {"test_iter": 0}},
            {"config": {"max_steps": None}},
            {"environment": None},
            {"events": [{"event": ["created"]}]},
        )
    ),
]


@pytest.mark.parametrize("content", DAMAGED_RECORDS)
def test_store_trusts_checkpoints_over_run_json(folder: RunFolder, content: str) -> None:
    save_all(folder, rated({1: 0.1}))
    folder.record.write_text(content)
    said: list[str] = []
    check_identity(folder, IDENTITY, warnings_into(said))
    assert said == ["record_damaged"]
    assert survey.summary(survey.survey(folder))["step"] == 1
    record_events(folder, IDENTITY, {}, {}, [{"event": "resumed"}])
    flipped = folder.record.read_text().replace('"seed": 19', '"seed": 18')
    folder.record.write_text(flipped)
    check_identity(folder, IDENTITY, warnings_into(said))
    with pytest.raises(ConfigMismatchError, match="seed: 19 -> 18"):
        check_identity(folder, IDENTITY | {"seed": 18}, warnings_into(said))


def test_store_refuses_an_unknown_schema(folder: RunFolder) -> None:
    save_all(folder, rated({1: 0.1}))
    rewrite_state(folder.checkpoints / "ckpt-1", lambda state: state | {"schema": 99})
    with pytest.raises(store.DamagedCheckpointError, match="schema 99"):
        store.read(folder.checkpoints / "ckpt-1")


def test_record_that_cannot_be_read_is_not_overwritten(folder: RunFolder) -> None:
    folder.record.mkdir()  # refused to everyone, as a file without permission is not to root
    with pytest.raises(CheckpointError, match=r"run\.json: it is not a plain file"):
        record_events(folder, IDENTITY, {}, {}, [])
    assert survey.survey(folder).record == {}
