"""Measure whole training runs: where the time goes, and how near the loop comes to the bare step:
python benchmarks/train.py

    books     V = 367,982 items, 482,934 training users, B = 128, L = 20, 1280 negatives
    taobao    V = 1,708,530, 769,215 users, B = 256, L = 50, 2560 negatives

Both with d = 64 and K = 4, an evaluation of --valid-users users and a checkpoint every --every
steps. The parts of a run, by the clock:

start       from the call to the first finished step: the data opened and checked, fresh tables,
            compiling
steps       from an evaluation's first step to its last, batches, progress and the background write
            of the checkpoint included
evaluation  the rows caught up, all users listed, the metrics recorded
saving      the copy that a checkpoint is written from, and the first step after it
end         both splits measured, the last write

"bare" is the step alone on ready batches, measured in turns with the stretches of steps, each time
after an evaluation; "loop/bare" are the examples a second in the loop over those of the bare step,
the median over stretches. "demo" is `reprise train` in processes of its own (`first_step.py`): from
the start of one to the first finished step of a fresh run on the demonstration's data.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from checkpoint import Silent, make_data
from common import RUNS, Stepper, machine, make_parser, print_facts, print_table, write_json
from reprise.config.schema import TrainConfig
from reprise.data.prepare import publish
from reprise.data.synthetic import make_demo
from reprise.runs.folder import Resumption, RunFolder
from reprise.runs.session import Request, run_session
from reprise.training.setup import Task, fresh_state
from reprise.training.state import Progress, TrainState

BARE_STEPS = 100
LEAST_RATIO, MOST_SECONDS = 0.90, 3.0  # what is promised


@dataclass
class Watch(Silent):
    """An announcer that times a run's parts, and takes bare steps after each evaluation."""

    every: int
    parts: dict[str, float] = field(default_factory=dict)
    loop_ms: list[float] = field(default_factory=list)
    bare_ms: list[float] = field(default_factory=list)
    bare: Stepper | None = None

    def __post_init__(self) -> None:
        self._last = time.perf_counter()

    def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
        self._task = task

    def stepped(self, state: TrainState) -> None:
        place = state.progress.step % self.every
        if place in (0, 1):
            state.arrays.rows.block_until_ready()
            if state.progress.step == 1:
                self.lap("start")
            elif place == 1:
                self.lap("saving")
            else:
                self.loop_ms.append(1e3 * self.lap("steps") / (self.every - 1))

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        self.lap("evaluation")
        if self.bare is None:
            self.bare = Stepper(self._task.step, fresh_state(self._task).arrays)
            self._batches = [self._task.sampler.batch(1, step) for step in range(1, BARE_STEPS + 1)]
            self.bare.ms_a_step(self._batches[:10])
        self.bare_ms.append(self.bare.ms_a_step(self._batches))
        self._last = time.perf_counter()

    def lap(self, part: str) -> float:
        """Count the time since the last lap to a part, and return it."""
        now = time.perf_counter()
        took, self._last = now - self._last, now
        self.parts[part] = self.parts.get(part, 0.0) + took
        return took


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--shapes", nargs="+", choices=list(RUNS), default=["books"])
    parser.add_argument("--models", nargs="+", default=["ComiRec-DR", "ComiRec-SA"])
    parser.add_argument("--every", type=int, default=1_000, help="Steps between evaluations.")
    parser.add_argument("--stretches", type=int, default=5, help="Evaluations a run.")
    parser.add_argument("--valid-users", type=int, default=2_000)
    options = parser.parse_args()
    facts = machine()
    print_facts(facts)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        publish(make_demo(), "demo", place / "demo")
        seconds = _seconds_to_first_step(place / "demo")
        print(f"\ndemo: {seconds:.2f} s from the start of the process to its first finished step")
        for name in options.shapes:
            make_data(place / name, RUNS[name]["items"], RUNS[name]["users"], options.valid_users)
            rows += [_measure(place, name, model, options) for model in options.models]
    print()
    print_table(rows)
    _print_verdicts(rows, seconds)
    write_json(options.json, facts | {"demo_first_step_s": round(seconds, 2)}, rows)


def _measure(place: Path, name: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    shape = RUNS[name]
    config = TrainConfig(
        dataset=name,
        name="train",
        model=model,
        batch_size=shape["batch_size"],
        maxlen=shape["maxlen"],
        test_iter=options.every,
        max_steps=options.every * options.stretches,
    )
    watch = Watch(options.every)
    run_session(Request(config, place / name, RunFolder(place / "runs" / config.run_name)), watch)
    watch.lap("end")
    parts, whole = watch.parts, sum(watch.parts.values())
    ratios = [bare / loop for loop, bare in zip(watch.loop_ms, watch.bare_ms, strict=True)]
    shown = {f"{part} %": 100 * parts[part] / whole for part in ("evaluation", "saving")}
    return {
        "shape": name,
        "model": model,
        "steps": config.max_steps,
        "wall s": whole,
        "start s": parts["start"],
        "steps %": 100 * parts["steps"] / whole,
        **shown,
        "end s": parts["end"],
        "loop ms": median(watch.loop_ms),
        "bare ms": median(watch.bare_ms),
        "loop/bare": median(ratios),
        "examples/s": round(1e3 * config.batch_size / median(watch.loop_ms)),
        "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def _seconds_to_first_step(data: Path) -> float:
    """Return the median of three processes."""
    command = [sys.executable, str(Path(__file__).with_name("first_step.py")), str(data)]
    return median(
        float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split()[-1])
        for _ in range(3)
    )


def _print_verdicts(rows: list[dict[str, Any]], seconds: float) -> None:
    kept = all(row["loop/bare"] >= LEAST_RATIO for row in rows)
    print(f"\npromise: {LEAST_RATIO:.0%} of the bare step's speed: {'kept' if kept else 'BROKEN'}")
    verdict = "kept" if seconds <= MOST_SECONDS else "BROKEN"
    print(f"promise: first step on the demo within {MOST_SECONDS:g} s: {verdict}")


if __name__ == "__main__":
    main()
