"""Measure whether a change makes anything slower: python benchmarks/paired.py BASE

BASE is a commit. Its code and the working tree's each have a process a round that holds a model at
Books' shape; they take turns at training steps and at evaluations. Then each starts in processes of
its own, with bytecode as an installed program has it: help, and a training of one step on the demo
data until its results are stored. A row is the median over rounds of both, and their ratio.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from common import machine as describe_machine
from common import make_parser, print_facts, print_table, seconds_of, write_json
from golden import extracted
from reprise.data.prepare import publish
from reprise.data.synthetic import make_demo

ROOT = Path(__file__).parents[1]
PROMISED = 1.03
SIZES = {"step": "64, Books, ComiRec-DR", "evaluation": "1,024 users, Books"}
BYTECODE = tempfile.TemporaryDirectory()
# Answers each line "step" or "evaluate" with the seconds it took. BASE may lie before the modules
# moved to where they are.
PROGRAM = """
import sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])  # benchmarks, of the same commit
import jax
from common import synthetic_split
from evaluate import make_users
from step import WORKLOADS
try:
    from reprise.retrieval.vectors import retriever_of
    from reprise.evaluation.evaluate import evaluate
    from reprise.models.registry import get_model
    from reprise.models.scoring import COMIREC
except ImportError:
    from reprise.retrieval.evaluate import evaluate
    from reprise.training.step import make_interests
    from reprise.models import get_model
    retriever_of = None
from reprise.training.batches import make_sampler
from reprise.training.optimizers import make_update
from reprise.training.step import initial_arrays, make_train_step

ITEMS, USERS = 367_982, 60_000
model = get_model("ComiRec-DR")
workload = WORKLOADS["books"]
split = synthetic_split(ITEMS, USERS, 1)
sampler = make_sampler(split, ITEMS, workload.batch, workload.shape.history_length,
                       workload.negatives, 1)
batches = [sampler.batch(0, number) for number in range(1, 65)]
step = make_train_step(model, "row-adam")
arrays = initial_arrays(model, workload.shape, ITEMS, 1)
users = make_users(ITEMS, workload.shape.history_length, 1024, 1)
number = 0

def steps():
    global arrays, number
    for batch in batches:
        number += 1
        arrays = step(arrays, batch, make_update(0.001, number))
    arrays.rows.block_until_ready()

def evaluation():
    if retriever_of is None:
        evaluate(arrays, make_interests(model), users, (20, 50))
    else:
        evaluate(retriever_of(model, COMIREC, arrays), users, (20, 50))

print("ready", flush=True)
for line in sys.stdin:
    work = {"step": steps, "evaluate": evaluation}[line.strip()]
    began = time.perf_counter()
    work()
    print((time.perf_counter() - began) / (len(batches) if work is steps else 1), flush=True)
"""


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("base", help="The commit to compare the working tree with.")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = _measure(options.base, options.rounds, Path(folder))
    facts = describe_machine()
    print_facts(facts)
    print()
    print_table(rows)
    slower = [str(row["what"]) for row in rows if float(row["ratio"]) > PROMISED]
    print(f"\npromise: at most {PROMISED:g} times the base's: {', '.join(slower) or 'kept'}")
    write_json(options.json, facts, rows)


def _measure(base: str, rounds: int, folder: Path) -> list[dict[str, str | int | float]]:
    publish(make_demo(), "demo", folder / "data" / "demo")
    sources = {"base": extracted(base, folder / "base"), "tree": ROOT}
    times: dict[str, dict[str, list[float]]] = {}

    def take_turns(what: str, work: Callable[[str], float]) -> None:
        for name in sources:  # to warm up
            work(name)
        own = times.setdefault(what, {name: [] for name in sources})
        for number in range(rounds):
            for name in list(sources)[:: 1 if number % 2 else -1]:
                own[name].append(work(name))

    for number in range(rounds):
        # Where a process's tables lie in memory moves its step by a tenth: a round has new ones.
        order = list(sources)[:: 1 if number % 2 else -1]
        workers = {name: _worker(sources[name]) for name in order}
        for what, word in (("step", "step"), ("evaluation", "evaluate")):
            label = f"{what} ({SIZES[what]})"
            for _ in range(2):  # the first warms up
                taken = {name: _ask(workers[name], word) for name in order}
            own = times.setdefault(label, {name: [] for name in sources})
            for name, seconds in taken.items():
                own[name].append(seconds)
        for worker in workers.values():
            worker.communicate()
    take_turns("reprise --help", lambda name: _seconds(sources[name], "--help"))
    train = "train --dataset demo --name paired --steps 1 --test-iter 1 --quiet --data-dir".split()

    def one_step(name: str) -> float:
        runs = tempfile.mkdtemp(dir=folder)
        return _seconds(sources[name], *train, folder / "data", "--runs-dir", runs)

    take_turns("a training of one step", one_step)
    return [_row(what, own) for what, own in times.items()]


def _row(what: str, own: dict[str, list[float]]) -> dict[str, str | int | float]:
    base, tree = median(own["base"]), median(own["tree"])
    return {"what": what, "base ms": 1e3 * base, "tree ms": 1e3 * tree, "ratio": tree / base}


def _worker(source: Path) -> "subprocess.Popen[str]":
    worker = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(source / "benchmarks")],
        env={**os.environ, "PYTHONPATH": str(source / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline().strip() == "ready"
    return worker


def _ask(worker: "subprocess.Popen[str]", what: str) -> float:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{what}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def _seconds(source: Path, *words: object) -> float:
    """Return how long a command of the code at `source` takes."""
    command = [sys.executable, "-m", "reprise", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(source / "src")}
    environment |= {"PYTHONPYCACHEPREFIX": BYTECODE.name, "PYTHONDONTWRITEBYTECODE": ""}
    return seconds_of(
        lambda: subprocess.run(command, env=environment, check=True, capture_output=True)
    )


if __name__ == "__main__":
    main()
