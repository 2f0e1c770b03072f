"""What several interests are worth: python benchmarks/interests.py RUN OTHER... --data-dir DATA

Finished runs of one data set are held against the first, as a rule a run of several interests
against single-vector ones of the same size. Each run's best model is measured on the test split as
`reprise evaluate` does. A run may be given as NAME=FOLDER, to be called so in the tables.

The first table is of the lists by score. The second is recall@50 by group of users: all, by how
mixed the history is, by its length. "difference" is the first run's less the other's, with the 95%
interval of the paired bootstrap over users: it tells what other users would have given, not other
seeds.

The third is the curve of recall@50 against diversity@50, by lambda of the category-controlled
selection, and beside each point of another run the recall of the first where it is as diverse. Two
things make the runs comparable there:

    lambda      counts in units of the scores, which are inner products of one run and cosines of
                another. So it is a share of the spread of a run's scores: the standard deviation
                in a user's top 50, mean over users. --absolute takes the shares as lambdas.
    candidates  each interest brings as many as the list is long, so that a single vector would have
                50 to choose 50 from, and no choice. Here every run has 50 K to choose from, K the
                most interests of any run, each interest an equal part of them; some items are
                several interests', and count once.

Items of unknown category are never chosen: with any, lambda 0 is not the list by score.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import machine, make_parser, print_facts, print_table, write_json
from quality_table import markdown
from reprise.data.prepare import locate
from reprise.errors import RepriseError
from reprise.evaluation import groups, intervals
from reprise.retrieval.ranking import NO_ITEM
from reprise.runs.evaluation import Measured, evaluation_facts, measure
from reprise.runs.stored import StoredModel, load
from reprise.text.messages import Messages

N = 50  # length of the lists
RECALL, DIVERSITY = f"recall@{N}", f"diversity@{N}"
LAMBDAS = (0, 0.05, 0.1, 0.15, 0.2, 0.25)  # the paper's
SHOWN = (
    *(RECALL, f"ndcg@{N}", f"hitrate@{N}", f"catalogue_coverage@{N}", DIVERSITY),
    *(f"interest_coverage@{N}", f"interests_used@{N}", "interest_cosine"),
)
CURVE = (RECALL, f"ndcg@{N}", DIVERSITY, f"catalogue_coverage@{N}")
_CHUNK = 256  # users whose interests are made at a time

Line = dict[str, str]
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """A run being compared, and what `reprise evaluate --json` prints of it."""

    name: str
    stored: StoredModel
    measured: Measured
    facts: Facts

    @property
    def interests(self) -> int:
        """K, by what the model made."""
        shares = [key for key in self.facts if key.startswith("interest_share_")]
        return max(1, sum(key.endswith(f"@{N}") for key in shares))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Each user's recall, [U]."""
        return self.measured.evaluation.by_user[RECALL]


def main() -> None:
    options = _options()
    try:
        subjects = list(_subjects(options.runs, options.data_dir))
    except RepriseError as error:
        sys.exit(str(error))
    if len({subject.stored.dataset.fingerprint for subject in subjects}) > 1:
        sys.exit("The runs are of different data sets: there is nothing to compare.")
    most = max(subject.interests for subject in subjects)
    runs: list[Facts] = []
    for subject in subjects:
        unit = 1.0 if options.absolute else spread(subject)
        points = curve(subject, options.lambdas, unit, most)
        if runs:
            points = [{**one, "first": recall_at(runs[0]["curve"], one)} for one in points]
        about = {"run": subject.name, "interests": subject.interests, "unit": unit}
        runs.append({**about, **subject.facts, "curve": points})
    beside = [line for other in subjects[1:] for line in differences(subjects[0], other)]

    facts = machine()
    tables = [[_row(run) for run in runs], [_shown(line) for line in beside]]
    tables += [[_point(run, point) for run in runs for point in run["curve"]]]
    if not options.markdown:
        print_facts(facts)
    print(f"{subjects[0].stored.dataset.name}, {len(subjects[0].recall):,} test users")
    for table in filter(None, tables):
        print()
        if options.markdown:
            print(markdown(table))
        else:
            print_table(table)
    compared = {"absolute": options.absolute, "candidates": N * most}
    write_json(options.json, {**facts, **compared, "runs": runs, "differences": beside}, tables[0])


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("runs", nargs="+", metavar="[NAME=]FOLDER", help="The first is compared.")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--lambdas", nargs="+", type=float, default=list(LAMBDAS))
    parser.add_argument("--absolute", action="store_true", help="Lambdas in units of the scores.")
    parser.add_argument("--markdown", action="store_true", help="Print the tables as Markdown.")
    options = parser.parse_args()
    if len(options.runs) < 2:
        parser.error("a run, and at least one other to hold beside it, are needed")
    if not all(0 <= coef < math.inf for coef in options.lambdas):
        parser.error("--lambdas takes numbers from 0")
    return options


