"""The study of the preset modern: its variants, and a table of what each changes."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from quality_table import SELECTED, Result, Summary

STUDIED = "modern"
_STUDY = tomllib.loads(Path(__file__).with_name("study.toml").read_text(encoding="utf-8"))
VARIANTS: list[Mapping[str, str]] = [{}, *_STUDY["without"], *_STUDY["instead"]]
# The 97.5 % points of Student's t by its degrees of freedom, for intervals of 95 %.
_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def study_rows(summaries: Sequence[Summary]) -> list[dict[str, str]]:
    """Return a line for each variant: on each data set the mean validation recall@50 over seeds,
    what it is more than the preset's, seed by seed, with a 95 % interval, and the time of a step.
    """
    datasets = list(dict.fromkeys(one.first.dataset for one in summaries))
    variants = list(dict.fromkeys(one.first.variant for one in summaries))
    found = {(one.first.dataset, one.first.variant): one for one in summaries}
    return [
        {"variant": variant or "the preset"}
        | {
            key: value
            for dataset in datasets
            for key, value in _cells(
                dataset, found.get((dataset, variant)), found.get((dataset, ""))
            )
        }
        for variant in variants
    ]


def _cells(
    dataset: str, summary: Summary | None, preset: Summary | None
) -> Iterator[tuple[str, str]]:
    mean = change = cost = "-"
    if summary is not None:
        mean = f"{summary.mean(SELECTED, 'valid'):.4f}"
        cost = f"{fmean(1e3 * run.seconds / run.steps for run in summary.runs):.0f}"
        if preset is not None and summary is not preset:
            change = difference(summary.runs, preset.runs)
    yield dataset, mean
    yield f"{dataset}: change", change
    yield f"{dataset}: ms", cost


def difference(runs: Sequence[Result], preset: Sequence[Result]) -> str:
    """Return the mean difference of validation recall@50 over the seeds both have, with a 95 %
    interval of the mean where there are several.
    """
    known = {run.seed: run.valid[SELECTED] for run in preset}
    gains = [run.valid[SELECTED] - known[run.seed] for run in runs if run.seed in known]
    if not gains:
        return "-"
    if len(gains) == 1:
        return f"{gains[0]:+.4f}"
    half = _T[len(gains) - 1] * stdev(gains) / len(gains) ** 0.5
    return f"{fmean(gains):+.4f} ± {half:.4f}"
