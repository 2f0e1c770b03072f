"""Refusals and warnings in the words of who reads them: flags as typed, settings without effect."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

from helpers.commands import RUN, check_refusal, comirec, reprise, small_config, train
from reprise import load
from reprise.cli.typed import as_typed
from reprise.config.effect import say_without_effect
from reprise.config.load import make_config
from reprise.config.model import model_of, shape_of
from reprise.errors import UsageError
from reprise.models.registry import REGISTRY, SINGLE
from reprise.text.messages import Messages, Phrase


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (["--embedding_dim", "0"], "--embedding_dim = 0 "),
        (["--batch-size", "16", "--batch-size=0"], "--batch-size = 0 "),
        (["--max_iter", "0.0001"], "--max_iter = 0.0001 is invalid: expected a number from 0.001"),
        (["--max-iter", "1e30"], "--max-iter = 1e+30 "),
        (["--steps", "0"], "--steps = 0 "),
        (["--members", "0"], "--members = 0 "),  # a former name
        (["--change-learning-rate", "0"], "--change-learning-rate = 0.0 "),
        (["--name", "a/b"], "--name 'a/b' "),
    ],
)
def test_as_typed_names_the_flag_as_typed(
    typed: list[str], shown: str, small_data: Path, tmp_path: Path
) -> None:
    check_refusal(train(small_data, tmp_path, *typed), 2, shown)


def test_as_typed_names_a_flag_of_comirec(tmp_path: Path) -> None:
    words = ("--model_type", "DNN", "--name", "a", "--max_iter", "0.0001")
    check_refusal(comirec(*words, cwd=tmp_path), 2, "--max_iter = 0.0001 ")


def test_as_typed_leaves_values_of_files(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("batch_size = 0\n")
    done = reprise("train", "--dataset", "x", "--name", "t", "--config", file)
    check_refusal(done, 2, "batch_size = 0 ")
    other = Phrase("missing_value", option="name")
    assert as_typed(other, ["--name", "x"]) is other


@pytest.mark.parametrize(
    "words",
    [
        ("import-tf", "x", "--dataset", "small", "--name", "t", "--step", 99999999999),
        ("prepare", "x", "--name", "t", "--k-core", 10**20),
        ("evaluate", "x", "--lists", "y", "--dataset", "z", "--top-n", 10**13),
        ("evaluate", "x", "--cutoffs", 10**13),
        ("sweep", "run", "--trials", 10**13),
        ("train", "--dataset", "small", "--name", "t", "--steps", 2**31),
        ("comirec", "--dataset", "small", "--max_iter", 2**31 / 1000),
    ],
)
def test_options_refuse_numbers_out_of_range(
    words: tuple[object, ...], small_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").symlink_to(small_data)
    assert reprise(*words, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", ""),
        ("export", "x", ""),
        ("inspect", ""),
        ("prepare", "", "--name", "x"),
        ("report", ""),
        ("runs", "--runs-dir", ""),
        ("runs", "show", ""),
        ("runs", "import", ""),
        ("resume", ""),
        ("train", "--dataset", "x", "--name", "y", "--data-dir", ""),
    ],
)
def test_options_refuse_an_empty_path(words: tuple[str, ...], tmp_path: Path) -> None:
    """Which would be the current folder."""
    (tmp_path / "run.json").write_text("{}")
    check_refusal(reprise(*words, cwd=tmp_path), 2, "= '' is invalid: expected a path or a name")


def test_load_refuses_an_empty_run() -> None:
    with pytest.raises(UsageError, match="run = '' is invalid"):
        load("")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("train", "--dataset", "x", "--name", "n" * 5000), 2),
        (("runs", "show", "n" * 5000), 7),
        (("evaluate", "n" * 5000), 7),
        (("resume", "n" * 250), 6),
    ],
)
def test_messages_shorten_what_they_repeat(
    words: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    done = reprise(*words, cwd=tmp_path)
    check_refusal(done, code, "nnn…nnn" if len(words[-1]) > 1000 else "nnn")
    assert len(done.stderr) < 500


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("runs", "import", "/dev/zero"), 3, "is not a plain file"),
        (("runs", "import", "pipe"), 3, "is not a plain file"),
        (("serve", "x", "--token-file", "/dev/null"), 3, "is not a plain file"),
        (("train", "--config", "/dev/zero"), 2, "more than 1,048,576 bytes"),
    ],
)
def test_require_file_names_devices_as_such(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    """Neither missing, nor read for ever."""
    os.mkfifo(tmp_path / "pipe")
    check_refusal(reprise(*words, cwd=tmp_path), code, said)


def test_train_names_the_option_that_changes_the_rate_of_a_run(
    small_data: Path, tmp_path: Path
) -> None:
    assert train(small_data, tmp_path, "--steps", 5).returncode == 0
    done = train(small_data, tmp_path, "--steps", 10, "--learning-rate", 0.0005)
    check_refusal(done, 4, "learning_rate: 0.001 -> 0.0005", "--change-learning-rate")


def effects(**given: object) -> list[str]:
    """Return what is said of given settings."""
    said: list[str] = []
    text = Messages("en").text
    config = make_config({"dataset": "d", "name": "n", **given})
    say_without_effect(given, config, lambda key, **values: said.append(text(key, **values)))
    return said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dropout": 0.5}, "--dropout 0.5 has no effect without --encoder-layers."),
        ({"encoder_heads": 2}, "--encoder-heads 2 has no effect without --encoder-layers."),
        ({"decay_steps": 9}, "--decay-steps 9 has no effect without --decay."),
        ({"id_dropout": 0.5}, "--id-dropout 0.5 has no effect without --item-features."),
        (
            {"item_features": "b,a", "model": "MostPop"},
            "--item-features b,a has no effect with MostPop.",
        ),
        ({"negatives": 9, "sampler": "full"}, "--negatives 9 has no effect with --sampler full."),
        ({"num_interest": 8, "model": "dnn"}, "--num-interest 8 has no effect with DNN."),
        ({"selection": "soft", "model": "GRU4REC"}, "--selection soft has no effect with GRU4REC."),
        ({"temperature": 0.1, "model": "MostPop"}, "--temperature 0.1 has no effect with MostPop."),
    ],
)
def test_say_without_effect_names_the_reason(given: dict[str, object], said: str) -> None:
    assert effects(**given) == [f"⚠️ {said}"]


def test_say_without_effect_is_silent_otherwise() -> None:
    assert effects(dropout=0.5, encoder_layers=1, encoder_heads=2, negatives=50) == []
    assert effects(dropout=0.0, model="DNN", num_interest=4, temperature=0) == []
    assert effects(item_features=["b", "a"], id_dropout=0.1) == []
    assert effects(item_features="b, a") == effects(item_features="none") == []


def test_train_says_what_has_no_effect(small_data: Path, tmp_path: Path) -> None:
    done = train(small_data, tmp_path, "--steps", 1, "--dropout", 0.5)
    assert done.returncode == 0
    assert "--dropout 0.5 has no effect without --encoder-layers" in done.stderr


@pytest.mark.parametrize("name", REGISTRY)
def test_single_lists_the_models_with_one_interest(name: str) -> None:
    config = small_config(model=name, num_interest=3)
    model, shape = model_of(config), shape_of(config)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), shape))
    history = np.ones((2, config.maxlen, config.embedding_dim), np.float32)
    mask = np.ones((2, config.maxlen), np.float32)
    made = jax.eval_shape(model.interests, params, history, mask)
    assert (made.shape[1] == 1) == (name in SINGLE)


def test_best_line_never_names_another_checkpoint(small_data: Path, tmp_path: Path) -> None:
    assert train(small_data, tmp_path, "--steps", 10).returncode == 0
    done = train(small_data, tmp_path, "--steps", 10)
    line = next(line for line in done.stdout.splitlines() if line.startswith("Best "))
    best = Path(line.rpartition(": ")[2])
    assert best.parent == tmp_path / RUN / "checkpoints"
    (best / "rows.npy").unlink()
    done = train(small_data, tmp_path, "--steps", 10)
    line = next(line for line in done.stdout.splitlines() if line.startswith("Best "))
    assert "ckpt" not in line or f"step {line.rpartition('ckpt-')[2]}:" in line
