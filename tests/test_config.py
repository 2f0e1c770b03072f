"""The configuration: what it refuses, its defaults, and the run's name."""

import dataclasses
from pathlib import Path
from typing import Any

import click
import pytest

from reprise.cli.options import run_options, run_values
from reprise.config.load import PRESETS, make_config, read_preset, read_toml
from reprise.config.schema import TrainConfig
from reprise.errors import UsageError

GOOD: dict[str, Any] = {"dataset": "book", "name": "test85"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", 3),
        ("model", "none"),
        ("name", 3),
        ("name", "a/b"),
        ("name", ""),
        ("name", "a\0b"),
        ("name", "a\nb"),
        ("name", "\udcff"),
        ("name", "n" * 101),
        ("top_n", 10**11),
        ("dataset", ".."),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", True),
        ("batch_size", 0),
        ("batch_size", 1.5),
        ("negatives", 0),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("temperature", -0.1),
        ("temperature", float("inf")),
        ("temperature", "cold"),
        ("neg_score", "min"),
        ("sampler", "none"),
        ("next_n", 0),
        ("hard_negatives", -1),
        ("routing_penalty", -1),
        ("embedding_scale", -1),
        ("embedding_scale", float("inf")),
        ("encoder_layers", -1),
        ("encoder_layers", 65),
        ("ensemble", 0),
        ("ensemble", 3),  # 64 is shared out
        ("dropout", 1),
        ("dropout", -0.1),
        ("warmup", -1),
        ("decay", "linear"),  # until when?
        ("decay_steps", 10**7),
        ("hard_negatives", float("nan")),
        ("patience", -1),
        ("max_steps", None),
        ("max_steps", 10**13),
        ("test_iter", 10**13),
        ("learning_rate", 1e-46),  # not 0, but float32's is
        ("learning_rate", 1e300),
        ("temperature", 1e-45),
        ("embedding_scale", 1e38),
    ],
)
def test_config_refuses_impossible_values(key: str, value: Any) -> None:
    with pytest.raises(UsageError):
        TrainConfig(**(GOOD | {key: value}))


def test_config_names_and_defaults_are_comirecs() -> None:
    config = make_config(GOOD | {"model": "comirec-dr", "learning_rate": 0.007})
    assert config.run_name == "book_ComiRec-DR_b128_lr0.007_d64_len20_test85"
    assert config.num_negatives == 1280
    assert make_config(GOOD | {"batch_size": 256}).num_negatives == 2560


def test_config_temperature_or_scale_of_0_is_none() -> None:
    for none in (None, 0, 0.0):
        config = TrainConfig(**GOOD, temperature=none)
        assert (config.temperature, config.scoring.cosine) == (None, False)
        assert TrainConfig(**GOOD, embedding_scale=none).embedding_scale is None
    assert TrainConfig(**GOOD, embedding_scale=1).embedding_scale == 1.0
    warm = TrainConfig(**GOOD, temperature=1)
    assert (warm.temperature, warm.scoring.cosine) == (1.0, True)
    assert TrainConfig(**GOOD, model="MostPop", temperature=0.1).temperature is None
    assert warm.identity("f") != TrainConfig(**GOOD).identity("f")


def test_config_refuses_selection_with_neg_score_max() -> None:
    assert TrainConfig(**GOOD, neg_score="max").selection == "argmax"
    with pytest.raises(UsageError, match="selection"):
        TrainConfig(**GOOD, neg_score="max", selection="soft")


def test_config_heads_must_divide_the_embedding_dimension() -> None:
    assert TrainConfig(**GOOD, encoder_layers=1, encoder_heads=8).encoder_heads == 8
    with pytest.raises(UsageError, match="64"):
        TrainConfig(**GOOD, encoder_layers=1, encoder_heads=3)
    with pytest.raises(UsageError):
        TrainConfig(**GOOD, ensemble=16, encoder_layers=1, encoder_heads=8)  # of four numbers each


def test_config_resets_encoder_settings_without_an_encoder() -> None:
    assert TrainConfig(**GOOD, encoder_heads=3, dropout=0.5) == TrainConfig(**GOOD)
    sasrec = TrainConfig(**GOOD, model="SASRec", dropout=0.5)  # which has one always
    assert (sasrec.encoder_layers, sasrec.dropout) == (2, 0.5)
    assert TrainConfig(**GOOD, model="SASRec", encoder_layers=1).encoder_layers == 1
    untrained = TrainConfig(**GOOD, model="MostPop", encoder_layers=2, embedding_scale=1)
    assert untrained == TrainConfig(**GOOD, model="MostPop")


def test_config_item_features_are_names_in_any_order() -> None:
    """From a flag, a file's list or Python alike, stored in one way."""
    for given in ("b, a", ["a", "b"], ("b", "a", "b"), "a,b"):
        assert TrainConfig(**GOOD, item_features=given).item_features == "a,b"  # type: ignore[arg-type]
    assert TrainConfig(**GOOD).item_features == "none"
    assert TrainConfig(**GOOD, id_dropout=0.3) == TrainConfig(**GOOD)
    assert TrainConfig(**GOOD, item_features="all", id_dropout=0.3).id_dropout == 0.3
    for bad in ("", "a,,b", [], [1], 3, ["a", ""]):
        with pytest.raises(UsageError, match="names separated by commas"):
            TrainConfig(**GOOD, item_features=bad)  # type: ignore[arg-type]


