"""Compare what `reprise plan` expects with runs: python benchmarks/plan.py

Each row is a run of ComiRec-SA by `reprise train` on synthetic data of --items items, on the named
devices and processes of this machine, and the plan of the same settings. "window" is the time from
one evaluation's end to the next one's, of --steps steps and an evaluation of --users users, by the
seconds that two checkpoints hold; "step" and "evaluation" are planned, and "planned/run" is the
ratio of the planned window to the run's. What is aimed at is 25 %. Run it on an idle machine.
"""

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from checkpoint import make_data
from common import machine, make_parser, print_facts, print_table, write_json

WITHIN = 0.25
_TRAINED, _WINDOWS = 20_000, 3  # users, evaluations of a run


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--users", type=int, default=512)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--model", default="ComiRec-SA")
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--processes", type=int, nargs="*", default=[2, 4])
    options = parser.parse_args()
    facts = machine()
    print_facts(facts)
    rows: list[dict[str, int | float]] = []
    settings = f"--model {options.model} --batch-size {options.batch_size}"
    settings += f" --test-iter {options.steps} --steps {_WINDOWS * options.steps}"
    settings += f" --valid-users {options.users} --dataset many"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        make_data(data / "many", options.items, _TRAINED, max(options.users, 500))
        settings += f" --data-dir {data}"
        for devices, processes in [
            *((count, 1) for count in options.devices),
            *((1, count) for count in options.processes),
        ]:
            planned = planned_seconds(settings.split(), devices, processes)
            run = run_seconds(settings.split(), Path(folder) / "runs", devices, processes)
            window = options.steps * planned["step"] + planned["evaluation"]
            rows.append(
                {
                    "devices": devices,
                    "processes": processes,
                    "step ms": 1e3 * planned["step"],
                    "evaluation s": planned["evaluation"],
                    "window s": window,
                    "run s": run,
                    "planned/run": window / run,
                }
            )
            print(rows[-1], flush=True)
    print()
    print_table(rows)
    write_json(options.json, facts, rows)
    kept = all(abs(row["planned/run"] - 1) <= WITHIN for row in rows)
    sys.exit(0 if kept else 1)


def planned_seconds(settings: list[str], devices: int, processes: int) -> dict[str, float]:
    """Return the seconds that a plan has."""
    command = [sys.executable, "-m", "reprise", "plan", *settings, "--json"]
    command += ["--devices", str(devices), "--num-processes", str(processes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)["seconds"]
    return found


def run_seconds(settings: list[str], runs: Path, devices: int, processes: int) -> float:
    """Return the seconds between the last two evaluations of a run."""
    name = f"d{devices}p{processes}"
    command = [sys.executable, "-m", "reprise", "train", *settings, "--quiet", "--name", name]
    command += ["--runs-dir", str(runs), "--devices", str(devices)]
    places: list[list[str]] = [[]]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        together = ["--coordinator", address, "--num-processes", str(processes)]
        places = [[*together, "--process-id", str(index)] for index in range(processes)]
    started = [subprocess.Popen([*command, *place], stdout=subprocess.DEVNULL) for place in places]
    codes = [one.wait() for one in started]
    assert not any(codes), codes
    states = sorted(
        (
            json.loads(path.read_text())["progress"]
            for path in runs.glob(f"many_{name}/**/state.json")
        ),
        key=lambda progress: progress["step"],
    )
    return float(states[-1]["seconds"] - states[-2]["seconds"])


if __name__ == "__main__":
    main()
