"""The shipped configurations: they load, match their paths, and state expected results."""

import re
import shlex
from pathlib import Path

import pytest

from quality_table import METRICS, reference
from reprise.cli.options import run_values
from reprise.config.load import PRESETS, SHIPPED, make_config, read_preset
from reprise.models.registry import REGISTRY, UNTRAINED

CONFIGS = sorted(SHIPPED.glob("*/*.toml"))
DATASETS = ("book", "taobao", "ml-1m", "grocery", "beauty")

each = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")


def header(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("#").strip() for line in lines if line.startswith("#")]


def test_shipped_configs_cover_every_data_set_and_model() -> None:
    named = {(path.parent.name, path.stem) for path in CONFIGS}
    trained = set(REGISTRY) - UNTRAINED - {"Queries", "SASRec"}  # not in the paper
    assert {(dataset, model) for dataset in DATASETS for model in trained} <= named
    assert {dataset for dataset, _ in named} == set(DATASETS)


@each
def test_shipped_config_loads_and_matches_its_path(path: Path) -> None:
    config = make_config(run_values(None, path, None, None, {"name": "t"}))
    preset = read_preset(path.stem) if path.stem in PRESETS else {}
    assert (config.dataset, config.model) == (path.parent.name, preset.get("model", path.stem))
    assert config.max_steps % config.test_iter == 0  # the last step is evaluated


@each
def test_shipped_config_header_command_runs_the_file(path: Path) -> None:
    (command,) = (line for line in header(path) if line.startswith("reprise train "))
    words = shlex.split(command)
    assert words[2:] == [
        *("--config", f"{path.parent.name}/{path.stem}"),
        *("--name", "NAME", "--seed", "19"),
    ]


@each
def test_shipped_config_has_the_papers_settings(path: Path) -> None:
    if path.stem in {*UNTRAINED, *PRESETS}:
        pytest.skip("nothing is learned, or not as the paper did")
    config = make_config(run_values(None, path, None, None, {"name": "t"}))
    taobao = config.dataset == "taobao"
    assert config.learning_rate == (0.005 if config.model == "ComiRec-DR" else 0.001)
    assert (config.embedding_dim, config.hidden_size, config.num_interest) == (64, 64, 4)
    assert (config.batch_size, config.maxlen) == ((256, 50) if taobao else (128, 20))
    assert config.num_negatives == 10 * config.batch_size
    assert (config.test_iter, config.top_n) == (500 if taobao else 1000, 50)


@each
def test_shipped_config_states_expected_results(path: Path) -> None:
    """Measured by benchmarks/quality.py, which writes it here, or published."""
    lines = header(path)
    start = next(n for n, line in enumerate(lines) if line.startswith("Expected: on test, "))
    expected: dict[str, float] = {}
    for line in lines[start + 1 :]:
        if found := re.match(r"(\S+@\d+) +(\d\.\d+)", line):
            expected[found[1]] = float(found[2])
    assert set(expected) == {f"{metric}@{n}" for metric in METRICS for n in (20, 50)}
    if "published" in lines[start]:
        assert expected == reference("published", path.parent.name, path.stem)
