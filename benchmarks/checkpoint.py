"""Measure what saving and resuming cost on a Books-shaped run: python benchmarks/checkpoint.py

- Throughput of training with an evaluation and a checkpoint every 1,000 steps, over the same with
  evaluations only. Both go on in turns in one process; a cycle is timed from evaluation to
  evaluation, so that the background write of a checkpoint falls into the next cycle's steps. The
  median is taken: a start's first save, which must find memory for its copy, takes half a second
  more.
- Seconds from the start of a process that resumes the run to its first finished step.
- Peak memory of that process, which resumes, trains and saves, less that of the same program on a
  catalogue of 1,000 items, over the size of the state.

The data are synthetic: Books' 367,982 items and 482,934 training users. Evaluation takes
--valid-users users only: the more it took, the less a checkpoint would weigh.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import polars as pl

from common import (
    machine,
    make_parser,
    peak_memory,
    print_facts,
    print_table,
    synthetic_split,
    write_json,
)
from first_step import seconds_since_process_start
from reprise.checkpoints import store
from reprise.config.schema import TrainConfig
from reprise.data.dataset import SPLITS, open_dataset
from reprise.data.draft import Draft
from reprise.data.prepare import publish
from reprise.runs import loop
from reprise.runs.folder import Resumption, RunFolder
from reprise.runs.results import Split
from reprise.runs.session import Request, run_session
from reprise.runs.signals import StopRequest
from reprise.training.setup import Task, fresh_state, make_task
from reprise.training.state import Progress, Snapshot, TrainState

BOOKS = {"items": 367_982, "users": 482_934}
FEW_ITEMS = 1_000
EVERY = 1_000  # steps between evaluations
LEAST_RATIO, MOST_SECONDS, MOST_MEMORY = 0.97, 5.0, 2.2  # what is promised


class Silent:
    """An announcer that says nothing."""

    def say(self, key: str, **values: object) -> None:
        pass

    def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
        pass

    def restored(self, progress: Progress) -> None:
        pass

    def training_begins(self, progress: Progress) -> None:
        pass

    def measured(self, step: int, metrics: Mapping[Split, dict[str, float]]) -> None:
        pass

    def stepped(self, state: TrainState) -> None:
        pass

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        pass

    def saved(self, progress: Progress, path: Path) -> None:
        pass

    def stopping(self, progress: Progress) -> None:
        pass


class Timer(Silent):
    """An announcer that notes when evaluations are over and when the first step is."""

    def __init__(self, stop_at_first_step: bool = False) -> None:
        self.evaluated_at: list[float] = []
        self.first_step_at: float | None = None
        self._stop = stop_at_first_step

    def stepped(self, state: TrainState) -> None:
        if self._stop and self.first_step_at is None:
            state.arrays.rows.block_until_ready()
            self.first_step_at = seconds_since_process_start()
            os.kill(os.getpid(), signal.SIGTERM)

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        self.evaluated_at.append(time.perf_counter())


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="ComiRec-DR")
    parser.add_argument("--rounds", type=int, default=2, help="Turns of each kind.")
    parser.add_argument("--cycles", type=int, default=6, help="Evaluations timed a turn.")
    parser.add_argument("--valid-users", type=int, default=2_000)
    parser.add_argument("--resume", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resume:
        resume_once(options.resume[0], options.resume[1], options.model)
        return
    facts = machine()
    print_facts(facts)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_data(place / "books", BOOKS["items"], BOOKS["users"], options.valid_users)
        make_data(place / "small", FEW_ITEMS, BOOKS["users"], options.valid_users)
        rows = [*throughput(place, options), *resuming(place, options.model)]
    print_table(rows)
    write_json(options.json, facts, rows)
    sys.exit(0 if all(row["kept"] == "yes" for row in rows) else 1)


def make_data(folder: Path, num_items: int, train_users: int, valid_users: int) -> None:
    """Prepare the dataset."""
    users = {"train": train_users, "valid": valid_users, "test": 100}
    splits = {
        split: synthetic_split(num_items, users[split], seed) for seed, split in enumerate(SPLITS)
    }
    draft = Draft(
        splits=splits,
        raw_users={split: pl.int_range(users[split], eager=True) for split in SPLITS},
        raw_items=pl.int_range(num_items, eager=True),
        item_category=np.full(num_items + 1, -1, np.int32),
        source={"format": "synthetic"},
        truth={},
    )
    folder.parent.mkdir(exist_ok=True)
    publish(draft, folder.name, folder)


def config_of(model: str, dataset: str, max_steps: int) -> TrainConfig:
    """Books' configuration in ComiRec."""
    return TrainConfig(
        dataset=dataset, name="checkpoint", model=model, test_iter=EVERY, max_steps=max_steps
    )


