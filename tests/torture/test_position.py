"""Scenarios 32-39, 41, 42: a resumed run continues with the same data, schedule and weights."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.builders_data import draft_of, split_of
from helpers.checkpoints import as_before_logs, names, rewrite_state
from helpers.commands import (
    ENVIRONMENT,
    RUN,
    Recorder,
    check_refusal,
    check_same_end,
    run_small,
    small_config,
    state_digest,
    stopping_at,
    train,
)
from reprise.checkpoints import store
from reprise.data.dataset import open_dataset
from reprise.data.prepare import publish
from reprise.errors import ConfigMismatchError
from reprise.runs.evaluation import evaluate_run
from reprise.runs.folder import RunFolder
from reprise.training import setup
from reprise.training.batches import Batch, make_sampler
from reprise.training.optimizers import Update, make_update

pytestmark = pytest.mark.users_bits

STOPS = (3, 4, 7, 12, 13)


def restarted(data: Path, runs: Path) -> RunFolder:
    """A run stopped at each of STOPS and taken up again."""
    for stop in STOPS:
        run_small(data, runs, stopping_at(stop))
    return run_small(data, runs)[2]


def test_restart_does_not_replay_the_first_batches(
    small_data: Path, tmp_path: Path, trained_on: list[tuple[str, Update]]
) -> None:
    """Scenario 32 (nanoGPT#467, accelerate PR4233): every batch of the run is trained on once."""
    run_small(small_data, tmp_path / "whole")
    whole = [batch for batch, _ in trained_on]
    trained_on.clear()
    restarted(small_data, tmp_path / "torn")
    assert [batch for batch, _ in trained_on] == whole
    assert len(set(whole)) == 20


BATCHES = """
import hashlib, sys
from pathlib import Path
from reprise.data.dataset import open_dataset
from reprise.training.batches import make_sampler
dataset = open_dataset(Path(sys.argv[1]))
sampler = make_sampler(dataset.splits["train"], dataset.num_items, 16, 6, 16, 19)
for step in map(int, sys.argv[2:]):
    batch = sampler.batch(0, step)
    arrays = [array.tobytes() for array in batch if array is not None]
    print(hashlib.sha256(b"".join(arrays)).hexdigest())
"""


def test_batches_are_the_same_in_any_order_and_process(
    small_data: Path, tmp_path: Path, trained_on: list[tuple[str, Update]]
) -> None:
    """Scenario 33 (skipping loaders whose skip shuffles anew): nothing is skipped, because batch
    N is a pure function of (seed, branch, N): another process draws it without the others.
    """
    run_small(small_data, tmp_path)
    order = random.Random(0).sample(range(1, 21), 20)
    done = subprocess.run(
        [sys.executable, "-c", BATCHES, str(small_data / "small"), *map(str, order)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    drawn = dict(zip(order, done.stdout.split(), strict=True))
    assert [drawn[step] for step in range(1, 21)] == [batch for batch, _ in trained_on]


def test_batches_do_not_use_global_random_generators(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    """Scenario 34 (transformers PR46628): there is no generator's state to restore, too early or
    too late: whoever draws from Python's or NumPy's between the steps changes nothing.
    """

    def disturb(step: int) -> None:
        random.seed(step)
        np.random.seed(os.getpid())  # noqa: NPY002 - the global generator is the point
        np.random.random(step)  # noqa: NPY002
        if step == 9:
            os.kill(os.getpid(), 15)

    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        run_small(small_data, tmp_path, Recorder(disturb))
        _, _, folder = run_small(small_data, tmp_path, Recorder(disturb))
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
    check_same_end(folder, undisturbed)


def test_restart_draws_no_batch_before_its_own_first(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 35 (skipping loaders that skip twice): after two restarts at step 13 the first batch
    that is even drawn is the 14th.
    """
    drawn: list[int] = []
    real = make_sampler

    def make(*arguments: Any) -> Any:
        sampler = real(*arguments)
        draw = type(sampler).batch

        def noted(branch: int, step: int) -> Batch:
            drawn.append(step)
            return draw(sampler, branch, step)

        object.__setattr__(sampler, "batch", noted)
        return sampler

    monkeypatch.setattr(setup, "make_sampler", make)
    run_small(small_data, tmp_path, stopping_at(13))
    assert drawn[:13] == list(range(1, 14))
    for _ in range(2):
        drawn.clear()
        run_small(small_data, tmp_path, max_steps=14)
        assert drawn in ([14], [])  # the second start finds nothing left to do
    drawn.clear()
    run_small(small_data, tmp_path)
    assert drawn == list(range(15, 21))


def test_training_of_twenty_steps_makes_twenty_updates(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder, trained_on: list[tuple[str, Update]]
) -> None:
    """Scenario 36 (Keras BackupAndRestore: 22 updates instead of 16): weights and position are one
    value, so no step is taken a second time with weights that know it.
    """
    folder = restarted(small_data, tmp_path)
    assert len(trained_on) == 20
    check_same_end(folder, undisturbed)


@pytest.mark.parametrize("stop", [1, 4, 7, 20])
def test_stop_at_step_n_stores_the_state_after_n_updates(
    small_data: Path, tmp_path: Path, trained_on: list[tuple[str, Update]], stop: int
) -> None:
    """Scenario 37 (lightning#19367): step N is stored with N's weights, and N + 1 comes next."""
    outcome, _, folder = run_small(small_data, tmp_path, stopping_at(stop))
    assert (outcome.progress.step, len(trained_on)) == (stop, stop)
    assert store.scan(folder.checkpoints)[-1].order == (0, stop, 0)
    run_small(small_data, tmp_path)
    assert len(trained_on) == 20
    assert trained_on[stop - 1 : stop + 1] == [
        (trained_on[step - 1][0], make_update(0.01, step))
        for step in range(stop, min(stop + 2, 21))
    ]


def test_restart_continues_the_schedule(
    small_data: Path, tmp_path: Path, trained_on: list[tuple[str, Update]]
) -> None:
    """Scenario 38 (keras#9462's other half, the schedule's restart): Adam's bias correction, the
    schedule there is, counts the run's steps and not the start's.
    """
    restarted(small_data, tmp_path)
    updates = [update for _, update in trained_on]
    assert updates == [make_update(0.01, step) for step in range(1, 21)]
    assert len({update.rate for update in updates}) == 20


def test_restart_restores_moments_and_step_exactly(small_data: Path, tmp_path: Path) -> None:
    """Scenario 39 (weights-only checkpoints): m and v of rows and parameters equal the undisturbed
    run's bit for bit, right after a restart and later on.
    """
    for budget in (7, 14):
        _, _, whole = run_small(small_data, tmp_path / f"whole{budget}", max_steps=budget)
        run_small(small_data, tmp_path / f"torn{budget}", stopping_at(3), max_steps=budget)
        run_small(small_data, tmp_path / f"torn{budget}", stopping_at(6), max_steps=budget)
        _, _, torn = run_small(small_data, tmp_path / f"torn{budget}", max_steps=budget)
        expected, found = (
            store.load(store.read(folder.checkpoints / f"ckpt-{budget}"))
            for folder in (whole, torn)
        )
        assert found.progress.step == expected.progress.step == budget
        assert set(found.arrays) == set(expected.arrays)
        moments = {name for name in expected.arrays if name[:2] in ("m.", "v.")}
        assert len(moments) == 2 * sum(name.startswith("params.") for name in expected.arrays) > 0
        for name, array in expected.arrays.items():
            assert found.arrays[name].tobytes() == array.tobytes(), name
            assert name == "loss_sum" or np.any(array != 0), name
        dim = expected.arrays["rows"].shape[1] // 3
        for part in range(3):  # value | m | v
            assert np.any(expected.arrays["rows"][:, part * dim : (part + 1) * dim] != 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 20},
        {"negatives": 17},
        {"num_interest": 3},
        {"hidden_size": 9},
        {"test_iter": 5},
        {"top_n": 20},
        {"batch_size": 17},
        {"learning_rate": 0.02},
        {"model": "ComiRec-DR"},
        {"seed": 20, "negatives": 17},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_resume_refuses_another_configuration_with_the_difference(
    small_data: Path, tmp_path: Path, twelve_steps: RunFolder, changes: dict[str, Any]
) -> None:
    """Scenario 41 (transformers#43708): whatever shapes the trajectory is compared, with run.json
    or without.
    """
    asked = twelve_steps
    before = state_digest(asked)
    old = vars(small_config())
    expected = "\n".join(f"  {key}: {old[key]} -> {changes[key]}" for key in sorted(changes))
    for _ in range(2):
        with pytest.raises(ConfigMismatchError) as refusal:
            run_small(small_data, tmp_path, max_steps=16, **changes)
        assert refusal.value.values["differences"] == expected
        assert refusal.value.exit_code == 4
        asked.record.unlink(missing_ok=True)  # the checkpoints know their identity too
    assert state_digest(asked) == before
    assert names(asked)[0] == "ckpt-12"


def test_train_under_another_name_is_another_run(small_data: Path, tmp_path: Path) -> None:
    """Scenario 41 (transformers#43708): other settings, too, where the name is another."""
    _, _, first = run_small(small_data, tmp_path, max_steps=8)
    before = state_digest(first)
    _, recorder, second = run_small(small_data, tmp_path, max_steps=8, batch_size=17, name="u")
    assert recorder.resumption is None
    assert second != first
    assert state_digest(first) == before


def test_resume_refuses_another_dataset_under_the_same_name(
    small_data: Path, tmp_path: Path
) -> None:
    """Scenario 41 (transformers#43708): one item of one user differs; the command exits with 4."""
    data = tmp_path / "data"
    shutil.copytree(small_data, data)
    runs = tmp_path / "runs"
    as_the_command: dict[str, Any] = {"learning_rate": 0.001, "test_iter": 5, "top_n": 50}
    _, _, folder = run_small(data, runs, max_steps=5, **as_the_command)
    assert folder.path == runs / RUN
    before = state_digest(folder)
    dataset = open_dataset(data / "small")
    lists = [
        dataset.splits["train"].items[start:end].tolist()
        for start, end in zip(
            dataset.splits["train"].offsets, dataset.splits["train"].offsets[1:], strict=False
        )
    ]
    lists[0][0] = lists[0][0] % 40 + 1
    splits = dict(dataset.splits) | {"train": split_of(lists)}
    draft = draft_of(splits, np.asarray(dataset.item_category))
    shutil.rmtree(data / "small")
    publish(draft, "small", data / "small")
    refused = train(data, runs, "--steps", 10)
    check_refusal(refused, 4, f"{data / 'small'} is not the data that {folder.path} was trained on")
    assert refused.stderr.count("\n") == 1  # and no digest
    assert state_digest(folder) == before


BEST_FIELDS = ("evaluated_step", "metric", "best", "evaluations_without_improvement")


def without_best(state: dict[str, Any]) -> dict[str, Any]:
    """What schema 1 held."""
    progress = {key: value for key, value in state["progress"].items() if key not in BEST_FIELDS}
    return state | {"schema": 1, "progress": progress}


@pytest.mark.parametrize("given", [None, 0.9])
def test_restart_from_an_old_checkpoint_warns_and_measures_its_best(
    small_data: Path, tmp_path: Path, given: float | None
) -> None:
    """Scenario 42 (checkpoints older than the best they should hold): the best is measured or
    taken from --best-metric, and the weights it belongs to are stored as the best's.
    """
    _, _, folder = run_small(small_data, tmp_path, max_steps=8)
    as_before_logs(folder)
    for path in folder.checkpoints.glob("ckpt-*"):
        rewrite_state(path, without_best)
    measured = evaluate_run(
        folder.path, lambda name: small_data / name, "valid", "latest", lambda key, **_: None
    )
    truth = measured.evaluation.metrics["recall@10"]
    outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=8, best_metric=given)
    best = outcome.progress.best
    assert best is not None
    assert (best.metric, best.step) == (truth if given is None else given, 8)
    assert ("old_checkpoint" in recorder.keys) == (given is None)
    stored = store.best_of(store.scan(folder.checkpoints))
    assert stored is not None
    assert stored.progress.best == best
    # From now on it is known: said once, not on every start.
    _, recorder, _ = run_small(small_data, tmp_path, max_steps=12)
    assert "old_checkpoint" not in recorder.keys
