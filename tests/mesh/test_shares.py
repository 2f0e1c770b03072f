"""Two writers of one checkpoint: whatever each has done when they end, there is a whole one."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.crash_states import CrashState, RecordingDisk, Simulation, started
from reprise import durable
from reprise.checkpoints import store
from reprise.errors import WriteError
from reprise.runtime.processes import Processes
from reprise.training.state import Progress, Snapshot

pytestmark = pytest.mark.mesh

OLD, NEW = (Progress(learning_rate=0.1, step=step) for step in (5, 9))


class Told:
    """What the processes tell each other: the client of both."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._changed = threading.Condition()

    def key_value_set(self, key: str, value: str) -> None:
        with self._changed:
            assert key not in self._values
            self._values[key] = value
            self._changed.notify_all()

    def blocking_key_value_get(self, key: str, timeout: int) -> str:
        with self._changed:
            assert self._changed.wait_for(lambda: key in self._values, 20), key
            return self._values[key]


class DiskOfTwo(RecordingDisk):
    """Records which writer made each operation."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.by: list[str] = []

    def _record(self, kind: str, *values: Path | bytes) -> None:
        super()._record(kind, *values)
        self.by.append(threading.current_thread().name)


def snapshots(progress: Progress) -> list[Snapshot]:
    """Return the two processes' snapshots of a state of five rows."""
    rows = np.arange(10, dtype=np.float32).reshape(5, 2) * progress.step
    steps = np.full(5, progress.step, np.int32)
    small = {"params.a": np.ones(3, np.float32), "loss_sum": np.zeros((), np.float32)}
    return [
        Snapshot(
            {f"rows.{i}-of-2": rows[i::2], f"row_steps.{i}-of-2": steps[i::2]} | small, progress
        )
        for i in range(2)
    ]


def save_together(folder: Path, progress: Progress) -> list[Any]:
    """Save as two processes do, and return what each returns or raises."""
    told, parts = Told(), snapshots(progress)

    def lead() -> Path:
        return store.save(folder, parts[0], {"model": "m"}, together=Processes(0, 2, told))

    def follow() -> None:
        store.save_share(folder, parts[1], Processes(1, 2, told))

    def result(of: Callable[[], Any], name: str) -> Any:
        threading.current_thread().name = name
        try:
            return of()
        except WriteError as refused:
            return refused

    with ThreadPoolExecutor(2) as pool:
        each = [pool.submit(result, lead, "lead"), pool.submit(result, follow, "follow")]
        return [one.result() for one in each]


def test_two_processes_save_one_whole_checkpoint(tmp_path: Path) -> None:
    path, nothing = save_together(tmp_path, NEW)
    assert nothing is None
    stored = store.read(path)
    store.verify(stored)
    rows = store.load(stored).arrays["rows"]
    assert np.array_equal(rows, np.arange(10).reshape(5, 2) * 9)
    # A state that is stored is not stored again, by neither.
    assert save_together(tmp_path, NEW) == [path, None]
    assert store.names(tmp_path) == [path]


def test_share_that_is_refused_ends_both_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_together(tmp_path, OLD)
    write = durable.write_file

    def refusing(path: Path, *chunks: bytes | memoryview) -> None:
        if path.name == "row_steps.1-of-2.npy":
            raise WriteError("write_refused_new", path=path, reason="No space left on device")
        write(path, *chunks)

    monkeypatch.setattr(durable, "write_file", refusing)
    for refused in save_together(tmp_path, NEW):
        assert "No space left on device" in str(refused)
    assert [path.name for path in store.names(tmp_path)] == ["ckpt-5"]
    assert not durable.leftovers(tmp_path)


def states_of_two(disk: DiskOfTwo) -> Iterator[CrashState]:
    """Yield what crashes may leave after every pair of beginnings of what two writers did, each as
    long as the other had told it what it knew.
    """
    each = {
        name: [op for op, by in zip(disk.operations, disk.by, strict=True) if by == name]
        for name in ("lead", "follow")
    }
    lead, follow = each["lead"], each["follow"]
    made = next(n for n, op in enumerate(lead) if op[0] == "make_folder") + 1
    heard = next(n for n, op in enumerate(lead) if "state.json" in str(op[1]))
    assert made < heard < len(lead)
    assert len(follow) > 3
    for i in range(len(lead) + 1):
        for j in range(len(follow) + 1):
            if (j and i < made) or (i > heard and j < len(follow)):
                continue
            simulation: Simulation = started(disk)
            for op in [*lead[: min(i, made)], *follow[:j], *lead[made:i]]:
                simulation.apply(*op)
            yield from simulation.crash_states()


def test_every_pair_of_beginnings_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[..., None]
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    save_together(folder, OLD)
    disk = DiskOfTwo(folder)
    monkeypatch.setattr(durable, "disk", disk)
    save_together(folder, NEW)
    monkeypatch.undo()
    expected = {
        progress.step: Snapshot(
            dict(snapshots(progress)[0].arrays) | dict(snapshots(progress)[1].arrays), progress
        ).digest()
        for progress in (OLD, NEW)
    }
    seen, number = set(), 0
    for state in states_of_two(disk):
        key = tuple(sorted(state.tree.items()))
        if key in seen:
            continue
        seen.add(key)
        number += 1
        if number % 3:  # they are alike
            continue
        root = tmp_path / str(number)
        root.mkdir()
        state.build(root)
        durable.sweep(durable.leftovers(root))
        found = store.scan(root, lambda path, reason: pytest.fail(f"{path}: {reason}"))
        assert found, state.model
        for checkpoint in found:
            assert store.load(checkpoint).digest() == expected[checkpoint.progress.step]
    assert number > 30
    record_property("crash states of two writers", number)
