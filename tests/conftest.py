"""Fixtures shared by all tests."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from reprise.data.dataset import SPLITS, Draft, Split
from reprise.data.demo import make_demo
from reprise.data.prepare import publish


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds the prepared demo set, "demo"."""
    data = tmp_path_factory.mktemp("data")
    publish(make_demo(), "demo", data / "demo")
    return data


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds "small": 60 + 20 + 20 users over 40 items, random."""
    rng = np.random.default_rng(0)
    splits = {}
    for split, count in zip(SPLITS, (60, 20, 20), strict=True):
        lengths = rng.integers(5, 15, count)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        splits[split] = Split(offsets, rng.integers(1, 41, offsets[-1]).astype(np.int32))
    draft = Draft(
        splits=splits,
        raw_users={
            split: pl.Series([f"u{n}" for n in range(len(splits[split].lengths))])
            for split in SPLITS
        },
        raw_items=pl.Series([f"i{n}" for n in range(1, 41)]),
        item_category=np.arange(-1, 40, dtype=np.int32) % 5,
        source={"format": "test"},
        truth={},
    )
    data = tmp_path_factory.mktemp("data")
    publish(draft, "small", data / "small")
    return data


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many faults the tests recorded by `record_property`."""
    counts = {"SIGKILLs": 0, "damages": 0}
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name in counts and isinstance(value, int):
                counts[name] += value
    if any(counts.values()):
        shown = ", ".join(f"{count} {name}" for name, count in counts.items())
        terminalreporter.write_line(f"survived: {shown}")
