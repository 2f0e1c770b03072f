"""A configuration's values and their sources; written as a file, it reads back the same."""

from pathlib import Path
from typing import Any

import pytest

from reprise.cli.options import run_layers, run_values
from reprise.config.layers import Layer, Value, as_toml, resolve
from reprise.config.load import PRESETS, SHIPPED, make_config, read_toml
from reprise.errors import UsageError

FILES = sorted(SHIPPED.rglob("*.toml"))
OPEN = {"dataset": "d", "name": "n"}


def by_key(*layers: Layer) -> dict[str, Value]:
    return {setting.key: setting for setting in resolve(layers)}


def test_resolve_names_the_strongest_layer_as_source(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('preset = "modern"\nlearning-rate = 1\nmodel = "QUERIES"\n')
    flags = {"temperature": 0.0, "seed": None, "patience": 3}
    layers = run_layers(None, file, 0.002, None, flags)
    found = by_key(*layers)
    assert found["maxlen"] == Value("maxlen", 50, "preset", "modern")
    assert found["learning_rate"] == Value("learning_rate", 1.0, "file", str(file))
    assert found["model"] == Value("model", "Queries", "file", str(file))
    assert found["temperature"] == Value("temperature", None, "flag")
    assert found["max_steps"] == Value("max_steps", 2, "flag")
    assert found["seed"] == Value("seed", 19, "default")
    assert found["negatives"] == Value("negatives", 1280, "derived")
    assert found["name"] == Value("name", None, "needed")
    config = make_config(OPEN | run_values(None, file, 0.002, None, flags))
    for key in found.keys() - OPEN.keys():
        assert found[key].value == getattr(config, key)


def test_resolve_marks_values_that_follow_from_others() -> None:
    found = by_key(Layer("flag", {"model": "mostpop", "max_steps": 9}))
    assert found["model"] == Value("model", "MostPop", "flag")
    assert found["max_steps"] == Value("max_steps", 1, "derived")
    with pytest.raises(UsageError, match="Did you mean 'seed'"):
        resolve([Layer("file", {"sead": 1})])


@pytest.mark.parametrize(
    "layer",
    [
        *(run_layers(preset, None, None, None, OPEN) for preset in PRESETS),
        *(run_layers(None, file, None, None, OPEN) for file in FILES),
        [Layer("flag", OPEN | {"model": "MostPop"})],
        [Layer("flag", OPEN | {"sampler": "in-batch", "targets": 2, "embedding_scale": 0.5})],
        [Layer("flag", {"dataset": '"中 文"\\', "name": "😀", "learning_rate": 1e-07})],
    ],
)
def test_as_toml_reads_back_to_the_same_configuration(layer: list[Layer], tmp_path: Path) -> None:
    values: dict[str, Any] = {}
    for one in layer:
        values |= one.values
    settings = resolve(layer)
    (tmp_path / "out.toml").write_text(as_toml(settings), encoding="utf-8")
    assert make_config(read_toml(tmp_path / "out.toml")) == make_config(values)
    again = resolve(run_layers(None, tmp_path / "out.toml", None, None, {}))
    assert as_toml(again) == as_toml(settings)
