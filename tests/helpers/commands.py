"""Run the two command lines, in this process or in their own, and small runs."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

from helpers.checkpoints import no_warning
from reprise.cli import main as reprise_command_line
from reprise.config.schema import TrainConfig
from reprise.runs.folder import Resumption, RunFolder
from reprise.runs.loop import Evaluate, evaluate_state
from reprise.runs.manage.inspect import describe
from reprise.runs.results import Split
from reprise.runs.session import Outcome, Request, run_session
from reprise.training.setup import Task
from reprise.training.state import Progress, TrainState

Done: TypeAlias = "subprocess.CompletedProcess[str]"

ROOT = Path(__file__).parents[2]
# Set by `make test`; what proves that two processes compute the same bits goes without.
COMPILED = "JAX_COMPILATION_CACHE_DIR"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "REPRISE_LANG"},
    "PYTHONPATH": str(ROOT / "src"),
    "LC_ALL": "C.UTF-8",
}
# A run of the command line that takes seconds, and the name of its folder.
QUICK = (
    "--dataset small --model ComiRec-SA --batch-size 16 --maxlen 6 --embedding-dim 8"
    " --hidden-size 8 --num-interest 2 --negatives 16 --test-iter 5 --name t"
).split()
RUN = "small_t"


def reprise(
    *arguments: object,
    cwd: Path | None = None,
    before: str = "",
    own_process: bool = False,
    **environment: str,
) -> Done:
    """Run `reprise ARGUMENTS` and return what it printed.

    In this process, which saves starting JAX, and in one of its own where the test asks for that,
    has Python code run `before` (as in `reprise_command`), or reads Chinese, which Click is made to
    speak for good.
    """
    if before or own_process or _in_chinese(arguments, environment):
        return _run(reprise_command(*arguments, before=before), cwd, "", environment)
    return _run_here(reprise_command_line.main, "reprise", arguments, cwd, "", environment)


def train(data: Path, runs: Path, *options: object, **keywords: Any) -> Done:
    """Run `reprise train` with QUICK's options, and return what it printed."""
    return reprise("train", *QUICK, "--data-dir", data, "--runs-dir", runs, *options, **keywords)


def comirec(
    *arguments: object, cwd: Path, typed: str = "", own_process: bool = False, **environment: str
) -> Done:
    """Run `python src/train.py ARGUMENTS` with `typed` on standard input; where, as `reprise`."""
    program = str(ROOT / "src" / "train.py")
    if own_process or _in_chinese(arguments, environment):
        command = [sys.executable, program, *map(str, arguments)]
        return _run(command, cwd, typed, environment)
    return _run_here(
        reprise_command_line.main_of_comirec, program, arguments, cwd, typed, environment
    )


