"""Runs whose metrics do not compare are told apart, wherever they stand together."""

from pathlib import Path
from typing import Any

import pytest

from helpers.commands import reprise, run_small
from helpers.report_pages import make_page
from reprise.runs.folder import RunFolder
from reprise.runs.manage.apart import apart

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


def test_report_and_compare_warn_of_other_validation_users(
    small_data: Path, tmp_path: Path, undisturbed: RunFolder
) -> None:
    _, _, other = run_small(small_data, tmp_path / "runs", valid_users=3)
    said = "rated on different validation users"
    page = make_page(tmp_path / "page.html", undisturbed.path, other.path, "--no-evaluation")
    assert page.count(said) == 1
    done = reprise("runs", "compare", undisturbed.path, other.path)
    assert (done.stdout + done.stderr).replace("\n", " ").count(said) == 1