def throughput(place: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the row of the throughput with checkpoints over that without."""
    config = config_of(options.model, "books", EVERY)
    task = make_task(config, open_dataset(place / "books"))
    state = fresh_state(task)
    cycles: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * options.rounds):
        saving = turn % 2 == 0
        steps = (turn + 1) * (options.cycles + 1) * EVERY
        timer = Timer()
        state = _train(replace(task, config=replace(config, max_steps=steps)), state, timer, saving)
        cycles[saving] += np.diff(timer.evaluated_at).tolist()
    seconds = {saving: median(times) for saving, times in cycles.items()}
    ratio = seconds[False] / seconds[True]
    what = f"{EVERY} steps and an evaluation: {seconds[True]:.2f} s with checkpoints"
    return [_row("throughput with over without", f"{ratio:.3f}", what, ratio >= LEAST_RATIO)]


def _train(task: Task, state: TrainState, timer: Timer, saving: bool) -> TrainState:
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run.checkpoints.mkdir()
        run.metrics.touch()
        if saving:
            return loop.train(task, state, run, StopRequest(), timer)
        nothing = mock.patch.object(
            loop, "take_snapshot", lambda state, into: Snapshot({}, state.progress)
        )
        with nothing, mock.patch.object(store, "save", lambda folder, *_: folder):
            return loop.train(task, state, run, StopRequest(), timer)


def resuming(place: Path, model: str) -> list[dict[str, Any]]:
    """Return the rows of the time to the first step and of the memory."""
    found = {}
    for dataset in ("small", "books"):
        config = config_of(model, dataset, EVERY)
        runs = place / "runs"
        run_session(Request(config, place / dataset, RunFolder(runs / config.run_name)), Timer())
        arguments = [str(place / dataset), str(runs), "--model", model]
        done = subprocess.run(
            [sys.executable, __file__, "--resume", *arguments],
            check=True,
            stdout=subprocess.PIPE,
        )
        found[dataset] = json.loads(done.stdout)
        found[dataset]["state"] = sum(
            file.stat().st_size
            for file in (runs / config.run_name / "checkpoints" / "ckpt-1000").glob("*.npy")
        )
    seconds, state = found["books"]["first_step_at"], found["books"]["state"]
    grown = (found["books"]["peak"] - found["small"]["peak"]) / (state - found["small"]["state"])
    peaks = ", ".join(f"{found[name]['peak'] / 1e6:,.0f} MB ({name})" for name in found)
    return [
        _row("start of process to first step", f"{seconds:.2f} s", "", seconds <= MOST_SECONDS),
        _row(
            "peak memory over state",
            f"{grown:.2f}",
            f"state {state / 1e6:,.0f} MB; peaks {peaks}",
            grown <= MOST_MEMORY,
        ),
    ]


def resume_once(data: Path, runs: Path, model: str) -> None:
    """Resume the run, take a step, save, and print what that took."""
    timer = Timer(stop_at_first_step=True)
    config = config_of(model, data.name, 2 * EVERY)
    run_session(Request(config, data, RunFolder(runs / config.run_name)), timer)
    print(json.dumps({"first_step_at": timer.first_step_at, "peak": peak_memory()}))


def _row(what: str, measured: str, facts: str, kept: bool) -> dict[str, Any]:
    return {"what": what, "measured": measured, "kept": "yes" if kept else "NO", "facts": facts}


if __name__ == "__main__":
    main()