def check_refusal(done: Done, code: int, *said: str) -> None:
    """One clear line, its exit code, and no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for part in said:
        assert part in done.stderr


def reprise_command(*arguments: object, before: str = "") -> list[str]:
    """Return the command line; Python code in `before` runs first in the same process.

    (`preexec_fn` would fork this process, which JAX's threads do not survive unharmed.)
    """
    python = [sys.executable]
    if before:
        run_then_become = f"import os, resource, sys; {before}; os.execv(sys.argv[1], sys.argv[1:])"
        python = [sys.executable, "-c", run_then_become, sys.executable]
    return [*python, "-m", "reprise", *map(str, arguments)]


def inspect_json(run: Path) -> dict[str, Any]:
    """Return what `reprise inspect --json` says."""
    done = reprise("inspect", run, "--json")
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def _in_chinese(arguments: tuple[object, ...], environment: Mapping[str, str]) -> bool:
    given = [*map(str, arguments), *environment.values()]
    return any(one.lower().startswith(("zh", "--lang=zh")) for one in given)


def _run(command: list[str], cwd: Path | None, typed: str, environment: Mapping[str, str]) -> Done:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**ENVIRONMENT, **environment},
        input=typed,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


def _run_here(
    entry: Callable[[], object],
    program: str,
    arguments: tuple[object, ...],
    cwd: Path | None,
    typed: str,
    environment: Mapping[str, str],
) -> Done:
    """Give a command line what a process of its own has: arguments, folder, environment, streams;
    a traceback is raised.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    read = io.TextIOWrapper(io.BytesIO(typed.encode()), "utf-8")
    command = [program, *map(str, arguments)]
    interrupted = signal.getsignal(signal.SIGINT)
    with (
        chdir(cwd or Path.cwd()),
        patch.dict(os.environ, {"LC_ALL": "C.UTF-8", "REPRISE_LANG": "", **environment}),
        patch.multiple(sys, argv=command, stdin=read, stdout=streams[0], stderr=streams[1]),
    ):
        try:
            entry()
            code: object = 0
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            signal.signal(signal.SIGINT, interrupted)  # a command may end at once by it
    assert isinstance(code, int), code
    printed, told = (stream.buffer.getvalue().decode() for stream in streams)
    return subprocess.CompletedProcess(command, code, printed, told)


class Recorder:
    """An announcer that keeps what it is told (`session.Announcer`)."""

    def __init__(self, at_step: Callable[[int], None] = lambda step: None) -> None:
        self.keys: list[str] = []
        self.said: dict[str, dict[str, object]] = {}  # the last values of each key
        self.lines: list[dict[str, Any]] = []
        self.saved_steps: list[int] = []
        self.resumption: Resumption | None = None
        self.measured_step: int | None = None
        self._at_step = at_step

    def say(self, key: str, **values: object) -> None:
        self.keys.append(key)
        self.said[key] = values

    def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
        self.resumption = resumption

    def restored(self, progress: Progress) -> None:
        self.keys.append("restored")

    def training_begins(self, progress: Progress) -> None:
        self.keys.append("training_begins")

    def measured(self, step: int, metrics: Mapping[Split, dict[str, float]]) -> None:
        self.measured_step = step

    def stepped(self, state: TrainState) -> None:
        self._at_step(state.progress.step)

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        self.lines.append(line)

    def saved(self, progress: Progress, path: Path) -> None:
        self.saved_steps.append(progress.step)

    def stopping(self, progress: Progress) -> None:
        self.keys.append("stopping")


# What makes a run on the "small" data take a second.
SIZES: dict[str, Any] = {
    "model": "ComiRec-SA",
    "batch_size": 16,
    "maxlen": 6,
    "embedding_dim": 8,
    "hidden_size": 8,
    "num_interest": 2,
    "negatives": 16,
    "top_n": 10,
}


def small_config(**changes: Any) -> TrainConfig:
    """A run on the "small" data that takes a second."""
    values: dict[str, Any] = {
        "dataset": "small",
        "name": "t",
        **SIZES,
        "learning_rate": 0.01,
        "test_iter": 4,
        "max_steps": 20,
    }
    return TrainConfig(**(values | changes))


# What rates the states of `run_small`'s runs.
_evaluate: list[Evaluate] = [evaluate_state]


@contextmanager
def evaluating(evaluate: Evaluate) -> Iterator[None]:
    """Rate the states of `run_small`'s runs by `evaluate`."""
    _evaluate.append(evaluate)
    try:
        yield
    finally:
        _evaluate.pop()


def scripted_evaluation() -> Evaluate:
    """Return what rates the states of a run now."""
    return _evaluate[-1]


def run_small(
    data: Path, runs: Path, recorder: Recorder | None = None, **changes: Any
) -> tuple[Outcome, Recorder, RunFolder]:
    """Run a small session in this process; request fields and config fields by name."""
    recorder = Recorder() if recorder is None else recorder
    asked = {
        name: changes.pop(name)
        for name in ("resume_from", "best_metric", "new_learning_rate", "devices")
        if name in changes
    }
    config = small_config(**changes)
    request = Request(config, data / "small", RunFolder(runs / config.folder_name), **asked)
    return run_session(request, recorder, scripted_evaluation()), recorder, request.folder


def stopping_at(stop: int, number: int = signal.SIGTERM) -> Recorder:
    """A recorder that sends this process the signal after step `stop`."""
    return Recorder(lambda step: os.kill(os.getpid(), number) if step == stop else None)


def state_digest(folder: RunFolder) -> str:
    """The digest of the latest state that is stored."""
    return str(describe(folder.path, "latest", no_warning)["state_digest"])


def check_same_end(folder: RunFolder, undisturbed: RunFolder) -> None:
    """The two runs ended in the same bytes, their logs too."""
    assert state_digest(folder) == state_digest(undisturbed)
    assert folder.metrics.read_bytes() == undisturbed.metrics.read_bytes()


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Let the system refuse every file of this process that grows past `size`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
