"""Measure the memory of runs in several processes against one: python benchmarks/mesh.py

Each is a fresh ComiRec-SA on synthetic data of --items items, embedding dimension --dim, trained by
`reprise train` over loopback: --steps steps, --evaluations evaluations of 500 users with their
checkpoints, and both splits measured at the end. "peak" is the most memory that any of its
processes has had resident, "of one" its share of the first row's, "planned" what `reprise plan`
says it has, over the peak. With --copies 0, checkpoints are planned to be written without a copy of
the state, as where there is no room for one.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

from checkpoint import make_data
from common import machine, make_parser, print_facts, print_table, write_json

MOST_OF_ONE = 0.35  # what is promised of four processes at 10 million items
_USERS = 20_000


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--evaluations", type=int, default=2)
    parser.add_argument("--copies", type=int, choices=(0, 1), default=1)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    facts = machine()
    print_facts(facts)
    rows: list[dict[str, int | float]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data" / "many"
        # In a process of its own, whose memory the runs have for themselves.
        made = get_context("spawn").Process(
            target=make_data, args=(data, options.items, _USERS, 500)
        )
        made.start()
        made.join()
        assert made.exitcode == 0
        for count in options.processes:
            every = options.steps // options.evaluations
            peak = max(trained(Path(folder), count, options.dim, options.steps, every))
            one = rows[0]["peak GB"] * 1e9 if rows else peak
            over = planned(options, count) / peak
            rows.append(
                {"processes": count, "peak GB": peak / 1e9, "of one": peak / one, "planned": over}
            )
            print(rows[-1], flush=True)
    print()
    print_table(rows)
    write_json(options.json, facts, rows)
    kept = all(row["of one"] <= MOST_OF_ONE for row in rows if row["processes"] == 4)
    sys.exit(0 if kept else 1)


def planned(options: argparse.Namespace, count: int) -> int:
    """Return the most memory of a process that a plan tells."""
    words = f"--items {options.items} --users {_USERS} --num-processes {count} --json"
    words += f" --model ComiRec-SA --embedding-dim {options.dim} --hidden-size {options.dim}"
    facts = json.loads(_plan(words))
    if not options.copies:
        limit = facts["memory"]["process"] - 1
        facts = json.loads(_plan(f"{words} --max-memory {limit}"))
    return int(facts["memory"]["process"])


def _plan(words: str) -> str:
    command = [sys.executable, "-m", "reprise", "plan", *words.split()]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return done.stdout


def trained(folder: Path, count: int, dim: int, steps: int, every: int) -> list[int]:
    """Train in so many processes, and return the most memory of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = f"--dataset many --name p{count} --model ComiRec-SA --embedding-dim {dim}"
    words += f" --hidden-size {dim} --steps {steps} --test-iter {every} --quiet"
    words += f" --data-dir {folder / 'data'} --runs-dir {folder / 'runs'}"
    command = [sys.executable, "-m", "reprise", "train", *words.split()]
    places = (
        [
            f"--coordinator {address} --num-processes {count} --process-id {i}".split()
            for i in range(count)
        ]
        if count > 1
        else [[]]
    )
    started = [subprocess.Popen([*command, *place], stdout=subprocess.DEVNULL) for place in places]
    peaks = [0] * count
    while any(one.poll() is None for one in started):
        for place, one in enumerate(started):
            for pid in (one.pid, *children(one.pid)):
                peaks[place] = max(peaks[place], peak_of(pid))
        time.sleep(0.05)
    assert all(one.returncode == 0 for one in started), [one.returncode for one in started]
    return peaks


def children(pid: int) -> list[int]:
    """Return the children of a process, of its first thread."""
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def peak_of(pid: int) -> int:
    """Return the most bytes that a process has had resident; 0 of one that has ended."""
    with suppress(OSError, StopIteration):
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) * 1024
    return 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