def _subjects(runs: Sequence[str], data_dir: Path) -> Iterator[Subject]:
    """Yield the runs' best models, measured on the test split."""
    messages = Messages("en")

    def say(key: str, **values: object) -> None:
        print(messages.text(key, **values), file=sys.stderr)

    for text in runs:
        name, equals, folder = text.partition("=")
        path = Path(folder if equals else text)
        stored = load(path, "best", say, lambda dataset: locate(data_dir, dataset))
        measured = measure(stored, "test")
        facts = evaluation_facts(measured, "test", None)
        yield Subject(name if equals else path.name, stored, measured, facts)


def spread(subject: Subject) -> float:
    """Return the standard deviation of the scores in a user's list, mean over users."""
    retriever = subject.stored.retriever
    items = retriever.item_vectors()
    ids, users = subject.measured.evaluation.ids[:, :N], subject.measured.users
    deviations = []
    for start in range(0, len(ids), _CHUNK):
        part = slice(start, start + _CHUNK)
        made = retriever.interests(users.history[part], users.lengths[part])
        scores = np.einsum("ukd,und->ukn", made, items[ids[part]]).max(axis=1)
        scores[ids[part] == NO_ITEM] = np.nan  # a catalogue of fewer items ends a list early
        deviations.append(np.nanstd(scores, axis=1))
    return float(np.concatenate(deviations).mean())


def curve(subject: Subject, lambdas: Sequence[float], unit: float, most: int) -> list[Facts]:
    """Return the metrics of CURVE at each of `lambdas` times `unit`, out of N * `most` candidates
    in all; nothing where no category is known.
    """
    if subject.measured.item_category is None:
        return []
    cutoffs = tuple(sorted({N, math.ceil(N * most / subject.interests)}))
    points: list[Facts] = []
    for share in lambdas:
        measured = measure(subject.stored, "test", share * unit, cutoffs=cutoffs)
        found = {key: _finite(measured.evaluation.metrics[key]) for key in CURVE}
        points.append({"share": share, "lambda": share * unit, **found})
    return points


def recall_at(points: Sequence[Facts], other: Facts) -> float | None:
    """Return the recall of a curve where its diversity is that of the `other` point, on straight
    lines between points; None beyond its ends.
    """
    known = sorted(
        (one[DIVERSITY], one[RECALL]) for one in points if None not in (one[DIVERSITY], one[RECALL])
    )
    if not known or other[DIVERSITY] is None:
        return None
    diversity, recall = np.array(known).T
    found = np.interp(other[DIVERSITY], diversity, recall, left=np.nan, right=np.nan)
    return _finite(float(found))


def differences(first: Subject, other: Subject) -> list[Facts]:
    """Return by group of users the recall of both, the difference, and its interval."""
    found: list[Facts] = []
    for kind, name, inside in _groups(first.measured):
        ours, theirs = first.recall[inside], other.recall[inside]
        low, high = intervals.bootstrap({RECALL: ours - theirs})[RECALL]
        found.append(
            {
                "beside": other.name,
                "kind": kind,
                "group": name,
                "users": int(inside.sum()),
                "first": _finite(float(ours.mean())),
                "other": _finite(float(theirs.mean())),
                "difference": _finite(float((ours - theirs).mean())),
                "interval": [_finite(low), _finite(high)],
            }
        )
    return found


def _groups(measured: Measured) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield the kind and name of each group that has users, and who is in it [U]."""
    past, category = measured.users.past, measured.item_category
    numbers: dict[str, tuple[NDArray[np.int64], tuple[str, ...]]] = {
        "all": (np.zeros(len(past.lengths), np.int64), ("all",))
    }
    if category is not None:
        number = groups.mixture(groups.category_entropy(past, category))
        numbers["mixture"] = (number, (*groups.MIXTURE, groups.UNKNOWN))
    numbers["history_length"] = (groups.history(past), groups.HISTORY)
    for kind, (number, names) in numbers.items():
        for place in np.unique(number).tolist():
            yield kind, names[place], number == place


def _row(run: Facts) -> Line:
    """Return a run's line of the first table."""
    low, high = run["confidence"]["intervals"][RECALL]
    values = {key: _number(run.get(key)) for key in SHOWN}
    values[RECALL] += f" [{_number(low)}, {_number(high)}]"
    about = {"run": run["run"], "K": str(run["interests"]), "step": f"{run['step']:,}"}
    return about | values


def _shown(line: Facts) -> Line:
    low, high = line["interval"]
    of = {"all": "", "mixture": "categories: ", "history_length": "length: "}[line["kind"]]
    return {
        "beside": line["beside"],
        "users": of + line["group"],
        "number": f"{line['users']:,}",
        **{f"{RECALL} of {key}": _number(line[key]) for key in ("first", "other")},
        "difference": _number(line["difference"], "+.4f"),
        "95% interval": f"[{_number(low, '+.4f')}, {_number(high, '+.4f')}]",
    }


def _point(run: Facts, point: Facts) -> Line:
    about = {"run": run["run"], "share": f"{point['share']:g}"}
    numbers = {"lambda": f"{point['lambda']:.3g}"} | {key: _number(point[key]) for key in CURVE}
    return about | numbers | {"first's recall there": _number(point.get("first"))}


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else f"{value:{form}}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    main()
