"""A known sequence of saves, in processes that start quickly (no JAX) and can be killed or refused
anywhere, and what must hold of the run folder after any such end.

    python saver.py    forks a process for each line of its input, "RUN OUTPUT ERRORS", paths that
                       hold no blanks. It waits for its tracer, and does what is left of the
                       sequence in the folder RUN; into OUTPUT goes each state's digest once it is
                       stored. Its process id is printed when it begins, and when it has ended its
                       exit code, 7 where the disk refused a write, or the signal's, negative.
"""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from reprise.checkpoints import store
from reprise.config.schema import TrainConfig
from reprise.errors import WriteError
from reprise.runs.folder import (
    RunFolder,
    check_identity,
    locked,
    record_events,
    resume,
)
from reprise.text.messages import Phrase
from reprise.training.state import Best, Progress, Snapshot

IDENTITY = TrainConfig("small", "t").identity("of the data")
# (branch, step, metric; None where the state is stored unrated, its evaluation stopped): new bests,
# a worse one, a tie, a rewind to the best at step 3, a state stored again once rated.
PLAN: tuple[tuple[int, int, float | None], ...] = (
    (0, 1, 0.2),
    (0, 2, 0.1),
    (0, 3, 0.5),
    (0, 4, 0.5),
    (1, 4, 0.4),
    (1, 5, None),
    (1, 5, 0.6),
    (1, 6, 0.3),
)
# What a tracer refuses, to say that it is there: a call that nothing else here makes.
SIGN = "getpgid"
_PR_SET_PTRACER, _ANYONE = 0x59616D61, -1
_UNTRACED = 99  # the exit code where no tracer came
_SECONDS = 60.0


def _line(branch: int, step: int, metric: float) -> str:
    return f'{{"branch": {branch}, "step": {step}, "metric": {metric}}}\n'


def _make_sequence() -> list[Snapshot]:
    snapshots: list[Snapshot] = []
    progress = Progress(learning_rate=0.005)
    for branch, step, metric in PLAN:
        if metric is None:
            progress = replace(progress, branch=branch, step=step)
        else:
            best = progress.best
            if best is None or metric > best.metric:
                best = Best(metric, step, branch)
            line = _line(branch, step, metric)
            progress = Progress(
                learning_rate=0.005,
                step=step,
                branch=branch,
                evaluated_step=step,
                metric=metric,
                best=best,
                logged=progress.logged.after(line.encode()),
            )
        rng = np.random.default_rng([branch, step])
        arrays = {
            "rows": rng.standard_normal((300, 12)).astype(np.float32),  # larger than a buffer
            "loss_sum": np.array(rng.random(), np.float32),
        }
        snapshots.append(Snapshot(arrays, progress))
    return snapshots


SEQUENCE = _make_sequence()
POSITIONS = {snapshot.digest(): position for position, snapshot in enumerate(SEQUENCE)}


def work(folder: RunFolder, stored: Callable[[str], None] = lambda digest: None) -> None:
    """Do what is left of the sequence, with the writes of a session around it; `stored` is told
    each digest once its state is durable.
    """
    with locked(folder):
        check_identity(folder, IDENTITY, _refuse_to_warn)
        resumption = resume(folder, IDENTITY, "latest", _refuse_to_warn)
        done = 0 if resumption is None else 1 + POSITIONS[resumption.snapshot.digest()]
        record_events(folder, IDENTITY, {}, {}, [{"event": "started", "done": done}])
        for snapshot in SEQUENCE[done:]:
            progress = snapshot.progress
            if progress.metric is not None and progress.is_rated:
                line = _line(progress.branch, progress.step, progress.metric)
                folder.log.append(line.removesuffix("\n"))
            store.save(folder.checkpoints, snapshot, IDENTITY)
            stored(snapshot.digest())


