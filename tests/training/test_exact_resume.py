"""Every way of training, stopped and resumed, ends bitwise as if never stopped."""

import os
import signal
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.commands import Recorder, run_small, small_config, stopping_at
from helpers.effort import examples, some_at_length
from reprise.checkpoints import store
from reprise.config.schema import SETTINGS, TrainConfig
from reprise.errors import UsageError
from reprise.models import features
from reprise.models.registry import REGISTRY, UNTRAINED
from reprise.runs.folder import RunFolder
from reprise.runs.manage.inspect import describe
from reprise.runs.stored import from_checkpoint

STOPS = (1, 4, 6, 9)  # before, at and after the evaluations of a run of ten steps


def digest(folder: RunFolder) -> str:
    def no_warning(key: str, **values: object) -> None:
        raise AssertionError(f"{key}: {values}")

    return str(describe(folder.path, "latest", no_warning)["state_digest"])


CHOICES = {name: setting.choices for name, setting in SETTINGS.items() if setting.choices}
# Every value of every switch but the defaults stands in one of these.
SWITCHED: list[dict[str, Any]] = [
    {
        "optimizer": "adam",
        "selection": "sample",
        "sampler": "uniform",
        "loss": "gbce",
        "interest_penalty": 0.5,
        "temperature": 0.1,
        "encoder_layers": 1,
        "time_bias": "gaps",
        "memory": "rules",
    },
    {
        "sampler": "full",
        "interest_count": "by-length",
        "targets": 3,
        "ensemble": 2,
        "repeat_bias": True,
        "average_decay": 0.9,
        "encoder_layers": 1,
        "encoder_blocks": "gated",
        "time_bias": "gaps+request",
        "request_clock": "hour+weekday",
        "item_features": "all",
        "id_dropout": 0.3,
        "item_init": "counts",
    },
    {
        "optimizer": "lazy-adam",
        "item_init": "auto",
        "selection": "soft",
        "sampler": "in-batch",
        "negatives": None,
        "memory": "ridge",
    },
    {"train_users": "all", "item_features": "price", "optimizer": "adam"},
    {
        "selection": "item0",
        "next_n": 3,
        "hard_negatives": 1.0,
        "embeddings": "untied",
        "normalize_history": True,
        "targets": 2,
        "min_history": 1,
        "next_share": 0.5,
        "item_dropout": 0.3,
        "warmup": 6,
        "decay": "linear",
        "decay_steps": 9,
        "encoder_layers": 1,
        "time_bias": "gaps+request",
        "request_clock": "weekday",
        "request_time": "last",
        "memory": "auto",
        "item_features": "genres,brand",
    },
    {
        "temperature": 0.1,
        "neg_score": "max",
        "sampler": "mixed",
        "routing_penalty": 3.0,
        "encoder_layers": 2,
        "encoder_heads": 2,
        "dropout": 0.3,
        "time_bias": "gaps+request",
        "request_clock": "hour",
        "embedding_scale": 0.5,
        "decay": "cosine",
        "decay_steps": 9,
    },
]


