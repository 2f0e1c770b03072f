"""Measure the baselines' time and memory at the shape of Books: python benchmarks/baselines.py

367,982 items and the interactions of 603,668 users, drawn by a popularity law, dated by day, and
split 8:1:1. Each baseline is measured in a process of its own, over all its settings, as `reprise
baselines` does it: fit, choose on valid, evaluate on test. `--items` and `--users` set other
shapes: where the catalogue is small enough, the baselines that solve a system are measured, too.
The recall of drawn items says nothing, and is not shown. "CPU s" is the work of all cores together,
which a busy machine does not stretch as it does the seconds.
"""

import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from common import RUNS, machine, make_parser, print_facts, print_table, synthetic_split, write_json
from reprise.data.dataset import Dataset
from reprise.data.sequences import Sequences
from reprise.evaluation.baselines import BASELINES, MOST_SOLVED
from reprise.runs.baselines import measure_baselines

_DAYS = 6_500  # of Books' interactions, which are dated by day
_TRAIN = 0.8  # share of users; the others are valid and test in halves


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--items", type=int, default=RUNS["books"]["items"])
    parser.add_argument("--users", type=int, default=round(RUNS["books"]["users"] / _TRAIN))
    parser.add_argument("--only", help="names, such as rules,knn")
    args = parser.parse_args()
    able = [one.name for one in BASELINES if not one.solves or args.items <= MOST_SOLVED]
    names = args.only.split(",") if args.only else able
    table = []
    for name in names:
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            table.append(alone.submit(_measure, name, args.items, args.users).result())
    print_facts(machine())
    print_table(table)
    if args.json:
        write_json(args.json, {**machine(), "baselines": table})


def _measure(name: str, items: int, users: int) -> dict[str, str | int | float]:
    dataset = _dataset(items, users)
    before, began, spent = _peak(), time.perf_counter(), time.process_time()
    measure_baselines(dataset, "test", (50,), (name,))
    return {
        "baseline": name,
        "items": items,
        "interactions": sum(len(own.items) for own in dataset.splits.values()),
        "seconds": round(time.perf_counter() - began, 1),
        "CPU s": round(time.process_time() - spent, 1),
        "GB": round(_peak(), 2),
        "GB before": round(before, 2),
    }


def _dataset(items: int, users: int) -> Dataset:
    whole = synthetic_split(items, users, seed=1)
    days = np.sort(np.random.default_rng(2).integers(0, _DAYS, len(whole.items)))
    place = np.arange(len(whole.items)) - np.repeat(whole.offsets[:-1], whole.lengths)
    user = np.repeat(np.arange(users), whole.lengths)
    times = np.empty(len(days), np.int64)
    times[np.lexsort((user, place))] = days * 86_400 * 10**9  # a user's own, in order
    bounds = [0, round(_TRAIN * users), round((1 + _TRAIN) / 2 * users), users]
    splits = {
        split: Sequences(
            whole.offsets[first : last + 1] - whole.offsets[first],
            whole.items[whole.offsets[first] : whole.offsets[last]],
            None,
            times[whole.offsets[first] : whole.offsets[last]],
        )
        for split, first, last in zip(("train", "valid", "test"), bounds, bounds[1:], strict=False)
    }
    category = np.full(items + 1, -1, np.int32)
    return Dataset("drawn", Path(os.devnull), items, "drawn", splits, category, {})


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