def check(folder: RunFolder, acknowledged: list[str]) -> None:
    """Assert what no end of `work` may break, and that going on ends in the undisturbed bytes.

    acknowledged: the digests of the states whose saves had returned.
    """
    with locked(folder):
        pass  # it opens, and remains are swept
    found = store.scan(folder.checkpoints, on_damage=_refuse_damage)
    positions = [POSITIONS[store.load(checkpoint).digest()] for checkpoint in found]
    assert positions == sorted(positions)
    latest = positions[-1] if positions else -1
    least = POSITIONS[acknowledged[-1]] if acknowledged else -1
    assert latest in (least, least + 1)  # the one being saved is there or is not
    assert set(positions) >= set(_kept(latest))
    check_identity_and_sources(folder, latest)

    work(folder)
    names = [path.name for path in folder.checkpoints.iterdir() if path != folder.log.stored]
    last = len(SEQUENCE) - 1
    # The next save deletes what is superseded; after the last one there is none.
    expected = [SEQUENCE[position] for position in _kept(last)]
    if latest < last:
        assert sorted(names) == sorted(_name(position) for position in _kept(last))
    again = store.scan(folder.checkpoints, on_damage=_refuse_damage)
    assert {snapshot.digest() for snapshot in expected} <= {store.load(c).digest() for c in again}
    lines = [_line(branch, step, metric) for branch, step, metric in PLAN if metric is not None]
    for copy in (folder.metrics, folder.log.stored):
        assert copy.read_text() == "".join(lines)
    assert not list(folder.path.glob(".[dt]r*-*"))


def check_identity_and_sources(folder: RunFolder, latest: int) -> None:
    """Assert that a start finds exactly the latest and the best that there must be."""
    check_identity(folder, IDENTITY, _refuse_to_warn)
    for source, position in (("latest", latest), ("best", _best(latest))):
        resumption = resume(folder, IDENTITY, source, _refuse_to_warn)  # type: ignore[arg-type]
        if position < 0:
            assert resumption is None
        else:
            assert resumption is not None
            whole = store.load(resumption.checkpoint)
            assert whole.digest() == SEQUENCE[position].digest()
            assert whole.progress == SEQUENCE[position].progress
            assert resumption.rewound == (position != latest)


def _best(latest: int) -> int:
    """Return the position of the best among the first ones, the first on ties; -1 for none."""
    rated = [position for position in range(latest + 1) if PLAN[position][2] is not None]
    return max(rated, key=lambda position: (PLAN[position][2] or 0.0, -position), default=-1)


def _kept(latest: int) -> list[int]:
    """Return the positions that the retention rule keeps: the newest two and the best."""
    newest = range(max(0, latest - 1), latest + 1)
    return sorted({*newest, _best(latest)} - {-1})


def _name(position: int) -> str:
    branch, step, _ = PLAN[position]
    repetition = [plan[:2] for plan in PLAN[:position]].count((branch, step))
    name = f"ckpt-{step}" + (f"-b{branch}" if branch else "")
    return name + (f".{repetition}" if repetition else "")


def _refuse_to_warn(key: str, **values: object) -> None:
    raise AssertionError(f"warned of {key}: {values}")


def _refuse_damage(path: Path, reason: Phrase) -> None:
    raise AssertionError(f"{path} is damaged: {reason}")


def await_tracer() -> None:
    """Return when a tracer refuses this process's SIGN: then it sees every call that follows."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        try:
            os.getpgid(0)
        except OSError:
            return
        time.sleep(0.002)
    os._exit(_UNTRACED)


def work_traced(folder: RunFolder) -> int:
    """Work in a thread of its own, whose system calls a fault can be aimed at, and return the exit
    code.
    """
    code = 1

    def body() -> None:
        nonlocal code
        try:
            work(folder, lambda digest: print(digest, flush=True))
            code = 0
        except WriteError as error:
            print(error, file=sys.stderr)
            code = error.exit_code

    await_tracer()
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return code


def main() -> None:
    """Serve: what is imported once need not be imported by each process that is to be killed."""
    prctl = ctypes.CDLL(None).prctl
    for line in sys.stdin:
        folder, *outputs = line.split()
        child = os.fork()
        if child == 0:
            prctl(_PR_SET_PTRACER, _ANYONE, 0, 0, 0)  # where only a parent may trace otherwise
            for descriptor, path in enumerate(outputs, start=1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
            code = work_traced(RunFolder(Path(folder)))
            sys.stderr.flush()
            os._exit(code)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