@pytest.fixture(autouse=True)
def few_categories_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that embeddings of features are updated by row."""
    monkeypatch.setattr(features, "_MOST_DENSE", 3)


@pytest.mark.users_bits
def test_resume_tests_cover_every_choice_of_a_switch() -> None:
    defaults = small_config()
    for name, choices in CHOICES.items():
        tried = {getattr(defaults, name), *(asked.get(name) for asked in SWITCHED)}
        assert tried >= set(choices), name


@pytest.mark.users_bits
@pytest.mark.parametrize(
    "asked",
    some_at_length(
        [*({"model": model} for model in sorted(set(REGISTRY) - UNTRAINED)), *SWITCHED],
        [*({"model": model} for model in ("ComiRec-DR", "ComiRec-SA", "MIND")), *SWITCHED[:-2]],
    ),
    ids=lambda asked: "-".join(asked),
)
def test_resume_after_repeated_stops_is_bitwise_identical(
    small_data: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    """For every model, and for every value of a switch but the default."""
    config: dict[str, Any] = {"negatives": 4, "max_steps": 10, **asked}  # few: rows sit out
    _, _, undisturbed = run_small(small_data, tmp_path / "a", **config)
    for stop_at in STOPS:

        def stop(step: int, at: int = stop_at) -> None:
            if step == at:
                os.kill(os.getpid(), signal.SIGTERM)

        outcome, _, _ = run_small(small_data, tmp_path / "b", Recorder(stop), **config)
        assert (outcome.exit_code, outcome.progress.step) == (143, stop_at)
    outcome, _, folder = run_small(small_data, tmp_path / "b", **config)
    assert outcome.exit_code == 0
    assert digest(folder) == digest(undisturbed)
    assert folder.metrics.read_bytes() == undisturbed.metrics.read_bytes()


# What may be asked for beside CHOICES.
AMOUNTS: dict[str, tuple[Any, ...]] = {
    "model": tuple(sorted(set(REGISTRY) - UNTRAINED)),
    "num_interest": (1, 2, 3),
    "ensemble": (1, 2),
    "normalize_history": (False, True),
    "repeat_bias": (False, True),
    "encoder_layers": (0, 1, 2),
    "encoder_heads": (1, 2),
    "dropout": (0.0, 0.4),
    "item_dropout": (0.0, 0.4),
    "item_features": ("none", "all", "brand,text"),
    "id_dropout": (0.0, 0.5),
    "embedding_scale": (None, 0.3),
    "temperature": (None, 0.2),
    "hard_negatives": (0.0, 0.5),
    "routing_penalty": (0.0, 2.0),
    "min_history": (1, 4),
    "targets": (1, 3),
    "next_n": (1, 4),
    "next_share": (0.0, 0.4),
    "valid_users": (0, 7),
    "warmup": (0, 6),
    "average_decay": (0.0, 0.9),
    "calibration": (0.0, 0.75),
    "interest_penalty": (0.0, 0.5),
    "decay_steps": (9,),
    "memory_edges": (3, 64),
}


def possible(asked: dict[str, Any]) -> bool:
    """Whether the combination is not one that a run is refused for."""
    try:
        config = small_config(**asked)
    except UsageError:
        return False
    return config.routing_penalty == 0 or config.model in {"ComiRec-SA", "Queries"}


@settings(examples(2), suppress_health_check=list(HealthCheck))
@given(
    asked=st.fixed_dictionaries(
        {name: st.sampled_from(values) for name, values in (CHOICES | AMOUNTS).items()}
    ).filter(possible),
    stop_at=st.integers(1, 9),
)
def test_resume_of_any_combination_of_switches_is_bitwise_identical(
    small_data: Path, tmp_path_factory: pytest.TempPathFactory, asked: dict[str, Any], stop_at: int
) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    asked = {"negatives": None if asked["sampler"] == "in-batch" else 4, "max_steps": 10, **asked}

    def stop(step: int) -> None:
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    _, _, undisturbed = run_small(small_data, folder / "a", **asked)
    outcome, _, _ = run_small(small_data, folder / "b", Recorder(stop), **asked)
    assert (outcome.exit_code, outcome.progress.step) == (143, stop_at)
    _, _, resumed = run_small(small_data, folder / "b", **asked)
    assert digest(resumed) == digest(undisturbed)
    assert resumed.metrics.read_bytes() == undisturbed.metrics.read_bytes()


@pytest.mark.users_bits
def test_resume_tests_draw_every_switch() -> None:
    """A new field of the configuration is a size, or is added here."""
    sizes = {"dataset", "name", "batch_size", "maxlen", "embedding_dim", "hidden_size"}
    sizes |= {"negatives", "learning_rate", "seed", "test_iter", "top_n", "max_steps", "patience"}
    assert {item.name for item in fields(TrainConfig)} == sizes | set(CHOICES) | set(AMOUNTS)


@pytest.mark.users_bits
def test_export_equals_what_retrieval_scores_by(small_data: Path, tmp_path: Path) -> None:
    """Of a run with a temperature, items at length 1; of another, their values."""
    for temperature in (None, 0.1):
        asked: dict[str, Any] = {"max_steps": 4, "temperature": temperature}
        _, _, folder = run_small(small_data, tmp_path / str(temperature), **asked)
        stored = store.read(folder.checkpoints / "ckpt-4")
        shown = from_checkpoint(stored).retriever.item_vectors()
        values = store.load(stored).arrays["rows"][:, : shown.shape[1]]
        lengths = np.linalg.norm(values[1:], axis=1, keepdims=True)
        expected = values[1:] if temperature is None else values[1:] / lengths
        np.testing.assert_allclose(shown[1:], expected, rtol=1e-5)
        assert not shown[0].any()


@pytest.mark.users_bits
def test_checkpoint_between_evaluations_stores_updates_as_pending(
    small_data: Path, tmp_path: Path
) -> None:
    """Between evaluations a stop leaves the rows as they are; what looks at them catches them up,
    and so does another learning rate, at the old one.
    """
    asked: dict[str, Any] = {"negatives": 4, "max_steps": 10}
    _, _, folder = run_small(small_data, tmp_path, stopping_at(6), **asked)
    stored = store.read(folder.checkpoints / "ckpt-6")
    snapshot = store.load(stored)
    waiting = snapshot.arrays["row_steps"] < 6
    assert 0 < waiting.sum() < len(waiting)
    assert not waiting[snapshot.arrays["row_steps"] == 6].any()
    shown = from_checkpoint(stored).retriever.item_vectors()
    moved = (shown != snapshot.arrays["rows"][:, : shown.shape[1]]).any(axis=1)
    assert moved.any()
    assert not moved[~waiting].any()

    run_small(small_data, tmp_path, stopping_at(7), new_learning_rate=0.5, **asked)
    changed = store.load(store.read(folder.checkpoints / "ckpt-6.1")).arrays
    assert (changed["row_steps"] == 6).all()
    np.testing.assert_array_equal(changed["rows"][:, : shown.shape[1]], shown)
