"""Measure how soon after a process starts a stored model is ready: python benchmarks/load.py

A run with a model of Books' size is stored (its rows random, its items numbered); then processes
that load it are started in turns with one that only imports JAX. A row is the median over rounds:
the seconds from the process's start until it was loaded, and until the first user's interests were
made, which compiles a program. Files come from the page cache, as they do once they were read.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from common import RUNS, machine, make_parser, print_facts, print_table, write_json
from reprise.checkpoints import store
from reprise.config.model import model_of, shape_of
from reprise.config.schema import TrainConfig
from reprise.runtime import environment
from reprise.training.state import Best, Progress, TrainState, take_snapshot
from reprise.training.step import initial_arrays

PROMISED = 1.5  # seconds from the start of the process to a loaded model
IMPORTS = "import time; import jax; jax.devices(); print([time.time()])"
LOADS = """
import json, sys, time
from pathlib import Path
import numpy as np
from reprise.runtime.setup import setup
from reprise.runs.stored import load
setup()
model = load(Path(sys.argv[1]), "best", lambda key, **values: None)
loaded = time.time()
history = np.arange(1, 1 + model.config.maxlen, dtype=np.int32)[None]
model.retriever.interests(history, np.full(1, model.config.maxlen, np.int32))
print(json.dumps([loaded, time.time()]))
"""


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--items", type=int, default=RUNS["books"]["items"])
    parser.add_argument("--model", default="ComiRec-DR")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        size = _store(run, options.model, options.items)
        programs = {"JAX alone": [IMPORTS], options.model: [LOADS, str(run)]}
        times: dict[str, list[list[float]]] = {name: [] for name in programs}
        for _ in range(options.rounds + 1):  # the first fills the page cache
            for name, program in programs.items():
                times[name].append(_times(program))
    rows: list[dict[str, str | int | float]] = [
        {
            "process": name,
            "loaded s": median(one[0] for one in found[1:]),
            "first interests s": median(one[-1] for one in found[1:]),
        }
        for name, found in times.items()
    ]
    facts = machine() | {"items": options.items, "checkpoint_mb": round(size / 1e6)}
    print_facts(facts)
    print()
    print_table(rows)
    verdict = "kept" if float(rows[1]["loaded s"]) <= PROMISED else "BROKEN"
    print(f"\npromise: loaded within {PROMISED:g} s of the process's start: {verdict}")
    write_json(options.json, facts, rows)


def _store(run: Path, model: str, items: int) -> int:
    """Store a rated state of fresh rows as a run's best, and return its bytes."""
    config = TrainConfig(dataset="books", name="load", model=model)
    arrays = initial_arrays(model_of(config), shape_of(config), items, seed=1)
    arrays = arrays._replace(row_steps=arrays.row_steps + np.int32(1000))
    progress = Progress(0.001, 1000, 0, 1000, 0.1, Best(0.1, 1000, 0))
    checkpoints = run / "checkpoints"
    checkpoints.mkdir(parents=True)
    path = store.save(
        checkpoints,
        take_snapshot(TrainState(arrays, progress)),
        config.identity("0") | {"item_ids": "0"},
        environment.current(),
    )
    return sum(file.stat().st_size for file in path.iterdir())


def _times(program: list[str]) -> list[float]:
    """Run a program in a process of its own, and return the seconds from its start to the times
    that it prints.
    """
    began = time.time()
    done = subprocess.run([sys.executable, "-c", *program], check=True, capture_output=True)
    return [at - began for at in json.loads(done.stdout)]


if __name__ == "__main__":
    main()
