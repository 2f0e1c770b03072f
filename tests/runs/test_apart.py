"""Runs whose metrics do not compare are told apart, wherever they stand together."""

from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

from helpers.builders_data import draft_of
from helpers.commands import reprise, run_small
from reprise.data.dataset import SPLITS
from reprise.data.prepare import publish
from reprise.data.sequences import Sequences
from reprise.runs.folder import RunFolder
from reprise.runs.manage.apart import apart

FORMS = (("--split", "valid"), ("--markdown",), ("--latex",), ("--csv",))
RATED = {"dataset_fingerprint": "a", "valid_users": 0, "top_n": 50}


@pytest.mark.parametrize(
    ("other", "warnings"),
    [
        ({}, []),
        ({"dataset_fingerprint": "b"}, ["compare_other_data"]),
        ({"valid_users": 10}, ["compare_other_users"]),
        ({"valid_users": 10, "top_n": 20}, ["compare_other_users", "compare_other_cutoff"]),
    ],
)
def test_apart_names_what_runs_were_rated_by(other: dict[str, Any], warnings: list[str]) -> None:
    assert apart([RATED]) == []
    assert apart([RATED, RATED | other, RATED]) == warnings
    older = {"dataset_fingerprint": "a"}  # of a version without these settings
    assert apart([older, RATED | other]) == warnings


def test_report_and_comparisons_warn_of_runs_rated_otherwise(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    others = {
        "trained on different data": run_small(other_data(tmp_path), tmp_path / "a", max_steps=4),
        "rated on different validation users": run_small(
            small_data, tmp_path / "b", valid_users=3, max_steps=4
        ),
        "selected at different cutoffs": run_small(
            small_data, tmp_path / "c", top_n=20, max_steps=4
        ),
    }
    output = ("--no-evaluation", "--output", tmp_path / "page.html")
    for said, (_, _, other) in others.items():
        both = (undisturbed.path, other.path)
        told = reprise("report", *both, *output)
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        compared = reprise("runs", "compare", *both)
        copytree(undisturbed.path, other.path.parent / "first")
        listed = reprise("runs", "--runs-dir", other.path.parent)
        assert "Of the runs of small:" in listed.stdout
        # A table is of all users of a split, whoever rated the models in training.
        tables = [reprise("runs", "compare", *both, *form) for form in FORMS]
        in_tables = "users" not in said
        for warning in others:
            as_expected = int(warning == said)
            assert page.count(warning) == as_expected
            assert told.stderr.count(warning) == as_expected
            assert (compared.stdout + compared.stderr).count(warning) == as_expected
            assert listed.stdout.count(warning) == as_expected
            for table in tables:
                text = table.stdout + table.stderr
                assert text.count(warning) == int(as_expected and in_tables)
                assert table.returncode == 0
        assert all(said not in table.stdout for table in tables[1:])  # what programs read


def other_data(folder: Path) -> Path:
    """A data folder that holds other sequences under the name "small"."""
    sequences = Sequences(
        np.arange(0, 241, 6, dtype=np.int64), np.arange(240, dtype=np.int32) % 40 + 1
    )
    publish(
        draft_of(dict.fromkeys(SPLITS, sequences), np.zeros(41, np.int32)),
        "small",
        folder / "data" / "small",
    )
    return folder / "data"
