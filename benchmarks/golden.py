"""Show that a change of the code changes no bit of training: python benchmarks/golden.py BASE

BASE is a commit. For each row of ROWS, the code of BASE and the working tree train the same
configuration on the demo data, in turns, in processes of their own; then the digest of the final
state and the bytes of metrics.jsonl are compared. Exits with 1 where a row differs.

`tests/test_golden.py` holds the same rows, at fewer steps, to digests that are stored.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from common import print_table

ROOT = Path(__file__).parents[1]
STEPS = 300

# Settings by row, beside those of every row. Each model, preset, sampler, optimizer and wrapper
# stands in one of them, and so does every value of every other switch of the objective.
SHARED: Mapping[str, Any] = {"dataset": "demo", "learning_rate": 0.005}
ROWS: Mapping[str, Mapping[str, Any]] = {
    "ComiRec-DR": {"model": "ComiRec-DR"},
    "ComiRec-SA": {"model": "ComiRec-SA"},
    "MIND": {"model": "MIND"},
    "DNN": {"model": "DNN"},
    "GRU4REC": {"model": "GRU4REC"},
    "SASRec": {"model": "SASRec", "dropout": 0.2, "targets": 3},
    "Queries": {"model": "Queries"},
    "MostPop": {"model": "MostPop"},
    "preset modern": {"preset": "modern"},
    "preset fast": {"preset": "fast"},
    "sampler uniform": {"sampler": "uniform"},
    "sampler in-batch": {"sampler": "in-batch"},
    "sampler mixed": {"sampler": "mixed", "next_n": 7},
    "sampler full": {"sampler": "full"},
    "optimizer adam": {"optimizer": "adam"},
    "optimizer lazy-adam": {"optimizer": "lazy-adam"},
    "encoder": {"encoder_layers": 2, "encoder_heads": 2, "dropout": 0.2},
    "members": {"model": "ComiRec-SA", "members": 2},
    "repeats": {"model": "ComiRec-SA", "repeats": "learned"},
    "interest count": {"model": "ComiRec-SA", "interest_count": "by-length"},
    "selection sample": {"model": "ComiRec-SA", "selection": "sample"},
    "selection soft": {"model": "ComiRec-SA", "selection": "soft"},
    "selection item0": {"model": "ComiRec-SA", "selection": "item0"},
    "cosine, best of interests": {
        "model": "ComiRec-SA",
        "temperature": 0.1,
        "neg_score": "max",
        "hard_negatives": 1.0,
        "routing_penalty": 0.1,
    },
    "several targets": {
        "model": "DNN",
        "targets": 3,
        "first_target": 1,
        "next_share": 0.2,
        "item_dropout": 0.3,
    },
    "untied rows": {
        "model": "DNN",
        "embeddings": "untied",
        "history": "unit",
        "embedding_scale": 0.1,
        "warmup": 20,
        "decay": "cosine",
        "decay_steps": 25,
        "valid_users": 100,
    },
    "linear decay": {"model": "DNN", "decay": "linear", "decay_steps": 25},
}


class Result(NamedTuple):
    """What one training left: the digest of its final state, and of its metrics.jsonl."""

    state: str
    metrics: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base", help="The commit to compare the working tree with.")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rows", default="", help="Only rows whose names match this expression.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        same = compare(options.base, options.steps, options.rows, Path(folder))
    sys.exit(0 if same else 1)


def compare(base: str, steps: int, rows: str, folder: Path) -> bool:
    """Run every row by both, print the table, and return whether all rows are equal."""
    sources = {"base": extracted(base, folder / "base") / "src", "tree": ROOT / "src"}
    for which, source in sources.items():
        _prepare_demo(source, folder / which / "data")
    print(f"base {_revision(base)}, {steps} steps a row\n")
    table: list[dict[str, str | int | float]] = []
    for name, settings in ROWS.items():
        if not re.search(rows, name):
            continue
        found: dict[str, Result] = {}
        took: dict[str, float] = {}
        for which, source in sources.items():
            began = time.perf_counter()
            found[which] = _trained(source, settings, steps, folder / which, name)
            took[which] = time.perf_counter() - began
        equal = found["base"] == found["tree"]
        print(f"{name}: {'equal' if equal else 'DIFFERENT'}", flush=True)
        state = found["tree"].state[:12]
        times = {f"{which} s": seconds for which, seconds in took.items()}
        table.append({"row": name, "state": state, "equal": "yes" if equal else "NO", **times})
    print()
    print_table(table)
    return all(row["equal"] == "yes" for row in table)


def _prepare_demo(source: Path, data: Path) -> None:
    """Write the demo data by the code in `source`: older code need not open newer folders."""
    program = (
        "import pathlib, sys; from reprise.data.prepare import publish; "
        "from reprise.data.synthetic import make_demo; "
        "publish(make_demo(), 'demo', pathlib.Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(source)}
    subprocess.run([sys.executable, "-c", program, data / "demo"], env=environment, check=True)


def _trained(
    source: Path, settings: Mapping[str, Any], steps: int, folder: Path, name: str
) -> Result:
    """Train a row by the code in `source`, in a process of its own."""
    config, runs = folder / "row.toml", folder / name
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in {**SHARED, **settings}.items())
    config.write_text("".join(lines))
    every = max(1, steps // 3)
    environment = {**os.environ, "PYTHONPATH": str(source)}

    def reprise(*arguments: object) -> bytes:
        command = [sys.executable, "-m", "reprise", *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"{source}: {done.stderr.decode()}")
        return done.stdout

    where = ("--runs-dir", runs, "--data-dir", folder / "data")
    reprise(
        *("train", "--config", config, "--name", "golden", "--quiet", *where),
        *("--steps", steps, "--test-iter", every),
    )
    (run,) = runs.iterdir()
    facts = json.loads(reprise("inspect", run, "--which", "latest", "--json"))
    digest = hashlib.sha256((run / "metrics.jsonl").read_bytes()).hexdigest()
    return Result(facts["state_digest"], digest)


def extracted(base: str, folder: Path) -> Path:
    """Write the package and the benchmarks as of a commit into `folder`, and return it."""
    packed = subprocess.run(
        ["git", "archive", base, "src", "benchmarks"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _revision(base: str) -> str:
    command = ["git", "log", "-1", "--format=%h %s", base]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
