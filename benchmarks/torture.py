"""Torment real runs for long and compare: python benchmarks/torture.py --kills 300 --seed 7

For each model, and with each set of switches (--with), a run is trained undisturbed, on the first
of --cores. Others are started again and
again by the same command, each time on one of --cores, and ended by a blow drawn at random:

    kill        SIGKILL at a random instant
    call        SIGKILL before a random system call that changes files (needs strace)
    stop        SIGTERM or SIGINT at a random instant

Between two starts a checkpoint's file may be damaged (a bit flipped, a file cut or deleted) and
the runs' folder moved. A run that gets through is followed by another until all blows have fallen.

After each blow every checkpoint that was not damaged on purpose must load, hold what other runs
hold at its step, and the best must be among them. At the end each run must have the undisturbed
run's state digest, metrics.jsonl, best metric and best weights; the weights are excused where they
were damaged while later checkpoints stood: then their loss is said, and only the metric is kept.
Exit code 1 where anything differs. The same seed draws the same blows; the instants at which they
fall on the work depend on the machine. --source takes anything that `reprise prepare` reads; the
demo data with features and times otherwise.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from common import machine, make_parser, print_facts, print_table, write_json
from reprise.checkpoints import store
from reprise.data.prepare import publish
from reprise.data.synthetic import make_demo
from reprise.models.registry import REGISTRY
from reprise.runs.folder import RunFolder, find_checkpoint, load_checkpoint

REPRISE = (sys.executable, "-m", "reprise")
DATASET = "torture"
KILLS_A_RUN = 12  # that many instants are spread over a run's work
CALLS = ("fsync", "rename", "mkdir", "unlinkat", "rmdir", "write")
MOST_CALLS = 60
DAMAGE_SHARE, MOVE_SHARE = 0.5, 0.1
SWITCHES = {
    "nothing": (),
    "features+times": (
        *("--item-features", "all", "--id-dropout", "0.2"),
        *("--encoder-layers", "1", "--time-bias", "gaps+request"),
    ),
    "memory+averages": (
        *("--memory", "rules", "--item-init", "counts", "--average-decay", "0.9"),
        *("--encoder-layers", "1", "--encoder-blocks", "gated", "--interest-penalty", "0.1"),
    ),
}
STOPPED = (0, 130, 143, -signal.SIGINT, -signal.SIGTERM)  # negative: before training took over


@dataclass
class Run:
    """A run under torment: where it is, and what was done to it on purpose."""

    name: str
    runs_folder: Path
    damaged: dict[str, int] = field(default_factory=dict)  # inode by name
    best_damaged: bool = False
    owed: tuple[int, int] | None = None  # branch and step of a damaged best to be trained anew

    @property
    def folder(self) -> RunFolder:
        """The run's folder; it is there once training was started."""
        found = self.runs_folder.glob(f"*_{self.name}")
        return RunFolder(next(found, self.runs_folder / self.name))

    @property
    def log(self) -> Path:
        """What the run printed."""
        return self.runs_folder.parent / f"{self.name}.log"


