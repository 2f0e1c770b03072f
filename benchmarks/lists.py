"""Measure the lists of many users: python benchmarks/lists.py

`reprise recommend --histories` writes the lists of --users users to Parquet, and `evaluate` lists
the same users: 50 of all items, a model of Books' shape (`serve.py`), random values, histories of
20 items drawn as popular items are. Both take turns; the fastest of each counts. Memory is the peak
of a process that only writes the lists, beyond what it has with the model loaded and one list made.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

import serve
from common import machine, make_parser, print_facts, print_table, write_json
from reprise.data.sequences import EvaluationUsers, Sequences
from reprise.evaluation.evaluate import evaluate
from reprise.runs.stored import load
from reprise.serving.batch import open_histories, write_lists
from reprise.serving.histories import all_history
from reprise.serving.recommender import Recommender
from reprise.text.messages import unsaid

LENGTH, TOP_N, PART = 20, 50, 100_000
LEAST_RATIO, MOST_GB = 0.9, 1.5  # what is promised


def make_histories(path: Path, users: int, items: int) -> Sequences:
    """Write a file of histories, and return those of its first part."""
    rng = np.random.default_rng(0)
    kept = np.zeros(0, np.int32)
    parts = []
    for first in range(0, users, PART):
        count = min(PART, users - first)
        drawn = np.float64(items) ** rng.random((count, LENGTH))
        numbers = np.clip(drawn, 1, items).astype(np.int32)
        kept = kept if first else numbers.ravel()
        parts.append(pl.DataFrame({"history": numbers}).cast(pl.List(pl.String)))
    pl.concat(parts).write_parquet(path)
    return Sequences(np.arange(0, len(kept) + 1, LENGTH), kept)


def users_of(histories: Sequences) -> EvaluationUsers:
    """Return users with these histories, and one target each."""
    users, count = all_history(histories, LENGTH), len(histories.lengths)
    ends, targets = np.arange(count + 1), np.ones(count, np.int32)
    return replace(users, target_offsets=ends, target_items=targets)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of some work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def write(run: Path, source: Path, output: Path) -> None:
    """Write the lists, and print the peak memory beyond the model's in MB."""
    model = Recommender(load(run, "best", unsaid))
    model.recommend([[model.item_ids[0]]], n=TOP_N)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_lists(model, open_histories(source), model.query(n=TOP_N), output)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3)


def measure(run: Path, folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """Return what was measured."""
    source, output = folder / "histories.parquet", folder / "lists.parquet"
    histories = make_histories(source, options.users, options.items)
    if options.memory:
        command = [sys.executable, __file__, "--write", str(run), str(source), str(output)]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        took = time.perf_counter() - began
        return {"users": options.users, "seconds": took, "MB beyond the model": float(done.stdout)}
    model = Recommender(load(run, "best", unsaid))
    users, query = users_of(histories), model.query(n=TOP_N)

    def lists() -> None:
        output.unlink(missing_ok=True)
        write_lists(model, open_histories(source), query, output)

    seconds: dict[str, list[float]] = {"evaluate": [], "lists": []}
    for turn in range(1 + options.rounds):
        for name, work in (
            ("evaluate", lambda: evaluate(model.model.retriever, users, (TOP_N,))),
            ("lists", lists),
        ):
            if (took := timed(work)) and turn:  # what is compiled once is not measured
                seconds[name].append(took)
    rates = {name: options.users / min(own) for name, own in seconds.items()}
    return {
        "items": options.items,
        "evaluate users/s": rates["evaluate"],
        "recommend users/s": rates["lists"],
        "ratio": rates["lists"] / rates["evaluate"],
    }


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--write"]:
        write(*map(Path, sys.argv[2:5]))
        return
    parser = make_parser(__doc__)
    parser.add_argument("--items", type=int, default=serve.ITEMS)
    parser.add_argument("--users", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="Measure memory, not the ratio.")
    options = parser.parse_args()
    if not options.memory and options.users > PART:
        raise SystemExit(f"At most {PART} users, but with --memory.")
    serve.ITEMS = options.items
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        row = measure(serve.make_run(folder).folder.path, folder, options)
    print_facts(machine())
    print()
    print_table([row])
    if options.memory:
        kept = float(str(row["MB beyond the model"])) <= 1e3 * MOST_GB
        print(f"\npromise: {MOST_GB} GB beyond the model: {'kept' if kept else 'BROKEN'}")
    else:
        kept = float(str(row["ratio"])) >= LEAST_RATIO
        print(f"\npromise: {LEAST_RATIO} of evaluate's users/s: {'kept' if kept else 'BROKEN'}")
    write_json(options.json, machine(), [row])


if __name__ == "__main__":
    main()
