"""Measure the baselines of a data set, each with the settings that are best on its valid users.

Results are kept in RUNS_DIR/baselines/NAME.json, by split:

schema               1
dataset_fingerprint  of the data that they were measured on; of other data, nothing is kept
results              by split: the newest result of `measure_baselines`, as `facts_of` tells it
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reprise import durable
from reprise.data.dataset import Dataset
from reprise.data.sequences import EvaluationUsers
from reprise.errors import UsageError
from reprise.evaluation.baselines import BASELINES, MOST_SOLVED, Baseline, Fitted, ranked
from reprise.evaluation.evaluate import Evaluation, score
from reprise.evaluation.metrics import METRICS, Lists, recall
from reprise.runs import results
from reprise.runs.evaluation import Measured, evaluation_facts
from reprise.runs.manage import survey
from reprise.runs.results import Split
from reprise.text.messages import Say, unsaid

SCHEMA = 1
NAMES = tuple(baseline.name for baseline in BASELINES)
SELECTED_BY = 50  # the cutoff of the recall that chooses settings
SELECTED_ON = 10_000  # valid users that choose settings, at most; drawn by the seed
_SEED = 1

Facts = dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """A baseline with the settings that are best on the valid users, and their recall@50 there."""

    baseline: Baseline
    settings: Mapping[str, float]
    valid_recall: float
    fitted: Fitted


def measure_baselines(
    dataset: Dataset,
    split: Split,
    cutoffs: tuple[int, ...],
    names: Collection[str] = NAMES,
    say: Say = unsaid,
    done: Callable[[str], None] = lambda name: None,
) -> Facts:
    """Fit each baseline on the training users, choose its settings on the valid users, and evaluate
    it on a split, without the items of the users' histories.

    Args:
        dataset: The data set.
        split: The users to evaluate.
        cutoffs: The cutoffs of the metrics.
        names: The baselines to measure, of NAMES.
        say: Called with what is left out.
        done: Called with the name of each baseline when it is measured.

    Returns:
        dataset, dataset_fingerprint, split; left_out: names of baselines that the catalogue is too
        large for; baselines, by name: settings, valid_recall@50, and `evaluation_facts`.
    """
    if unknown := sorted(set(names) - set(NAMES)):
        expected = " | ".join(NAMES)
        raise UsageError("bad_value", option="only", value=unknown[0], expected=expected)
    asked = [baseline for baseline in BASELINES if baseline.name in names]
    left_out = [one.name for one in asked if one.solves and dataset.num_items > MOST_SOLVED]
    if left_out:
        named = ", ".join(left_out)
        say("baselines_left_out", names=named, items=dataset.num_items, most=MOST_SOLVED)
    valid = dataset.evaluation_users("valid", 1).sample(SELECTED_ON, _SEED)
    users = dataset.evaluation_users(split, 1)
    found = {}
    for baseline in asked:
        if baseline.name not in left_out:
            chosen = _choose(baseline, dataset, valid)
            found[baseline.name] = _facts(chosen, dataset, users, split, cutoffs)
            done(baseline.name)
    return {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "split": split,
        "left_out": left_out,
        "baselines": found,
    }


def keep(runs_dir: Path, facts: Facts) -> Path:
    """Store results, replacing those of the same baselines and split, and return the file."""
    path = _path(runs_dir, facts["dataset"])
    known = read(runs_dir, facts["dataset"], facts["dataset_fingerprint"])
    before = known.get(facts["split"], {"baselines": {}})["baselines"]
    merged = {**facts, "baselines": _in_order(before | facts["baselines"])}
    content = {
        "schema": SCHEMA,
        "dataset_fingerprint": facts["dataset_fingerprint"],
        "results": known | {facts["split"]: merged},
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    durable.make_folder(path.parent)
    durable.replace_file(path, text.encode())
    return path


def read(runs_dir: Path, dataset: str, fingerprint: str) -> dict[str, Facts]:
    """Return the stored results of a data set, by split; none where there are none of this data or
    they cannot be read: they can be made again.
    """
    try:
        content = json.loads(_path(runs_dir, dataset).read_text(encoding="utf-8"))
        if (content["schema"], content["dataset_fingerprint"]) == (SCHEMA, fingerprint):
            return dict(content["results"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}


def runs_beside(runs_dir: Path, facts: Facts) -> dict[str, Facts]:
    """Return the newest results of runs on the same data and split without seen items, by the run's
    name; of a run that has not been evaluated so, None.
    """
    found: dict[str, Any] = {}
    for folder in survey.folders(runs_dir):
        run = survey.survey(folder)
        if run.identity.get("dataset_fingerprint") == facts["dataset_fingerprint"]:
            entries = results.read(folder.path).entries
            found[run.name] = next((one for one in reversed(entries) if _beside(one, facts)), None)
    return found


def _beside(entry: results.Entry, facts: Facts) -> bool:
    asked = {"split": facts["split"], "seen_items": "filtered", "lambda": None}
    asked["dataset_fingerprint"] = facts["dataset_fingerprint"]
    return all(entry.get(key) == value for key, value in asked.items())


def _path(runs_dir: Path, dataset: str) -> Path:
    return runs_dir / "baselines" / f"{dataset}.json"


def _in_order(found: Mapping[str, Facts]) -> dict[str, Facts]:
    return {name: found[name] for name in NAMES if name in found}


def _choose(baseline: Baseline, dataset: Dataset, valid: EvaluationUsers) -> Chosen:
    """Return the best settings by recall@50; of equal ones, the first."""
    best: Chosen | None = None
    for settings, fitted in baseline.candidates(dataset.splits["train"], dataset.num_items):
        ids = ranked(fitted, valid.past, SELECTED_BY)
        found = float(
            recall(Lists(ids, valid.target_offsets, valid.target_items), SELECTED_BY).mean()
        )
        if best is None or found > best.valid_recall:
            best = Chosen(baseline, settings, found, fitted)
    assert best is not None
    return best


def _facts(
    chosen: Chosen,
    dataset: Dataset,
    users: EvaluationUsers,
    split: Split,
    cutoffs: tuple[int, ...],
) -> Facts:
    category, counts = dataset.known_categories, dataset.training_counts
    ids = ranked(chosen.fitted, users.past, max(cutoffs))
    targets = users.target_offsets, users.target_items
    listed = Lists(ids, *targets, dataset.num_items, category, dataset.truth(split), counts)
    means, by_user = score(listed, cutoffs, METRICS)
    evaluation = Evaluation(means, ids, by_user, -math.inf)
    measured = Measured(None, evaluation, users, cutoffs, dataset.evaluation, counts, category)
    measured = replace(measured, about=dataset.target_events)
    facts = evaluation_facts(measured, split, None)
    own = {"settings": dict(chosen.settings), f"valid_recall@{SELECTED_BY}": chosen.valid_recall}
    absent = ("checkpoint", "step", "is_best", "lambda")
    return own | {key: value for key, value in facts.items() if key not in absent}
