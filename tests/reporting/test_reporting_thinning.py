"""Long curves: few points, and what stands out of all."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.effort import examples
from helpers.report_pages import embedded, make_page, points, traces
from reprise.report import thinning
from reprise.report.thinning import MOST_POINTS, places
from reprise.runs.folder import RunFolder


@examples(40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 30_000))
def test_places_keep_the_ends_extremes_and_gaps(seed: int, width: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((width, count))
    missing = rng.random((width, count)) < rng.choice([0, 0.001, 1])
    columns = [
        [None if gone else float(value) for value, gone in zip(*column, strict=True)]
        for column in zip(values, missing, strict=True)
    ]
    always = [int(rng.integers(count))] if count else []
    kept = places(columns, always)
    assert kept == sorted(set(kept))
    assert len(kept) <= MOST_POINTS
    if count <= MOST_POINTS:
        assert kept == list(range(count))
        return
    assert {0, count - 1, *always} <= set(kept)
    for column in columns:
        known = [value for value in column if value is not None]
        shown = [column[place] for place in kept if column[place] is not None]
        if known:
            assert (min(shown), max(shown)) == (min(known), max(known))  # type: ignore[type-var]
        assert (None in [column[place] for place in kept]) == (None in column)


def test_report_of_a_long_history_stays_small(
    small_data: Path, harmed: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's branch 2 went on for long; the page says that it is thinned."""
    monkeypatch.setattr(thinning, "MOST_POINTS", 40)
    monkeypatch.setattr("reprise.report.page.MOST_POINTS", 40)
    short = make_page(tmp_path / "short.html", harmed.path, "--no-evaluation", "--lang", "en")
    last = json.loads(harmed.metrics.read_text().splitlines()[-1])
    with harmed.metrics.open("a") as file:
        for number in range(1, 400):
            step = last["step"] + 4 * number
            value = 0.39 if number == 217 else 0.2 + number % 7 / 100
            file.write(json.dumps(last | {"step": step, "valid_recall@10": value}) + "\n")
    long = make_page(tmp_path / "long.html", harmed.path, "--no-evaluation", "--lang", "en")
    assert "drawn by at most 40 points" in long
    assert "drawn by at most" not in short
    (run,) = embedded(long, "facts")["runs"]
    assert (len(run["evaluations"]) <= 40, run["evaluations_made"]) == (True, 408)
    figures = embedded(long, "figures")
    for name, figure in figures.items():
        assert all(len(trace["x"]) <= 40 for trace in figure["data"]), name
    (kept,) = traces(figures["curve-valid-recall-10"], "kept")
    assert {(4, 0.1), (16, 0.4), (24 + 4 * 217, 0.39), (24 + 4 * 399, 0.2)} <= set(points(kept))
    shares = figures["interest-shares-0"]["data"]
    assert len({tuple(trace["x"]) for trace in shares}) == 1
    assert len(shares[0]["x"]) > 5
