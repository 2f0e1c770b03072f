"""What a crash can leave of recorded disk operations, under models of what a disk keeps."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Literal

from reprise import durable

SECTORS = (512, 4096)  # where a write is torn
MOST_CHOSEN = 9  # changes of names of which every subset is tried
NAMES_LOST = "unsynced names lost"  # the model of most states


@dataclass(eq=False)
class Node:
    """A file or folder, apart from its names. `synced`: bytes of `data` that are durable."""

    is_folder: bool
    data: bytes = b""
    synced: int = 0


@dataclass(eq=False)
class Change:
    """A change of names: `node` loses the name `removed` and gets the name `added`. It is durable
    once a folder that it touches is synced.
    """

    node: Node
    removed: tuple[Node, str] | None = None
    added: tuple[Node, str] | None = None
    durable: bool = False

    @property
    def folders(self) -> list[Node]:
        return [place[0] for place in (self.removed, self.added) if place is not None]


Names = dict[tuple[Node, str], Node]


@dataclass(frozen=True)
class CrashState:
    """A tree a crash may leave: content by path, None for folders. `model` names what was kept,
    `acknowledged` counts the acknowledgements given before the crash.
    """

    model: str
    tree: dict[str, bytes | None]
    acknowledged: int

    def build(self, root: Path) -> None:
        """Write the tree under `root`."""
        for name, content in sorted(self.tree.items()):
            if content is None:
                (root / name).mkdir()
            else:
                (root / name).write_bytes(content)


class RecordingDisk(durable.Disk):
    """Does and records every operation below `root`, whose present content is taken as durable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.operations: list[tuple[str, ...] | tuple[str, str, bytes]] = []
        self._lock = threading.Lock()
        self.base = {
            str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
            for path in sorted(root.rglob("*"))
        }

    def acknowledge(self) -> None:
        """Note that whoever asked for the operations so far was told of their success."""
        self._record("acknowledge")

    def write(self, path: Path, mode: Literal["xb", "ab"], *chunks: bytes | memoryview) -> None:
        if mode == "xb":
            self._record("create", path)
        for chunk in chunks:
            self._record("append", path, bytes(chunk))
        super().write(path, mode, *chunks)
        self._record("sync", path)

    def sync(self, path: Path) -> None:
        super().sync(path)
        self._record("sync", path)

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self._record("make_folder", path)

    def rename(self, path: Path, target: Path) -> None:
        super().rename(path, target)
        self._record("rename", path, target)

    def delete_file(self, path: Path) -> None:
        super().delete_file(path)
        self._record("delete", path)

    def delete_folder(self, path: Path) -> None:
        super().delete_folder(path)
        self._record("delete", path)

    def _record(self, kind: str, *values: Path | bytes) -> None:
        named = [
            value if isinstance(value, bytes) else os.path.relpath(value, self.root)
            for value in values
        ]
        with self._lock:
            self.operations.append((kind, *named))  # type: ignore[arg-type]