@dataclass
class Torment:
    """All that one model's runs go through; `counts` is what comes into the table."""

    root: Path
    model: str
    switches: str
    options: Sequence[str]
    rng: random.Random
    cores: Sequence[int]
    counts: Counter[str] = field(default_factory=Counter)
    known: dict[tuple[int, int, int], str] = field(default_factory=dict)
    preparations: float = 0.0
    training: float = 0.0

    def new_run(self, name: str) -> Run:
        whole = f"{self.model}-{self.switches.replace('+', '-')}-{name}"
        return Run(whole, self.root / f"runs-{whole}")

    def start(self, run: Run, cores: int, prefix: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
        where = ("--data-dir", str(self.root / "data"), "--runs-dir", str(run.runs_folder))
        train = ("train", "--dataset", DATASET, "--model", self.model, "--name", run.name)
        run.log.parent.mkdir(parents=True, exist_ok=True)
        with run.log.open("ab") as log, _limited_to(cores):
            return subprocess.Popen(
                [*prefix, *REPRISE, *train, *where, *self.options, *SWITCHES[self.switches]],
                stdout=log,
                stderr=log,
            )

    def run_undisturbed(self) -> Run:
        """Run to the end; learn how long the preparations and the training take."""
        run, began, ready = self.new_run("undisturbed"), time.monotonic(), None
        process = self.start(run, self.cores[0])
        while process.poll() is None:
            time.sleep(0.01)
            if ready is None and run.folder.metrics.exists():  # made just before the first step
                ready = time.monotonic()
        _check_end(process.returncode, (0,), run)
        self.preparations = (ready or began) - began
        self.training = time.monotonic() - began - self.preparations
        self.examine(run)
        return run

    def strike(self, run: Run) -> bool:
        """Start the run and end it by a blow; False where it was finished before that."""
        rng = self.rng
        delay = rng.uniform(0, self.preparations + 2 * self.training / KILLS_A_RUN)
        kinds = ("kill", "kill", "kill", "stop", *(("call", "call") if _HAS_STRACE else ()))
        kind = rng.choice(kinds)
        number = signal.SIGKILL
        if kind == "stop":
            number = rng.choice((signal.SIGTERM, signal.SIGINT))
        prefix = _before_a_call(rng) if kind == "call" else ()
        allowed = (0, -number, *(STOPPED if kind == "stop" else ()))
        process = self.start(run, rng.choice(self.cores), prefix)
        try:
            if kind == "call":
                process.wait(600)
            else:
                process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            process.wait(120)
        finally:
            process.kill()
        _check_end(process.returncode, allowed, run)
        if process.returncode != 0:
            self.counts[kind] += 1
        self.examine(run)
        return process.returncode != 0

    def examine(self, run: Run) -> None:
        """Count what must not be: torn checkpoints, wrong ones, a best that is gone."""
        folder = run.folder.checkpoints
        self._forget_set_aside(run)
        torn: list[Path] = []
        found = store.scan(folder, lambda path, reason: torn.append(path))
        for checkpoint in list(found):
            try:
                digest = store.load(checkpoint).digest()
            except store.DamagedCheckpointError:
                torn.append(checkpoint.path)
                found.remove(checkpoint)
                continue
            progress = checkpoint.progress
            place = (progress.branch, progress.step, progress.evaluated_step)
            if self.known.setdefault(place, digest) != digest:
                self.counts["wrong"] += 1
        self.counts["torn"] += sum(path.name not in run.damaged for path in torn)
        if run.owed is not None and found and found[-1].order[:2] >= run.owed:
            run.owed = None
        best = found[-1].progress.best if found else None
        held = {checkpoint.order[:2] for checkpoint in found}
        excused = run.best_damaged or run.owed is not None
        if best is not None and (best.branch, best.step) not in held and not excused:
            self.counts["lost bests"] += 1

    def _forget_set_aside(self, run: Run) -> None:
        for name, inode in list(run.damaged.items()):
            path = run.folder.checkpoints / name
            if not path.exists() or path.stat().st_ino != inode:  # or trained anew since then
                del run.damaged[name]
                self.counts["set aside"] += 1

    def between_starts(self, run: Run) -> None:
        """Damage a checkpoint, move the runs' folder, or do neither."""
        if self.rng.random() < DAMAGE_SHARE:
            self.damage(run)
        if self.rng.random() < MOVE_SHARE and run.folder.path.is_dir():
            moved = run.runs_folder.with_name(f"{run.runs_folder.name}-moved")
            run.runs_folder.rename(moved)
            run.runs_folder = moved
            self.counts["moves"] += 1

    def damage(self, run: Run) -> None:
        """Harm a random file of a random whole checkpoint."""
        found = store.scan(run.folder.checkpoints, lambda path, reason: None)
        found = [checkpoint for checkpoint in found if checkpoint.path.name not in run.damaged]
        if not found:
            return
        chosen = self.rng.choice(found)
        best = found[-1].progress.best
        is_best = best is not None and (best.branch, best.step) == chosen.order[:2]
        # Where the latest is lost it is trained anew, and so is a best that is the latest; until
        # then the best before it may be gone, as it was superseded.
        if is_best and chosen is found[-1]:
            run.owed = chosen.order[:2]
        run.best_damaged |= is_best and chosen is not found[-1]
        _harm(self.rng, self.rng.choice(sorted(chosen.path.iterdir())))
        run.damaged[chosen.path.name] = chosen.path.stat().st_ino
        self.counts["damages"] += 1

    def finish(self, run: Run) -> None:
        """Let the run go to its end."""
        process = self.start(run, self.cores[-1])
        _check_end(process.wait(600), (0,), run)
        self.examine(run)

    def compare(self, run: Run, undisturbed: Run) -> list[str]:
        """Return what differs from the undisturbed run and has no excuse."""
        expected, found = _facts(undisturbed), _facts(run)
        excused = {"best weights"} if run.best_damaged else set()
        return [what for what in expected if found[what] != expected[what] and what not in excused]


_HAS_STRACE = shutil.which("strace") is not None


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--kills", type=int, default=300, help="Blows in all.")
    parser.add_argument("--seed", type=int, help="Of the blows; drawn and printed if not given.")
    parser.add_argument("--source", type=Path, help="What to prepare. [default: the demo data]")
    parser.add_argument("--models", nargs="+", default=list(REGISTRY), choices=list(REGISTRY))
    parser.add_argument("--with", nargs="+", choices=list(SWITCHES), dest="switches")
    parser.add_argument("--preset", help="Values that the runs start from, as `reprise train`'s.")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--test-iter", type=int, default=100)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print_facts(machine())
    print(f"seed {seed}; {options.kills} blows; strace {'used' if _HAS_STRACE else 'missing'}\n")

    training = [
        *("--steps", str(options.steps), "--test-iter", str(options.test_iter)),
        *("--learning-rate", "0.005", "--lang", "en"),
        *(("--preset", options.preset) if options.preset else ()),
    ]
    rows = []
    with tempfile.TemporaryDirectory(prefix="reprise-torture-") as folder:
        root = Path(folder)
        _prepare(options.source, root / "data")
        switches = options.switches or (["nothing"] if options.source else list(SWITCHES))
        every = [(model, one) for one in switches for model in options.models]
        for number, (model, one) in enumerate(every):
            share = options.kills // len(every) + (number < options.kills % len(every))
            rng = random.Random(f"{seed} {model} {one}" if SWITCHES[one] else f"{seed} {model}")
            torment = Torment(root, model, one, training, rng, options.cores)
            rows.append(_torment(torment, share))
    print()
    print_table(rows)
    same = all(
        row["torn"] == row["wrong"] == row["lost bests"] == row["differ"] == 0 for row in rows
    )
    print(
        f"\n{'All runs EQUAL' if same else 'Runs DIFFER from'} the undisturbed ones. Seed {seed}."
    )
    write_json(options.json, machine() | {"seed": seed, "same": same}, rows)
    sys.exit(0 if same else 1)


def _torment(torment: Torment, blows: int) -> dict[str, str | int | float]:
    """Let `blows` fall on one model's runs and return its row of the table."""
    undisturbed = torment.run_undisturbed()
    tormented = [torment.new_run("1")]
    counts = torment.counts
    while sum(counts[kind] for kind in ("kill", "call", "stop")) < blows:
        if torment.strike(tormented[-1]):
            torment.between_starts(tormented[-1])
        else:
            tormented.append(torment.new_run(str(len(tormented) + 1)))
    differ = 0
    for run in tormented:
        torment.finish(run)
        if differences := torment.compare(run, undisturbed):
            print(
                f"{run.name} differs in {', '.join(differences)}; its log:\n{run.log.read_text()}"
            )
            differ += 1
    columns = (
        "kill",
        "call",
        "stop",
        "damages",
        "set aside",
        "moves",
        "torn",
        "wrong",
        "lost bests",
    )
    return {
        "model": torment.model,
        "with": torment.switches,
        "runs": len(tormented),
        **{column: counts[column] for column in columns},
        "excused": sum(run.best_damaged for run in tormented),
        "differ": differ,
    }


def _prepare(source: Path | None, data: Path) -> None:
    if source is None:
        publish(make_demo(features=True, times=True), DATASET, data / DATASET)
        return
    prepare = ("prepare", str(source), "--name", DATASET, "--data-dir", str(data))
    if code := subprocess.run([*REPRISE, *prepare], check=False).returncode:
        sys.exit(code)  # it has said why


def _before_a_call(rng: random.Random) -> list[str]:
    """Return a prefix that kills a command before a random call; each thread counts its own."""
    name, occurrence = rng.choice(CALLS), rng.randint(1, MOST_CALLS)
    if name in ("rename", "mkdir", "rmdir", "unlinkat"):  # one or a few a save
        occurrence = 1 + occurrence // 8
    aim = f"inject={name}:signal=KILL:when={occurrence}"
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", aim]


def _harm(rng: random.Random, path: Path) -> None:
    """Flip a bit, cut the file, or delete it."""
    content = bytearray(path.read_bytes())
    harm = rng.choice(("flip", "cut", "delete")) if content else "delete"
    if harm == "delete":
        path.unlink()
        return
    at = rng.randrange(len(content))
    if harm == "flip":
        content[at] ^= 1 << rng.randrange(8)
    else:
        del content[at:]
    path.write_bytes(content)


def _facts(run: Run) -> dict[str, object]:
    """Return what must equal the undisturbed run's."""
    path = run.folder.path
    latest = find_checkpoint(path, "latest", _ignore)
    best = find_checkpoint(path, "best", _ignore)
    return {
        "state digest": load_checkpoint(latest).digest(),
        "metrics.jsonl": run.folder.metrics.read_bytes(),
        "best metric": latest.progress.best,
        "best weights": load_checkpoint(best).digest(),
    }


def _ignore(key: str, **values: object) -> None:
    """Warnings are for the runs' own logs."""


def _check_end(code: int, allowed: Sequence[int], run: Run) -> None:
    if code not in allowed:
        sys.exit(f"{run.name} ended with code {code}:\n{run.log.read_text()}")


@contextmanager
def _limited_to(cores: int) -> Iterator[None]:
    """Let this thread, and so the processes it starts, use `cores` cores only."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(usable)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


if __name__ == "__main__":
    main()
