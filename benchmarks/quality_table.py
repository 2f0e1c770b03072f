"""From trained runs' results to tables, a verdict, and the headers of configurations."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, median, stdev

ROOT = Path(__file__).parents[1]
REFERENCE = tomllib.loads((ROOT / "benchmarks" / "reference.toml").read_text(encoding="utf-8"))
METRICS = ("recall", "ndcg_comirec", "hitrate")  # in the order of the reference's rows
SELECTED = "recall@50"
SEED_SPREAD = 0.01  # of recall@50 from seed to seed, on some 600 users
LEAST_SHARE = 0.97  # of the original's: the promise
EXPECTED = "# Expected:"


@dataclass(frozen=True)
class Result:
    """A finished run: its best model's metrics by name ("recall@50") on both splits, the step of
    the best, all steps made, and the seconds of training.

    variant: the options that differ from the config's, "" where none does.
    """

    dataset: str
    model: str
    variant: str
    seed: int
    valid: Mapping[str, float]
    test: Mapping[str, float]
    best_step: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Summary:
    """The runs of one model and variant that differ by their seeds only."""

    runs: Sequence[Result]

    @property
    def first(self) -> Result:
        """A run, for what all have in common."""
        return self.runs[0]

    @property
    def original(self) -> float | None:
        """The original's test recall@50 on the same data; None where it was not measured."""
        return reference("original", self.first.dataset, self.first.model).get(SELECTED)

    def mean(self, metric: str, split: str = "test") -> float:
        """Return the mean over seeds."""
        return fmean(self._values(metric, split))

    def spread(self, metric: str, split: str = "test") -> float | None:
        """Return the sample standard deviation over seeds; None for a single run."""
        values = self._values(metric, split)
        return stdev(values) if len(values) > 1 else None

    def _values(self, metric: str, split: str) -> list[float]:
        return [(run.test if split == "test" else run.valid)[metric] for run in self.runs]


def summarise(results: Sequence[Result]) -> list[Summary]:
    """Return the results by data set, model and variant, in the order they first come."""
    keys = list(dict.fromkeys((one.dataset, one.model, one.variant) for one in results))
    groups = groupby(sorted(results, key=lambda one: (keys.index(_key(one)), one.seed)), key=_key)
    return [Summary(list(group)) for _, group in groups]


def reference(kind: str, dataset: str, model: str) -> dict[str, float]:
    """Return the test metrics by name that reference.toml holds ("original", "published")."""
    rows = REFERENCE[kind].get(dataset, {}).get(model, {})
    return {
        f"{metric}@{n}": value
        for n in (50, 20)
        for metric, value in zip(METRICS, rows.get(f"test_{n}", ()), strict=False)
    }


def verdict(mean: float, original: float | None) -> str:
    """Return how a mean recall@50 stands to the original's, which is of one seed."""
    if original is None:
        return "-"
    if mean >= original:
        return "at or above"
    if mean >= LEAST_SHARE * original:
        return f"at least {LEAST_SHARE:.0%}"
    return "within a seed's spread" if mean >= original - SEED_SPREAD else "BELOW"


def row(summary: Summary) -> dict[str, str]:
    """Return a line of the table; numbers as they are shown."""
    first, original, mean = summary.first, summary.original, summary.mean(SELECTED)
    return {
        "data set": first.dataset,
        "model": first.model,
        "variant": first.variant or "-",
        "seeds": str(len(summary.runs)),
        "test recall@50": _with_spread(mean, summary.spread(SELECTED)),
        "the original's": "-" if original is None else f"{original:.4f}",
        "ratio": "-" if original is None else f"{mean / original:.3f}",
        "verdict": verdict(mean, original),
        "ndcg_comirec@50": f"{summary.mean('ndcg_comirec@50'):.4f}",
        "hitrate@50": f"{summary.mean('hitrate@50'):.4f}",
        "recall@20": f"{summary.mean('recall@20'):.4f}",
        "valid recall@50": f"{summary.mean(SELECTED, 'valid'):.4f}",
        "best at": f"{median(run.best_step for run in summary.runs):,.0f}",
        "steps": f"{median(run.steps for run in summary.runs):,.0f}",
        "seconds": f"{median(run.seconds for run in summary.runs):,.0f}",
    }


def promise(summaries: Sequence[Summary]) -> str:
    """Return whether the models as configured keep to the original's quality, and which do not."""
    ratios = {
        f"{one.first.model} on {one.first.dataset}": one.mean(SELECTED) / one.original
        for one in summaries
        if one.original is not None and not one.first.variant
    }
    below = [name for name, ratio in ratios.items() if ratio < LEAST_SHARE]
    if not ratios:
        return "promise: the original has nothing to compare with"
    kept = f"kept by {len(ratios)}" if not below else f"BROKEN by {', '.join(below)}"
    return f"promise: test {SELECTED} at least {LEAST_SHARE:g} of the original's: {kept}"


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the rows as a Markdown table, without columns in which nothing stands."""
    columns = [name for name in rows[0] if any(one[name] != "-" for one in rows)]
    lines = [columns, ["---"] * len(columns), *([one[name] for name in columns] for one in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_headers(configs: Path, summaries: Sequence[Summary]) -> list[Path]:
    """Write what each config's header says is expected, measured or else published, and return
    the files that changed.
    """
    measured = {
        (one.first.dataset, one.first.model): one for one in summaries if not one.first.variant
    }
    changed = []
    for path in sorted(configs.glob("*/*.toml")):
        dataset, model = path.parent.name, path.stem
        summary = measured.get((dataset, model))
        published = reference("published", dataset, model)
        if summary is not None:
            lines = list(_measured_lines(summary))
        elif published:
            lines = list(_published_lines(published))
        else:
            continue
        text = path.read_text(encoding="utf-8")
        if (new := _with_expected(text, lines)) != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def _measured_lines(summary: Summary) -> Iterator[str]:
    first = summary.first
    seeds = ", ".join(str(run.seed) for run in summary.runs)
    several = "mean and standard deviation over seeds" if len(summary.runs) > 1 else "seed"
    yield f"{EXPECTED} on test, {several} {seeds}:"
    original = reference("original", first.dataset, first.model)
    for metric, shown in _metrics_shown(summary):
        beside = f"   the original's {original[metric]:.4f}" if metric in original else ""
        yield f"#     {metric:<16} {shown}{beside}"
    yield (
        f"# as measured by: python benchmarks/quality.py --source DATA --datasets {first.dataset}"
        f" --models {first.model}"
    )


def _metrics_shown(summary: Summary) -> Iterator[tuple[str, str]]:
    for n in (50, 20):
        for metric in METRICS:
            name = f"{metric}@{n}"
            yield name, _with_spread(summary.mean(name), summary.spread(name))


def _published_lines(published: Mapping[str, float]) -> Iterator[str]:
    yield f"{EXPECTED} on test, published (ComiRec, arXiv 2005.09347), not measured here:"
    for metric, value in published.items():
        yield f"#     {metric:<16} {value:.5f}"


def _with_expected(text: str, expected: Sequence[str]) -> str:
    """Return a config's text with its block of comments from EXPECTED on replaced."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(EXPECTED))
    end = next(n for n, line in enumerate(lines) if n > start and not line.startswith("#"))
    return "\n".join([*lines[:start], *expected, *lines[end:], ""])


def _with_spread(mean: float, spread: float | None) -> str:
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ± {spread:.4f}"


def _key(result: Result) -> tuple[str, str, str]:
    return result.dataset, result.model, result.variant
