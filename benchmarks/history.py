"""Measure what a long history costs: python benchmarks/history.py

A run's folder is filled as after --few evaluations, and as after --many. Both are compared:

- a save: the seconds of writing a checkpoint and of logging its evaluation, and the bytes written
- the folder without its log, and the log, which is stored twice
- a start: the seconds of reading the log, verifying it and cutting it to the latest checkpoint
- a report: its seconds, and its bytes

Exit code 1 where a save's time or size grows by more than a tenth. The two take turns in saving, so
that the disk's mood is the same for both; the median is taken.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from common import machine, make_parser, print_facts, print_table, write_json
from reprise.checkpoints import store
from reprise.config.schema import TrainConfig
from reprise.report.facts import read_runs
from reprise.report.page import render
from reprise.runs.folder import NOTHING, RunFolder
from reprise.text.messages import Messages, unsaid
from reprise.training.state import Best, LogMark, Progress, Snapshot

CUTOFFS = (10, 20, 50)
METRICS = ("recall", "ndcg", "ndcg_comirec", "hitrate", "mrr", "diversity", "coverage", "gini")
EVERY, MOST_GROWTH = 100, 1.1


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=50_000, help="Rows of 3 x 64 numbers.")
    parser.add_argument("--saves", type=int, default=15, help="Of each kind.")
    options = parser.parse_args()
    facts = machine()
    print_facts(facts)
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            count: make_run(Path(folder) / f"after_{count}", count, options.items)
            for count in (options.few, options.many)
        }
        seconds, sizes = saves(runs, options.saves)
        rows = [_row(count, runs[count], seconds[count], sizes[count]) for count in runs]
    print_table(rows)
    write_json(options.json, facts, rows)
    few, many = (median(seconds[count]) for count in runs)
    growth = max(many / few, sizes[options.many] / sizes[options.few])
    print(f"a save grows {many / few:.3f}-fold in time, at most {growth:.3f}-fold in either")
    sys.exit(0 if growth <= MOST_GROWTH else 1)


def line_of(number: int) -> str:
    """An evaluation with the metrics that training logs."""
    rng = np.random.default_rng(number)
    values = {
        f"valid_{name}@{cutoff}": float(rng.random()) for name in METRICS for cutoff in CUTOFFS
    }
    about = {"step": number * EVERY, "branch": 0, "train_loss": float(rng.random())}
    best = {"best_recall@50": 2.0, "best_step": EVERY, "evaluations_without_improvement": number}
    return json.dumps({**about, **values, **best})


def make_run(path: Path, count: int, items: int) -> tuple[RunFolder, Snapshot]:
    """Return a run after `count` evaluations, with its latest checkpoint and two before it."""
    folder = RunFolder(path)
    folder.checkpoints.mkdir(parents=True)
    content = "".join(f"{line_of(number)}\n" for number in range(1, count + 1)).encode()
    folder.metrics.write_bytes(content)
    folder.log.stored.write_bytes(content)
    config = TrainConfig("none", path.name, max_steps=10**9)
    record = {"schema": 1, "identity": identity(config), "config": vars(config), "events": []}
    folder.record.write_text(json.dumps(record))
    rows = np.random.default_rng(0).standard_normal((items, 192)).astype(np.float32)
    state = Snapshot({"rows": rows}, _progress(count, LogMark.of(content)))
    store.save(folder.checkpoints, state, identity(config))
    return folder, state


def identity(config: TrainConfig) -> Mapping[str, Any]:
    """What a checkpoint holds of its run."""
    return config.identity("of no data")


def _progress(count: int, mark: LogMark) -> Progress:
    best = Best(2.0, EVERY, 0)
    step = count * EVERY
    return Progress(0.001, step, 0, step, 1.0, best, count - 1, logged=mark)


def saves(
    runs: Mapping[int, tuple[RunFolder, Snapshot]], count: int
) -> tuple[dict[int, list[float]], dict[int, int]]:
    """Return the seconds of each save, and the bytes that one writes."""
    seconds: dict[int, list[float]] = {number: [] for number in runs}
    sizes: dict[int, int] = {}
    states = {number: state for number, (_, state) in runs.items()}
    config = TrainConfig("none", "saves")
    for turn in range(count):
        for number, (folder, _) in runs.items():
            progress = states[number].progress
            text = line_of(number + turn + 1)
            began = time.perf_counter()
            folder.log.append(text)
            mark = progress.logged.after(f"{text}\n".encode())
            after = _progress(number + turn + 1, mark)
            states[number] = Snapshot(states[number].arrays, after)
            path = store.save(folder.checkpoints, states[number], identity(config))
            seconds[number].append(time.perf_counter() - began)
            written = sum(file.stat().st_size for file in path.iterdir())
            sizes[number] = written + 2 * len(text)
    return seconds, sizes


def _row(
    count: int, run: tuple[RunFolder, Snapshot], seconds: list[float], size: int
) -> dict[str, Any]:
    folder, _ = run
    latest = store.scan(folder.checkpoints)[-1]
    began = time.perf_counter()
    assert folder.log.settle(latest.progress, unsaid) != NOTHING.logged
    start = time.perf_counter() - began
    began = time.perf_counter()
    page = render(read_runs([folder.path], unsaid), None, "test", Messages("en"))
    log = folder.metrics.stat().st_size
    total = sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())
    return {
        "evaluations": f"{count:,}",
        "save, s": f"{median(seconds):.4f}",
        "save, bytes": f"{size:,}",
        "folder without logs, MB": f"{(total - 2 * log) / 1e6:.2f}",
        "log, MB": f"{log / 1e6:.2f}",
        "start's log, s": f"{start:.3f}",
        "report, s": f"{time.perf_counter() - began:.2f}",
        "report, MB": f"{len(page.encode()) / 1e6:.2f}",
    }


if __name__ == "__main__":
    main()
