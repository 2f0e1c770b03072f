"""TF2's object graph: find the model's variables and their Adam moments.

`tf.train.Checkpoint` stores the graph of its objects: nodes with named children, a key for each
stored value, and Keras's and TensorFlow's optimizers as nodes.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_VALUE = "VARIABLE_VALUE"
_SUFFIX = f"/.ATTRIBUTES/{_VALUE}"
# Keras 3 keeps the model's variables in its optimizer, too, in the order of the moments.
_ORDER = "_trainable_variables"
# Children that only an optimizer has: Keras 3 and 2.11+, Keras 2 before.
_MARKS = ({"_iterations"}, {"_momentums", "_velocities"}, {"iter", "learning_rate"})


@dataclass(frozen=True)
class Stored:
    """A stored value's shape, and whether it is floating point."""

    shape: tuple[int, ...]
    floating: bool


@dataclass(frozen=True)
class Variable:
    """A variable of the model.

    Attributes:
        name: The name that is shown, and accepted by --map.
        key: The key it is stored under.
        shape: Its shape.
        aliases: All its names.
        moments: The keys of Adam's m and v; None if they are missing or ambiguous.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    aliases: frozenset[str]
    moments: tuple[str, str] | None


@dataclass(frozen=True)
class Scalars:
    """The keys of a checkpoint's training state, where stored."""

    iterations: str | None = None
    beta2_power: str | None = None
    learning_rate: str | None = None
    best_metric: str | None = None


class Graph:
    """The object graph as plain values by node number; node 0 is the checkpoint itself."""

    def __init__(self, proto: Any) -> None:
        self.children: list[dict[str, int]] = [
            {child.local_name: child.node_id for child in node.children} for node in proto.nodes
        ]
        self.keys: dict[int, str] = {}
        self.full_names: dict[int, str] = {}
        self.slots: list[dict[int, dict[str, int]]] = []
        for number, node in enumerate(proto.nodes):
            for attribute in node.attributes:
                if attribute.name == _VALUE:
                    self.keys[number] = attribute.checkpoint_key
                    self.full_names[number] = attribute.full_name
            slots: dict[int, dict[str, int]] = {}
            for slot in node.slot_variables:
                named = slots.setdefault(slot.original_variable_node_id, {})
                named[slot.slot_name] = slot.slot_variable_node_id
            self.slots.append(slots)

    def is_optimizer(self, node: int) -> bool:
        """Return whether the node is an optimizer."""
        names = set(self.children[node])
        return bool(self.slots[node]) or any(mark <= names for mark in _MARKS)

    def child_key(self, node: int, *names: str) -> str | None:
        """Return the key of the first of the named children that is stored."""
        found = (self.children[node].get(name, -1) for name in names)
        return next((self.keys[child] for child in found if child in self.keys), None)

    def listed(self, node: int, name: str) -> dict[int, int]:
        """Return the nodes of a list that is a child of `node`, by index."""
        child = self.children[node].get(name)
        items = {} if child is None else self.children[child]
        return {int(index): item for index, item in items.items() if index.isdecimal()}

    def paths(self) -> dict[int, str]:
        """Return the shortest path to each node that is reached without entering an optimizer."""
        paths, queue = {0: ""}, deque([0])
        while queue:
            node = queue.popleft()
            for name, child in self.children[node].items():
                if child not in paths and not self.is_optimizer(child):
                    paths[child] = f"{paths[node]}/{name}".lstrip("/")
                    queue.append(child)
        return paths


