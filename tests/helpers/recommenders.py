"""Tiny runs of each model, ready to answer."""

from pathlib import Path
from typing import Any

from helpers.commands import SIZES, run_small
from reprise.config.load import read_preset
from reprise.models.registry import REGISTRY
from reprise.runs.stored import load
from reprise.serving.recommender import Recommender
from reprise.text.messages import unsaid

MODERN = "modern"
SETTINGS: dict[str, dict[str, Any]] = {name: {"model": name} for name in REGISTRY}
SETTINGS[MODERN] = read_preset(MODERN) | SIZES | {"model": "Queries", "num_interest": 3}


def tiny(name: str, data: Path, runs: Path) -> Recommender:
    """Train a model of SETTINGS on the "small" data for a few steps."""
    settings = {key: value for key, value in SETTINGS[name].items() if key != "test_iter"}
    _, _, folder = run_small(data, runs, **settings, max_steps=8)
    return Recommender(load(folder.path, "latest", unsaid, lambda name: data / name))
