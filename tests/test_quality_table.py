"""The quality benchmark's table, verdicts and headers, from constructed results."""

from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest

from quality_table import (
    EXPECTED,
    METRICS,
    REFERENCE,
    Result,
    markdown,
    promise,
    reference,
    row,
    summarise,
    verdict,
    write_headers,
)

NAMES = [f"{metric}@{n}" for metric in METRICS for n in (20, 50)]
CONFIG = f'# What it is.\n#\n{EXPECTED} not measured yet\n\ndataset = "ml-1m"\n'


def result(recall: float, seed: int, model: str = "DNN", variant: str = "") -> Result:
    test = dict.fromkeys(NAMES, 0.5) | {"recall@50": recall}
    return Result("ml-1m", model, variant, seed, {"recall@50": 0.2}, test, 900, 1000, 12.5)


def test_table_row_is_the_mean_over_seeds_of_one_model_and_variant() -> None:
    recalls = (0.25, 0.26, 0.28)
    runs = [result(recall, seed) for seed, recall in enumerate(recalls)]
    others = [result(0.1, 19, variant="optimizer=adam"), result(0.2, 19, model="MIND")]
    summaries = summarise([runs[2], *others, runs[0], runs[1]])
    assert [len(one.runs) for one in summaries] == [3, 1, 1]
    line = row(summaries[0])
    assert line["test recall@50"] == f"{mean(recalls):.4f} ± {stdev(recalls):.4f}"
    assert line["the original's"] == "0.2574"
    assert line["ratio"] == f"{mean(recalls) / 0.2574:.3f}"
    assert (line["best at"], line["steps"]) == ("900", "1,000")
    assert row(summaries[1])["test recall@50"] == "0.1000"
    assert [row(one)["variant"] for one in summaries] == ["-", "optimizer=adam", "-"]


@pytest.mark.parametrize(
    ("recall", "said"),
    [
        (0.25, "at or above"),
        (0.2426, "at least 97%"),
        (0.2401, "within a seed's spread"),
        (0.2399, "BELOW"),
    ],
)
def test_verdict_compares_with_the_reference(recall: float, said: str) -> None:
    assert verdict(recall, 0.25) == said


def test_promise_counts_models_as_configured_only() -> None:
    good, variant = result(0.2574, 19), result(0.01, 19, variant="optimizer=adam")
    assert promise(summarise([good, variant])).endswith("kept by 1")
    bad = result(0.2, 19, model="GRU4REC")
    assert promise(summarise([good, bad])).endswith("BROKEN by GRU4REC on ml-1m")
    assert promise(summarise([variant])).endswith("nothing to compare with")
    unmeasured = replace(bad, dataset="grocery", model="MIND")
    assert row(summarise([unmeasured])[0])["verdict"] == "-"


def test_markdown_leaves_out_empty_columns() -> None:
    lines = markdown([row(one) for one in summarise([result(0.25, 19)])]).splitlines()
    assert "variant" not in lines[0]
    assert {line.count("|") for line in lines} == {lines[0].count("|")}


def test_headers_are_written_from_measured_or_published_numbers(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("ml-1m/DNN.toml", "book/MIND.toml", "ml-1m/MIND.toml")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(CONFIG)
    summaries = summarise([result(0.25, 19), result(0.27, 20)])
    assert set(write_headers(tmp_path, summaries)) == set(paths[:2])
    measured, published, pending = (path.read_text() for path in paths)
    assert "seeds 19, 20:" in measured
    assert "#     recall@50        0.2600 ± 0.0141   the original's 0.2574\n" in measured
    assert "#     recall@50        0.07638\n" in published
    assert pending == CONFIG
    for text in (measured, published):
        assert text.startswith("# What it is.\n#\n# Expected: on test, ")
        assert text.endswith('\n\ndataset = "ml-1m"\n')
    assert write_headers(tmp_path, summaries) == []
    assert write_headers(tmp_path, summarise([result(0.26, 19)])) == [paths[0]]


def test_references_are_complete_and_ordered() -> None:
    """Slips of transcription show as metrics that cannot be: recall over hit rate, @20 over @50."""
    for kind, sets in REFERENCE.items():
        for dataset, models in sets.items():
            for model in models:
                found = reference(kind, dataset, model)
                assert set(found) == set(NAMES)
                for n in (20, 50):
                    assert found[f"recall@{n}"] < found[f"hitrate@{n}"] < 1
                assert found["recall@20"] < found["recall@50"]
                assert found["hitrate@20"] < found["hitrate@50"]
