"""Measure what whole training runs take of memory, and how long large catalogues take to start:
python benchmarks/memory.py

    books     367,982 items, 482,934 training users, batch 128, 20 items of history, 1280 negatives
    taobao    1,708,530 items, 769,215 users, batch 256, 50 items of history, 2560 negatives
    huge      10,000,000 items, else as books

Each is a fresh ComiRec-DR (d 64, K 4) in a process of its own: --steps steps, two evaluations of
2,000 users with their checkpoints, and both splits measured at the end. "peak" is the most memory
that the process has had resident; "over state" is that, less the peak of the same on a catalogue of
1,000 items, over the state. "start" is from the start of the process to its first finished step.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from checkpoint import FEW_ITEMS, Silent, make_data
from common import RUNS, machine, make_parser, peak_memory, print_facts, print_table, write_json
from first_step import seconds_since_process_start
from reprise.config.schema import TrainConfig
from reprise.runs.folder import RunFolder
from reprise.runs.session import Request, run_session
from reprise.training.state import TrainState

SHAPES = {**RUNS, "huge": RUNS["books"] | {"items": 10_000_000}}
VALID_USERS = 2_000
MOST_OVER_STATE, MOST_START = 2.2, 16.0  # what is promised; the start, of the huge one


class FirstStep(Silent):
    """An announcer that notes when the first step is finished."""

    at: float | None = None

    def stepped(self, state: TrainState) -> None:
        if self.at is None:
            state.arrays.rows.block_until_ready()
            self.at = seconds_since_process_start()


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--steps", type=int, default=200, help="Steps a run.")
    parser.add_argument("--run", nargs=2, metavar=("SHAPE", "DATA"), help="Train once, and tell.")
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run_once(options.run[0], Path(options.run[1]), options.steps)))
        return
    facts = machine()
    print_facts(facts)
    with tempfile.TemporaryDirectory() as folder:
        rows = [_measure(Path(folder), name, options.steps) for name in options.shapes]
    print()
    print_table(rows)
    kept = all(row["over state"] <= MOST_OVER_STATE for row in rows)
    print(f"\npromise: {MOST_OVER_STATE:g} of the state at most: {'kept' if kept else 'BROKEN'}")
    for row in rows:
        if row["shape"] == "huge":
            verdict = "kept" if row["start s"] <= MOST_START else "BROKEN"
            print(f"promise: ten million items start within {MOST_START:g} s: {verdict}")
    write_json(options.json, facts, rows)


def run_once(name: str, data: Path, steps: int) -> dict[str, float]:
    """Train a fresh run beside its data, and return the facts of this process."""
    shape = SHAPES[name]
    config = TrainConfig(
        dataset=data.name,
        name="memory",
        batch_size=shape["batch_size"],
        maxlen=shape["maxlen"],
        test_iter=steps // 2,
        max_steps=steps,
    )
    request, first = (
        Request(config, data, RunFolder(data.parent / "runs" / config.run_name)),
        FirstStep(),
    )
    run_session(request, first)
    stored = request.folder.checkpoints / f"ckpt-{steps}"
    assert first.at is not None
    return {
        "start": first.at,
        "peak": peak_memory(),
        "state": sum(file.stat().st_size for file in stored.glob("*.npy")),
    }


def _measure(place: Path, name: str, steps: int) -> dict[str, Any]:
    shape = SHAPES[name]
    few, whole = (
        _in_a_process(place / f"{name}-{items}", name, items, steps)
        for items in (FEW_ITEMS, shape["items"])
    )
    grown = (whole["peak"] - few["peak"]) / (whole["state"] - few["state"])
    return {
        "shape": name,
        "items": shape["items"],
        "state MB": whole["state"] / 1e6,
        "peak MB": whole["peak"] / 1e6,
        "of few items MB": few["peak"] / 1e6,
        "over state": grown,
        "start s": whole["start"],
    }


def _in_a_process(data: Path, name: str, items: int, steps: int) -> dict[str, float]:
    make_data(data, items, SHAPES[name]["users"], VALID_USERS)
    command = [sys.executable, __file__, "--run", name, str(data), "--steps", str(steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