@dataclass
class Simulation:
    """A file system in the middle of a replay: durable names, and the changes not yet durable."""

    root: Node = field(default_factory=lambda: Node(is_folder=True))
    names: Names = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)
    acknowledged: int = 0

    def apply(self, kind: str, *values: str | bytes) -> None:
        """Replay one recorded operation."""
        if kind == "acknowledge":
            self.acknowledged += 1
            return
        path = str(values[0])
        if kind in ("create", "make_folder"):
            node = Node(is_folder=kind == "make_folder")
            self.pending.append(Change(node, added=self._place(path)))
        elif kind == "rename":
            node, target = self._node(path), self._place(str(values[1]))
            self.pending.append(Change(node, removed=self._place(path), added=target))
        elif kind == "delete":
            self.pending.append(Change(self._node(path), removed=self._place(path)))
        elif kind == "append":
            assert isinstance(values[1], bytes)
            self._node(path).data += values[1]
        else:
            assert kind == "sync", kind
            self._sync(self._node(path))

    def crash_states(self) -> Iterator[CrashState]:
        """Yield what a crash at this instant may leave."""
        everything = tuple(self.pending)
        unsynced = [node for node in self._nodes(everything) if node.synced < len(node.data)]
        yield self._state("all persisted", everything)
        if unsynced:
            lost = {node: node.data[: node.synced] for node in unsynced}
            yield self._state("unsynced data lost", everything, lost)
            yield self._state("names kept, data empty", everything, dict.fromkeys(unsynced, b""))
            zeros = {node: bytes(len(node.data)) for node in unsynced}
            yield self._state("names kept, data zero", everything, zeros)
        for sector in SECTORS:
            for node in unsynced:
                for end in range(-(-node.synced // sector) * sector, len(node.data), sector):
                    torn = {node: node.data[: max(end, node.synced)]}
                    yield self._state(f"torn at {sector}", everything, torn)
                    holed = {node: torn[node] + bytes(len(node.data) - len(torn[node]))}
                    yield self._state(f"torn at {sector}", everything, holed)
        for kept in self._subsets(everything):
            yield self._state(NAMES_LOST, kept)
            if unsynced:
                yield self._state("unsynced names and data lost", kept, lost)

    @staticmethod
    def _subsets(changes: tuple[Change, ...]) -> Iterator[tuple[Change, ...]]:
        """Yield every choice of the changes but all of them; where they are many, each beginning,
        all but one, and each one alone.
        """
        count = len(changes)
        if count <= MOST_CHOSEN:
            for size in range(count):
                yield from combinations(changes, size)
            return
        for end in range(count):
            yield changes[:end]
        for one in range(count):
            yield changes[:one] + changes[one + 1 :]
            yield (changes[one],)

    def _state(
        self, model: str, kept: tuple[Change, ...], data: dict[Node, bytes] | None = None
    ) -> CrashState:
        names = self._after(kept)
        content = data or {}
        children: dict[Node, list[tuple[str, Node]]] = {}
        for (folder, name), node in names.items():
            children.setdefault(folder, []).append((name, node))
        tree: dict[str, bytes | None] = {}
        stack = [("", self.root)]
        while stack:
            prefix, folder = stack.pop()
            for name, node in children.get(folder, []):
                path = f"{prefix}{name}"
                tree[path] = None if node.is_folder else content.get(node, node.data)
                if node.is_folder:
                    stack.append((f"{path}/", node))
        return CrashState(model, tree, self.acknowledged)

    def _after(self, changes: tuple[Change, ...]) -> Names:
        names = dict(self.names)
        for change in changes:
            _change(names, change)
        return names

    def _nodes(self, changes: tuple[Change, ...]) -> list[Node]:
        return list(dict.fromkeys(self._after(changes).values()))

    def _place(self, path: str) -> tuple[Node, str]:
        folder, _, name = path.rpartition("/")
        return self._node(folder), name

    def _node(self, path: str) -> Node:
        names, node = self._after(tuple(self.pending)), self.root
        for name in path.split("/") if path not in ("", ".") else []:
            node = names[node, name]
        return node

    def _sync(self, node: Node) -> None:
        if not node.is_folder:
            node.synced = len(node.data)
            return
        for change in self.pending:
            change.durable |= node in change.folders
        gone = {change.node for change in self.pending if change.durable and change.added is None}
        for change in self.pending:  # what happened inside a folder that is gone, too
            change.durable |= bool(gone.intersection(change.folders))
        for change in self.pending:
            if change.durable:
                _change(self.names, change)
        self.pending = [change for change in self.pending if not change.durable]


def _change(names: Names, change: Change) -> None:
    if change.removed is not None and names.get(change.removed) is change.node:
        del names[change.removed]
    if change.added is not None:
        names[change.added] = change.node


def started(disk: RecordingDisk) -> Simulation:
    """Return the simulation before the recorded operations."""
    simulation = Simulation()
    for path, content in disk.base.items():
        simulation.apply("make_folder" if content is None else "create", path)
        if content is not None:
            simulation.apply("append", path, content)
            simulation.apply("sync", path)
        simulation.apply("sync", path.rpartition("/")[0])
    simulation.apply("sync", "")
    return simulation


def crash_states(disk: RecordingDisk) -> Iterator[CrashState]:
    """Yield every distinct state that a crash before, between and after the recorded operations
    may leave.
    """
    simulation, seen = started(disk), set()
    for operation in [("sync", ""), *disk.operations]:
        simulation.apply(*operation)
        for state in simulation.crash_states():
            key = (frozenset(state.tree.items()), state.acknowledged)
            if key not in seen:
                seen.add(key)
                yield state