def test_config_in_batch_negatives_are_the_batchs_targets() -> None:
    config = TrainConfig(**GOOD, sampler="in-batch")
    assert config.num_negatives == config.batch_size
    assert TrainConfig(**GOOD, sampler="in-batch", negatives=128) == config
    assert TrainConfig(**GOOD, sampler="mixed").num_negatives == 10 * config.batch_size
    with pytest.raises(UsageError, match="128, the number of targets"):
        TrainConfig(**GOOD, sampler="in-batch", negatives=1280)


def test_config_identity_omits_extendable_settings() -> None:
    short, long = (make_config(GOOD | {"max_steps": n, "patience": n}) for n in (10, 20))
    assert short.identity("f") == long.identity("f")
    assert short.identity("f") != short.identity("g")
    assert short.identity("f") != make_config(GOOD | {"test_iter": 7}).identity("f")


def test_config_every_setting_is_a_flag_that_overrides_the_file(tmp_path: Path) -> None:
    """So that each ingredient of a file can be taken out by a flag."""
    command = click.command()(run_options(lambda **_: None))
    assert {item.name for item in dataclasses.fields(TrainConfig)} <= {
        option.name for option in command.params
    }
    path = tmp_path / "modern.toml"
    lines = [
        "temperature = 0.1",
        'neg-score = "max"',
        'sampler = "mixed"',
        "next-n = 7",
        "hard-negatives = 1",
        "routing-penalty = 3",
        "embedding-scale = 0.1",
        "encoder-layers = 2",
        "encoder-heads = 4",
        "dropout = 0.2",
        "warmup = 100",
        'decay = "cosine"',
        "decay-steps = 1000",
    ]
    path.write_text("\n".join(lines))
    without = {
        "temperature": 0.0,
        "neg_score": "selected",
        "sampler": "log-uniform",
        "next_n": 1,
        "hard_negatives": 0.0,
        "routing_penalty": 0.0,
        "embedding_scale": 0.0,
        "encoder_layers": 0,  # and what belongs to it
        "warmup": 0,
        "decay": "none",
    }
    full = make_config(run_values(None, path, None, None, dict(GOOD)))
    plain = TrainConfig(**GOOD)
    assert all(getattr(full, name) != getattr(plain, name) for name in without)
    assert make_config(run_values(None, path, None, None, GOOD | without)) == plain


@pytest.mark.parametrize("preset", PRESETS)
def test_config_file_and_flags_override_the_preset(preset: str, tmp_path: Path) -> None:
    values = read_preset(preset)
    config = make_config(run_values(preset, None, None, None, dict(GOOD)))
    assert all(getattr(config, name) == value for name, value in values.items())
    path = tmp_path / "run.toml"
    path.write_text("learning-rate = 0.5\nnum-interest = 2\n")
    changed = make_config(run_values(preset, path, None, None, GOOD | {"num_interest": 3}))
    assert changed == dataclasses.replace(config, learning_rate=0.5, num_interest=3)


def test_preset_fast_is_a_smaller_modern_with_a_memory() -> None:
    modern, fast = (make_config(GOOD | read_preset(name)) for name in ("modern", "fast"))
    changed = {
        name: (getattr(modern, name), value)
        for name, value in dataclasses.asdict(fast).items()
        if value != getattr(modern, name)
    }
    assert changed.pop("memory") == ("auto", "rules")
    assert changed.pop("max_steps")[1] % fast.test_iter == 0  # the last step is evaluated
    assert all(less < more for more, less in changed.values())
    assert set(changed) >= {"embedding_dim", "num_interest", "encoder_layers", "patience"}


def test_preset_modern_has_several_interests() -> None:
    modern = make_config(GOOD | read_preset("modern"))
    assert modern.num_interest > 1
    assert modern.scoring.cosine
    assert modern.neg_score == "max"


def test_read_toml_accepts_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('dataset = "book"\n', encoding="utf-8-sig")
    assert read_toml(path) == {"dataset": "book"}


def test_read_toml_takes_the_names_of_flags(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('dataset = "book"\nlearning-rate = 0.5\ntest_iter = 7\n')
    assert read_toml(path) == {"dataset": "book", "learning_rate": 0.5, "test_iter": 7}
    path.write_text("dataset = ")
    with pytest.raises(UsageError, match=r"run\.toml"):
        read_toml(path)
    path.write_text("steps = 5\nmax_steps = 6\n")
    with pytest.raises(UsageError, match=r"run\.toml: max_steps is set twice"):
        read_toml(path)


def test_config_gbce_needs_equally_likely_negatives() -> None:
    """For which its calibration is derived; and what does not belong to it is refused."""
    with pytest.raises(UsageError, match="uniform or full"):
        TrainConfig(**GOOD, loss="gbce")
    with pytest.raises(UsageError, match="hard_negatives"):
        TrainConfig(**GOOD, loss="gbce", sampler="full", hard_negatives=1)
    asked = TrainConfig(**GOOD, loss="gbce", sampler="uniform", calibration=0.5)
    assert asked.calibration == 0.5
    assert TrainConfig(**GOOD, calibration=0.5) == TrainConfig(**GOOD)
