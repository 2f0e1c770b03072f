"""Measure `reprise serve` under load on this machine: python benchmarks/serve.py

The model has Books' shape (V = 367,982 items with titles, d = 64, K = 4 interests, ComiRec-SA over
L = 20 items). Its values are random, but items lie in clusters, as trained ones do, 200 in each. A
history is of one of them, for what is not trained cannot tell them apart, and that is drawn as
popular items are. The client is wrk, one
thread on the same cores, each of its connections asking again as soon as it is answered. Of every
load: requests a second, latencies, and answers that were no 2xx. Before it: seconds from the start
of the process until it is ready. With --swap, a better checkpoint is stored in the middle of each
load, and --watch swaps to it. Memory is the server's own, before and after all loads.
With `-- --index FOLDER`, recall@50 is that of the histories asked for, against exact search; the
folder is of the same run (--keep), by `reprise export RUN FOLDER --index faiss:hnsw`.
"""

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import polars as pl
from numpy.typing import NDArray

from common import machine, make_parser, print_facts, print_table, write_json
from reprise import durable
from reprise.checkpoints import store
from reprise.config import model as configured
from reprise.config.schema import TrainConfig
from reprise.runs.folder import RunFolder
from reprise.runs.stored import load
from reprise.serving.index import open_index
from reprise.serving.lists import Query, answer, model_of
from reprise.text.messages import unsaid
from reprise.training.state import Best, Progress, TrainState, take_snapshot
from reprise.training.step import initial_arrays

ITEMS, CLUSTER = 367_982, 200  # items in all, and of a cluster: the numbers modulo ITEMS // CLUSTER
BODIES, LENGTH, USERS = 2000, 20, 500  # histories asked for, their items, those that recall is of
EXACT, HNSW, RECALL = 150, 1000, 0.98  # requests a second that are promised at CLIENTS clients
CLIENTS = 32
_LUA = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local at = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  at = at %% #bodies + 1
  return wrk.format(nil, "/v1/recommend", nil, bodies[at])
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "most": %%f, '
    .. '"refused": %%d, "failed": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True)