def parse_graph(serialized: bytes) -> Graph:
    """Parse a checkpoint's object graph."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    proto = trackable_object_graph_pb2.TrackableObjectGraph()
    proto.ParseFromString(serialized)
    return Graph(proto)


def read_graph(graph: Graph, stored: Mapping[str, Stored]) -> tuple[tuple[Variable, ...], Scalars]:
    """Return the model's variables with their moments, and where the scalars are stored."""
    optimizers = [node for node in range(len(graph.children)) if graph.is_optimizer(node)]
    names = {node: path for node, path in graph.paths().items() if node in graph.keys}
    for optimizer in optimizers:
        for node in graph.listed(optimizer, _ORDER).values():
            names.setdefault(node, graph.keys.get(node, "").removesuffix(_SUFFIX))
    kept = {
        node: name
        for node, name in names.items()
        if graph.keys.get(node) in stored and _is_weight(stored[graph.keys[node]])
    }
    moments = _moments(graph, optimizers, kept, stored)
    variables = tuple(
        Variable(
            name=name,
            key=graph.keys[node],
            shape=stored[graph.keys[node]].shape,
            aliases=frozenset(
                {name, graph.keys[node].removesuffix(_SUFFIX), graph.full_names[node]}
            ),
            moments=moments.get(node),
        )
        for node, name in sorted(kept.items(), key=lambda pair: pair[1])
    )
    return variables, _scalars(graph, optimizers, stored)


def _is_weight(entry: Stored) -> bool:
    return entry.floating and bool(entry.shape)


def _scalars(graph: Graph, optimizers: list[int], stored: Mapping[str, Stored]) -> Scalars:
    def only(*names: str) -> str | None:
        keys = {graph.child_key(node, *names) for node in optimizers} - {None}
        return keys.pop() if len(keys) == 1 else None

    best = [
        graph.keys[node]
        for name, node in graph.children[0].items()
        if "best" in name.casefold() and graph.keys.get(node) in stored
    ]
    best = [key for key in best if stored[key] == Stored((), True)]
    return Scalars(
        iterations=only("_iterations", "iter", "iterations"),
        beta2_power=only("beta2_power"),
        learning_rate=only("_learning_rate", "learning_rate"),
        best_metric=best[0] if len(best) == 1 else None,
    )


def _moments(
    graph: Graph, optimizers: list[int], variables: Iterable[int], stored: Mapping[str, Stored]
) -> dict[int, tuple[str, str]]:
    """Return the keys of each variable's m and v, found by, in this order: slots; lists in a
    recorded order; names of the moments. Shapes must agree. A variable of two optimizers is
    ambiguous and left out.
    """
    found: dict[int, set[tuple[str, str]]] = {}
    for optimizer in optimizers:
        for variable in variables:
            for pair in _pairs(graph, optimizer, variable):
                keys = tuple(graph.keys.get(node, "") for node in (variable, *pair))
                if all(key in stored for key in keys) and len({stored[k].shape for k in keys}) == 1:
                    found.setdefault(variable, set()).add((keys[1], keys[2]))
                    break
    return {node: pairs.pop() for node, pairs in found.items() if len(pairs) == 1}


def _pairs(graph: Graph, optimizer: int, variable: int) -> Iterable[tuple[int, int]]:
    slots = graph.slots[optimizer].get(variable, {})
    if {"m", "v"} <= set(slots):
        yield slots["m"], slots["v"]
    first, second = (graph.listed(optimizer, name) for name in ("_momentums", "_velocities"))
    for index, node in graph.listed(optimizer, _ORDER).items():
        if node == variable and index in first and index in second:
            yield first[index], second[index]
    # Keras 2.11+ records no order, but names: Adam/m/<variable>, Adam/v/<variable>.
    pools = [
        [node for node in set(nodes) if _is_moment(graph, node, letter, variable)]
        for letter, nodes in (
            ("m", [*first.values(), *graph.listed(optimizer, "_variables").values()]),
            ("v", [*second.values(), *graph.listed(optimizer, "_variables").values()]),
        )
    ]
    namesakes = list(graph.full_names.values()).count(graph.full_names[variable])
    if namesakes == 1 and len(pools[0]) == len(pools[1]) == 1:
        yield pools[0][0], pools[1][0]


def _is_moment(graph: Graph, node: int, letter: str, variable: int) -> bool:
    name = graph.full_names.get(node, "")
    return f"/{name}".endswith(f"/{letter}/{graph.full_names[variable]}")
