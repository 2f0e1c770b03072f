"""Recommenders that several tests use."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from helpers.recommenders import tiny
from reprise.serving.recommender import Recommender


@pytest.fixture(scope="session")
def recommender(
    small_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Recommender]:
    """Return the tiny recommender of a name of `helpers.recommenders.SETTINGS`."""
    return cache(lambda name: tiny(name, small_data, tmp_path_factory.mktemp("runs")))