class Run:
    """A run of Books' shape: its folder, and states that are each better than the one before."""

    folder: RunFolder
    config: TrainConfig

    def store(self, step: int) -> None:
        """Store the state of a step."""
        arrays = initial_arrays(
            configured.model_of(self.config),
            configured.shape_of(self.config),
            ITEMS,
            step,
            embedding_scale=1.0,
        )
        dim = self.config.embedding_dim
        centres = arrays.rows[1 : 1 + ITEMS // CLUSTER, :dim]
        own = centres[jnp.arange(ITEMS + 1) % len(centres)].at[0].set(0)
        arrays = arrays._replace(rows=arrays.rows.at[:, :dim].add(own))
        # As the best model is stored: no update is pending.
        arrays = arrays._replace(row_steps=jnp.full_like(arrays.row_steps, step))
        best = Best(1 - 1 / (1 + step), step, 0)
        progress = Progress(0.001, step, 0, step, best.metric, best)
        state = take_snapshot(TrainState(arrays, progress))
        store.save(self.folder.checkpoints, state, self.config.identity("of synthetic data"))


def histories() -> NDArray[np.int32]:
    """Return histories of item numbers, [BODIES, LENGTH]."""
    rng = np.random.default_rng(1)
    clusters = ITEMS // CLUSTER
    near = (ITEMS ** rng.random((BODIES, 1))).astype(np.int32) % clusters
    own = near + clusters * rng.integers(0, CLUSTER, (BODIES, LENGTH), np.int32)
    return np.where(own > 0, own, clusters)


def write_script(folder: Path, n: int) -> Path:
    """Write what wrk asks for, and return its script."""
    bodies, script = folder / "bodies.jsonl", folder / "load.lua"
    asked = ({"histories": [list(map(str, one))], "n": n} for one in histories().tolist())
    bodies.write_text("".join(json.dumps(one) + "\n" for one in asked))
    script.write_text(_LUA % bodies)
    return script


def recall(run: Run, folder: Path) -> float:
    """Return which fraction of the exact lists of 50 an index finds."""
    stored = load(run.folder.path, "best", unsaid)
    model = model_of(stored)
    queries = [Query(one) for one in histories()[:USERS]]
    exact = answer(model, queries)
    found = answer(replace(model, best=open_index(folder, stored).best), queries)
    shared = [len(np.intersect1d(a.ids, b.ids)) for a, b in zip(exact, found, strict=True)]
    return sum(shared) / sum(len(one.ids) for one in exact)


def make_run(folder: Path) -> Run:
    """Make a run of ITEMS items without training it, unless it is there."""
    config = TrainConfig("books", "serve", model="ComiRec-SA", maxlen=LENGTH)
    run = Run(RunFolder(folder / config.folder_name), config)
    if run.folder.path.exists():
        return run
    durable.make_folder(run.folder.checkpoints)
    numbers = np.arange(1, ITEMS + 1)
    titles = [f"The {one % 977} books of {one % 7919} and {one}" for one in numbers]
    table = pl.DataFrame({"item": numbers, "raw_id": map(str, numbers), "title": titles})
    code = np.concatenate([[-1], numbers % 1600]).astype(np.int32)
    table = table.with_columns(category=pl.Series(map(str, code[1:])))
    path = folder / "items.parquet"
    table.write_parquet(path)
    np.save(folder / "code.npy", code)
    content = {
        "items.parquet": path.read_bytes(),
        "item_category.npy": (folder / "code.npy").read_bytes(),
    }
    durable.publish_folder(run.folder.items, lambda draft: store.fill(draft, content))
    run.store(1)
    return run


@contextmanager
def served(run: Run, options: list[str]) -> Iterator[tuple[str, float, int]]:
    """Serve a run; yield the address, the seconds until it was ready, and the process's id."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "reprise", "serve", str(run.folder.path), "--port", "0"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"http://\S+", line):
                break
            print(line, end="", file=sys.stderr)
        else:
            raise SystemExit("The server did not start.")
        rest = threading.Thread(target=lambda: sys.stderr.writelines(process.stderr or ()))
        rest.start()
        yield found[0], time.perf_counter() - began, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        rest.join()
        assert code == 0, f"The server ended with {code}"


def loaded(url: str, clients: int, seconds: float, script: Path) -> dict[str, Any]:
    """Load a server, and return what wrk measured."""
    command = ["wrk", "--threads", "1", "--connections", str(clients), "--timeout", "30s"]
    command += ["--duration", f"{seconds:g}s", "--script", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    facts: dict[str, Any] = json.loads(result.removeprefix("RESULT "))
    return facts


def metric(url: str, name: str) -> float:
    """Return the value of one of the server's metrics, summed over its labels."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(one.rpartition(" ")[2]) for one in lines if re.match(rf"{name}[ {{]", one))


def measure(run: Run, options: argparse.Namespace, script: Path) -> list[dict[str, Any]]:
    """Return a row for each number of clients."""
    rows = []
    words = [*(["--watch", "--watch-every", "0.5"] if options.swap else []), *options.serve]
    with served(run, words) as (url, ready, _):
        loaded(url, 4, 2, script)
        before = metric(url, "process_resident_memory_bytes")
        for place, clients in enumerate(options.clients):
            sizes = [metric(url, f"reprise_batch_size_{part}") for part in ("sum", "count")]
            swap = threading.Timer(options.seconds / 2, run.store, [place + 2])
            if options.swap:
                swap.start()
            found = loaded(url, clients, options.seconds, script)
            if options.swap:
                swap.join()
            after = [metric(url, f"reprise_batch_size_{part}") for part in ("sum", "count")]
            rows.append(
                {
                    "clients": clients,
                    "requests/s": found["requests"] / found["seconds"],
                    "p50 ms": found["p50"],
                    "p99 ms": found["p99"],
                    "max ms": found["most"],
                    "not 2xx": found["refused"],
                    "failed": found["failed"],
                    "batch": (after[0] - sizes[0]) / max(1, after[1] - sizes[1]),
                    "swaps": int(metric(url, "reprise_swaps_total")),
                    "MB": metric(url, "process_resident_memory_bytes") / 1e6,
                    "ready s": ready,
                    "MB before": before / 1e6,
                }
            )
    return rows


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8, CLIENTS, 128])
    parser.add_argument("--seconds", type=float, default=10.0, help="Of each load.")
    parser.add_argument("--n", type=int, default=10, help="Length of the lists.")
    parser.add_argument("--swap", action="store_true", help="Swap the model under each load.")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="Where the run is kept.")
    parser.add_argument("serve", nargs="*", help="Options of `reprise serve`, after --.")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        script = write_script(Path(temporary), options.n)
        run = make_run(folder)
        index = next((Path(b) for a, b in pairwise(options.serve) if a == "--index"), None)
        found = recall(run, index) if index else 1.0
        rows = measure(run, options, script)
    print_facts(machine())
    print()
    print_table(rows)
    promised = HNSW if index else EXACT
    print(f"\nrecall@50: {found:.4f}")
    for row in rows:
        if row["clients"] == CLIENTS:
            kept = row["requests/s"] >= promised and not row["failed"] + row["not 2xx"]
            verdict = "kept" if kept and found >= RECALL else "BROKEN"
            promise = f"{promised:,} requests/s at {CLIENTS} clients, no error, recall {RECALL}"
            print(f"promise: {promise}: {verdict}")
    write_json(options.json, machine() | {"recall@50": found}, rows)


if __name__ == "__main__":
    main()
